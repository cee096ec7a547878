"""What the Compare screen reads, and its lines by family for one candidate and one baseline."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from engine.compare.forgetting import ForgettingRow, forgetting
from engine.compare.ruling import rule_on_rate
from engine.decision.facts import against_plain
from engine.decision.families import BENCHMARKS, FORGETTING, JUDGE, common_word, family_of, rank, summarize
from engine.decision.judges import subject
from store.read import evidence, history, judging, slices
from store.read.answers import AnswerCount, answer_counts
from store.read.history import Connection
from store.read.judging import AuditRow
from store.read.query import matches
from store.read.rows import BenchmarkRow, ComparisonRow, ModelRow, ModelScoreRow, WinRateRow
from store.read.slices import DisparityRow, SliceRow
from store.records import StoredMetric
from store.records.judging import WITHOUT_SYNTHETIC
from tui.sections.measures import between_samples

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Numbers:
    """All that was computed in a run."""

    models: list[ModelRow]
    metrics: list[StoredMetric]
    scores: list[ModelScoreRow]
    comparisons: list[ComparisonRow]
    win_rates: list[WinRateRow]
    benchmarks: list[BenchmarkRow]
    disparities: list[DisparityRow] = field(default_factory=list)
    forgetting: list[ForgettingRow] = field(default_factory=list)
    answers: list[AnswerCount] = field(default_factory=list)
    real: list[SliceRow] = field(default_factory=list)  # on the examples that no model wrote
    real_rates: list[AuditRow] = field(default_factory=list)  # win rates on them


@dataclass(frozen=True, slots=True)
class MeasureCell:
    """One model's value of a measure, or the reason why it has none."""

    model: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    missing: int
    reason: str | None
    is_gap: bool = False  # of a disparity: the groups are told apart by more than chance
    between: str = ""  # how far the samples of one prompt lie apart
    own: str = ""  # of what a perturbation costs: the ruling on it against the model's own plain form


@dataclass(frozen=True, slots=True)
class MeasureLine:
    """A measure: the models' values and the comparison. A disparity's values are differences of groups."""

    kind: str  # metric benchmark corpus disparity
    name: str
    direction: str
    meaning: str
    cells: tuple[MeasureCell, ...]
    compared: ComparisonRow | None
    declared: StoredMetric | None = None
    real: SliceRow | None = None  # the comparison on the examples that no model wrote

    @property
    def gaps(self) -> list[str]:
        """What is not there, counted and with its reason."""
        found = [
            f"{cell.model} {f'{cell.missing:,} missing' if cell.value is not None else 'none'}: {cell.reason}"
            for cell in self.cells
            if cell.reason
        ]
        row = self.compared
        if row is not None and row.low is None:
            word = "not compared: " if row.delta is None else ""
            found.insert(0, f"{word}{row.reason or 'no reason was recorded'}")
        return found

    @property
    def is_gap(self) -> bool:
        """Whether it is a disparity that is settled for the candidate."""
        return self.cells[1].is_gap


@dataclass(frozen=True, slots=True)
class JudgeLine:
    """One judge's win rate."""

    row: WinRateRow
    real: AuditRow | None = None  # its rate on the examples that no model wrote


@dataclass(frozen=True, slots=True)
class ForgettingLine:
    """One thing that the candidate may have forgotten."""

    row: ForgettingRow


CompareLine = MeasureLine | JudgeLine | ForgettingLine


def read_numbers(connection: Connection, run_id: int) -> Numbers:
    comparisons = history.comparisons(connection, run_id)
    models = [model for model in history.models(connection, run_id) if not model.is_cut]
    return Numbers(
        models,
        history.metrics(connection, run_id),
        history.model_scores(connection, run_id),
        comparisons,
        history.win_rates(connection, run_id),
        history.benchmarks(connection, run_id),
        slices.disparities(connection, run_id),
        forgetting(comparisons, models),
        answer_counts(connection, run_id),
        [row for row in slices.slices(connection, run_id) if row.slice == slices.NOT_SYNTHETIC],
        [row for row in judging.audits(connection, run_id) if row.measure == WITHOUT_SYNTHETIC],
    )


