"""The lines of the Live screen: how it stands or ended, phases, answers, machine, verdicts, events."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len
from textual.content import Content

from engine.decision import judges
from store.read.history import silence
from store.read.judging import JudgeFailure, JudgeUse
from store.read.live import STARTING
from store.read.rows import WinRateRow
from store.records import Progress
from tui.keys import written
from tui.sections.eta import (
    Cost,
    Recent,
    WholeTime,
    coarse,
    rate,
    read_speed,
    time_left,
    whole_time_left,
    write_speed,
)
from tui.sections.eta import written as cost_written
from tui.text.gate import (
    MISSING,
    bar,
    cut,
    duration,
    fit,
    join,
    number,
    one_line,
    plain,
    size,
    told_apart,
    wrap,
)
from tui.widgets.plot import band, key

if TYPE_CHECKING:
    from engine.decision.decision import Decision
    from store.read.live import CheckpointRow, LatestAnswer, MissingRow, OtherRun
    from store.read.rows import LatestVerdict
    from store.records import Event, Run, RunMark, Vitals


DEVICE_CELLS = 24
OTHERS = 3  # other runs that have a line
REASONS = 3  # of missing answers that are named
UNKNOWN = 3  # phases of unknown length that are named
ALLOWED = ("running", "queued", "paused")
DECIDED = 3  # candidates that have a line each; of more the headline says what came of them
FOLDED = 2  # finished pieces of a phase that have a line each; more are one
ANSWER_LINES = 8  # of each of the latest answers
REQUESTS = {
    "pause": "‖ The worker stops after its current piece of work.",
    "finish_phase": "‖ The worker stops when this phase is done.",
    "cancel": "‖ The run is being cancelled: the worker stops after its current piece of work.",
    "retry": "‖ The worker tries again now.",
}
OUTCOMES = {
    "win": Content.styled("+ win   ", "$good"),
    "loss": Content.styled("− loss  ", "$bad"),
    "tie": Content("= tie   "),
    "failed": Content.styled("? failed", "$muted"),
}


CHECKPOINTS = {
    True: (Content.styled("✓ ", "$good"), "passed"),
    False: (Content.styled("✗ ", "$bad"), "failed a gate"),
    None: (Content.styled("? ", "$warn"), "no gate was evaluated"),
}


def heading(text: str) -> Content:
    return Content.styled(text, "$heading")


def state(
    run: "Run",
    width: int,
    *,
    asked: "RunMark | None" = None,
    starts: bool = False,
    place: int | None = None,
) -> list[Content]:
    """What a person has to know before any number: that the run stands still, and what goes on with it.

    `asked` is who asked last to pause or cancel it; `starts`: its worker may still be on its way. `place` is
    that in the queue.
    """
    resume = f"{written('runs.resume')} resumes it; what is finished is kept."
    by = "" if asked is None or run.error else f" by {one_line(asked.user).plain}{_on(asked.created)}"
    none = f"○ No worker has taken this run yet. {written('runs.resume')} starts one."
    said = {
        "interrupted": f"! The worker of this run has died or was killed. {resume}",
        "paused": f"‖ This run was paused{by}. {resume}",
        "failed": f"✗ This run could not go on. {resume}",
        "cancelled": f"– This run was cancelled{by}. What is finished is kept.",
        "queued": "○ The worker of this run is starting." if starts else none,
        "waits": f"○ This run waits in the queue at place {place}. `assay queue work` starts it.",
    }.get("waits" if place is not None else run.status, "")
    if silent := silence(run):
        said = (
            f"! {silent[0].upper()}{silent[1:]}. `assay resume {run.id} --take-over` ends it and continues."
        )
    elif run.status == "running" and run.request:
        said = REQUESTS.get(run.request, f"‖ The worker was asked for: {one_line(run.request).plain}.")
        said += f" Asked for by {one_line(asked.user).plain}." if asked is not None else ""
    elif run.status == "running" and run.waiting:
        said = f"‖ Waiting: {one_line(run.waiting).plain}."
        said += "" if STARTING in run.waiting else f" {written('live.retry')} tries again now."
    lines = [*wrap(Content.styled(said, "$bad"), width)] if said else []
    if run.concurrency is not None and run.status in ALLOWED:
        limit = f"At most {run.concurrency:,} parallel requests per server"
        lines.append(Content.styled(f"{limit}; {written('live.concurrency')} changes it.", "$warn"))
    if run.error and run.status in ("failed", "interrupted", "paused"):
        lines += wrap(plain(run.error), width)
    return lines


def _on(moment: float) -> str:
    return time.strftime(" on %Y-%m-%d %H:%M UTC", time.gmtime(moment))


def decided(found: "Sequence[Decision]", width: int, *, most: int = DECIDED) -> list[Content]:
    """What came of a finished run: `most` candidates have a line each, of more the headline tells."""
    from engine.decision.decision import headline
    from tui.screens.decision import head, names_of

    if not found:
        return []
    title = join([heading("Decision"), Content.styled(f"  {written('go.decision')}: why", "$muted")])
    if len(found) > most:
        return [title, *wrap(join(["  ", one_line(headline(found), "bold")]), width)]
    names = names_of(list(found), width)
    cells = max(map(cell_len, names.values()))
    return [
        title,
        *(join(["  ", head(each, fit(names[each.candidate], cells), width - 2)]) for each in found),
    ]


def answers(found: "Sequence[LatestAnswer]", width: int) -> list[Content]:
    """The newest answer of each model, to some lines."""
    lines = []
    for row in found:
        name = join([plain(cut(row.model, width // 2), "bold"), one_line(f"  {row.example}  ", "$muted")])
        text = wrap(plain(row.text), width - 2)
        if len(text) > ANSWER_LINES or len(row.text) < row.characters:
            text = text[: ANSWER_LINES - 1]
            text.append(Content.styled(f"… {row.characters:,} characters in all", "$muted"))
        lines += [fit(join([name, one_line(row.query, "$muted")]), width), *(Content("  ") + x for x in text)]
    title = join(
        [heading("Latest answers"), Content.styled(f"  {written('live.answers')} hides them", "$muted")]
    )
    return [title, *lines] if lines else []


class _Piece(NamedTuple):
    """One line of progress: a phase, or one of its pieces of work."""

    name: str
    rows: "list[Progress]"

    @property
    def begun(self) -> bool:
        return any(row.started is not None for row in self.rows)

    @property
    def finished(self) -> bool:
        return all(row.started is not None and row.done >= row.total for row in self.rows)


def phases(
    progress: "list[Progress]",
    width: int,
    *,
    running: bool = False,
    recent: Recent | None = None,
    whole: WholeTime | None = None,
) -> list[Content]:
    """A phase that is done or has not begun takes one line, one under way a line for each piece of work.

    Its finished pieces fold to one line where they are many.
    While the run is running, a model that answers has another with its speeds and what is under way.
    """
    items = told_apart(tuple(dict.fromkeys(row.item for row in progress)), max(34, width // 4))
    pieces = []
    for phase, found in groupby(progress, key=lambda row: row.phase):
        all_of_it = _Piece(phase, list(found))
        under_way = all_of_it.begun and not all_of_it.finished
        if under_way and len(all_of_it.rows) == 1:
            all_of_it = _Piece(f"{phase} · {items[all_of_it.rows[0].item]}", all_of_it.rows)
        pieces.append(all_of_it)
        if under_way and len(all_of_it.rows) > 1:
            begun = [row for row in all_of_it.rows if row.started is not None]
            done = [row for row in begun if row.done >= row.total]
            if len(done) > FOLDED:
                pieces.append(_Piece(f"  {len(done):,} finished", done))
                begun = [row for row in begun if row.done < row.total]
            pieces += [_Piece(f"  {items[row.item]}", [row]) for row in begun]
    if not pieces:
        return []
    name_cells = min(max(38, width // 4), max(cell_len(piece.name) for piece in pieces) + 2)
    lines = [fit(join([heading("Phases"), _whole(whole) if running else ""]), width)]
    for piece in pieces:
        now = [under_way_now(row) for row in piece.rows] if running else []
        lines.append(_piece(piece, name_cells, width, recent, tokens=not any(now)))
        if len(now) == 1 and now[0]:
            lines.append(Content.styled(cut(f"    {now[0]}", width), "$muted"))
    return lines


def _whole(whole: WholeTime | None) -> Content:
    """When the run will be done, as far as anybody can know."""
    if whole is None or (not whole.seconds and not whole.unknown):
        return Content("")
    named = ", ".join(whole.unknown[:UNKNOWN]) + (" …" if len(whole.unknown) > UNKNOWN else "")
    if not whole.seconds:
        return plain(f"  ETA not known yet: {named}", "$muted")
    without = f", excluding {named}" if whole.unknown else ""
    return plain(f"  ETA ~{_about(whole.seconds)}{without}", "$muted")


def _about(seconds: float) -> str:
    return duration(coarse(seconds))


def checkpoints(
    rows: "Sequence[tuple[CheckpointRow, list[tuple[str, float | None]]]]", width: int
) -> list[Content]:
    """The newest checkpoints of a training that is followed, one line each with their first values."""
    lines = []
    for row, values in rows:
        mark, said = CHECKPOINTS[row.passed]
        if row.failed is not None:
            mark, said = Content.styled("! ", "$bad"), f"cannot be evaluated: {row.failed}"
        elif row.evaluated is None:
            mark, said = Content.styled("▶ ", "$good"), "being evaluated"
        shown = " · ".join([said, *(f"{measure} {number(value)}" for measure, value in values)])
        lines.append(fit(join([mark, fit(one_line(row.name), 20), "  ", one_line(shown)]), width))
    return (
        [join([heading("Checkpoints"), Content.styled("  newest first", "$muted")]), *lines] if lines else []
    )


def others(runs: "list[OtherRun]", width: int) -> list[Content]:
    """The other runs that are under way or queued, one line each."""
    lines = []
    for run in runs[:OTHERS]:
        mark = Content.styled("▶ ", "$good") if run.status == "running" else Content.styled("○ ", "$muted")
        name = fit(join([one_line(run.name), f" #{run.id}"]), min(38, max(20, width // 3)))
        rows = [row for row in run.progress if row.phase == run.phase]
        if run.status == "queued" or not rows:
            place = "" if run.place is None else f", place {run.place:,}"
            lines.append(join([mark, name, Content.styled(f"  {run.status}{place}", "$muted")]))
            continue
        done, total = sum(row.done for row in rows), sum(row.total for row in rows)
        filled, empty = bar(done / total if total else 1.0, 10)
        whole = whole_time_left(run.progress, {})
        left = f"  {_about(whole.seconds)}{'+' if whole.unknown else ''} left" if whole.seconds else ""
        counted = f"{done:,}/{total:,}{left}"
        track = join([Content.styled(filled, "$good"), Content.styled(empty, "$rule"), " "])
        lines.append(fit(join([mark, name, "  ", fit(run.phase or "", 11), track, counted]), width))
    if not lines:
        return []
    more = f", {len(runs) - OTHERS} more" if len(runs) > OTHERS else ""
    keys = f"  {written('live.previous')} {written('live.next')} go there{more}"
    return [join([heading("Other runs"), Content.styled(keys, "$muted")]), *lines]


def missing(rows: "list[MissingRow]", width: int) -> list[Content]:
    """Answers that are not there, by reason; the text is a key away."""
    if not rows:
        return []
    said = " · ".join(f"{row.answers:,} × {row.model}: {row.reason}" for row in rows[:REASONS])
    more = " · others" if len(rows) > REASONS else ""
    count = sum(row.answers for row in rows)
    title = f"! {count:,} answer{'' if count == 1 else 's'} missing  "
    line = join([Content.styled(title, "$bad"), one_line(said + more)])
    return [fit(line, width)]


def under_way_now(row: "Progress") -> str:
    """What a model is at: its speeds of reading and writing, its slots, and the queue; "" when nothing."""
    if not row.slots or row.done >= row.total:
        return ""
    busy = row.busy or 0
    read, written_speed = read_speed([row]), write_speed([row])
    parts = [
        "" if read is None else f"prefill {read:,.0f} tok/s",
        "" if written_speed is None else f"decode {written_speed:,.0f} tok/s",
        f"{busy}/{row.slots} slots",
        f"{max(0, row.total - row.done - busy):,} queued",
    ]
    return " · ".join(part for part in parts if part)


def _piece(piece: _Piece, name_cells: int, width: int, recent: Recent | None, *, tokens: bool) -> Content:
    """One piece's bar, counts and pace; its tokens a second only where they are not told apart below."""
    label = fit(piece.name, name_cells)
    if not piece.begun:
        return join([Content("· "), label, Content.styled("waiting", "$muted")])
    rows = piece.rows
    done, total = sum(row.done for row in rows), sum(row.total for row in rows)
    seconds, produced = sum(row.seconds for row in rows), sum(row.tokens for row in rows)
    filled, empty = bar(done / total if total else 1.0, max(6, min(40, width - name_cells - 52)))
    left = None if piece.finished else time_left(rows, recent)
    ending = duration(seconds) if piece.finished else "" if left is None else f"{duration(left)} left"
    ending = f"  {ending}" if ending else ""
    counted = f" {f'{done:,}/{total:,} {rows[0].unit}':<17} "
    pace = _pace(rate(rows, recent), produced * tokens, seconds)
    if sum(map(len, ("✓ ", filled, empty, counted, pace, ending))) + name_cells > width:
        pace = _pace(rate(rows, recent), 0, seconds)  # rather than cut off how long it will take
    return join(
        [
            Content.styled("✓ " if piece.finished else "▶ ", "$good"),
            label,
            Content.styled(filled, "$good"),
            Content.styled(empty, "$rule"),
            Content(counted + pace),
            Content.styled(ending, "$muted") if piece.finished else Content(ending),
        ]
    )


