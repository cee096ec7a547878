"""Where a person is in a queue, what they decided, how fast they go and how long it will still take."""

from collections.abc import Sequence
from statistics import median

from textual.content import Content

from store.read.queues import CATEGORY
from store.read.rows import AnnotationRow
from tui.screens.review.blind import about
from tui.screens.review.data import Compared, Review
from tui.text.gate import cut, duration, fit, join, plain

DECISIONS = {"left": "left is better", "right": "right is better", "tie": "a tie", "both_bad": "both are bad"}
PAUSE = 300.0  # seconds; who looked longer was away
_FEWEST = 3


def pace(seconds: Sequence[float]) -> float | None:
    """Seconds for a decision: the median, which one long look does not move; None before the third."""
    looked = [each for each in seconds if 0 <= each <= PAUSE]
    return median(looked) if len(looked) >= _FEWEST else None


def progress(review: Review) -> str:
    """How much is left: "4.2 s each · 1m 15s left", or how many while the pace is not known."""
    left, each = review.undecided, pace(review.seconds)
    if each is None or not left:
        return f"{left} undecided"
    return f"{each:.1f} s each · {duration(each * left)} left"


def queue_name(show: str) -> str:
    return "all examples" if show == "all" else show.removeprefix(CATEGORY)


def position(review: Review, width: int) -> Content:
    """Where the person is in which queue, and what they decided here."""
    wanted, item = review.wanted, review.item
    place = f"{review.place + 1 if review.items else 0}/{len(review.items)}"
    parts = [Content.styled(place, "bold"), Content.styled(progress(review), "$muted")]
    parts.append(Content.styled("blind", "bold $warn") if review.blind else Content(""))
    if wanted.show != "all" or not (wanted.worst_by or wanted.search):
        parts.append(plain(cut(queue_name(wanted.show), 20)))
    if wanted.judge and not review.blind:
        parts.append(plain(f"by {cut(wanted.judge, 20)}"))
    if wanted.worst_by:
        parts.append(plain(f"worst {cut(wanted.worst_by, 24)} first", "$warn"))
    if wanted.search:
        parts.append(plain(f"with “{cut(wanted.search, 20)}”", "$warn"))
    if review.pair and review.pair.excluded:
        parts.append(Content.styled("excluded", "bold $warn"))
    if item is not None:
        parts.append(plain(cut(item.example, 24)))
        parts.append(plain(cut(item.category or "", 20), "$muted"))
    left = join([part for part in parts if part], " · ")
    said = _said(review.pair, review, max(18, width // 2)) if review.pair else Content("")
    return join([fit(left, max(0, width - said.cell_length - 2)), "  ", said])


def _said(pair: Compared, review: Review, width: int) -> Content:
    """The person's newest preference, the others', and the signs of everything else that was said."""
    notes = pair.view.annotations
    own = [note for note in notes if note.annotator == review.person]
    mine = [note.value for note in own if note.kind == "preference"]
    words = [f"you: {_decision(mine[-1])}" if mine else "you: not decided"]
    others = {note.annotator: note.value for note in notes if note.kind == "preference" and note not in own}
    words += [f"{cut(name, 12)}: {_decision(value)}" for name, value in others.items()]
    words += ["later"] if any(note.kind == "flag" for note in own) else []
    words += [_sign(note, pair, review) for note in notes if note.kind in ("thumbs", "tag")]
    words += ["noted"] if any(note.kind == "note" for note in notes) else []
    words += ["rated"] if any(note.kind == "rating" for note in own) else []
    words += ["corrected"] if any(note.kind == "correction" for note in notes) else []
    return plain(cut(" · ".join(dict.fromkeys(words)), width), "bold $good" if mine else "$muted")


def _decision(value: str) -> str:
    return DECISIONS.get(value, value)


def _sign(note: AnnotationRow, pair: Compared, review: Review) -> str:
    sign = f"#{cut(note.value, 16)}" if note.kind == "tag" else {"up": "+", "down": "−"}.get(note.value, "?")
    named = about(note, pair.left_id, review.names)
    # The right one is what is meant unless said otherwise.
    return f"{sign} {cut(named, 12)}" if named and note.left_id == pair.left_id else sign
