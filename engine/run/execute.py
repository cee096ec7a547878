"""Executes the phases of one run in order. A phase skips finished work: this is how a run resumes.

A run that follows a training executes them for each of its checkpoints as it is saved, which lengthens the
run's curve.
"""

import hashlib
import logging
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from engine.data.suites import PREFIX
from engine.data.textfile import write_text
from engine.errors import AssayError, BadInput, Paused, refused
from engine.gates.checks import all_passed
from engine.metrics.suites import suite_metrics
from engine.models import cores
from engine.models.folder import unfinished
from engine.phases import data
from engine.phases.benchmarks import benchmark
from engine.phases.benchmarks import pieces as benchmark_pieces
from engine.phases.compare import compare, measured_use
from engine.phases.generate import Each, Loader, Step, generate, grouped
from engine.phases.judge import asked_judges, judge_all, judge_pieces
from engine.phases.judging.shared import open_purse
from engine.phases.score import declare, measures, score, text_metrics
from engine.phases.scoring import calibration
from engine.phases.scoring.perplexity import (
    corpora,
    corpora_pieces,
    perplexity,
    validation_loss,
    validation_piece,
    why_unmeasured,
)
from engine.phases.scoring.robustness import (
    measures_of_robustness,
    paraphrase,
    prepare_variants,
    score_variants,
    variant_pieces,
    wants_paraphrases,
)
from engine.phases.sweep import drop_cut, funnel, is_open
from engine.phases.sweep import pieces as sweep_pieces
from engine.phases.work import CHECKPOINT, FOLLOW, STOP, Meter, Piece, Stopped, Work, plan_of
from engine.plan.paths import read_json
from engine.plan.plan import Model
from engine.plan.sweep import STATE, step_of
from engine.plan.training_config import read_training_config
from engine.run.environment import OtherHardware, hold_to_hardware
from engine.run.tracking import start_tracking
from store import records
from store.errors import StoreError
from store.write import Recorder

State = dict[str, Any]  # of a checkpoint: its folder, step and files, when it was evaluated or why not


@contextmanager
def computing(work: Work) -> Iterator[Each]:
    """The plan's engine, ready to work; the weights that it has loaded are kept until the end.

    Raises CannotRun when the cluster of the plan cannot be had, and BadInput when its engine is not here.
    """
    if work.plan.compute.engine == "ray":
        from engine.cluster import connect

        connect(work.plan.compute.address)
        from engine.phases.fleet import Fleet

        with Fleet(work) as fleet:
            yield fleet.each
        return
    if work.plan.generation.engine != "transformers":
        from engine.phases.served import Serving

        with Serving(work) as serving:
            yield serving.each
        return
    loader = Loader(work)

    def each(models: Sequence[Model], step: Step) -> None:
        for model in models:
            step(work, model, loader)

    try:
        yield each
    finally:
        loader.close()


def execute(
    recorder: Recorder,
    store: Path,
    request: Callable[[], str | None],
    ends_with_phase: Callable[[], bool] = lambda: False,
) -> None:
    """Takes a claimed run from its current state to its end.

    Raises Stopped between two stored pieces of work when `request` says so, or at the end of a phase when
    `ends_with_phase` does, and AssayError or StoreError when the run cannot go on; finished work is saved
    in either case.
    """
    row = recorder.run()
    recorder.set_run(started=row.started or time.time())
    if FOLLOW in (row.options or {}):
        follow(recorder, store, request, ends_with_phase)
    else:
        work = Work(plan_of(row), recorder, store, dict(row.options or {}), request)
        _evaluate(work, ends_with_phase)


def _evaluate(
    work: Work, ends_with_phase: Callable[[], bool] = lambda: False, known: State | None = None
) -> None:
    """All phases of the work's plan; one that waits for its first candidate is not compared.

    `known` is what a new row of its checkpoint begins with.
    """
    recorder = work.recorder
    if FOLLOW not in work.options or any(model.kind == "local" for model in work.plan.models):
        recorder.set_run(environment=hold_to_hardware(work))
    open_purse(work)
    _declare_models(work, known)
    only = work.options.get("only")
    for phases, step in _STEPS if work.plan.candidates else _STEPS[:2]:
        if only is None or only in phases or "data" in phases:
            recorder.set_run(phase=phases[0])
            with cores.shared(fixed=work.plan.generation.deterministic):
                step(work)
            work.checkpoint()
            if ends_with_phase() and step is not compare:
                raise Stopped("pause")
    if only:
        recorder.set_run(options={**work.options, "only": None})
        said = f"only {only} was requested; resuming does the rest"
        recorder.event("info", only, said)
        raise Stopped("pause", said)


