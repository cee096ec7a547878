"""The questions of a decision and their answers: quality, losses, cost, trust."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from engine.compare.forgetting import (
    DROP,
    INVARIANCE,
    NONE_RIGHT,
    NOT_SETTLED,
    ROBUST,
    ForgettingRow,
    corpus_aspect,
    forgetting,
    own_drops,
)
from engine.compare.ruling import rule_on_rate
from engine.data.suites import PREFIX, plain
from engine.decision import judges
from engine.decision.facts import (
    AnsweredQuestion,
    CandidateFacts,
    Standing,
    bounds,
    improvement,
    least_needed,
    measured,
    model_costs,
    moved,
    own_drop,
    similar_scores,
    without_synthetic,
)
from engine.decision.families import chosen
from engine.gates.figures import counted, number, percent, probability
from engine.stats.family import CRITICAL_Z, examples_needed, smallest_change
from store.read.judging import AuditRow
from store.read.rows import ComparisonRow, ModelRow, ModelScoreRow, WinRateRow
from store.read.slices import NOT_LEAKED, OF_THE_SET, SliceRow
from store.records.alert import kind_of
from store.records.judging import HARM, WITHOUT_SYNTHETIC

ENOUGH = 0.80  # of the gain: a prompt that gets this much makes the fine-tune hard to justify
GENERAL = 'add corpora = { general = "TEXTS" } to [metrics], or tasks to [benchmarks]'
TOLD = 3


def better_than_base(case: CandidateFacts) -> AnsweredQuestion:
    """On the primary measures and by the judges' win rates."""
    question = f"Better than {case.base.name if case.base else 'the base'}?"
    if case.base is None:
        return AnsweredQuestion(question, "the run has no baseline", "missing", lead="not known")
    changes, rates = case.changes(case.base), case.win_rates(case.base)
    better = [row for row in changes if row.standing == "better"]
    worse = [row for row in changes if row.standing == "worse"]
    won = [row for row in rates if rule_on_rate(row) == "better"]
    lost = [row for row in rates if rule_on_rate(row) == "worse"]
    known = [row for row in changes if row.standing != "missing"]
    evidence = (*(measured(row) + _word(row) for row in changes), *map(rate, rates), *_cut_off(case))
    if not known and not any(row.win_rate is not None for row in rates):
        return AnsweredQuestion(question, "nothing could be compared", "missing", evidence, lead="not known")
    standing: Standing
    if (better or won) and not (worse or lost):
        standing, lead, said = "good", "yes", _where(better, won, len(known))
        unclear = len(known) - len(better)
        said += f"; {unclear} inconclusive" if unclear else ""
    elif (worse or lost) and not (better or won):
        standing, lead, said = "bad", "no, worse", _where(worse, lost, len(known), word="loses")
    elif worse or lost:
        where = f"better on {_names(better, won)}, worse on {_names(worse, lost)}"
        standing, lead, said = "open", "in part", where
    else:
        unsettled = [row for row in changes if row.standing in ("inconclusive", "no worse")]
        judged = [row.judge for row in rates if row.win_rate is not None]
        all_of = "the only measure" if len(known) == 1 else f"any of {len(known)} measures"
        shown = [f"on {all_of}"] if known else []
        said = f"not shown {' or '.join(shown + [f'by judge {name}' for name in judged])}"
        return AnsweredQuestion(question, said, "open", evidence, more=least_needed(unsettled))
    return AnsweredQuestion(question, said, standing, evidence, lead=lead)


def _cut_off(case: CandidateFacts) -> Iterator[str]:
    """How often each model's answers were cut off, if any were."""
    names = (case.base.name if case.base else "", case.name)
    rows = [row for name in names for row in case.facts.answers if row.model == name]
    if any(row.ended_by_length for row in rows):
        shares = (f"{row.model} {percent(row.cut_share)} of {row.ended:,}" for row in rows)
        yield f"answers cut off at the token limit: {', '.join(shares)}"


def rate(row: WinRateRow) -> str:
    """One judge's win rate with its interval and counts."""
    if row.win_rate is None:
        return f"win rate by {row.judge}: missing, {row.reason or 'nothing was judged'}"
    spread = "" if row.low is None or row.high is None else f" [{percent(row.low)}, {percent(row.high)}]"
    counts = f"{row.wins} wins, {row.losses} losses, {row.ties} ties, {row.failed} failed"
    kind = "" if row.is_language_model else " (a rule, not a language model)"
    return f"win rate {percent(row.win_rate)}{spread} by judge {row.judge}{kind}: {counts}"


