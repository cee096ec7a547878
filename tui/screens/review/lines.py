"""What the Review screen says in words: the place in the queue, progress, decisions, verdicts, metrics."""

import json
from collections.abc import Sequence

from textual.content import Content

from engine.data.messages import turn_text
from store.read.answers import PairView
from store.read.queues import CATEGORY
from store.read.rows import JudgmentRow, RatingRow, ScoreRow, VerdictRow
from store.records import Annotation, StoredMetric
from tui.screens.review.data import OWN_ORDER, ComparedPair, Review, about
from tui.sections.judging import seconds_each
from tui.text.diff import Segment, text_of
from tui.text.gate import MISSING, cut, duration, fit, join, middle, number, plain, signed
from tui.text.side_by_side import wrapped

_METRIC_CELLS = 50


def paragraph(text: str, width: int, indent: str = "") -> list[Content]:
    """A text from outside, whole, as lines."""
    lines = wrapped([Segment(text, False)], width - len(indent))
    return [Content(indent + text_of(line)) for line in lines]


def excerpt(label: str, text: str, width: int, lines: int) -> list[Content]:
    """A text behind its label in at most `lines` lines, with an ellipsis where something was left out."""
    head = Content.styled(f"{label:<10}", "$heading")
    room = width - head.cell_length
    if lines == 1:
        return [join([head, cut(text[: width * 4], room)])]
    found = wrapped([Segment(text[: width * (lines + 1) * 2], False)], room)
    shown = [text_of(line) for line in found[:lines]] or [""]
    if len(found) > lines:
        shown[-1] = cut(shown[-1] + " " * room, room - 1).rstrip(" …") + "…"
    return [join([head if place == 0 else " " * head.cell_length, line]) for place, line in enumerate(shown)]


def verdict_line(view: PairView, width: int) -> Content:
    """The first judge's verdict in one line."""
    if not view.verdicts:
        return Content.styled(f"{'verdict':<10}not judged yet", "$muted")
    verdict = view.verdicts[0]
    agreement = {True: "both orders agree", False: "the orders disagree", None: ""}[verdict.consistent]
    parts = [
        _outcome(verdict),
        Content(f"turn {verdict.turn}" if verdict.turn else ""),
        Content.styled(agreement, "$warn" if verdict.consistent is False else "$muted"),
        plain(f"by {judge_name(verdict)}", "$muted"),
    ]
    if len(view.verdicts) > 1:
        parts.append(Content.styled(f"{len(view.verdicts) - 1} more: o", "$muted"))
    said = join([part for part in parts if part], " · ")
    return fit(join([Content.styled(f"{'verdict':<10}", "$heading"), said]), width)


def judge_name(verdict: VerdictRow) -> str:
    name = cut(verdict.judge, 24)
    return name if verdict.is_language_model else f"{name} (not a language model)"


def _outcome(verdict: VerdictRow) -> Content:
    """The candidate's outcome: sign and word."""
    if verdict.outcome == "failed":
        return plain(f"! failed: {cut(verdict.reason or 'a judgment is missing', 40)}", "bold $warn")
    sign, style = {"win": ("+", "bold $good"), "loss": ("−", "bold $bad"), "tie": ("=", "bold")}[
        verdict.outcome
    ]
    return Content.styled(f"{sign} {verdict.outcome}", style)


def metrics_line(view: PairView, review: Review, first: str | None, width: int) -> Content:
    """As many metrics as fit, baseline → candidate; the one that the queue is sorted by comes first."""
    line = Content.styled(f"{'metrics':<10}", "$heading")
    order = sorted(review.metrics, key=lambda metric: metric.measure != first)
    for place, metric in enumerate(order):
        ours, theirs = _score(view, metric, review.candidate.name), _score(view, metric, review.baseline.name)
        values = f"{_value(theirs)}→{_value(ours)}"
        part = join([plain(metric.measure, "$muted"), f" {values} ", _word(metric, ours, theirs)])
        if line.cell_length + part.cell_length + 9 > width:
            more = f"+{len(order) - place}: o"
            return join([line, Content.styled(more, "$muted")])
        line = join([line, part, "   "])
    return line


