"""What a decision is based on: stored rows, each candidate with its baselines, and the run before it."""

import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from engine.compare.forgetting import DROP, NONE_RIGHT
from engine.decision.families import FAMILIES, JUDGE, OWN, family_of
from engine.gates.figures import interval, number, probability, size
from engine.plan.training_config import Retrained, retrained
from engine.stats.family import FEWEST_LABELS, LEVEL, kappa, majority
from store.read import history, labels, runs, slices
from store.read.answers import AnswerCount, answer_counts
from store.read.datasets import test_uses
from store.read.history import Connection
from store.read.judging import JudgingResults, judging
from store.read.query import by_key
from store.read.rows import AlertRow, ComparisonRow, ModelRow, ModelScoreRow, WinRateRow
from store.read.slices import SliceRow, SliceScoreRow
from store.records import Run, SplitUse, StoredMetric


def model_costs(model: ModelRow) -> Iterator[tuple[str, str]]:
    """Adapter size and trainable share, peak GPU memory, energy; missing values with their reasons."""
    details = model.details or {}
    adapter, use = details.get("adapter"), details.get("device_use")
    if isinstance(adapter, dict) and "bytes" in adapter:
        share = adapter["trainable_share"]
        known = "size of the base unknown" if share is None else f"{share:.3%} trainable"
        yield "adapter", f"{size(adapter['bytes'])}, {adapter['parameters']:,} parameters, {known}"
    if use:
        memory, energy = use["peak_memory"], use["energy_j"]
        yield "peak GPU memory", f"missing: {use['reason']}" if memory is None else size(memory)
        yield "energy", f"missing: {use['energy_reason']}" if energy is None else f"{energy / 1000:.1f} kJ"


Standing = Literal["good", "bad", "open", "neutral", "missing"]  # neutral: measured, without a verdict
Topic = Literal[
    "base",
    "prompt",
    "forgotten",
    "slices",
    "cost",
    "full",
    "data",
    "judge",
    "safety",
    "robust",
    "changed",
]  # what a question is about, for those who lead on from it

# One measure speaks for each family: six kinds of overlap must not count six times.
_SPEAKERS = (
    "rougeL", "chrf", "meteor", "bleu_corpus", "exact_match", "numeric_match", "token_f1", "bertscore_f1",
    "macro_f1", "accuracy", "entity_f1", "field_accuracy", "tool_match", "format_compliance",
    "json_parse",
)  # fmt: skip
_QUALITY = frozenset(FAMILIES) - {
    "forgetting",
    "perplexity",
    "robustness",
    "safety",
    "benchmarks",
    "efficiency",
}
_SURPRISE = ("bits_per_byte", "perplexity")


@dataclass(frozen=True, slots=True)
class AnsweredQuestion:
    """A fine-tuner's question, answered; `evidence` holds the numbers behind it, one line each.

    An answer is its `lead` ("yes", "no", "not known"), what is `said`, and `more`: what would settle it.
    """

    question: str
    said: str
    standing: Standing
    evidence: tuple[str, ...] = ()
    topic: Topic = "base"
    lead: str = ""
    more: str = ""

    @property
    def short(self) -> str:
        """The answer without what would settle it."""
        return f"{self.lead}: {self.said}" if self.lead else self.said

    @property
    def answer(self) -> str:
        return f"{self.short}; {self.more}" if self.more else self.short


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Everything stored about a run that a decision uses."""

    run: Run
    models: list[ModelRow]  # those that were evaluated
    answers: list[AnswerCount]
    metrics: list[StoredMetric]
    scores: list[ModelScoreRow]
    comparisons: list[ComparisonRow]
    alerts: list[AlertRow]
    judging: JudgingResults
    slices: list[SliceRow]
    slice_scores: list[SliceScoreRow]
    test_uses: list[SplitUse]
    plan: dict[str, Any]  # its tables; none of a run that was imported
    kappas: dict[tuple[str, str, str], float]  # with people: by judge, candidate and baseline

    def score(self, model: str, measure: str) -> float | None:
        found = (row.value for row in self.scores if (row.model, row.measure) == (model, measure))
        return next(found, None)


@dataclass(frozen=True, slots=True)
class CandidateFacts:
    """One candidate; `measures` are the primary ones, one for each family."""

    facts: RunFacts
    model: ModelRow
    base: ModelRow | None
    prompted: tuple[ModelRow, ...]
    measures: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.model.name

    def is_chosen_on(self, row: ComparisonRow) -> bool:
        """Whether a sweep chose the candidate by what the comparison is about."""
        return self.model.is_chosen_on(row.kind, row.measure)

    def changes(self, baseline: ModelRow) -> list[ComparisonRow]:
        """The primary measures against one baseline.

        Without measures of quality: its benchmarks, else the references' perplexity. A gain on what the
        candidate was chosen by is inconclusive.
        """
        rows = [
            row
            for row in self.facts.comparisons
            if (row.candidate, row.baseline) == (self.name, baseline.name) and row.direction != "none"
        ]
        speaking = [row for row in rows if row.kind == "metric" and row.measure in self.measures]
        return (
            speaking
            or [
                replace(row, standing="inconclusive", needed=None)
                if row.standing == "better" and self.is_chosen_on(row)
                else row
                for row in rows
                if row.kind == "benchmark"
            ]
            or [row for row in rows if row.kind == "metric" and row.measure in _SURPRISE]
        )

    def win_rates(self, baseline: ModelRow) -> list[WinRateRow]:
        """Over whole answers, by every judge that is not part of another."""
        parts = {judge.name for judge in self.facts.judging.judges if (judge.details or {}).get("part_of")}
        return [
            row
            for row in self.facts.judging.win_rates
            if (row.candidate, row.baseline, row.turn) == (self.name, baseline.name, 0)
            and row.judge not in parts
        ]

    def alerts(self, *severities: str) -> list[AlertRow]:
        """This candidate's alerts of these severities, unacknowledged ones first."""
        return [row for row in self.facts.alerts if row.candidate == self.name and row.severity in severities]