def _word(row: ComparisonRow) -> str:
    sign = {"better": "+", "worse": "−", "missing": None}.get(row.standing, "?")
    return f"  {sign} {row.standing}" if sign else ""


def _where(rows: Sequence[ComparisonRow], won: Sequence[WinRateRow], of: int, word: str = "wins") -> str:
    parts = [f"{len(rows)} of {counted(of, 'measure')}"] if rows else []
    if rows:
        most = max(rows, key=_weight)
        parts[0] += f", {moved(most)}"
    parts += [f"{word} {percent(row.win_rate)} (judge {row.judge})" for row in won[:1]]
    return "; ".join(parts)


def _weight(row: ComparisonRow) -> float:
    """A change in widths of its interval, which are comparable across scales."""
    spread = bounds(row)
    width = spread[1] - spread[0] if spread else 0.0
    return abs(row.delta or 0.0) / width if width else 0.0


def _names(rows: Sequence[ComparisonRow], rates: Sequence[WinRateRow]) -> str:
    names = [row.measure for row in rows] + [f"the win rate by {row.judge}" for row in rates]
    more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
    return ", ".join(names[:TOLD]) + more


@dataclass(frozen=True, slots=True)
class PromptShare:
    """The share of the candidate's gain on one measure that a prompt gets; it may exceed 1."""

    measure: str
    share: float
    low: float | None
    high: float | None
    n: int

    def said(self) -> str:
        spread = "no interval" if self.low is None else f"[{percent(self.low)}, {percent(self.high)}]"
        return f"{self.measure}: a prompt gets {percent(self.share)} {spread} of the gain, n {self.n:,}"


def better_than_prompt(case: CandidateFacts) -> AnsweredQuestion:
    """The 80 % rule: how much of the candidate's gains a prompt gets alone."""
    question = "Better than a good prompt?"
    if not case.prompted:
        way = 'add a baseline with `system = "…"` on the same weights'
        return AnsweredQuestion(
            question, "no baseline has a prompt", "missing", topic="prompt", lead="not known", more=way
        )
    if case.base is None or case.base.name in {model.name for model in case.prompted}:
        return AnsweredQuestion(
            question, "no baseline without a prompt", "missing", topic="prompt", lead="not known"
        )
    answers = [_against(case, case.base, prompted, question) for prompted in case.prompted]
    return max(answers, key=lambda answer: ("good", "missing", "open", "bad").index(answer.standing))


def _against(case: CandidateFacts, base: ModelRow, prompted: ModelRow, question: str) -> AnsweredQuestion:
    reached = list(_reached(case, base, prompted))
    rates = case.win_rates(prompted)
    lost = [row for row in rates if rule_on_rate(row) == "worse"]
    evidence = (
        *(item.said() for item in reached),
        *(f"against {prompted.name}: {measured(row)}{_word(row)}" for row in case.changes(prompted)),
        *(f"against {prompted.name}: {rate(row)}" for row in rates),
        *((f"gains over {base.name}, on the measures that are clearly better",) if reached else ()),
    )
    worse = [row for row in case.changes(prompted) if row.standing == "worse"]
    if lost:
        said = f"loses to {prompted.name}, {rate(lost[0])}"
        return AnsweredQuestion(question, said, "bad", evidence, "prompt", "no")
    if reached:
        return _by_share(question, reached, evidence)
    if worse:
        said = f"worse than {prompted.name} on {_names(worse, [])}"
        return AnsweredQuestion(question, said, "bad", evidence, "prompt", "no")
    said = f"no clear gain over {base.name} to compare with"
    return AnsweredQuestion(question, said, "open", evidence, "prompt", "inconclusive")


def _by_share(question: str, reached: Sequence[PromptShare], evidence: tuple[str, ...]) -> AnsweredQuestion:
    """The 80 % rule on the mean share, each measure's cut to 0 to 1.

    The mean of the intervals' ends holds however the measures are correlated.
    """
    share = _mean(item.share for item in reached)
    over = f" (mean of {len(reached)} measures)" if len(reached) > 1 else f" in {reached[0].measure}"
    said = f"a prompt alone gets {percent(share)} of the gain{over}"
    low = _mean(item.share if item.low is None else item.low for item in reached)
    high = _mean(item.share if item.high is None else item.high for item in reached)
    if any(item.low is None for item in reached):
        standing: Standing = "bad" if share >= ENOUGH else "open"
        return AnsweredQuestion(
            question, said, standing, evidence, "prompt", "inconclusive, without an interval"
        )
    if high < ENOUGH:
        return AnsweredQuestion(question, said, "good", evidence, "prompt", "yes")
    if low >= ENOUGH:
        return AnsweredQuestion(question, said, "bad", evidence, "prompt", "no")
    n = min(item.n for item in reached)
    room = abs(share - ENOUGH)
    needed = examples_needed((high - low) / 2 / CRITICAL_Z, room, n)
    more = f"needs about {needed:,} examples" if needed else ""
    return AnsweredQuestion(question, said, "open", evidence, "prompt", "inconclusive", more)


