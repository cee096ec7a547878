"""A plan that is proposed: its parts, each of which a person may leave out or name otherwise.

Standard library alone, so that the app can hold one; `engine.propose.propose` makes it from what a folder
holds.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Kind = Literal["baseline", "candidate", "examples", "train", "metric", "judge", "benchmark", "gate"]
MODELS = ("baseline", "candidate")
ONE_OF = ("examples", "train")  # a plan has one of each at most
_TELLING = ("adapter", "system", "path", "outputs", "examples", "train", "schema", "include")
_LACKING = {
    "examples": "examples to ask: a file with a query a record (JSONL, JSON, CSV or Parquet)",
    "baseline": "a baseline: a model's folder (config.json with weights), or answers made elsewhere",
    "candidate": "a candidate: an adapter's folder (adapter_config.json), a checkpoint, or such answers",
}


@dataclass(frozen=True, slots=True)
class Item:
    """One part of the plan: `table` is what it says there, paths as a plan has them; `why` is a remark."""

    key: str
    kind: Kind
    name: str
    table: Mapping[str, Any]
    on: bool = True
    why: str = ""

    @property
    def where(self) -> str:
        """The one thing of its table that tells it from others: a path, a limit."""
        if self.kind == "gate":
            return str(self.table[self.name])
        return str(next((self.table[key] for key in _TELLING if key in self.table), ""))

    @property
    def what(self) -> str:
        """Where it is and why, in one line."""
        return " · ".join(filter(None, (self.where, self.why)))


@dataclass(frozen=True, slots=True)
class Proposal:
    """A plan in parts. `fitting` has the metrics, judge and gates that fit each of the examples it may use.

    `assumed` is what nothing in the folder says, `left_out` what was found and is no use.
    """

    folder: str
    name: str
    items: tuple[Item, ...]
    fitting: Mapping[str, tuple[Item, ...]]
    assumed: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def chosen(self, *kinds: str) -> list[Item]:
        """The parts of these kinds that are to be in the plan."""
        return [item for item in self.items if item.on and item.kind in kinds]

    @property
    def lacking(self) -> list[str]:
        """What no plan can do without, and this one does."""
        return [words for kind, words in _LACKING.items() if not self.chosen(kind)]

    def toggled(self, key: str) -> "Proposal":
        """With one part in or out; other examples bring along what fits them."""
        turned = next(item for item in self.items if item.key == key)
        alone = not turned.on and turned.kind in ONE_OF
        items = tuple(
            replace(item, on=not item.on)
            if item.key == key
            else replace(item, on=False)
            if alone and item.kind == turned.kind
            else item
            for item in self.items
        )
        if turned.kind == "examples" and not turned.on:
            fixed = [item for item in items if item.kind not in ("metric", "judge", "gate")]
            items = (*fixed, *self.fitting[key])
        return replace(self, items=items)

    def renamed(self, key: str, name: str) -> "Proposal":
        """With another name for a model. Raises ValueError for one that no plan takes."""
        if not name.strip() or not name.isprintable() or len(name) > 200:
            raise ValueError("a name is one line of at most 200 characters")
        if any(item.name == name and item.key != key for item in self.items if item.kind in MODELS):
            raise ValueError(f"another model is called {name}")
        items = (replace(item, name=name) if item.key == key else item for item in self.items)
        return replace(self, items=tuple(items))

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "lacking": self.lacking}


def from_json(table: Mapping[str, Any]) -> Proposal:
    """The proposal that `as_json` wrote."""
    return Proposal(
        table["folder"],
        table["name"],
        tuple(Item(**item) for item in table["items"]),
        {key: tuple(Item(**item) for item in items) for key, items in table["fitting"].items()},
        tuple(table["assumed"]),
        tuple(table["left_out"]),
    )