def details(view: PairView, review: Review, width: int) -> list[Content]:
    """Everything about the example but the answers themselves."""
    lines: list[Content] = []
    for note in view.annotations:
        lines += _under(*_annotated(note, review), width)
    for verdict in view.verdicts:
        lines += _verdict(verdict, view, review, width)
    for rating in view.ratings:
        lines += _rating(rating, width)
    if not review.blind:
        lines += [Content.styled("Metrics, baseline → candidate", "$heading"), *_metrics(view, review, width)]
    turns = view.example.messages or ()
    for message in turns:
        title = "query" if len(turns) == 1 else message.get("role", "user")
        lines += _under(title, turn_text(message), width)
    for place, turn in enumerate((view.example.extra or {}).get("turns") or (), 1):
        if place > 1:
            lines += _under(f"turn {place}", turn, width)
    for reference in view.example.references or ():
        lines += _under("reference", reference, width)
    if rubric := (view.example.extra or {}).get("rubric"):
        lines += _under("rubric", _by_line(rubric), width)
    if written := ((view.example.extra or {}).get("extra") or {}).get("synthetic"):
        lines += _under("synthetic", _by_line(written), width)
    for call in view.example.right_calls:
        lines += _under("right call", json.dumps(call, ensure_ascii=False), width)
    for response in filter(None, (view.baseline, view.candidate)):
        for call in response.calls or ():
            lines += _under(f"call of {response.model}", json.dumps(call, ensure_ascii=False), width)
    return lines


def _by_line(told: object) -> str:
    """What a record says, with a line for each key of a table, such as a rubric's criteria and scores."""
    if not isinstance(told, dict):
        return str(told)
    return "\n".join(f"{str(name).replace('_', ' ')}: {said}" for name, said in told.items())


def _annotated(note: Annotation, review: Review) -> tuple[str, str]:
    """Who said what of which answer, and the words."""
    text = DECISIONS.get(note.value, note.value) if note.kind == "preference" else note.value
    named = about(note, review.pair.left_id, review.names) if review.pair else ""
    words = [note.kind, note.criterion or "", f"of {cut(named, 30)}" if named else "", f"by {note.annotator}"]
    words.append(f"on turn {note.turn}" if note.turn else "")
    return " ".join(word for word in words if word), text


def _under(title: str, text: str, width: int) -> list[Content]:
    return [plain(cut(title, width), "$heading"), *paragraph(text, width, "  ")]


def _verdict(verdict: VerdictRow, view: PairView, review: Review, width: int) -> list[Content]:
    name = judge_name(verdict)
    turn = f" on turn {verdict.turn}" if verdict.turn else ""
    lines = [join([plain(f"verdict of {name}{turn}", "$heading"), "  ", _outcome(verdict)])]
    names = {"candidate": review.candidate.name, "baseline": review.baseline.name}
    said = (verdict.judge, verdict.turn)
    for judgment in (row for row in view.judgments if (row.judge, row.turn) == said):
        first = names["candidate" if judgment.order == "candidate_first" else "baseline"]
        lines += paragraph(f"{first} shown first: {_said(judgment, names)}", width, "  ")
        lines += paragraph(judgment.reasoning, width, "    ")
    return lines


def _said(judgment: JudgmentRow, names: dict[str, str]) -> str:
    if judgment.winner is None:
        return f"failed, {judgment.failure or 'no reason was recorded'}"
    said = "a tie" if judgment.winner == "tie" else f"prefers {names[judgment.winner]}"
    if judgment.candidate_score is not None and judgment.baseline_score is not None:
        ours, theirs = judgment.candidate_score, judgment.baseline_score
        said += f" ({names['candidate']} {ours:g}, {names['baseline']} {theirs:g})"
    return said + _sure(judgment.confidence) + _flagged(judgment.flags)


def _sure(confidence: float | None) -> str:
    return "" if confidence is None else f", {confidence:.0%} sure"


def _flagged(flags: Sequence[str] | None) -> str:
    return f" ! {', '.join(flag.replace('_', ' ') for flag in flags)}" if flags else ""


def _rating(rating: RatingRow, width: int) -> list[Content]:
    """What a judge of single responses gave to one of the two, criterion by criterion, and why."""
    turn = f", turn {rating.turn}" if rating.turn else ""
    if rating.score is None:
        said = f"failed, {rating.failure or 'no reason was recorded'}"
    else:
        grades = ", ".join(f"{name} {grade:g}" for name, grade in (rating.scores or {}).items())
        times = ", ".join("failed" if each is None else f"{each:g}" for each in rating.repeats or ())
        said = f"{rating.score:.3g}" + (f" (mean of {times})" if times else "")
        said += (f" ({grades})" if grades else "") + _sure(rating.confidence)
    title = join(
        [plain(f"score by {cut(rating.judge, 24)} ", "$heading"), plain(f"{middle(rating.model, 24)}{turn}")]
    )
    lines = paragraph(f"{said}{_flagged(rating.flags)}", width, "  ")
    return [title, *lines, *paragraph(rating.reasoning, width, "    ")]