def values_of(connection: Connection, run_id: int, entry: MeasureLine) -> dict[str, list[float]]:
    """The baseline's and the candidate's values of a measure, of single examples or questions, by model."""
    names = [cell.model for cell in entry.cells[:2]]
    ids = {model.name: model.id for model in history.models(connection, run_id)}
    if entry.kind != "benchmark":
        return {name: evidence.measure_values(connection, ids[name], entry.name) for name in names}
    keys = {
        (score.model, score.task, score.metric, score.filter)
        for score in history.benchmarks(connection, run_id)
        if benchmark_name(score) == entry.name
    }
    return {
        name: [
            row.value
            for row in evidence.benchmark_values(connection, ids[name])
            if row.value is not None and (name, row.task, row.metric, row.filter) in keys
        ]
        for name in names
    }


def ordered(models: Iterable[ModelRow], candidate: str, baseline: str) -> list[str]:
    """The models' names as the columns stand: the compared pair first."""
    names = [model.name for model in models]
    return [baseline, candidate, *(name for name in names if name not in (candidate, baseline))]


def metric_lines(numbers: Numbers, candidate: str, baseline: str) -> list[MeasureLine]:
    return [_metric(numbers, metric, candidate, baseline) for metric in numbers.metrics]


def judge_lines(numbers: Numbers, candidate: str, baseline: str) -> list[JudgeLine]:
    real = {(row.judge, row.subject): row for row in numbers.real_rates}
    return [
        JudgeLine(row, None if row.turn else real.get((row.judge, subject(row))))
        for row in numbers.win_rates
        if _is(row, candidate, baseline)
    ]


def forgetting_lines(numbers: Numbers, candidate: str, baseline: str) -> tuple[str, list[ForgettingLine]]:
    """The baseline that they are against, and a line for each aspect."""
    rows = [row for row in numbers.forgetting if row.candidate == candidate]
    against = _against({row.baseline for row in rows}, numbers, baseline)
    return against, [ForgettingLine(row) for row in rows if row.baseline == against]


def disparity_lines(numbers: Numbers, candidate: str, baseline: str) -> list[MeasureLine]:
    """A line for each measure and two groups: how far each model's values for them are apart."""
    found: dict[tuple[str, str, str], dict[str, DisparityRow]] = {}
    for row in numbers.disparities:
        found.setdefault((row.measure, row.first, row.second), {})[row.model] = row
    return [
        MeasureLine(
            "disparity",
            f"{measure}: {first} − {second}",
            "none",
            f"{measure} for prompts about {first} less that for the same ones about {second}",
            tuple(
                MeasureCell(name, gap.delta, gap.low, gap.high, gap.n, 0, gap.reason, gap.is_settled)
                if (gap := rows.get(name))
                else MeasureCell(name, None, None, None, 0, 0, "not computed yet")
                for name in ordered(numbers.models, candidate, baseline)
            ),
            None,
        )
        for (measure, first, second), rows in found.items()
    ]


def benchmark_lines(numbers: Numbers, candidate: str, baseline: str) -> tuple[str, list[MeasureLine]]:
    """The benchmarks. Baselines that share their weights are benchmarked once, under the first one's name."""
    rows = [row for row in numbers.comparisons if row.kind == "benchmark" and row.candidate == candidate]
    against = _against({row.baseline for row in rows}, numbers, baseline)
    found: dict[str, dict[str, BenchmarkRow]] = {}
    for score in numbers.benchmarks:
        found.setdefault(benchmark_name(score), {})[score.model] = score
    lines: list[MeasureLine] = []
    for name, scores in found.items():
        any_score = next(iter(scores.values()))
        cells = [_benchmark_cell(model, scores) for model in ordered(numbers.models, candidate, against)]
        compared = [row for row in rows if row.measure == name and row.baseline == against]
        direction = "higher" if any_score.higher_is_better else "lower"
        shots = f"{any_score.shots}-shot, " if any_score.shots is not None else ""
        meaning = f"lm-eval, {shots}task version {any_score.version}"
        lines.append(MeasureLine("benchmark", name, direction, meaning, tuple(cells), _first(compared)))
    return against, lines