def read(connection: history.Connection, run_id: int) -> RunFacts:
    """Raises StoreError for an unknown run."""
    run = history.run(connection, run_id)
    file_version = (run.data_summary or {}).get("file_version") or run.eval_set or ""
    return RunFacts(
        run=run,
        models=[model for model in history.models(connection, run_id) if not model.is_cut],
        answers=answer_counts(connection, run_id),
        metrics=history.metrics(connection, run_id),
        scores=history.model_scores(connection, run_id),
        comparisons=history.comparisons(connection, run_id),
        alerts=history.alerts(connection, run_id, limit=10_000),
        judging=judging(connection, run_id),
        slices=slices.slices(connection, run_id),
        slice_scores=slices.slice_scores(connection, run_id),
        test_uses=test_uses(connection, run.eval_set, file_version) if run.eval_set else [],
        plan=tomllib.loads(run.plan),
        kappas=_kappas(connection, run_id),
    )


def _kappas(connection: Connection, run_id: int) -> dict[tuple[str, str, str], float]:
    """Cohen's kappa of each judge of pairs with people's majority, over the answers that both judged.

    None of fewer than the gate on it needs.
    """
    pairs = labels.labelled_pairs(connection, run_id)
    if not pairs:
        return {}
    names = {model.id: model.name for model in history.models(connection, run_id)}
    judges = [judge for judge in history.judges(connection, run_id) if judge.kind != "pointwise"]
    found = {}
    for candidate, baseline in pairs:
        rows = labels.preferences(connection, run_id, candidate, baseline)
        said = by_key((row.example, row.outcome) for row in rows if not row.turn)
        for judge in judges:
            judged = labels.verdicts(connection, judge.id, candidate, baseline)
            both = [(majority(own), judged[0, name]) for name, own in said.items() if (0, name) in judged]
            if len(both) >= FEWEST_LABELS and (value := kappa(both)) is not None:
                found[judge.name, names[candidate], names[baseline]] = value
    return found


@dataclass(frozen=True, slots=True)
class SimilarScore:
    """A measure on examples that resemble a training question with another answer, and on the rest.

    `standing` is "better" or "worse" on them where chance is ruled out, else "inconclusive", or "not tested".
    """

    measure: str
    similar: float
    rest: float
    n: int
    standing: str

    @property
    def said(self) -> str:
        return (
            f"{self.measure} {number(self.similar)} on {self.n} like a training question, "
            f"{number(self.rest)} on the rest: {self.standing}"
        )


def similar_scores(
    rows: Sequence[SliceScoreRow], model: str, measures: Iterable[str], metrics: Sequence[StoredMetric]
) -> list[SimilarScore]:
    """One model's measures with a value for both parts, in the order given."""
    own = {(row.measure, row.slice): row for row in rows if row.model == model}
    directions = {metric.measure: metric.direction for metric in metrics}
    found = []
    for measure in measures:
        alike, rest = own.get((measure, slices.SIMILAR)), own.get((measure, slices.UNLIKE))
        if alike is None or rest is None or alike.value is None or rest.value is None:
            continue
        standing = "not tested" if alike.p is None else "inconclusive"
        if alike.p is not None and alike.p <= LEVEL:
            higher = directions.get(measure) != "lower"
            standing = "better" if (alike.value > rest.value) == higher else "worse"
        found.append(SimilarScore(measure, alike.value, rest.value, alike.n, standing))
    return found