def _metrics(view: PairView, review: Review, width: int) -> list[Content]:
    """A table of all metrics in as many columns as fit."""
    cells = [_metric(view, review, metric, min(width, _METRIC_CELLS)) for metric in review.metrics]
    columns = max(1, width // (_METRIC_CELLS + 2))
    height = -(-len(cells) // columns)
    return [join(cells[row::height], "  ") for row in range(height)]


def _metric(view: PairView, review: Review, metric: StoredMetric, width: int) -> Content:
    ours, theirs = _score(view, metric, review.candidate.name), _score(view, metric, review.baseline.name)
    missing = [s.reason for s in (ours, theirs) if s is not None and s.value is None and s.reason]
    if missing:
        return fit(
            join([fit(f"  {metric.measure}", 20), "  ", plain(f"{MISSING} {missing[0]}", "$warn")]), width
        )
    values = f"{fit(_value(theirs), 7, 'right').plain}→{fit(_value(ours), 7).plain}"
    name = fit(f"  {metric.measure}", 20)
    change = fit(signed(_difference(ours, theirs), 2), 7, "right")
    return fit(join([name, values, change, " ", _word(metric, ours, theirs)]), width)


def _score(view: PairView, metric: StoredMetric, model: str) -> ScoreRow | None:
    found = (score for score in view.scores if score.model == model and score.measure == metric.measure)
    return next(found, None)


def _value(score: ScoreRow | None) -> str:
    return number(score.value if score else None, 2)


def _difference(ours: ScoreRow | None, theirs: ScoreRow | None) -> float | None:
    """Candidate minus baseline; None where either is missing."""
    if ours is None or theirs is None or ours.value is None or theirs.value is None:
        return None
    return ours.value - theirs.value


def _word(metric: StoredMetric, ours: ScoreRow | None, theirs: ScoreRow | None) -> Content:
    """Whether the difference is for the better, in a word; nothing where a measure has no better end."""
    delta = _difference(ours, theirs)
    if delta is None or delta == 0 or metric.direction == "none":
        return Content("=" if delta == 0 else "")
    better = (delta > 0) == (metric.direction == "higher")
    return Content.styled("better", "$good") if better else Content.styled("worse", "$bad")


DECISIONS = {"left": "left is better", "right": "right is better", "tie": "a tie", "both_bad": "both are bad"}


def progress(review: Review) -> str:
    """How much is left: "4.2 s each · 1m 15s left", or how many while the pace is not known."""
    left, each = review.undecided, seconds_each(review.seconds)
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
        by = cut(wanted.worst_by, 24)
        parts.append(plain(f"by {by}" if wanted.show in OWN_ORDER else f"worst {by} first", "$warn"))
    if wanted.within:
        parts.append(plain(f"in {cut(wanted.within, 34)}", "$warn"))
    if wanted.search:
        parts.append(plain(f"with “{cut(wanted.search, 20)}”", "$warn"))
    if review.pair and review.pair.excluded:
        parts.append(Content.styled("excluded", "bold $warn"))
    if item is not None:
        parts.append(plain(cut(item.example, 24)))
        parts.append(plain(cut(item.category or "", 20), "$muted"))
    left = join([part for part in parts if part], " · ")
    said = _own_words(review.pair, review, max(18, width // 2)) if review.pair else Content("")
    return join([fit(left, max(0, width - said.cell_length - 2)), "  ", said])


def _own_words(pair: ComparedPair, review: Review, width: int) -> Content:
    """The person's newest preference, the others', and the signs of everything else that was said."""
    notes = pair.view.annotations
    own = [note for note in notes if note.annotator == review.person]
    mine = [note.value for note in own if note.kind == "preference" and not note.turn]
    words = [f"you: {_decision(mine[-1])}" if mine else "you: not decided"]
    others = {
        note.annotator: note.value
        for note in notes
        if note.kind == "preference" and not note.turn and note not in own
    }
    words += [f"{cut(name, 12)}: {_decision(value)}" for name, value in others.items()]
    words += ["later"] if any(note.kind == "flag" for note in own) else []
    words += [_sign(note, pair, review) for note in notes if note.kind in ("thumbs", "tag")]
    words += ["noted"] if any(note.kind == "note" for note in notes) else []
    words += ["rated"] if any(note.kind == "rating" for note in own) else []
    words += ["corrected"] if any(note.kind == "correction" for note in notes) else []
    return plain(cut(" · ".join(dict.fromkeys(words)), width), "bold $good" if mine else "$muted")


def _decision(value: str) -> str:
    return DECISIONS.get(value, value)


def _sign(note: Annotation, pair: ComparedPair, review: Review) -> str:
    sign = f"#{cut(note.value, 16)}" if note.kind == "tag" else {"up": "+", "down": "−"}.get(note.value, "?")
    named = about(note, pair.left_id, review.names)
    # The right one is what is meant unless said otherwise.
    return f"{sign} {cut(named, 12)}" if named and note.left_id == pair.left_id else sign
