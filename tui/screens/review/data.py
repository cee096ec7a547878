"""What the Review screen reads. All of it runs on the store's thread."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b

from engine.data.example import query_id
from engine.decision.flips import narrowed
from store.people import is_excluded
from store.read.answers import ModelAnswer, PairView, answered, pair
from store.read.history import Connection, metrics, models
from store.read.queues import (
    CATEGORY,
    FLIPS,
    QUEUES,
    SLICE,
    QueueItem,
    candidates_for,
    chosen,
    first_measure,
    flips_by,
    known_of,
    signs,
    worst_first,
)
from store.read.rows import ModelRow, ResponseRow
from store.read.slices import PERTURBED, with_variants
from store.records import Annotation, StoredMetric
from store.reviewing import left_at, timings
from tui.text.diff import Diff, diff

EVERY = 14  # items to a repeat: 7 %
SMALLEST = 8  # a queue of fewer items has no repeats
_NEAREST, _FURTHEST = 5, 12  # items between an item and its repeat, one way
_FLIPPED = {"left": "right", "right": "left"}
_OF_ONE = ("thumbs", "rating", "tag", "correction")


def _drawn(*parts: object) -> int:
    """A number that is the same for the same parts, on every machine."""
    text = "\0".join(map(str, parts)).encode("utf-8", "replace")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def swapped(person: str, run_id: int, example: str, control: bool) -> bool:
    """Whether the candidate stands on the left for this person."""
    return bool(_drawn("side", person, run_id, example, control) & 1)


def with_controls(items: Sequence[QueueItem], person: str, run_id: int) -> list[QueueItem]:
    """The queue with some earlier items once more, never directly after themselves."""
    if len(items) < SMALLEST:
        return list(items)
    found: list[QueueItem] = []
    for place, item in enumerate(items):
        found.append(item)
        if (place + 1) % EVERY == 0 or (place + 1 == len(items) and place + 1 < EVERY):
            back = _NEAREST + _drawn("repeat", person, run_id, item.example) % (_FURTHEST - _NEAREST + 1)
            found.append(replace(items[max(0, place - back)], control=True))
    return found


def tells_nothing(queue: str) -> bool:
    """Whether being in a queue says nothing of how the models did."""
    return queue not in QUEUES or QUEUES[queue].blind


def masked(view: PairView, person: str, control: bool, *, swap: bool) -> PairView:
    """The pair with nothing but the answers, and what this person said of them."""
    left, right = (view.candidate, view.baseline) if swap else (view.baseline, view.candidate)
    own = [note for note in view.annotations if note.annotator == person]
    return replace(
        view,
        baseline=_nameless(left, "left"),
        candidate=_nameless(right, "right"),
        scores=[],
        verdicts=[],
        judgments=[],
        ratings=[],
        annotations=[note for note in own if note.control == control],
    )


def _nameless(response: ResponseRow | None, side: str) -> ResponseRow | None:
    """An answer without its model's name, trace, speed and length in tokens, by which one might know it."""
    if response is None:
        return None
    hidden = "no answer" if response.reason else None
    return replace(
        response, model=side, tokens_in=None, tokens_out=None, latency_s=None, cached=False, reason=hidden,
        thinking=None, thinking_tokens=None,
    )  # fmt: skip


def as_shown(notes: Sequence[Annotation], left_id: int, *, control: bool) -> list[Annotation]:
    """What people said, in the sides as they stand now: for others they may have stood the other way round.

    Repeats only show on the repeated item itself.
    """
    shown = [note for note in notes if note.control == control]
    return [
        replace(note, value=_FLIPPED[note.value])
        if note.kind == "preference" and note.value in _FLIPPED and note.left_id != left_id
        else note
        for note in shown
    ]


def about(note: Annotation, left_id: int, names: tuple[str, str]) -> str:
    """Which answer a decision about a single one means; "" of those about the pair."""
    if note.kind not in _OF_ONE or note.right_id is not None:
        return ""
    return names[0] if note.left_id == left_id else names[1]