@dataclass(frozen=True, slots=True)
class WithoutSynthetic:
    """One measure of a candidate against its base over all examples, and over those that no model wrote."""

    whole: ComparisonRow
    without: SliceRow

    @property
    def differs(self) -> bool:
        """Whether both say something else of which is better."""
        return self.whole.standing != self.without.standing and (
            "better" in self._standings or "worse" in self._standings
        )

    @property
    def is_turned(self) -> bool:
        """Whether one says better and the other worse."""
        return self._standings == {"better", "worse"}

    @property
    def _standings(self) -> set[str]:
        return {self.whole.standing, self.without.standing}

    @property
    def said(self) -> str:
        row = self.without
        values = f"{number(row.baseline_value)} → {number(row.candidate_value)}"
        spread = interval(row.low, row.high, sign=True) or "no interval"
        return f"{row.measure} {values}  {number(row.delta, sign=True)} {spread}  n {row.n:,}, {row.standing}"


def without_synthetic(case: "CandidateFacts") -> list[WithoutSynthetic]:
    """The primary measures against the base that have a value on the examples that no model wrote."""
    if case.base is None:
        return []
    real = {
        row.measure: row
        for row in case.facts.slices
        if (row.candidate, row.baseline, row.slice) == (case.name, case.base.name, slices.NOT_SYNTHETIC)
    }
    changes = [row for row in case.changes(case.base) if row.kind == "metric" and row.measure in real]
    return [WithoutSynthetic(row, real[row.measure]) for row in changes]


def cases(facts: RunFacts) -> list[CandidateFacts]:
    """The candidates in the plan's order."""
    measures = primary(facts.metrics)
    return [_case(facts, model, measures) for model in facts.models if model.role == "candidate"]


def _case(facts: RunFacts, candidate: ModelRow, measures: tuple[str, ...]) -> CandidateFacts:
    baselines = [model for model in facts.models if model.role == "baseline"]
    told = {model.name for model in baselines if system_of(model, facts.plan)}
    bare = [model for model in baselines if model.name not in told]
    own = [model for model in bare if _weights(model) == _weights(candidate)]
    base = next(iter([*own, *bare, *baselines]), None)
    prompted = tuple(model for model in baselines if model.name in told and model is not base)
    return CandidateFacts(facts, candidate, base, prompted, measures)


def system_of(model: ModelRow, plan: dict[str, Any]) -> str | None:
    """A model's system prompt, from its details or else the plan."""
    details = model.details or {}
    if "system" in details:
        return details["system"] or None
    tables = [table for table in plan.get("models", ()) if isinstance(table, dict)]
    return next((table.get("system") for table in tables if table.get("name") == model.name), None)


def _weights(model: ModelRow) -> str | None:
    details = model.details or {}
    return details.get("folder") or details.get("path")


def primary(metrics: Sequence[StoredMetric]) -> tuple[str, ...]:
    """The measures of quality that count: one of each family, all of the plan's own, and the judges'."""
    families: dict[str, list[str]] = {}
    for metric in metrics:
        family = family_of(metric.measure, metric.source)
        if metric.direction != "none" and family in _QUALITY:
            families.setdefault(family, []).append(metric.measure)
    return tuple(
        measure
        for family, measures in families.items()
        for measure in (measures if family in (OWN, JUDGE) else [_speaker(measures)])
    )


def _speaker(measures: list[str]) -> str:
    return next((name for name in _SPEAKERS if name in measures), measures[0])


def improvement(row: ComparisonRow) -> float | None:
    """How much better the candidate is, in the measure's unit; negative: worse."""
    if row.delta is None:
        return None
    return -row.delta if row.direction == "lower" else row.delta


def bounds(row: ComparisonRow) -> tuple[float, float] | None:
    """The interval of the improvement."""
    if row.low is None or row.high is None:
        return None
    return (-row.high, -row.low) if row.direction == "lower" else (row.low, row.high)


def least_needed(rows: Iterable[ComparisonRow]) -> str:
    """How many examples the nearest of these differences needs, as a clause; "" if unknown."""
    known = [count for row in rows if (count := row.needed) is not None]
    return f"needs about {min(known):,} examples" if known else ""