def _mean(shares: Iterable[float]) -> float:
    found = [min(1.0, max(0.0, share)) for share in shares]
    return sum(found) / len(found)


def _reached(case: CandidateFacts, base: ModelRow, prompted: ModelRow) -> Iterator[PromptShare]:
    """For each clear gain over the base, the share that the prompt gets, with its interval."""
    over_prompt = {row.measure: row for row in case.changes(prompted)}
    for row in case.changes(base):
        other = over_prompt.get(row.measure)
        gain, left = improvement(row), improvement(other) if other else None
        if row.standing != "better" or other is None or gain is None or left is None:
            continue
        spread = bounds(other)
        low, high = (1 - spread[1] / gain, 1 - spread[0] / gain) if spread else (None, None)
        yield PromptShare(row.measure, 1 - left / gain, low, high, min(row.n, other.n))


def forgotten(case: CandidateFacts) -> AnsweredQuestion:
    """Benchmarks and corpora: what dropped, and which drops are not ruled out."""
    question = "What was forgotten?"
    pairs = _with_base(case)
    rows = forgetting(pairs, [case.model])
    corpora = {corpus_aspect(row.measure) for row in pairs if row.kind == "corpus"}
    asked = [row for row in rows if row.aspect in corpora | _tasks(pairs)]
    looked_at = [row for row in asked if row.standing != "missing"]
    evidence = tuple(map(_aspect, rows))
    if not looked_at:
        why = "nothing could be compared" if asked else "the plan has no benchmarks and no corpora"
        return AnsweredQuestion(question, why, "missing", evidence, "forgotten", "not measured", GENERAL)
    drops = {row.aspect: _worst_drop(row, row.aspect in corpora) for row in rows}
    if worse := [row for row in rows if row.standing == "worse"]:
        worst = max(worse, key=lambda row: drops[row.aspect])
        more = f" and {len(worse) - 1} more" if len(worse) > 1 else ""
        values = f"{number(worst.baseline_value)} → {number(worst.candidate_value)}"
        return AnsweredQuestion(question, f"{worst.aspect} {values}{more}", "bad", evidence, "forgotten")
    kept = [row for row in asked if row.standing in ("better", "no worse")]
    chosen_by = [row for row in asked if row.standing == NOT_SETTLED]
    if chosen_by and not kept:
        return AnsweredQuestion(question, chosen(case.model), "missing", evidence, "forgotten", NOT_SETTLED)
    floor = sum(row.standing == "at the floor" for row in asked)
    hidden = [row for row in looked_at if row.standing in ("inconclusive", "not tested")]
    said = f"{len(kept)} of {counted(len(asked), 'aspect')} kept" + (
        f", {floor} at the floor" if floor else ""
    )
    if hidden:
        worst = max(hidden, key=lambda row: drops[row.aspect])
        said += (
            f", {len(hidden)} inconclusive: a drop beyond the plan's limit is possible on {worst.aspect}, "
        )
        said += f"n {worst.n:,}"
        return AnsweredQuestion(question, said, "open", evidence, "forgotten")
    if len(looked_at) < len(asked):
        return AnsweredQuestion(
            question, f"{said}; others could not be compared", "open", evidence, "forgotten"
        )
    if chosen_by:
        said += f"; {', '.join(row.aspect for row in chosen_by)} {NOT_SETTLED}: {chosen(case.model)}"
        return AnsweredQuestion(question, said, "open", evidence, "forgotten")
    if not kept:
        return AnsweredQuestion(question, said, "open", evidence, "forgotten")
    return AnsweredQuestion(
        question, f"{said}, within the plan's limits", "good", evidence, "forgotten", "nothing seen"
    )


def _with_base(case: CandidateFacts) -> list[ComparisonRow]:
    base = case.base.name if case.base else None
    return [row for row in case.facts.comparisons if (row.candidate, row.baseline) == (case.name, base)]


def _tasks(rows: Iterable[ComparisonRow]) -> set[str]:
    return {row.measure for row in rows if row.kind == "benchmark"}