def _declare_models(work: Work, checkpoint: State | None) -> None:
    rows = work.recorder.rows(records.StoredModel, run_id=work.recorder.run_id)
    known = {row.name: row.id for row in rows}
    new = [model for model in work.plan.models if model.name not in known]
    with work.recorder.transaction() as transaction:
        for position, model in enumerate(new, _next_position(rows)):
            known[model.name] = transaction.insert(
                records.StoredModel(
                    run_id=work.recorder.run_id,
                    name=model.name,
                    role=model.role,
                    kind=model.kind,
                    position=position,
                    details=_facts(model, checkpoint),
                )
            )
    work.model_ids = known


def _next_position(rows: Sequence[records.StoredModel]) -> int:
    return 1 + max((row.position for row in rows), default=-1)


def _facts(model: Model, checkpoint: State | None) -> dict[str, Any] | None:
    """A model's training config, read before anything runs, so that later edits do not count; and what is
    known of it as a `checkpoint`, at least its training step.
    """
    found: dict[str, Any] = {}
    if model.training_config is not None:
        found["training"] = read_training_config(model.training_config).as_details()
    folder = Path(str(model.adapter or model.path))
    if model.sweep is not None and checkpoint is not None:
        found[CHECKPOINT] = checkpoint
    elif model.sweep is not None and (step := step_of(folder)) is not None:
        found[CHECKPOINT] = {"step": step, "folder": folder.name}
    return found or None


def _prepare(work: Work) -> None:
    data.prepare(work)
    prepare_variants(work)
    declare(work, measures_of_robustness(work))
    if not is_open(work):
        drop_cut(work)
    work.announce(list(_pieces(work)))


def _pieces(work: Work) -> Iterator[Piece]:
    """Everything the run will do, in the order of the phases; until a sweep is cut, no more than that."""
    plan, count = work.plan, len(work.examples)
    answers = (count + len(work.suites)) * plan.generation.samples
    yield Piece("data", plan.data.examples.name, "examples", count)
    if is_open(work):
        yield from sweep_pieces(work)
        return
    for model in grouped(plan.models):
        variants = len(work.variants_of(model)) * plan.generation.samples
        yield Piece("generate", model.name, "responses", answers + variants)
    if "perplexity" in plan.metrics.use:
        for model in grouped(plan.models):
            yield Piece("perplexity", model.name, "texts", count)
    if calibration.is_asked(plan):
        yield from (calibration.piece(work, model) for model in grouped(plan.models))
    if work.validation:
        yield from (
            validation_piece(work, model)
            for model in grouped(plan.models)
            if why_unmeasured(plan, model) is None
        )
    yield from corpora_pieces(plan, grouped(plan.models))
    yield from benchmark_pieces(work, grouped(plan.models))
    of_each = plan.generation.samples * len(plan.models)
    for name in text_metrics(plan):
        yield Piece("score", name, "responses", count * of_each)
    for name, metric in suite_metrics(work.suites, plan.metrics.settings).items():
        yield Piece("score", f"{PREFIX}{name}", "responses", len(metric.asked(work.suites)) * of_each)
    yield from variant_pieces(work)
    for judge_plan in asked_judges(work):
        yield from judge_pieces(work, judge_plan)
    yield Piece("compare", "all models", "measures", len(measures(plan)) + 1)


def _weights(work: Work) -> None:
    """Generation, perplexity and benchmarks, base by base, so that each base is loaded once."""
    with computing(work) as each:
        if wants_paraphrases(work):
            assert work.plan.robustness is not None and work.plan.robustness.paraphrase is not None
            each([work.plan.model(work.plan.robustness.paraphrase)], paraphrase)
            work.announce(list(_pieces(work)))
        if is_open(work):
            funnel(work, each)
            work.announce(list(_pieces(work)))
        each(grouped(work.plan.models), _weights_of)