def benchmark_name(score: BenchmarkRow) -> str:
    """How comparisons call this benchmark."""
    name = f"{score.task} · {score.metric}"
    return name if score.filter == "none" else f"{name} ({score.filter})"


def task_of(name: str) -> str:
    """The task of a benchmark's name."""
    return name.partition(" · ")[0]


def _against(compared: set[str], numbers: Numbers, baseline: str) -> str:
    """The baseline that was compared with: the chosen one, or the first where that has no numbers."""
    if baseline in compared or not compared:
        return baseline
    return next(model.name for model in numbers.models if model.name in compared)


def _is(row: WinRateRow | ComparisonRow | SliceRow, candidate: str, baseline: str) -> bool:
    return row.candidate == candidate and row.baseline == baseline


def _metric(numbers: Numbers, metric: StoredMetric, candidate: str, baseline: str) -> MeasureLine:
    scores = {score.model: score for score in numbers.scores if score.measure == metric.measure}
    cells = [
        MeasureCell(
            *(s.model, s.value, s.low, s.high, s.n, s.missing, s.reason),
            between=between_samples(s),
            own=against_plain(s),
        )
        if (s := scores.get(name))
        else MeasureCell(name, None, None, None, 0, 0, "not computed yet")
        for name in ordered(numbers.models, candidate, baseline)
    ]
    compared = [
        row
        for row in numbers.comparisons
        if row.kind != "benchmark" and row.measure == metric.measure and _is(row, candidate, baseline)
    ]
    kind = "corpus" if compared and compared[0].kind == "corpus" else "metric"
    about = (metric.measure, metric.direction, metric.meaning)
    real = [row for row in numbers.real if row.measure == metric.measure and _is(row, candidate, baseline)]
    return MeasureLine(kind, *about, tuple(cells), _first(compared), metric, _first(real))


def _benchmark_cell(model: str, scores: dict[str, BenchmarkRow]) -> MeasureCell:
    score = scores.get(model)
    if score is None:
        return MeasureCell(
            model, None, None, None, 0, 0, "not benchmarked: the same weights as another model here"
        )
    error = None if score.value is None or score.stderr is None else 1.96 * score.stderr
    low, high = (
        (None, None) if error is None or score.value is None else (score.value - error, score.value + error)
    )
    return MeasureCell(model, score.value, low, high, score.n, 0, score.reason)


def _first(rows: list[T]) -> T | None:
    return rows[0] if rows else None


@dataclass(frozen=True, slots=True)
class FamilyHeading:
    """The line that heads a family. `worst` is the line that speaks most of a worsening."""

    name: str
    kind: str  # which columns its lines have: metric verdict benchmark forgetting
    against: str  # the baseline of its numbers, where that is not the chosen one
    size: int
    worse: int
    better: int
    unequal: int  # clear differences between groups of people
    word: str  # of lines of which none differs clearly
    worst: CompareLine | None
    gaps: tuple[str, ...]  # what its lines lack, and why
    open: bool


@dataclass(frozen=True, slots=True)
class FamilyGroup:
    """A family before it is decided whether it is open."""

    name: str
    kind: str
    against: str
    lines: Sequence[CompareLine]

    def headed(self, is_open: bool) -> FamilyHeading:
        worse, better, worst = _standing(self.lines)
        unequal = sum(isinstance(line, MeasureLine) and line.is_gap for line in self.lines)
        gaps = dict.fromkeys(gap for line in self.lines if isinstance(line, MeasureLine) for gap in line.gaps)
        size = len(self.lines)
        return FamilyHeading(
            self.name, self.kind, self.against, size, worse, better, unequal, common_word(_words(self.lines)),
            worst, tuple(gaps), is_open,
        )  # fmt: skip


Entry = FamilyHeading | MeasureLine | JudgeLine | ForgettingLine