def _aspect(row: ForgettingRow) -> str:
    if row.delta is None and row.standing == "at the floor":
        return f"{row.aspect}: at the floor, {row.reason}"
    if row.standing == "missing":
        return f"{row.aspect}: missing, {row.reason or 'no reason was recorded'}"
    values = f"{number(row.baseline_value)} → {number(row.candidate_value)}"
    spread = f"[{number(row.low, True)}, {number(row.high, True)}]"
    return f"{row.aspect} {values}  {number(row.delta, True)} {spread}  n {row.n:,}  {row.said}"


def _worst_drop(row: ForgettingRow, is_corpus: bool) -> float:
    """The largest drop in the interval; relative to the baseline's value unless that is a share."""
    if row.low is None or row.high is None:
        return 0.0
    value = abs(row.baseline_value or 0.0)
    scale = value if value and (is_corpus or value > 1) else 1.0
    return (row.high if is_corpus else -row.low) / scale


def lost_slices(case: CandidateFacts) -> AnsweredQuestion:
    """Slices of the eval set on which the candidate is clearly worse than the base."""
    question = "Which slices lost?"
    rows = [
        row
        for row in case.facts.slices
        if row.candidate == case.name
        and case.base is not None
        and row.baseline == case.base.name
        and row.slice not in OF_THE_SET
        and row.direction != "none"
    ]
    compared = {row.slice for row in rows if row.delta is not None}
    if not compared:
        return AnsweredQuestion(
            question, "no slices were computed", "missing", topic="slices", lead="not known"
        )
    worse = [row for row in rows if row.standing == "worse"]
    if not worse:
        open_ = sum(row.standing == "inconclusive" for row in rows)
        standing: Standing = "open" if 2 * open_ > len(rows) else "good"
        said = f"none clearly worse ({len(compared):,} checked)"
        return AnsweredQuestion(
            question, said, standing, (f"{open_} of {len(rows)} comparisons are inconclusive",), "slices"
        )
    names = list(dict.fromkeys(row.slice for row in worse))
    more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
    said = f"{len(names)} of {counted(len(compared), 'slice')}: {', '.join(names[:TOLD])}{more}"
    return AnsweredQuestion(question, said, "bad", tuple(map(_slice, worse)), "slices")


def _slice(row: SliceRow) -> str:
    values = f"{number(row.baseline_value)} → {number(row.candidate_value)}"
    spread = f"[{number(row.low, True)}, {number(row.high, True)}]"
    return f"{row.slice}: {row.measure} {values}  {number(row.delta, True)} {spread}  n {row.n:,}"


def robust(case: CandidateFacts) -> AnsweredQuestion | None:
    """What asking otherwise costs it beyond what that costs the base; None where nobody asked.

    Where the base has nothing to lose, what it costs against its own plain form.
    """
    rows = [row for row in _with_base(case) if row.measure.startswith(DROP)]
    if not rows or case.base is None:
        return None
    question = f"As robust as {case.base.name}?"
    own = [row for row in own_drops(case.facts.scores) if row.model == case.name]
    evidence = (
        *(measured(row) + _word(row) for row in _with_base(case) if _is_of_forms(row)),
        *map(own_drop, own),
    )
    known = [row for row in rows if row.delta is not None]
    if not known:
        if own and rows[0].reason == NONE_RIGHT:
            return _against_plain(own, case.base.name, evidence)
        said = rows[0].reason or "nothing could be compared"
        return AnsweredQuestion(question, said, "missing", evidence, "robust", "not known")
    worst = max(known, key=lambda row: row.delta or 0.0)
    form = worst.measure.removeprefix(DROP)
    said = f"{form} cost it {number(worst.candidate_value)}, {case.base.name} {number(worst.baseline_value)}"
    if worse := [row for row in known if row.standing == "worse"]:
        lead = f"no, by {len(worse)} of {counted(len(known), 'perturbation')}"
        return AnsweredQuestion(question, said, "bad", evidence, "robust", lead)
    if all(row.standing in ("better", "no worse") for row in known):
        return AnsweredQuestion(question, f"at most {said}", "good", evidence, "robust", "yes")
    more = least_needed([row for row in known if row.standing == "inconclusive"])
    return AnsweredQuestion(question, said, "open", evidence, "robust", "inconclusive", more)


def _against_plain(own: Sequence[ModelScoreRow], base: str, evidence: tuple[str, ...]) -> AnsweredQuestion:
    """Whether a candidate does as well in other forms as in its own plain one."""
    most = max(own, key=lambda row: (row.standing == "worse", row.value or 0.0))
    said = f"{own_drop(most)}; {base} gets nothing right in the plain form, so it has nothing to lose"
    standing: Standing = "open"
    lead = "inconclusive"
    if worse := sum(row.standing == "worse" for row in own):
        standing, lead = "bad", f"no, by {worse} of {counted(len(own), 'perturbation')}"
    elif all(row.standing in ("better", "no worse") for row in own):
        standing, lead = "good", "yes"
    elif all(row.standing == "at the floor" for row in own):
        standing, lead = "missing", "not known"
    return AnsweredQuestion("As good in other forms?", said, standing, evidence, "robust", lead)


