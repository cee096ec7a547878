"""The Compare screen's lines by family: those that got clearly worse first, folded where there is no room."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from engine.decision.families import BENCHMARKS, FORGETTING, JUDGE, family_of, rank, summarize
from tui.screens.compare.data import (
    Forgot,
    Judged,
    Line,
    Measured,
    Numbers,
    benchmark_lines,
    disparity_lines,
    forgetting_lines,
    judge_lines,
    metric_lines,
)


@dataclass(frozen=True, slots=True)
class Family:
    """The line that heads a family. `worst` is the line that speaks most of a worsening."""

    name: str
    kind: str  # which columns its lines have: metric verdict benchmark forgetting
    against: str  # the baseline of its numbers, where that is not the chosen one
    size: int
    worse: int
    better: int
    unequal: int  # clear differences between groups of people
    worst: Line | None
    gaps: tuple[str, ...]  # what its lines lack, and why
    open: bool


@dataclass(frozen=True, slots=True)
class Group:
    """A family before it is decided whether it is open."""

    name: str
    kind: str
    against: str
    lines: Sequence[Line]

    def headed(self, is_open: bool) -> Family:
        worse, better, worst = _summarize(self.lines)
        unequal = sum(isinstance(line, Measured) and line.is_gap for line in self.lines)
        gaps = dict.fromkeys(gap for line in self.lines if isinstance(line, Measured) for gap in line.gaps)
        size = len(self.lines)
        return Family(
            self.name, self.kind, self.against, size, worse, better, unequal, worst, tuple(gaps), is_open
        )


Entry = Family | Measured | Judged | Forgot


def groups(numbers: Numbers, candidate: str, baseline: str, search: str = "") -> list[Group]:
    """What was forgotten, then the families with a clear worsening, then the others in their usual order.

    `search` keeps the lines whose name contains it, and whole families of such a name.
    """
    found: dict[tuple[str, str], Group] = {}
    for group in _all(numbers, candidate, baseline):
        lines = [line for line in group.lines if search.lower() in f"{group.name} {name_of(line)}".lower()]
        if lines:
            against = group.against if group.against != baseline else ""
            key = (group.name, group.kind)
            above = found[key].lines if key in found else ()
            found[key] = Group(group.name, group.kind, against, [*above, *lines])
    return sorted(found.values(), key=_place)


def fitting(found: Sequence[Group], room: int) -> frozenset[str]:
    """The families that are open unless somebody folds: as many from the first on as fit into `room`."""
    used, opened = len(found), set()
    for group in found:
        used += len(group.lines)
        if used > room:
            break
        opened.add(group.name)
    return frozenset(opened)


def entries(found: Sequence[Group], opened: Collection[str]) -> list[Entry]:
    """The screen's lines."""
    shown: list[Entry] = []
    for group in found:
        is_open = group.name in opened
        shown += [group.headed(is_open), *(group.lines if is_open else ())]
    return shown


def name_of(line: Line) -> str:
    if isinstance(line, Judged):
        return line.row.judge
    return line.row.aspect if isinstance(line, Forgot) else line.name


def _all(numbers: Numbers, candidate: str, baseline: str) -> list[Group]:
    against, forgot = forgetting_lines(numbers, candidate, baseline)
    made = [Group(FORGETTING, "forgetting", against, forgot)]
    for line in metric_lines(numbers, candidate, baseline):
        family = family_of(line.name, line.declared.source if line.declared else "")
        made.append(Group(family, "metric", baseline, [line]))
    made.append(Group("safety", "metric", baseline, disparity_lines(numbers, candidate, baseline)))
    made.append(Group(JUDGE, "verdict", baseline, judge_lines(numbers, candidate, baseline)))
    against, benchmarks = benchmark_lines(numbers, candidate, baseline)
    made.append(Group(BENCHMARKS, "benchmark", against, benchmarks))
    return made


def _place(group: Group) -> tuple[bool, bool, int]:
    return group.name != FORGETTING, not _summarize(group.lines)[0], rank(group.name)


def _summarize(lines: Sequence[Line]) -> tuple[int, int, Line | None]:
    """How many lines are clearly worse and better, and the worst."""
    measured = {line.name: line for line in lines if isinstance(line, Measured) and line.compared}
    found = summarize(line.compared for line in measured.values() if line.compared)
    worse, better = found.worse, found.better
    worst: Line | None = measured[found.worst.measure] if found.worst else None
    for line in lines:
        if isinstance(line, Judged) and line.row.low is not None and line.row.high is not None:
            worse += line.row.high < 0.5
            better += line.row.low > 0.5
        elif isinstance(line, Forgot):
            worse += line.row.standing == "worse"
            better += line.row.standing == "better"
    judged = [line for line in lines if isinstance(line, Judged) and line.row.win_rate is not None]
    forgot = [line for line in lines if isinstance(line, Forgot) and line.row.standing == "worse"]
    return worse, better, worst or min(judged, key=_rate, default=None) or next(iter(forgot), None)


def _rate(line: Judged) -> float:
    return line.row.win_rate or 0.0