OWN_ORDER = ("random", "lowest", FLIPS)  # queues whose order is what they are


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asked to see. A model that is None is the run's first of its role."""

    candidate: str | None = None
    baseline: str | None = None
    show: str = "all"
    search: str = ""
    worst_by: str | None = None
    judge: str | None = None  # whose verdicts the queues go by; None is the run's first
    example_id: int | None = None
    place: int = 0  # where to stand when the example is not in the queue
    within: str = ""  # a group of flips, by its key, that the queue of flips is narrowed to
    blind: bool = False
    resumed: bool = False  # go to where the person left off in this queue
    newest: bool = False  # or rather in the queue of the newest place, whichever that is

    @property
    def is_open(self) -> bool:
        """Whether nothing was asked for."""
        return self == Wanted()

    @property
    def queue(self) -> str:
        """What annotations say of where they were made: a part of the random sample is no random sample."""
        return "search" if self.search else self.show

    @property
    def place_key(self) -> str:
        """The queue as places are remembered by: all that was asked for but the place itself."""
        asked = asdict(replace(self, example_id=None, place=0, resumed=False, newest=False))
        return json.dumps({name: value for name, value in asked.items() if value}, sort_keys=True)


@dataclass(frozen=True, slots=True)
class ComparedPair:
    """One example with both answers aligned; `diff` is None unless both have a text.

    In blind mode `view` holds the left answer as the baseline's and the right one as the candidate's,
    whichever they are, and nothing that anybody else said of them.
    """

    view: PairView
    diff: Diff | None
    left_id: int
    right_id: int
    excluded: bool
    control: bool
    answers: tuple[ModelAnswer, ...]  # of all models of the run; none in blind mode


@dataclass(frozen=True, slots=True)
class Review:
    """A queue and the place in it."""

    wanted: Wanted  # what was asked for: two queues may hold the same examples
    candidates: tuple[ModelRow, ...]
    baselines: tuple[ModelRow, ...]
    candidate: ModelRow
    baseline: ModelRow
    metrics: list[StoredMetric]
    items: list[QueueItem]
    decided: frozenset[int]  # by this person
    seconds: tuple[float, ...]  # that this person looked before the newest decisions, newest first
    place: int
    pair: ComparedPair | None  # None when the queue is empty
    person: str

    @property
    def blind(self) -> bool:
        return self.wanted.blind

    @property
    def names(self) -> tuple[str, str]:
        """What the answers on the left and on the right are called."""
        return ("left", "right") if self.blind else (self.baseline.name, self.candidate.name)

    @property
    def roles(self) -> tuple[str, str]:
        return ("", "") if self.blind else ("baseline", "candidate")

    @property
    def item(self) -> QueueItem | None:
        return self.items[self.place] if self.items else None

    @property
    def undecided(self) -> int:
        """How many of the queue are left for this person."""
        return sum(item.example_id not in self.decided for item in self.items if not item.control)


def read_review(connection: Connection, run_id: int, wanted: Wanted, person: str) -> Review | None:
    """None while the run has no candidate or no baseline."""
    known = models(connection, run_id)
    candidates = tuple(model for model in known if model.role == "candidate" and not model.is_cut)
    resumes = wanted.resumed
    if wanted.newest:
        wanted = _newest(connection, run_id, wanted, person)
    if not candidates:
        return None
    candidate = _chosen(candidates, wanted.candidate)
    # Candidates may have played each other: one that was asked for stands among the baselines.
    against = {wanted.baseline} - {candidate.name}
    baselines = tuple(model for model in known if model.role == "baseline" or model.name in against)
    if not baselines:
        return None
    baseline = _chosen(baselines, wanted.baseline)
    wanted = replace(wanted, candidate=candidate.name, baseline=baseline.name, resumed=False, newest=False)
    measures = metrics(connection, run_id)
    if wanted.show == FLIPS:
        ids = candidate.id, baseline.id
        wanted = replace(wanted, worst_by=wanted.worst_by or flips_by(connection, measures, *ids))
    if wanted.example_id is None and resumes:
        found = left_at(connection, run_id, person, wanted.place_key)
        wanted = replace(wanted, example_id=found[1] if found else None)
    items, decided = _items(connection, run_id, (candidate.id, baseline.id), wanted, measures, person)
    place = _place(items, wanted)
    review = Review(
        wanted, candidates, baselines, candidate, baseline, measures, items, decided,
        tuple(timings(connection, run_id, person)), place, None, person,
    )  # fmt: skip
    return replace(review, pair=read_pair(connection, run_id, review, items[place])) if items else review