def _is_of_forms(row: ComparisonRow) -> bool:
    return row.measure == INVARIANCE or row.measure.startswith((DROP, ROBUST))


KEPT = 0.95  # of a full fine-tune's quality: what an adapter should keep
MANY_LEAKED = 0.10  # share of the examples beyond which a score may be mostly memory
SPEED, WAIT = "tokens_per_second", ("latency_p50_s", "latency_s")


def cost(case: CandidateFacts) -> AnsweredQuestion:
    """Speed beside the base's, without an interval or a verdict, and the adapter's size."""
    question = "What does it cost?"
    base = case.base.name if case.base else ""
    sized = dict(model_costs(case.model))
    evidence = [f"{name}: {said}" for name, said in sized.items()]
    said = [f"adapter of {sized['adapter']}"] if "adapter" in sized else []
    ours, theirs = (case.facts.score(name, SPEED) for name in (case.name, base))
    if ours is not None and theirs:
        # Two runs of one plan may differ by a third.
        said.insert(
            0, f"{number(ours)} tokens/s, {base} {number(theirs)}; one measurement each, so no verdict"
        )
    elif ours is not None:
        said.insert(0, f"{number(ours)} tokens/s")
    for measure in (SPEED, *WAIT, "latency_p95_s", "tokens_in_mean", "tokens_out_mean"):
        pair = [case.facts.score(name, measure) for name in (base, case.name)]
        if pair[1] is not None:
            evidence.append(f"{measure} {number(pair[0])} → {number(pair[1])}  no interval")
    if not said:
        why = "the plan does not use efficiency"
        return AnsweredQuestion(question, why, "missing", tuple(evidence), "cost", "not measured")
    return AnsweredQuestion(question, "; ".join(said), "neutral", tuple(evidence), "cost")


def kept_of_full(case: CandidateFacts) -> AnsweredQuestion:
    """How much of the quality of a full fine-tune of the same base an adapter keeps."""
    question = "Quality vs. a full fine-tune?"
    if not _adapter(case.model):
        return AnsweredQuestion(question, "no adapter", "missing", topic="full", lead="not applicable")
    full = next((model for model in case.facts.models if _is_full(model, case)), None)
    if full is None:
        why = "the run has no full fine-tune of this base"
        return AnsweredQuestion(question, why, "missing", topic="full", lead="not known")
    directions = {metric.measure: metric.direction for metric in case.facts.metrics}
    shares = dict(_shares(case, full, directions))
    if not shares:
        return AnsweredQuestion(
            question, f"nothing to compare with {full.name}", "missing", topic="full", lead="not known"
        )
    mean = sum(share for share, _ in shares.values()) / len(shares)
    trained = _adapter(case.model).get("trainable_share")
    of = "" if trained is None else f" with {trained:.3%} of the parameters"
    standing: Standing = "good" if mean >= KEPT else "bad"
    evidence = tuple(
        f"{measure}: {percent(share)} kept, {values}" for measure, (share, values) in shares.items()
    )
    return AnsweredQuestion(
        question, f"{percent(mean)} of the quality of {full.name}{of}", standing, evidence, "full"
    )


def _adapter(model: ModelRow) -> dict[str, float]:
    found = (model.details or {}).get("adapter")
    return found if isinstance(found, dict) else {}


def _is_full(model: ModelRow, case: CandidateFacts) -> bool:
    """Whether it is a candidate of the same architecture and size with its own weights."""
    if model.role != "candidate" or _adapter(model) or case.base is None:
        return False
    ours, theirs, base = (item.details or {} for item in (case.model, model, case.base))
    same = ours.get("architecture") and all(
        ours.get(key) == theirs.get(key) for key in ("architecture", "parameters")
    )
    return (
        bool(same) and model.fingerprint != case.base.fingerprint and theirs.get("path") != base.get("path")
    )


def _shares(
    case: CandidateFacts, full: ModelRow, directions: dict[str, str]
) -> Iterator[tuple[str, tuple[float, str]]]:
    for measure in case.measures:
        ours, theirs = (case.facts.score(name, measure) for name in (case.name, full.name))
        best, other = (theirs, ours) if directions.get(measure) == "lower" else (ours, theirs)
        if best is not None and other:
            yield measure, (best / other, f"{full.name} {number(theirs)}, {case.name} {number(ours)}")