def _pace(units: float | None, tokens: int, seconds: float) -> str:
    if units is None:
        return ""
    speed = f"{units:.1f}/s" if units < 100 else f"{units:,.0f}/s"
    return f"{speed}  {tokens / seconds:,.0f} tok/s" if tokens and seconds > 0 else speed


def machine(vitals: "list[Vitals]", cost: Cost) -> list[Content]:
    """Each device, and what the run has cost so far."""
    lines = []
    cells = min(DEVICE_CELLS, max((cell_len(row.device) for row in vitals), default=0) + 2)
    for row in vitals:
        filled, empty = bar(row.utilisation or 0.0, 12)
        used = MISSING if row.utilisation is None else f"{row.utilisation:.0%}"
        lines.append(
            join(
                [
                    Content("  "),
                    fit(row.device, cells),
                    Content.styled(filled, "$good"),
                    Content.styled(empty, "$rule"),
                    Content(f" {used:>4}  memory {size(row.memory_used)} of {size(row.memory_total)}"),
                    Content("" if row.power_w is None else f"  {row.power_w:.0f} W"),
                    Content("" if row.temperature_c is None else f"  {row.temperature_c:.0f} °C"),
                ]
            )
        )
    spent = cost_written(cost)
    title = join([heading("Machine"), Content.styled(f"  {spent} so far" if spent else "", "$muted")])
    return [title, *lines] if lines else []