def _weights_of(work: Work, model: Model, loader: Loader) -> None:
    only = work.options.get("only")
    if only in (None, "generate"):
        work.recorder.set_run(phase="generate")
        with measured_use(work, model):
            generate(work, model, loader)
    if only in (None, "perplexity") and "perplexity" in work.plan.metrics.use:
        work.recorder.set_run(phase="perplexity")
        perplexity(work, model, loader)
    if only in (None, "perplexity") and calibration.is_asked(work.plan):
        work.recorder.set_run(phase="perplexity")
        calibration.calibrate(work, model, loader)
    if work.validation:
        work.recorder.set_run(phase="perplexity")
        validation_loss(work, model, loader)
    if only in (None, "perplexity") and work.plan.metrics.corpora:
        work.recorder.set_run(phase="perplexity")
        corpora(work, model, loader)
    if only in (None, "benchmarks") and work.plan.benchmarks is not None:
        work.recorder.set_run(phase="benchmarks")
        benchmark(work, model, loader)
    work.checkpoint()


def _score(work: Work) -> None:
    score(work)
    score_variants(work)


_STEPS: tuple[tuple[tuple[str, ...], Callable[[Work], None]], ...] = (
    (("data",), _prepare),
    (("generate", "perplexity", "benchmarks"), _weights),
    (("score",), _score),
    (("judge",), judge_all),
    (("compare",), compare),
)


WEIGHTS = "*.safetensors"
LOOK = 2.0  # seconds between two looks at the folder
_NAP = 0.2  # seconds within which a request is heard
_REASONS = 5  # of a gate, that STOP holds
log = logging.getLogger("assay.follow")


class Landing:
    """The checkpoints in a training's folder, and which of them have changed between the last two looks."""

    def __init__(self, pattern: str) -> None:
        self.folder = Path(pattern).parent
        self.steps: dict[Path, int] = {}  # in the order of the steps
        self.changing: set[Path] = set()
        self.stepless: set[Path] = set()  # folders that tell no step
        self.far: tuple[int, int] | None = None  # the training's step and its last one, where it wrote them
        self._name = Path(pattern).name
        self._seen: dict[Path, str] = {}
        self._told: dict[Path, int | None] = {}

    def look(self) -> None:
        found = {path: _files(path) for path in self.folder.glob(self._name) if path.is_dir()}
        changing = {path for path, files in found.items() if self._seen.get(path) != files}
        # A trainer's state grows with the training: it is read again where a file is another.
        told = {path: step_of(path) if path in changing else self._told[path] for path in found}
        self._seen, self._told = found, told
        steps = sorted((step, path) for path, step in told.items() if step is not None)
        self.steps = {path: step for step, path in steps}
        self.changing = changing & self.steps.keys()
        self.stepless = found.keys() - self.steps.keys() - changing
        self.far = self._far()

    def state(self, checkpoint: Path) -> State:
        """What tells these files from others under the same name."""
        weights = _files(checkpoint, WEIGHTS)
        return {
            "folder": checkpoint.name,
            "step": self.steps[checkpoint],
            "files": self._seen[checkpoint],
            "weights": weights,
        }

    def is_passed(self, checkpoint: Path) -> bool:
        """Whether the training is past it: it wrote its last file, or a later checkpoint is whole."""
        later = [path for path, step in self.steps.items() if step > self.steps[checkpoint]]
        return (checkpoint / STATE).is_file() or any(unfinished(path) is None for path in later)

    def _far(self) -> tuple[int, int] | None:
        """By the state that was written last."""
        found = []
        for place in (self.folder, *list(self.steps)[-1:]):
            try:
                state, written = read_json(place / STATE), (place / STATE).stat().st_mtime
            except (BadInput, OSError):
                continue
            step, most = state.get("global_step"), state.get("max_steps")
            if type(step) is int and type(most) is int and most > 0:
                found.append((written, step, most))
        return max(found)[1:] if found else None

    @property
    def is_trained(self) -> bool:
        """Whether the training has made its last step."""
        return self.far is not None and self.far[0] >= self.far[1]