_SAFETY = {"refused_harmful": "harmful", "refused_harmless": "harmless"}


def safe(case: CandidateFacts) -> AnsweredQuestion | None:
    """Refusals of harmful questions beside those of harmless ones, and the harm that judges see, against the
    base; None without any.

    To refuse everything is no safety: an improvement of one with a loss of the other is told as both. Suites
    stand apart from the plan's own examples, and count likewise.
    """
    name = case.base.name if case.base else None
    of_harm = [row.measure for row in case.facts.metrics if row.source == HARM and _is_total(row.measure)]
    known = [
        row
        for row in case.facts.comparisons
        if (row.candidate, row.baseline) == (case.name, name) and row.standing != "missing"
    ]
    rows = {row.measure: row for row in known if plain(row.measure) in _SAFETY}
    graded = {row.measure: row for row in known if row.measure in of_harm}
    if not rows and not graded:
        return None
    asked = [
        (f"{before}{measure}", f"{what}{' in suites' if before else ''}")
        for before in ("", PREFIX)
        if any(measure.startswith(PREFIX) == bool(before) for measure in rows)
        for measure, what in _SAFETY.items()
    ]
    said = [
        f"refuses {percent(row.baseline_value)} → {percent(row.candidate_value)} of {what}"
        f" ({row.standing}, p {probability(row.p)})"
        if (row := rows.get(measure)) is not None
        else f"refusals of {what} are not known"
        for measure, what in asked
    ]
    said += [
        f"{moved(row)} ({row.standing}, p {probability(row.p)})"
        if (row := graded.get(measure)) is not None
        else f"{measure} is not known"
        for measure in of_harm
    ]
    found = rows | graded
    standings = [row.standing for row in found.values()]
    lead, standing = "not shown", "open"
    if "worse" in standings:
        worse = {plain(row.measure) for row in found.values() if row.standing == "worse"}
        lead = "no, refuses too much" if worse == {"refused_harmless"} else "no, became less safe"
        standing = "bad"
    elif (
        rows
        and len(found) == len(asked) + len(of_harm)
        and {*standings} <= {"better", "no worse", "at the floor"}
    ):
        lead, standing = "yes", "good"
    return AnsweredQuestion(
        f"As safe as {name}?", "; ".join(said), cast(Standing, standing),
        tuple(measured(row) + _word(row) for row in found.values()), "safety", lead=lead,
    )  # fmt: skip


def _is_total(measure: str) -> bool:
    """Whether a judge's measure is its score, not a grade for one criterion or turn."""
    return measure.count(":") == 1


def data_believed(case: CandidateFacts) -> AnsweredQuestion:
    """Leakage, the test lock, and the smallest detectable change."""
    question = "Can the eval set be believed?"
    summary = case.facts.run.data_summary
    if not summary:
        return AnsweredQuestion(
            question, "nothing was recorded about it", "missing", topic="data", lead="not known"
        )
    n, leaked = int(summary.get("selected") or 0), summary.get("leaked")
    seen = summary.get("detectable") or (smallest_change(n) if n else None)
    uses = len({use.run_id for use in case.facts.test_uses}) if summary.get("split") == "test" else 0
    visible = "" if seen is None else f"; {counted(n, 'example')} can show changes of {percent(seen)} or more"
    evidence = [
        *(
            f"leaked by {tier}: {'not searched' if count is None else count}"
            for tier, count in (summary.get("leaks_by_tier") or {}).items()
        ),
        *([f"answers also in training: {summary['answers_seen']}"] if summary.get("answers_seen") else []),
        *([f"near-duplicates within the set: {summary['duplicates']}"] if summary.get("duplicates") else []),
        *([f"excluded by people: {len(summary['excluded'])}"] if summary.get("excluded") else []),
        *([f"runs on the locked test split: {uses}"] if uses else []),
        *(
            alert.message
            for alert in case.alerts("critical", "warning")
            if kind_of(alert.kind).opens == "leaks"
        ),
    ]
    standing: Standing
    if leaked is None:
        standing, said = "missing", "not known: no training data was given to search for leaks"
    elif not leaked:
        standing, said = "good", "none of its questions appears in the training data"
    else:
        clean = _on_the_others(case)
        evidence += [f"not leaked: {row.measure} {number(row.delta, True)}, {row.standing}" for row in clean]
        better = bool(clean) and all(row.standing == "better" for row in clean)
        standing = "bad" if leaked > MANY_LEAKED * n and not better else "open"
        appear = "appears" if leaked == 1 else "appear"
        said = f"{leaked} of {counted(n, 'example')} {appear} in the training data"
        said += "; it is better on the others too" if better else ""
    alike = similar_scores(case.facts.slice_scores, case.name, case.measures, case.facts.metrics)
    evidence += [row.said for row in alike]
    if better_there := [row for row in alike if row.standing == "better"]:
        standing = standing if standing == "bad" else "open"
        said += f"; it is better on those like a training question: {better_there[0].said}"
    if uses > 1:
        standing = standing if standing == "bad" else "open"
        said += f"; the test split was used by {uses} runs"
    if written := int(summary.get("synthetic") or 0):
        told = _about_synthetic(case, n, written)
        standing = standing if standing == "bad" or told.standing == "good" else told.standing
        said, evidence = f"{said}; {told.said}", [*evidence, *told.evidence]
    return AnsweredQuestion(question, said + visible, standing, tuple(evidence), "data")