def groups(numbers: Numbers, candidate: str, baseline: str, search: str = "") -> list[FamilyGroup]:
    """What was forgotten, then the families with a clear worsening, then the others in their usual order.

    `search` keeps the lines whose name has its words, and whole families of such a name.
    """
    found: dict[tuple[str, str], FamilyGroup] = {}
    for group in _all(numbers, candidate, baseline):
        lines = [
            line for line in group.lines if matches(search, {"family": group.name, "name": name_of(line)})
        ]
        if lines:
            against = group.against if group.against != baseline else ""
            key = (group.name, group.kind)
            above = found[key].lines if key in found else ()
            found[key] = FamilyGroup(group.name, group.kind, against, [*above, *lines])
    return sorted(found.values(), key=_place)


def fitting(found: Sequence[FamilyGroup], room: int) -> frozenset[str]:
    """The families that are open unless somebody folds: as many from the first on as fit into `room`."""
    used, opened = len(found), set()
    for group in found:
        used += len(group.lines)
        if used > room:
            break
        opened.add(group.name)
    return frozenset(opened)


def entries(found: Sequence[FamilyGroup], opened: Collection[str]) -> list[Entry]:
    """The screen's lines."""
    shown: list[Entry] = []
    for group in found:
        is_open = group.name in opened
        shown += [group.headed(is_open), *(group.lines if is_open else ())]
    return shown


def name_of(line: CompareLine) -> str:
    if isinstance(line, JudgeLine):
        return line.row.judge
    return line.row.aspect if isinstance(line, ForgettingLine) else line.name


def _all(numbers: Numbers, candidate: str, baseline: str) -> list[FamilyGroup]:
    against, forgot = forgetting_lines(numbers, candidate, baseline)
    made = [FamilyGroup(FORGETTING, "forgetting", against, forgot)]
    for line in metric_lines(numbers, candidate, baseline):
        family = family_of(line.name, line.declared.source if line.declared else "")
        made.append(FamilyGroup(family, "metric", baseline, [line]))
    made.append(FamilyGroup("safety", "metric", baseline, disparity_lines(numbers, candidate, baseline)))
    made.append(FamilyGroup(JUDGE, "verdict", baseline, judge_lines(numbers, candidate, baseline)))
    against, benchmarks = benchmark_lines(numbers, candidate, baseline)
    made.append(FamilyGroup(BENCHMARKS, "benchmark", against, benchmarks))
    return made


def _words(lines: Sequence[CompareLine]) -> Iterator[str]:
    for line in lines:
        if isinstance(line, JudgeLine):
            yield rule_on_rate(line.row)
        elif isinstance(line, ForgettingLine):
            yield line.row.standing
        elif line.compared:
            yield line.compared.standing
        elif line.kind == "disparity":
            yield "inconclusive"


def _place(group: FamilyGroup) -> tuple[bool, bool, int]:
    return group.name != FORGETTING, not _standing(group.lines)[0], rank(group.name)


def _standing(lines: Sequence[CompareLine]) -> tuple[int, int, CompareLine | None]:
    """How many lines are clearly worse and better, and the worst."""
    measured = {line.name: line for line in lines if isinstance(line, MeasureLine) and line.compared}
    found = summarize(line.compared for line in measured.values() if line.compared)
    worse, better = found.worse, found.better
    worst: CompareLine | None = measured[found.worst.measure] if found.worst else None
    for line in lines:
        if isinstance(line, JudgeLine):
            worse += rule_on_rate(line.row) == "worse"
            better += rule_on_rate(line.row) == "better"
        elif isinstance(line, ForgettingLine):
            worse += line.row.standing == "worse"
            better += line.row.standing == "better"
    judged = [line for line in lines if isinstance(line, JudgeLine) and line.row.win_rate is not None]
    forgot = [line for line in lines if isinstance(line, ForgettingLine) and line.row.standing == "worse"]
    return worse, better, worst or min(judged, key=_rate, default=None) or next(iter(forgot), None)


def _rate(line: JudgeLine) -> float:
    return line.row.win_rate or 0.0
