"""Which versions of an eval set two runs used, and which examples a comparison of them can rest on."""

from dataclasses import dataclass

from engine.compare.comparable import Side, shared_examples
from store.read import history


@dataclass(frozen=True, slots=True)
class SharedSets:
    """Both versions, and how many examples both runs evaluated in the same words (`shared`), in other words
    (`edited`), and only one of them.
    """

    older_version: str | None
    newer_version: str | None
    shared: int
    edited: int
    only_older: int
    only_newer: int

    @property
    def said(self) -> str:
        """In a sentence, where not every example counts; nothing too where a run has no eval set."""
        if self.older_version is None or self.newer_version is None:
            return ""
        left_out = {
            "were edited between them": self.edited,
            "only the older run evaluated": self.only_older,
            "only the newer run evaluated": self.only_newer,
        }
        named = [f"{count} {what}" for what, count in left_out.items() if count]
        if not named:
            return ""
        versions = (
            f"The eval set changed from version {self.older_version} to {self.newer_version}"
            if self.older_version != self.newer_version
            else f"Both runs used eval set version {self.newer_version}, not the same part of it"
        )
        return f"{versions}: only the {self.shared} shared examples are compared; {', '.join(named)}."


def shared_sets(connection: history.Connection, older: int, newer: int) -> SharedSets:
    """Raises StoreError for an unknown run."""
    sides = Side(connection, older), Side(connection, newer)
    keys, _ = shared_examples(*sides)
    before, after = (set(side.examples) for side in sides)
    return SharedSets(
        sides[0].run.eval_set,
        sides[1].run.eval_set,
        len(keys[0]),
        len(before & after) - len(keys[0]),
        len(before - after),
        len(after - before),
    )