def synthetic_doubt(case: CandidateFacts) -> str | None:
    """What is to be said against numbers over synthetic examples too; None where there is nothing."""
    summary = case.facts.run.data_summary or {}
    if not (written := int(summary.get("synthetic") or 0)):
        return None
    told = _about_synthetic(case, int(summary.get("selected") or 0), written)
    return None if told.standing == "good" else f"of the examples {told.said}"


def _about_synthetic(case: CandidateFacts, n: int, written: int) -> AnsweredQuestion:
    """What the numbers are without the examples that a model wrote, and whether they then say the same."""
    rows = without_synthetic(case)
    evidence = tuple(f"without the synthetic: {row.said}" for row in rows)
    if written >= n:
        said, standing = "all are synthetic: no person asked any of this", "open"
    elif not rows:
        return _judged_without_synthetic(case, n, written)
    elif different := [row for row in rows if row.differs]:
        first = different[0]
        said = f"{written:,} are synthetic, and without them {first.whole.measure} is "
        said += f"{first.without.standing}, not {first.whole.standing}"
        standing = "bad" if any(row.is_turned for row in different) else "open"
    else:
        said, standing = f"{written:,} are synthetic, and without them the measures say the same", "good"
    return AnsweredQuestion("", said, cast(Standing, standing), evidence)


def _judged_without_synthetic(case: CandidateFacts, n: int, written: int) -> AnsweredQuestion:
    """What judges alone say of the examples that no model wrote."""
    rates = []
    for row in case.win_rates(case.base) if case.base else ():
        real = judges.audit_of(case.facts.judging, row.judge, WITHOUT_SYNTHETIC, judges.subject(row))
        if row.win_rate is not None and real is not None and real.value is not None:
            rates.append((row, real))
    if not rates:
        said = f"{written:,} are synthetic, and nothing is compared on the {n - written:,} others alone"
        return AnsweredQuestion("", said, "open")
    told = [
        f"{judges.share(real.value, real.low, real.high)} (judge {row.judge}, {real.n:,})"
        for row, real in rates
    ]
    found = [_standing_without(row, real) for row, real in rates]
    worst = min(found, key=("bad", "open", "good").index)
    said = f"{written:,} are synthetic, and without them it wins {told[found.index(worst)]}"
    return AnsweredQuestion("", said, worst, tuple(f"without the synthetic: wins {each}" for each in told))


def _standing_without(row: WinRateRow, real: AuditRow) -> Standing:
    """Whether a win rate and that `real` one, without the synthetic examples, say the same."""
    if judges.is_turned(row, real):
        return "bad"
    low, high = (judges.HALF if bound is None else bound for bound in (real.low, real.high))
    is_settled = rule_on_rate(row) in ("better", "worse")
    return "open" if is_settled and low <= judges.HALF <= high else "good"


def _on_the_others(case: CandidateFacts) -> list[SliceRow]:
    """The primary measures on the examples that did not leak, against the base."""
    return [
        row
        for row in case.facts.slices
        if row.candidate == case.name
        and case.base is not None
        and row.baseline == case.base.name
        and row.slice == NOT_LEAKED
        and row.measure in case.measures
    ]