def moved(row: ComparisonRow | SliceRow) -> str:
    """Both values of a comparison: exact_match 0.150 → 0.930."""
    return f"{row.measure} {number(row.baseline_value)} → {number(row.candidate_value)}"


def measured(row: ComparisonRow) -> str:
    """A comparison with its interval and n; a missing one with its reason."""
    if row.delta is None:
        return f"{row.measure}: missing, {row.reason or 'no reason was recorded'}"
    spread = interval(row.low, row.high, sign=True) or "no interval"
    return f"{moved(row)}  {number(row.delta, sign=True)} {spread}  n {row.n:,}"


_OF_ITSELF = {
    "worse": "worse than its own plain form",
    "better": "better than its own plain form",
    "no worse": "no worse than its own plain form",
    "inconclusive": "inconclusive against its own plain form",
    "not tested": "not tested against its own plain form",
    "at the floor": NONE_RIGHT,
}


def against_plain(row: ModelScoreRow) -> str:
    """The ruling on what a perturbation costs a model; "" of other measures, and where nothing is known."""
    word = _OF_ITSELF.get(row.standing or "", "")
    return word if row.p is None or row.standing == "at the floor" else f"{word} (p {probability(row.p)})"


def own_drop(row: ModelScoreRow) -> str:
    """What a perturbation costs a model, with its interval and the ruling."""
    spread = interval(row.low, row.high) or "no interval"
    form = row.measure.removeprefix(DROP)
    return f"{form} cost {row.model} {number(row.value)} {spread}, n {row.n:,}: {against_plain(row)}"


@dataclass(frozen=True, slots=True)
class PreviousRun:
    """The newest finished run of the same name before a run."""

    run: Run
    models: list[ModelRow]
    scores: list[ModelScoreRow]

    def candidate(self, name: str, alone: bool) -> ModelRow | None:
        """The candidate of that name; with `alone` the only one, whatever its name."""
        found = [model for model in self.models if model.role == "candidate" and not model.is_cut]
        same = next((model for model in found if model.name == name), None)
        return found[0] if same is None and alone and len(found) == 1 else same


def read_before(connection: Connection, run_id: int) -> PreviousRun | None:
    """None where there is no such run."""
    found = runs.previous_run(connection, run_id)
    return None if found is None else _read(connection, found)


def _read(connection: Connection, run_id: int) -> PreviousRun:
    return PreviousRun(
        history.run(connection, run_id),
        history.models(connection, run_id),
        history.model_scores(connection, run_id),
    )


def retrainings(connection: Connection, older: int, newer: int) -> list[Retrained]:
    """How each candidate's training differs from its counterpart's in the older run."""
    before = _read(connection, older)
    models = history.models(connection, newer)
    candidates = [model for model in models if model.role == "candidate" and not model.is_cut]
    pairs = [(before.candidate(model.name, len(candidates) == 1), model) for model in candidates]
    return [retrained(model.name, old.details, model.details) for old, model in pairs if old is not None]


def changed(case: CandidateFacts, before: PreviousRun, *, alone: bool) -> AnsweredQuestion | None:
    """The training settings that changed, with both runs' primary scores."""
    question = f"Changed since run {before.run.id}?"
    model = before.candidate(case.name, alone)
    if model is None:
        return None
    found = retrained(case.name, model.details, case.model.details)
    same = model.fingerprint is not None and model.fingerprint == case.model.fingerprint
    weights = "same weights" if same else "different weights"
    evidence = [weights, *(change.said for change in found.changes), *_scores(case, before, model.name)]
    if found.reason:
        return AnsweredQuestion(question, f"{weights}; {found.said}", "missing", tuple(evidence), "changed")
    return AnsweredQuestion(
        question,
        found.said if found.changes else f"no training setting; {weights}",
        "good",
        tuple(evidence),
        "changed",
    )


def _scores(case: CandidateFacts, before: PreviousRun, name: str) -> list[str]:
    if before.run.eval_set is None or before.run.eval_set != case.facts.run.eval_set:
        return ["another eval set: scores are not comparable"]
    old = {row.measure: row.value for row in before.scores if row.model == name}
    return [
        f"{measure} {number(old[measure])} → {number(case.facts.score(case.name, measure))}"
        for measure in case.measures
        if measure in old
    ] + [f"assay compare {before.run.id} {case.facts.run.id} shows whether that is more than chance"]
