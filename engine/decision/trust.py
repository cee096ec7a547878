"""What a decision says beside a candidate's quality: its cost, what it keeps, and what may be believed."""

from collections.abc import Iterator

from engine.data.power import smallest_change
from engine.decision import judges
from engine.decision.costs import model_costs
from engine.decision.facts import AnsweredQuestion, CandidateFacts, Standing
from engine.gates.figures import counted, number, percent
from store.read.rows import ModelRow, WinRateRow
from store.read.slices import SliceRow
from store.records.alert import kind_of

ALIKE = 0.005  # share of the base's speed within which a candidate is as fast
SLOWER = 0.20  # share of the base's speed lost from which on it is worth a word
KEPT = 0.95  # of a full fine-tune's quality: what an adapter should keep
MANY_LEAKED = 0.10  # share of the examples from which on a score may be mostly memory
NOT_LEAKED = "not leaked"  # the slice of the examples that training has not seen
SPEED, WAIT = "tokens_per_second", ("latency_p50_s", "latency_s")


def cost(case: CandidateFacts) -> AnsweredQuestion:
    """Speed beside the base's, which has no interval, and the adapter's size."""
    question = "What does it cost?"
    base = case.base.name if case.base else ""
    sized = dict(model_costs(case.model))
    evidence = [f"{name}: {said}" for name, said in sized.items()]
    said = [f"adapter of {sized['adapter']}"] if "adapter" in sized else []
    standing: Standing = "good"
    ours, theirs = (case.facts.score(name, SPEED) for name in (case.name, base))
    if ours is not None and theirs:
        change = ours / theirs - 1
        word = f"{percent(abs(change))} {'faster' if change > 0 else 'slower'} than {base}"
        said.insert(0, f"{number(ours)} tokens/s, {word if abs(change) > ALIKE else f'as fast as {base}'}")
        standing = "open" if change < -SLOWER else "good"
    elif ours is not None:
        said.insert(0, f"{number(ours)} tokens/s")
    for measure in (SPEED, *WAIT, "latency_p95_s", "tokens_in_mean", "tokens_out_mean"):
        pair = [case.facts.score(name, measure) for name in (base, case.name)]
        if pair[1] is not None:
            evidence.append(f"{measure} {number(pair[0])} → {number(pair[1])}  no interval")
    if not said:
        why = "the plan does not use efficiency"
        return AnsweredQuestion(question, why, "missing", tuple(evidence), "cost", "not measured")
    return AnsweredQuestion(question, "; ".join(said), standing, tuple(evidence), "cost")


def kept_of_full(case: CandidateFacts) -> AnsweredQuestion:
    """What an adapter keeps of the quality of a full fine-tune of the same base."""
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
    """Whether it is a candidate of the same architecture and size with weights of its own."""
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


def data_believed(case: CandidateFacts) -> AnsweredQuestion:
    """Leakage, the test lock, and the smallest change that so many examples can show."""
    question = "Can the eval set be believed?"
    summary = case.facts.run.data_summary
    if not summary:
        return AnsweredQuestion(
            question, "nothing was recorded of it", "missing", topic="data", lead="not known"
        )
    n, leaked = int(summary.get("selected") or 0), summary.get("leaked")
    seen = summary.get("detectable") or (smallest_change(n) if n else None)
    uses = len({use.run_id for use in case.facts.test_uses}) if summary.get("split") == "test" else 0
    visible = "" if seen is None else f"; {counted(n, 'example')} show changes from {percent(seen)} on"
    evidence = [
        *(
            f"leaked by {tier}: {'not searched' if count is None else count}"
            for tier, count in (summary.get("leaks_by_tier") or {}).items()
        ),
        *(
            [f"answers that training has seen: {summary['answers_seen']}"]
            if summary.get("answers_seen")
            else []
        ),
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
    if uses > 1:
        standing = standing if standing == "bad" else "open"
        said += f"; the test split was used by {uses} runs"
    return AnsweredQuestion(question, said + visible, standing, tuple(evidence), "data")


def _on_the_others(case: CandidateFacts) -> list[SliceRow]:
    """The primary measures over the examples that did not leak, against the base."""
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
    """Failures, orders, places, and agreement of every judge that compared the candidate."""
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
    kind = f" ({', '.join(rules)}: a rule, no language model)" if rules else ""
    calls, failed = sum(judge.calls for judge in asked), sum(judge.failed for judge in asked)
    if any(_is_broken(row) for row in rows):
        said = f"hardly: {doubts[0]}" if doubts else "hardly"
        return AnsweredQuestion(question, said + kind, "bad", evidence, "judge")
    if doubts:
        said = f"with {counted(len(doubts), 'doubt')}: {doubts[0]}"
        return AnsweredQuestion(question, said + kind, "open", evidence, "judge")
    said = f"no doubt found: {failed} of {counted(calls, 'call')} failed{kind}"
    return AnsweredQuestion(question, said, "good", evidence, "judge")


def _is_broken(row: WinRateRow) -> bool:
    """Whether a win rate rests on the easy part, or on the place of the answers."""
    total = row.wins + row.losses + row.ties + row.failed
    biased = row.position_bias is not None and judges.is_biased(row.position_bias)
    return row.failed > judges.MANY_FAILED * total or biased