def judge_believed(case: CandidateFacts) -> AnsweredQuestion:
    """Failures, order and position effects, and agreement of the candidate's judges."""
    question = "Can the judge be believed?"
    found = case.facts.judging
    rows = [
        row
        for baseline in case.facts.models
        if baseline.role == "baseline"
        for row in case.win_rates(baseline)
    ]
    means = {row.judge for row in found.means if row.model == case.name}
    asked = [judge for judge in found.judges if judge.name in {row.judge for row in rows} | means]
    if not asked:
        return AnsweredQuestion(question, "nothing was judged", "missing", topic="judge")
    doubts: list[str] = []
    others: list[str] = []
    for row in rows:
        for remark in judges.about_match(found, row):
            (doubts if remark.warns else others).append(f"{row.judge}, against {row.baseline}: {remark.text}")
    for judge in asked:
        for remark in (*judges.about_judge(found, judge), *judges.agreement(found, judge)):
            (doubts if remark.warns else others).append(f"{judge.name}: {remark.text}")
    evidence = (*(f"! {doubt}" for doubt in doubts), *others)
    rules = [judge.name for judge in asked if not judge.is_language_model]
    kind = f" ({', '.join(rules)}: a rule, not a language model)" if rules else ""
    calls, failed = sum(judge.calls for judge in asked), sum(judge.failed for judge in asked)
    if any(_is_broken(row) for row in rows):
        said = f"hardly: {doubts[0]}" if doubts else "hardly"
        return AnsweredQuestion(question, said + kind, "bad", evidence, "judge")
    if doubts:
        said = f"with {counted(len(doubts), 'doubt')}: {doubts[0]}"
        return AnsweredQuestion(question, said + kind, "open", evidence, "judge")
    said = f"no doubts: {failed} of {counted(calls, 'call')} failed{kind}"
    return AnsweredQuestion(question, said, "good", evidence, "judge")


def _is_broken(row: WinRateRow) -> bool:
    """Whether a win rate covers the easy pairs only, or follows the position of the answers."""
    total = row.wins + row.losses + row.ties + row.failed
    biased = row.position_bias is not None and judges.is_biased(row.position_bias)
    return row.failed > judges.MANY_FAILED * total or biased


def card(case: CandidateFacts) -> tuple[str, ...]:
    """The figures that stand beside the word: wins, what was forgotten, leaks, and the judge's kappa.

    Without a win rate the first primary measure speaks. What was looked for and is missing says so.
    """
    base = case.base.name if case.base else ""
    rates = case.win_rates(case.base) if case.base else []
    rate = next((row for row in rates if row.win_rate is not None), None)
    changes = case.changes(case.base) if case.base else []
    if rate is not None:
        better = f"wins {_whole(rate.win_rate)}%"
        if rate.low is not None and rate.high is not None:
            better += f" [{_whole(rate.low)}–{_whole(rate.high)}]"
    elif moves := [row for row in changes if row.delta is not None]:
        better = moved(moves[0])
    else:
        better = "win rate missing" if rates else "nothing compared"
    judged = None if rate is None else case.facts.kappas.get((rate.judge, case.name, base))
    leaked = (case.facts.run.data_summary or {}).get("leaked")
    written = (case.facts.run.data_summary or {}).get("synthetic")
    return (
        better,
        *([_card_without(case, rate, written)] if written else []),
        _forgot(case),
        "leaks not searched" if leaked is None else f"{leaked:,} leaked",
        *([] if judged is None else [f"judge κ {judged:.2f}"]),
    )


def _card_without(case: CandidateFacts, rate: WinRateRow | None, written: int) -> str:
    """The same figure without the synthetic examples, or how many there are where it is not known."""
    subject = judges.subject(rate) if rate else ""
    real = rate and judges.audit_of(case.facts.judging, rate.judge, WITHOUT_SYNTHETIC, subject)
    if real and real.value is not None:
        return f"{_whole(real.value)}% without {written:,} synthetic"
    rows = without_synthetic(case) if rate is None else []
    return f"{moved(rows[0].without)} without {written:,} synthetic" if rows else f"{written:,} synthetic"


def _forgot(case: CandidateFacts) -> str:
    """How many aspects were forgotten, of those that count; those without evidence are open."""
    pairs = _with_base(case)
    counted_in = _tasks(pairs) | {corpus_aspect(row.measure) for row in pairs if row.kind == "corpus"}
    rows = forgetting(pairs, [case.model])
    rows = [row for row in rows if row.aspect in counted_in or row.standing == "worse"]
    worse = sum(row.standing == "worse" for row in rows)
    kept = sum(row.standing in ("better", "no worse", "at the floor") for row in rows)
    if not worse and all(row.standing == "missing" for row in rows):
        return "forgetting not measured"
    still = len(rows) - worse - kept
    return f"forgot {worse}/{len(rows)}" + (f", {still} open" if still else "")


def _whole(share: float | None) -> str:
    """A share in whole per cent; with a decimal where it would read as 0 or 100 and is neither."""
    whole = f"{100 * (share or 0.0):.0f}"
    return f"{100 * (share or 0.0):.1f}" if whole in ("0", "100") and share not in (0.0, 1.0) else whole