def verdicts(verdicts: "list[LatestVerdict]", width: int) -> list[Content]:
    lines = []
    pair_of, cells = _pairs(verdicts, width)
    for row in verdicts:
        flipped = " (orders disagree)" if row.consistent is False else ""
        example = one_line(f"{row.example}{flipped}  {row.query}", "$muted")
        pair = fit(pair_of(row), cells)
        lines.append(fit(join(["  ", OUTCOMES[row.outcome], "  ", pair, " ", example]), width))
    return [heading("Latest verdicts"), *lines] if lines else []


def _pairs(
    rows: "Sequence[LatestVerdict | WinRateRow]", width: int
) -> "tuple[Callable[[LatestVerdict | WinRateRow], str], int]":
    """How the models of each row are written, and the cells that this takes at most."""
    cells = max(26, width // 4)
    longest = max((cell_len(row.baseline) for row in rows), default=0)
    room = max(6, cells - len(AGAINST) - min(longest, cells // 3))
    names = told_apart(tuple(dict.fromkeys(row.candidate for row in rows)), room)
    taken = max((cell_len(f"{names[row.candidate]}{AGAINST}{row.baseline}") for row in rows), default=0)
    return lambda row: f"{names[row.candidate]}{AGAINST}{row.baseline}", min(cells, max(22, taken))


def events(counts: dict[str, int], newest: "list[Event]", width: int) -> list[Content]:
    errors, warnings = counts.get("error", 0), counts.get("warning", 0)
    if not errors and not warnings:
        return []
    said = f"{errors} error{'' if errors == 1 else 's'}, {warnings} warning{'' if warnings == 1 else 's'}"
    counted = Content.styled(said, "$bad" if errors else "$warn")
    line = join([heading("Events  "), counted, f" · {written('live.events')} lists them"])
    return [line, *(fit(one_line(f"  last error: {row.message}"), width) for row in newest)]


AGAINST = " against "
FAILURES = 3  # kinds of failures that are named
LEAST_BAND = 20  # cells of a band that stands beside its match's numbers
BAND = 60  # cells of a band at most


@dataclass(frozen=True, slots=True)
class JudgingSoFar:
    """What has been judged until now."""

    judges: list[JudgeUse]
    rates: list[WinRateRow]
    failures: list[JudgeFailure]


def judging(
    found: JudgingSoFar,
    progress: Sequence[Progress],
    width: int,
    *,
    gate: float | None = None,
    recent: Recent | None = None,
) -> list[Content]:
    """A line for each judge's calls, then its matches with the bands in which their win rates lie.

    `gate` is the win rate that the plan asks for.
    """
    lines = []
    names, cells = _pairs(found.rates, width)
    for judge in found.judges:
        rates = [row for row in found.rates if row.judge == judge.name]
        if not rates and not judge.calls:
            continue
        note = "" if judge.is_language_model else ", not a language model: it compares with the references"
        what = "Win rate by " if judge.kind == "pairwise" else "Scores by "
        name = plain(cut(judge.name, 24), "bold")
        lines.append(join([_heading(what), name, _heading(note)]))
        if judge.is_language_model and not judge.parts:
            lines += [fit(line, width) for line in _calls(judge, found.failures, progress, recent)]
        numbers = [_win_rate(row, fit(names(row), cells)) for row in rates]
        known = [line.cell_length for line, row in zip(numbers, rates, strict=True) if row.low is not None]
        taken = max(known, default=0) + 2
        for place, row in enumerate(rates):
            lines += _match(row, numbers[place], taken, width, gate, explained=place == 0)
    return lines


def _heading(text: str) -> Content:
    return Content.styled(text, "$heading")


def _calls(
    judge: JudgeUse, failures: list[JudgeFailure], progress: Sequence[Progress], recent: Recent | None
) -> list[Content]:
    """Pace, cost and counts; then why calls failed."""
    cached = f", {judge.from_cache:,} from the cache" if judge.from_cache else ""
    cost = "cost unknown" if judges.cost(judge) == "unknown" else f"{judges.cost(judge)} so far"
    pace = rate([row for row in progress if _is_under_way(row, judge.name)], recent)
    parts = [f"{judge.calls:,} calls{cached}", cost, "" if pace is None else f"{pace:.1f} calls/s"]
    lines = [Content.styled("  " + " · ".join(filter(None, parts)), "$muted")]
    reasons = [row for row in failures if row.judge == judge.name]
    if reasons:
        said = " · ".join(f"{row.calls:,} × {row.failure}" for row in reasons[:FAILURES])
        more = " · others" if len(reasons) > FAILURES else ""
        lines.append(one_line(f"  ! {judge.failed:,} failed: {said}{more}", "$bad"))
    return lines


def _is_under_way(row: Progress, judge: str) -> bool:
    """Whether this is the judge's piece of work, and it is being done."""
    own = row.item == judge or row.item.startswith(f"{judge} · ")
    return row.phase == "judge" and own and row.started is not None and row.done < row.total


def _match(
    row: WinRateRow, numbers: Content, taken: int, width: int, gate: float | None, *, explained: bool
) -> list[Content]:
    """One match's numbers and its band: on one line where there is room for both.

    `taken` are the cells of the numbers of all matches.
    """
    if row.win_rate is None:
        return [numbers]
    meaning = join(["  ", key(gate)]) if explained else Content("")
    if width >= taken + 2 + key(gate).cell_length + LEAST_BAND:
        cells = min(BAND, width - taken - 2 - key(gate).cell_length)
        return [join([fit(numbers, taken), band(row.win_rate, row.low, row.high, cells, gate), meaning])]
    cells = min(BAND, width - 6 - key(gate).cell_length)
    return [fit(numbers, width), join(["    ", band(row.win_rate, row.low, row.high, cells, gate), meaning])]


def _win_rate(row: WinRateRow, pair: Content) -> Content:
    counts = f"{row.wins} win {row.ties} tie {row.losses} loss"
    failed = Content.styled(f" {row.failed} failed", "$bad") if row.failed else Content("")
    if row.win_rate is None or row.low is None or row.high is None:
        return join(["  ", pair, " ", counts, failed, plain(f"  {row.reason or 'no verdict yet'}")])
    won = f"{row.win_rate:.1%} [{100 * row.low:.1f}, {100 * row.high:.1f}]"
    first = "" if row.position_bias is None else f"1st {row.position_bias:.0%}"
    biased = row.position_bias is not None and judges.is_biased(row.position_bias)
    place = Content.styled(f"!{first}", "$warn") if biased else Content(first)
    return join(["  ", pair, " ", fit(won, 20), " ", fit(place, 9), " ", counts, failed])