def read_counts(connection: Connection, run_id: int, review: Review) -> dict[str, int]:
    """How many examples each queue holds for the pair in sight."""
    measure = review.wanted.worst_by or first_measure(review.metrics)
    ids = review.candidate.id, review.baseline.id
    items = candidates_for(connection, run_id, *ids, measure=measure, judge=review.wanted.judge)
    known = known_of(connection, run_id, *ids, review.person, **signs(measure, review.metrics))
    counts = {name: len(chosen(items, name, known)) for name in QUEUES}
    by = review.wanted.worst_by or flips_by(connection, review.metrics, *ids)
    if by != measure:
        items = candidates_for(connection, run_id, *ids, measure=by)
        counts[FLIPS] = len(chosen(items, FLIPS, replace(known, **signs(by, review.metrics))))
    return counts


def read_pair(connection: Connection, run_id: int, review: Review, item: QueueItem) -> ComparedPair:
    candidate, baseline = review.candidate.id, review.baseline.id
    view = pair(connection, run_id, candidate, baseline, item.example_id)
    left_id, right_id = baseline, candidate
    if review.blind:
        if swapped(review.person, run_id, item.example, item.control):
            left_id, right_id = candidate, baseline
        view = masked(view, review.person, item.control, swap=left_id == candidate)
    view = replace(
        view,
        annotations=as_shown(view.annotations, left_id, control=item.control),
        verdicts=sorted(view.verdicts, key=lambda each: (each.turn > 0, each.judge != review.wanted.judge)),
    )
    return ComparedPair(
        view,
        _aligned(view.baseline, view.candidate),
        left_id,
        right_id,
        is_excluded(connection, view.example.example, query_id(view.example.query)),
        item.control,
        () if review.blind else answered(connection, run_id, item.example_id),
    )


def _items(
    connection: Connection,
    run_id: int,
    ids: tuple[int, int],
    wanted: Wanted,
    measures: Sequence[StoredMetric],
    person: str,
) -> tuple[list[QueueItem], frozenset[int]]:
    measure = wanted.worst_by or first_measure(measures)
    found = candidates_for(
        connection, run_id, *ids, search=wanted.search, measure=measure, judge=wanted.judge
    )
    if wanted.show.startswith(SLICE):
        name = wanted.show.removeprefix(SLICE)
        of_forms = name.startswith(PERTURBED)
        own = (
            with_variants(connection, run_id, name) if of_forms else slices(connection, run_id).get(name, ())
        )
        found = [item for item in found if item.example_id in own]
    known = known_of(connection, run_id, *ids, person, **signs(measure, measures))
    held = chosen(found, wanted.show, known)
    if wanted.within and wanted.show == FLIPS:
        held = narrowed(connection, run_id, held, known, wanted.within)
    if wanted.worst_by is not None and wanted.show not in OWN_ORDER:
        held = worst_first(held, known)
    return with_controls(held, person, run_id) if wanted.blind else held, known.decided


def _newest(connection: Connection, run_id: int, wanted: Wanted, person: str) -> Wanted:
    """The queue and the place where the person left off last, with the models asked for where any were."""
    found = left_at(connection, run_id, person)
    try:
        before = Wanted(**json.loads(found[0]), example_id=found[1]) if found else wanted
    except (ValueError, TypeError):  # a queue of another version
        return wanted
    known = before.show in QUEUES or before.show.startswith((CATEGORY, SLICE))
    if not known:
        return wanted
    return replace(
        before,
        candidate=wanted.candidate or before.candidate,
        baseline=wanted.baseline or before.baseline,
        blind=before.blind or wanted.blind,
    )


def _chosen(models: Sequence[ModelRow], name: str | None) -> ModelRow:
    return next((model for model in models if model.name == name), models[0])


def _place(items: Sequence[QueueItem], wanted: Wanted) -> int:
    """Where the example stands; its repeat only counts where the place that was asked for is the repeat."""
    asked = max(0, min(wanted.place, len(items) - 1))
    if items and items[asked].example_id == wanted.example_id:
        return asked
    found = (place for place, item in enumerate(items) if item.example_id == wanted.example_id)
    return next(found, asked)


def _aligned(left: ResponseRow | None, right: ResponseRow | None) -> Diff | None:
    texts = (left.whole if left else None), (right.whole if right else None)
    return None if texts[0] is None or texts[1] is None else diff(texts[0], texts[1])


def slices(connection: Connection, run_id: int) -> dict[str, frozenset[int]]:
    """The store's ids of the examples in each slice, the largest slice first."""
    from engine.metrics.slices import members  # with NumPy, for the few who ask

    return members(connection, run_id)