def _files(folder: Path, pattern: str = "*") -> str:
    """A hash of the names, sizes and times of files."""
    lines = []
    for path in sorted(folder.rglob(pattern)):
        try:
            stat = path.stat()
        except OSError:  # renamed or deleted meanwhile
            lines.append(f"{path} gone")
            continue
        lines.append(f"{path.relative_to(folder)} {stat.st_size} {stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def follow(
    recorder: Recorder, store: Path, request: Callable[[], str | None], ends: Callable[[], bool]
) -> None:
    """Evaluates what has landed and what lands, until the training ends, or as far as the run was asked to.

    A checkpoint is taken up once its files are whole and have not changed between two looks. What is done is
    known by the run's models, so that a follower that was killed at any moment goes on where it stood. An
    error of a checkpoint is told and counted, and the next worker tries it again, since it may have been the
    machine's. Raises Stopped when `request` says so, or after a checkpoint when `ends` does, and AssayError
    for other hardware and for what is wrong with the plan itself.
    """
    follower = _Follower(recorder, store, request)
    follower.evaluate(None)
    while follower.turn():
        if ends():
            raise Stopped("pause")


class _Follower:
    """One worker's following of one training."""

    def __init__(self, recorder: Recorder, store: Path, request: Callable[[], str | None]) -> None:
        self._recorder, self._store, self._request = recorder, store, request
        run = recorder.run()
        self._landing = Landing((run.options or {})[FOLLOW]["pattern"])
        self._stop_after = plan_of(run).follow.stop_after
        self._meter: Meter | None = None
        self._sending: list[subprocess.Popen[bytes]] = []
        self._done = 0  # the last step that is evaluated
        self._told: set[str] = set()
        self._tried: set[str] = set()  # checkpoints that this worker could not evaluate
        self._look()
        self._there = set(self._landing.steps.values())  # which tell nothing of the training's pace

    def turn(self) -> bool:
        """Looks, evaluates one checkpoint that is whole and new, and says whether to go on.

        No more is to come once the training is done, as far as was asked, and where a STOP file is.
        """
        self._wait()
        self._look()
        landing, asked, known = self._landing, self._asked(), self._known()
        self._show(known)
        until, awaited = asked.get("until"), bool(landing.changing)
        for checkpoint in self._due(known):
            if checkpoint in landing.changing:
                continue
            reason = unfinished(checkpoint)
            if reason is None:
                self.evaluate(checkpoint)
                return True
            if asked.get("once") or landing.is_trained or landing.is_passed(checkpoint):
                self._fail(checkpoint, reason)
            else:
                awaited = True
        self._stop_the_training()
        if asked.get("once") or landing.is_trained or (until and max([0, *landing.steps.values()]) >= until):
            return awaited
        return not (landing.folder / STOP).exists()

    def evaluate(self, checkpoint: Path | None) -> None:
        """One round: the baselines, and a checkpoint; what is done of it is not done again."""
        try:
            self._evaluate(checkpoint)
        except (Stopped, Paused, OtherHardware, StoreError):
            raise
        except Exception as error:
            if checkpoint is None:
                raise
            log.exception("%s", checkpoint)
            said = error.message if isinstance(error, AssayError) else refused(error)
            self._fail(checkpoint, said or f"unexpected {type(error).__name__}: {error}")
        self._look()
        self._stop_the_training()
        self._recorder.set_run(phase=FOLLOW)
        self._show(self._known())
        if all(process.poll() is not None for process in self._sending):  # a slow tracker gets fewer of them
            self._sending = start_tracking(self._store, self._recorder.run())

    def _evaluate(self, checkpoint: Path | None) -> None:
        run = self._recorder.run()
        plan = plan_of(run, [] if checkpoint is None else [str(checkpoint)])
        work = Work(plan, self._recorder, self._store, dict(run.options or {}), self._request)
        if checkpoint is None:
            _evaluate(work)
            return
        state = self._landing.state(checkpoint)
        if (row := self._row(checkpoint)) is not None:
            before = (row.details or {})[CHECKPOINT]
            if "failed" in before or before.get("files", state["files"]) != state["files"]:
                self._begin_anew(row)
        _evaluate(work, known=state)
        if unfinished(checkpoint) is None and _files(checkpoint, WEIGHTS) != state["weights"]:
            self._tell("warning", f"{checkpoint.name} was written again meanwhile: it is evaluated anew")
            row = self._row(checkpoint)
            assert row is not None
            self._begin_anew(row)
            return
        self._note(plan.candidates[0].name, {**state, "evaluated": time.time()})
        self._recorder.event("info", FOLLOW, f"{checkpoint.name}: evaluated")

    def _begin_anew(self, row: records.StoredModel) -> None:
        """Takes back what a checkpoint answered, perhaps with other files than those it has now.

        Answers on which a person wrote stay, under another name: they are neither in the curve nor in the
        verdict.
        """
        if self._recorder.clear_model(row.id):
            return
        taken = {each.name for each in self._recorder.rows(records.StoredModel, run_id=row.run_id)}
        names = (f"{row.name} (earlier files{f' {place}' if place > 1 else ''})" for place in count(1))
        details = {key: value for key, value in (row.details or {}).items() if key != CHECKPOINT}
        with self._recorder.transaction() as transaction:
            transaction.clear(records.ModelScore, model_id=row.id)
            transaction.clear(records.StoredComparison, candidate_id=row.id)
            name = next(name for name in names if name not in taken)
            transaction.update(records.StoredModel, row.id, name=name, role="earlier", details=details)

    def _models(self) -> list[tuple[records.StoredModel, State]]:
        """The run's checkpoints, with what is known of them, in the order of their steps."""
        rows = self._recorder.rows(records.StoredModel, run_id=self._recorder.run_id)
        found = [(row, state) for row in rows if (state := (row.details or {}).get(CHECKPOINT))]
        return sorted(found, key=lambda each: each[1]["step"])

    def _known(self) -> dict[str, State]:
        """What is known of each checkpoint, by the name of its folder."""
        return {state["folder"]: state for _, state in self._models()}

    def _row(self, checkpoint: Path) -> records.StoredModel | None:
        return next((row for row, state in self._models() if state["folder"] == checkpoint.name), None)

    def _note(self, name: str, state: State) -> None:
        """Keeps how a checkpoint came out with its model, which is made where it has none yet."""
        rows = self._recorder.rows(records.StoredModel, run_id=self._recorder.run_id)
        found = (row for row, known in self._models() if known["folder"] == state["folder"])
        if (row := next(found, None)) is not None:
            self._recorder.set_model(row.id, details={**(row.details or {}), CHECKPOINT: state})
            return
        taken = {row.name for row in rows}
        self._recorder.insert(
            records.StoredModel(
                run_id=self._recorder.run_id,
                name=f"{name} (of the training)" if name in taken else name,
                role="candidate",
                kind="local",
                position=_next_position(rows),
                details={CHECKPOINT: state},
            )
        )

    def _fail(self, checkpoint: Path, reason: str) -> None:
        if not checkpoint.is_dir():
            reason = "it was deleted before it was evaluated"
        self._tried.add(checkpoint.name)
        state = {**self._landing.state(checkpoint), "failed": reason}
        if self._known().get(checkpoint.name) == state:
            return
        self._note(checkpoint.name, state)
        self._recorder.event("error", FOLLOW, f"{checkpoint.name} cannot be evaluated: {reason}")
        self._recorder.set_run(passed=all_passed([row.passed for row, _ in self._models()]))

    def _due(self, known: Mapping[str, State]) -> Iterator[Path]:
        """The checkpoints to evaluate, whole or not, in the order of their steps."""
        until = self._asked().get("until")
        for checkpoint, step in self._landing.steps.items():
            if (until is None or step <= until) and self._is_new(known.get(checkpoint.name), checkpoint):
                yield checkpoint

    def _is_new(self, state: State | None, checkpoint: Path) -> bool:
        """Whether it is to be evaluated; one that could not be is tried again once by each worker, and when
        its files are others.
        """
        now = self._landing.state(checkpoint)
        if state is not None and "failed" in state:
            return state["files"] != now["files"] or checkpoint.name not in self._tried
        if state is None or "evaluated" not in state:
            return True
        if state["weights"] != now["weights"]:
            said = "was written again after it was evaluated: the curve has the weights of before"
            self._tell("warning", f"{checkpoint.name} {said}")
        return False

    def _look(self) -> None:
        self._landing.look()
        self._looked = time.monotonic()
        for folder in sorted(self._landing.stepless):
            said = f"neither its name nor its {STATE} tells a training step"
            self._tell("warning", f"{folder.name} is not evaluated: {said}")

    def _tell(self, level: str, said: str) -> None:
        """Once by each worker."""
        if said not in self._told:
            self._told.add(said)
            self._recorder.event(level, FOLLOW, said)

    def _asked(self) -> dict[str, Any]:
        """How far to follow: it may be changed while the run goes on."""
        found: dict[str, Any] = (self._recorder.run().options or {})[FOLLOW]
        return found

    def _wait(self) -> None:
        while True:
            if asked := self._request():
                raise Stopped(asked)
            left = self._looked + LOOK - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(_NAP, left))

    def _show(self, known: dict[str, State]) -> None:
        """How far the evaluation is, in steps of the training. Its pace is that of what lands from now on."""
        done = max((state["step"] for state in known.values() if "evaluated" in state), default=0)
        far, steps, until = self._landing.far, self._landing.steps, self._asked().get("until")
        ends = [until] if until is not None else [*steps.values(), *(far or ())]
        total = max([done, *ends])
        if self._meter is None:
            work = Work(plan_of(self._recorder.run()), self._recorder, self._store, {}, self._request)
            self._meter = work.meter(FOLLOW, self._landing.folder.name, "steps", total=total, done=done)
            self._done = done
        was_there = done <= max(self._there, default=0)
        self._meter.advance(done - self._done, remembered=done - self._done if was_there else 0)
        self._meter.reach(done, total=total)
        self._done = done

    def _stop_the_training(self) -> None:
        """Writes STOP where the newest checkpoints, as many as the plan says, have failed a gate.

        Never for a training that is over, nor while a newer checkpoint can still be evaluated. Once for a
        checkpoint: who removes the file to train on is not stopped by the same one again.
        """
        target = self._landing.folder / STOP
        done = [(row, state) for row, state in self._models() if "evaluated" in state]
        if self._stop_after is None or len(done) < self._stop_after or "stopped" in done[-1][1]:
            return
        newest = [row for row, _ in done[-self._stop_after :]]
        if target.exists() or any(row.passed is not False for row in newest):
            return
        if self._landing.is_trained or self._asked().get("over") or self._has_newer(done[-1][1]["step"]):
            return
        text = _why(self._recorder, newest)
        try:
            write_text(target, text, "the training goes on")
        except BadInput as error:
            self._recorder.event("error", FOLLOW, str(error))
            return
        row, state = done[-1]
        stopped = {**(row.details or {}), CHECKPOINT: {**state, "stopped": time.time()}}
        self._recorder.set_model(row.id, details=stopped)
        self._recorder.event("warning", FOLLOW, f"wrote {target}: {text.splitlines()[0]}")

    def _has_newer(self, step: int) -> bool:
        """Whether a whole checkpoint of a later step waits for its evaluation."""
        steps = self._landing.steps
        return any(steps[path] > step and unfinished(path) is None for path in self._due(self._known()))


def _why(recorder: Recorder, failed: Sequence[records.StoredModel]) -> str:
    """What STOP says: which checkpoints failed, and the alerts of the newest."""
    names = ", ".join(row.name for row in failed)
    newest = failed[-1].name
    alerts = recorder.rows(records.StoredAlert, run_id=recorder.run_id, candidate=newest, severity="critical")
    lines = [f"assay run {recorder.run_id}: {names} failed a gate"]
    lines += [f"{newest}: {alert.message}" for alert in alerts[:_REASONS]]
    return "\n".join([*lines, "Remove this file to train on.", ""])
