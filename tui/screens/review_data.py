"""What the Review screen reads. All of it runs on the store's thread."""

from collections.abc import Sequence
from dataclasses import dataclass

from store.history import Connection, metrics, models
from store.pairs import FILTERS, PairView, QueueItem, annotations, pair, queue
from store.rows import MetricRow, ModelRow, ResponseRow
from tui.diff import Diff, diff

QUEUES = tuple(FILTERS)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asked to see. A model that is None is the run's first of its role."""

    candidate: str | None = None
    baseline: str | None = None
    show: str = "all"
    search: str = ""
    worst_by: str | None = None
    example_id: int | None = None
    place: int = 0  # where to stand when the example is not in the queue


@dataclass(frozen=True, slots=True)
class Compared:
    """One example with both answers aligned; `diff` is None unless both have a text."""

    view: PairView
    diff: Diff | None


@dataclass(frozen=True, slots=True)
class Review:
    """A queue and the place in it."""

    wanted: Wanted  # what was asked for: two queues may hold the same examples
    candidates: tuple[ModelRow, ...]
    baselines: tuple[ModelRow, ...]
    candidate: ModelRow
    baseline: ModelRow
    metrics: list[MetricRow]
    items: list[QueueItem]
    undecided: int  # examples of the run without anybody's preference
    tags: tuple[str, ...]  # failure tags used in this run, the newest first
    place: int
    pair: Compared | None  # None when the queue is empty


def read_review(connection: Connection, run_id: int, wanted: Wanted) -> Review | None:
    """None while the run has no candidate or no baseline."""
    known = models(connection, run_id)
    candidates = tuple(model for model in known if model.role == "candidate" and not model.is_cut)
    # Candidates may have played each other: one that was asked for stands among the baselines.
    baselines = tuple(model for model in known if model.role == "baseline" or model.name == wanted.baseline)
    if not candidates or not baselines:
        return None
    candidate, baseline = _chosen(candidates, wanted.candidate), _chosen(baselines, wanted.baseline)
    measures = metrics(connection, run_id)
    items = queue(
        connection,
        run_id,
        candidate.id,
        baseline.id,
        show=wanted.show,
        search=wanted.search,
        worst_by=wanted.worst_by,
        lower_is_better=any(m.measure == wanted.worst_by and m.direction == "lower" for m in measures),
    )
    undecided = queue(connection, run_id, candidate.id, baseline.id, show="unreviewed")
    tags = [note.value for note in annotations(connection, run_id) if note.kind == "tag"]
    place = _place(items, wanted)
    current = (
        read_pair(connection, run_id, candidate.id, baseline.id, items[place].example_id) if items else None
    )
    return Review(
        wanted,
        candidates,
        baselines,
        candidate,
        baseline,
        measures,
        items,
        len(undecided),
        tuple(dict.fromkeys(reversed(tags))),
        place,
        current,
    )


def read_pair(
    connection: Connection, run_id: int, candidate_id: int, baseline_id: int, example_id: int
) -> Compared:
    view = pair(connection, run_id, candidate_id, baseline_id, example_id)
    return Compared(view, _aligned(view.baseline, view.candidate))


def _chosen(models: Sequence[ModelRow], name: str | None) -> ModelRow:
    return next((model for model in models if model.name == name), models[0])


def _place(items: Sequence[QueueItem], wanted: Wanted) -> int:
    found = (place for place, item in enumerate(items) if item.example_id == wanted.example_id)
    return next(found, max(0, min(wanted.place, len(items) - 1)))


def _aligned(left: ResponseRow | None, right: ResponseRow | None) -> Diff | None:
    texts = (left.whole if left else None), (right.whole if right else None)
    return None if texts[0] is None or texts[1] is None else diff(texts[0], texts[1])
