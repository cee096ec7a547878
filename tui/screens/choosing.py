"""Choosing what a screen shows: words that filter its rows, and the candidate and baseline it compares."""

from collections.abc import Sequence

from tui.screens.base import AssayScreen


class FilteredScreen(AssayScreen):
    """A screen whose rows a filter narrows while it is typed.

    Escape in the filter brings back the one before it, escape on the screen removes it.
    """

    FILTER = "filter"  # what the prompt is called
    _search = ""

    def filtered(self) -> None:
        """Shows what the filter keeps."""
        raise NotImplementedError

    def action_filter(self) -> None:
        before = self._search
        self.ask(
            self.FILTER, self._filter, value=before, changed=self._filter, left=lambda: self._filter(before)
        )

    def _filter(self, text: str) -> None:
        if text != self._search:
            self._search = text
            self.filtered()

    def back(self) -> bool:
        found = bool(self._search)
        if found:
            self._filter("")
        return found


class PairScreen(AssayScreen):
    """A screen about one candidate and one baseline, each "" where the run has none."""

    _candidate = ""
    _baseline = ""

    def names(self, role: str) -> list[str]:
        """The models to choose from as "candidate" or "baseline"."""
        raise NotImplementedError

    def paired(self) -> None:
        """Shows the pair."""
        raise NotImplementedError

    def keep_pair(self) -> None:
        """Keeps the models that are still there; the first ones replace the others."""
        candidates, baselines = self.names("candidate"), self.names("baseline")
        self._candidate = _kept(candidates, self._candidate)
        self._baseline = _kept(baselines, self._baseline)

    def action_candidate(self, step: int) -> None:
        self._candidate = neighbour(self.names("candidate"), self._candidate, step)
        self.paired()

    def action_baseline(self, step: int) -> None:
        self._baseline = neighbour(self.names("baseline"), self._baseline, step)
        self.paired()


def _kept(names: Sequence[str], name: str) -> str:
    return name if name in names else next(iter(names), "")


def neighbour(names: Sequence[str], name: str, step: int) -> str:
    """The name `step` places further on, round the end; the same where it is not among them."""
    return names[(names.index(name) + step) % len(names)] if name in names else name
