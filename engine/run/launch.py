"""Starts runs, for the first time or again, after checking their inputs.

A rerun compares the recorded hashes and fingerprints with the current files: the eval set, the training data,
recorded outputs, weights, adapters, tokenizers, system prompts, training configs, judges' prompts, and the
other files that the plan names.
"""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from engine.data.example import eval_set_version
from engine.data.versions import file_hash
from engine.errors import AssayError, BadInput, CannotRun, refused
from engine.metrics.perplexity import VALIDATION
from engine.models.fingerprint import FileHashes, adapter_hash, fingerprint, tokenizer_hash
from engine.models.folder import TOKENIZERS, adapter_of, base_of
from engine.models.recorded import RunAnswers
from engine.phases.work import FOLLOW, PHASES, plan_of, quick_part
from engine.plan.plan import Judge, Model, Plan, read_plan
from engine.plan.selection import asked_of_suites, whole_set, without_excluded
from engine.plan.sweep import followed_pattern, members_of
from engine.preflight.check import check
from engine.run.environment import named_files
from store import people, records
from store.database import exists, hold
from store.people import excluded
from store.read import history
from store.read.history import Connection, lock_file, silence
from store.read.rows import ModelRow
from store.read.runs import REFERENCES
from store.session import opened
from store.write import create_run

# Threads that wait for each other spin for some microseconds, then sleep. Spinning on made a worker on busy
# cores up to four times slower, and sleeping at once the small operations of small models two to four times.
PATIENT = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "10000"}
_PATIENCE_S = 10.0  # for a process that was killed
_BEATS_S = 5.0  # in which a worker that lives gives a sign of it
# A file of the user's with the name of a module must not be imported in its place by any process of a run.
_SAFE = {"PYTHONSAFEPATH": "1"}


def create(
    plan: Path | Plan,
    store: Path,
    *,
    limit: int | None = None,
    only: str | None = None,
    cache: bool = True,
    fold: int | None = None,
    against: str | None = None,
    allow_empty: bool = False,
    priority: int | None = None,
    settings: Sequence[str] = (),
) -> int:
    """Stores a queued run of a plan (its file, or as it was read) or of one of its folds; returns its id.

    `against` is the previous run that its candidates are compared with: "accepted", "best", or a run's id or
    name. With a `priority` it waits in the store's queue, see `engine.run.queue`. `settings` are values in
    place of the file's, see `engine.plan.overrides`; the stored plan has them. Raises BadInput with
    everything that is wrong with the plan and what it names, before anything is stored, and StoreError for a
    run that is not there.
    """
    if only is not None and only not in PHASES:
        raise BadInput(f"there is no phase {only!r}", f"the phases are {', '.join(PHASES)}")
    plan = plan if isinstance(plan, Plan) else read_plan(plan, fold, settings=settings)
    _refuse_what_cannot_run(plan, store)
    options = {
        "limit": limit,
        "only": only,
        "cache": cache,
        "swept": members_of(plan.models),
        "fold": fold,
        "against": against and reference(store, against),
        "allow_empty": allow_empty,
        "set": list(settings),
    }
    name = plan.name if fold is None else f"{plan.name}, fold {fold}"
    return _queue(plan, store, name, Path(plan.file).name, options, priority)


def follow(
    plan_path: Path,
    store: Path,
    outputs: Path,
    *,
    until: int | None = None,
    once: bool = False,
    settings: Sequence[str] = (),
) -> int:
    """Stores a queued run that follows the training in a folder by a plan, and returns its id; where a run
    has followed it by this plan already, that one goes on.

    `until` is the last step that is evaluated; `once` ends when what is there is evaluated; `settings` are as
    in `create`. Raises BadInput like `create`, for a folder that is not there, and while a worker follows it.
    """
    plan, pattern = read_followed(plan_path, outputs, settings)
    asked = {"pattern": pattern, "until": until, "once": once, "over": False}
    if (earlier := follower(plan, pattern, store)) is not None:
        if earlier.status == "running":
            raise BadInput(
                f"run {earlier.id} follows {outputs} already", f"`assay watch {earlier.id}` shows it"
            )
        with opened(store) as connection:
            people.follow_on(connection, earlier.id, asked)
        return earlier.id
    _refuse_what_cannot_run(quick_part(plan), store)
    return _queue(plan, store, plan.name, plan_path.name, {FOLLOW: asked})


def read_followed(plan_path: Path, outputs: Path, settings: Sequence[str] = ()) -> tuple[Plan, str]:
    """The plan without candidates, and the pattern of the checkpoints in a training's folder.

    Raises BadInput for a folder that is not there, and like `read_plan`.
    """
    if not outputs.is_dir():
        raise BadInput(
            f"{outputs}: no such folder", "give the folder that the training writes its checkpoints to"
        )
    pattern = followed_pattern(plan_path, outputs.resolve(), settings)
    plan = read_plan(plan_path, followed=pattern, settings=settings)
    if VALIDATION in plan.metrics.corpora:
        raise BadInput(
            f"{plan_path}: metrics.corpora.{VALIDATION} has the name of the validation split's own loss",
            "give the corpus another name",
        )
    return plan, pattern


def follower(plan: Plan, pattern: str, store: Path) -> records.Run | None:
    """The run of a store that follows the checkpoints of that pattern by that plan."""
    if not exists(store):
        return None
    with opened(store) as connection:
        return people.follower(connection, pattern, plan.hash)


def create_again(plan: Plan, store: Path, name: str, file: str, options: dict[str, Any]) -> int:
    """Stores a queued run of a plan that ran before, under the same name, and returns its id.

    Raises BadInput with everything that cannot run any more, before anything is stored.
    """
    _refuse_what_cannot_run(plan, store)
    return _queue(plan, store, name, file, options)


def _queue(
    plan: Plan, store: Path, name: str, file: str, options: dict[str, Any], priority: int | None = None
) -> int:
    return create_run(
        store,
        records.Run(
            name=name,
            status="queued",
            plan=plan.text,
            plan_hash=plan.hash,
            plan_folder=str(plan.folder),
            plan_file=file,
            options=options,
            priority=priority,
            joined=None if priority is None else time.time(),
        ),
    )


def start(store: Path, run_id: int, gpu: int | None = None) -> int:
    """Starts the worker in its own session, so that it outlives the terminal; returns its process id.

    `gpu` is the number, as the driver counts them, of the only GPU that it may use.
    """
    log = log_file(store, run_id)
    own = {} if gpu is None else {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(gpu)}
    try:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with log.open("ab") as output:
            log.chmod(0o600)
            worker = subprocess.Popen(
                [sys.executable, "-P", "-m", "engine.run", "--store", str(store), str(run_id)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=PATIENT | os.environ | _SAFE | own,
                start_new_session=True,
                close_fds=True,
            )
    except OSError as error:
        raise CannotRun(
            f"no worker can be started for run {run_id}: {refused(error)}", f"then `assay resume {run_id}`"
        ) from error
    return worker.pid


def take_over(connection: Connection, store: Path, run_id: int) -> str | None:
    """Lets another worker have a run whose worker gives no sign of life, and ends that; says what it did.

    None where there was nothing to do. Raises BadInput for a worker that lives, and CannotRun for one that
    cannot be ended.
    """
    run = history.run(connection, run_id)
    if run.status != "running" or run.worker_pid is None:
        return None
    silent, said = silence(run), None
    if run.worker_host != socket.gethostname():
        # Its clock may be another: that it lives is told by a beat, not by the time of one.
        time.sleep(_BEATS_S)
        if history.run(connection, run_id).heartbeat == run.heartbeat:
            silent = said = f"took run {run_id} over from a worker on {run.worker_host}, which is silent"
    if silent is None:
        raise BadInput(
            f"run {run_id} is running, and its worker answers",
            f"`assay pause {run_id}` ends it in good order",
        )
    lock, pid = lock_file(store, run_id), run.worker_pid
    if said is None and _has_open(pid, lock):
        try:
            os.killpg(pid, signal.SIGKILL)  # a worker leads a session: what it started ends with it
        except OSError as error:
            raise CannotRun(f"process {pid}: {error.strerror}", "end it, then resume the run") from error
        said = f"ended the worker of run {run_id}: {silent}"
    deadline = time.monotonic() + _PATIENCE_S
    while (held := hold(lock)) is None:
        if time.monotonic() > deadline:
            raise CannotRun(f"process {pid} does not end", "it waits for a disk or a device; then resume")
        time.sleep(0.05)
    os.close(held)
    people.let_go(connection, run_id)
    return said


def _has_open(pid: int, file: Path) -> bool:
    import psutil

    try:
        return any(Path(opened.path) == file.resolve() for opened in psutil.Process(pid).open_files())
    except psutil.Error:
        return False


def log_file(store: Path, run_id: int) -> Path:
    return store / "logs" / f"run-{run_id}.log"


def reference(store: Path, against: str) -> str:
    """The word, or the id of the run that was named. Raises StoreError where there is none."""
    if against in REFERENCES:
        return against
    with opened(store) as connection:
        return str(history.find_run(connection, against))


def _refuse_what_cannot_run(plan: Plan, store: Path) -> None:
    wrong = [finding for finding in check(plan, store, allow_code=True) if finding.level == "error"]
    if wrong:
        lines = "\n".join(f"  {finding.subject}: {finding.message}" for finding in wrong)
        hints = "; ".join(dict.fromkeys(finding.hint for finding in wrong if finding.hint))
        raise BadInput(f"{plan.file} cannot run:\n{lines}", hints)


RERUN_OF = "rerun_of"
_KEPT = (
    "limit",
    "cache",
    "swept",
    "fold",
    "against",
    "set",
)  # options that say what is run, not how far one run came


def again(
    connection: Connection, store: Path, run_id: int, *, anyway: bool = False, cache: bool = True
) -> int:
    """Stores a queued run of the same plan, options and paths, and returns its id.

    Raises BadInput for an imported run, for what the plan names and is gone, and, unless `anyway`, when
    something that decides the numbers has changed since, with its name.
    """
    run = history.run(connection, run_id)
    if run.imported:
        raise BadInput(
            f"run {run_id} was imported from {run.imported}: it has no plan to run again",
            "`assay run PLAN` runs one",
        )
    refuse_code_from_elsewhere(run)
    plan = plan_of(run)
    found = changes(connection, plan, run, store)
    if found and not anyway:
        lines = "\n".join(f"  {change}" for change in found)
        raise BadInput(
            f"the inputs of run {run_id} have changed:\n{lines}",
            "restore them, or continue with --anyway: the numbers may then differ",
        )
    options: dict[str, Any] = {name: (run.options or {}).get(name) for name in _KEPT}
    options["cache"] = cache and options["cache"] is not False
    if FOLLOW in (run.options or {}):
        options[FOLLOW] = {**(run.options or {})[FOLLOW], "once": True}
    return create_again(
        plan, store, run.name, Path(run.plan_file).name, {**options, "only": None, RERUN_OF: run_id}
    )


def refuse_code_from_elsewhere(run: records.Run) -> None:
    """Raises BadInput where a run came with another store, and its plan names code.

    Merging takes the worker's process id out of a run; one of this store has it once it was started.
    """
    if run.worker_pid is None and run.status != "queued" and plan_of(run).has_own_code:
        raise BadInput(
            f"run {run.id} came from another store, and its plan names code of its own",
            "read its plan and that code; `assay run PLAN` runs a plan of yours",
        )


def changes(connection: Connection, plan: Plan, run: records.Run, store: Path) -> list[str]:
    """The differences from the run's records, in words; unrecorded inputs are not compared."""
    hashes = FileHashes(store / "cache")
    rows = {row.name: row for row in history.models(connection, run.id)}
    found = _attempted("eval set", _eval_set(connection, plan, run))
    found += _attempted("suites", _suites(connection, plan, run, store))
    found += _attempted("training data", _training(plan, run))
    found += [*_configs(plan, run), *_named(plan, run)]
    for model in plan.models:
        if (row := rows.get(model.name)) is not None:
            found += _attempted(f"model {model.name}", _model(model, row, hashes, store, run))
    known = {row.name: row.prompt_hash for row in history.judges(connection, run.id)}
    for judge in plan.judges:
        if judge.name in known:
            found += _attempted(f"judge {judge.name}", _judge(judge, known[judge.name]))
    return found


def _attempted(subject: str, differences: Iterator[str]) -> list[str]:
    """The differences; a file that cannot be read any more is one."""
    try:
        return list(differences)
    except AssayError as error:
        return [f"{subject}: {error.message}"]
    except OSError as error:
        return [f"{subject}: {error.filename} cannot be read: {error.strerror}"]


def _eval_set(connection: Connection, plan: Plan, run: records.Run) -> Iterator[str]:
    if run.eval_set is None:
        return
    whole = whole_set(plan.data)
    before, now = (run.data_summary or {}).get("file_version") or run.eval_set, eval_set_version(whole)
    if now != before:
        yield f"eval set {plan.data.examples}: version {before}, now {now}"
    elif eval_set_version(without_excluded(whole, excluded(connection))[0]) != run.eval_set:
        yield "eval set: other examples are excluded now"


def _suites(connection: Connection, plan: Plan, run: records.Run, store: Path) -> Iterator[str]:
    known = (run.data_summary or {}).get("suites")
    if known and plan.data.suites:
        limit = (run.options or {}).get("limit")
        found = asked_of_suites(plan.data, store, excluded(connection), limit=limit)
        if (now := eval_set_version(found.questions)) != known["version"]:
            yield f"questions of suites: version {known['version']}, now {now}"


def _training(plan: Plan, run: records.Run) -> Iterator[str]:
    known = (run.data_summary or {}).get("train_sha256")
    if known and plan.data.train is not None and file_hash(plan.data.train) != known:
        yield f"training data {plan.data.train}: its content has changed"


def _configs(plan: Plan, run: records.Run) -> list[str]:
    known = (run.environment or {}).get("training_configs") or {}
    found = []
    for model in plan.models:
        before = known.get(model.name)
        if model.training_config is not None and isinstance(before, str):
            if not model.training_config.is_file():
                found.append(f"training config of {model.name}: {model.training_config} is gone")
            elif file_hash(model.training_config) != before:
                found.append(f"training config of {model.name}: {model.training_config} has changed")
    return found


def _named(plan: Plan, run: records.Run) -> list[str]:
    before, now = (run.environment or {}).get("files") or {}, named_files(plan)
    return [f"{file}: its content has changed" for file in before if now.get(file) != before[file]]


def _model(model: Model, row: ModelRow, hashes: FileHashes, store: Path, run: records.Run) -> Iterator[str]:
    if row.fingerprint is None:
        return
    if model.run is not None:
        answers = RunAnswers(model, store, run.name, None)
        if answers.fingerprint != row.fingerprint:
            yield f"model {model.name}: {model.run} is now {answers.label}, or its answers have changed"
    if model.outputs is not None:
        with model.outputs.open("rb") as source:
            if hashlib.file_digest(source, "sha256").hexdigest() != row.fingerprint:
                yield f"model {model.name}: its recorded outputs {model.outputs} have changed"
    elif model.path is not None and row.details is not None:
        yield from _local(model, row, row.details, hashes)


def _local(model: Model, row: ModelRow, facts: dict[str, Any], hashes: FileHashes) -> Iterator[str]:
    """The fingerprint of now, with the dtype and attention of then: those are no files."""
    folder, adapter = base_of(model), adapter_of(model)
    now = fingerprint(
        model, folder, adapter, hashes, dtype=facts.get("dtype"), attention=facts.get("attention")
    )
    if now == row.fingerprint:
        return
    before = facts.get("adapter") or {}
    parts = []
    if adapter is not None and not adapter_hash(adapter, hashes).startswith(before.get("hash") or "-"):
        parts.append(f"the adapter {model.adapter}")
    if model.system != facts.get("system"):
        parts.append("the system prompt")
    own = adapter if adapter and any((adapter / name).is_file() for name in TOKENIZERS) else folder
    if known := facts.get("tokenizer"):
        parts += [] if tokenizer_hash(own, hashes).startswith(known) else [f"the tokenizer in {own}"]
    what = " and ".join(parts) or f"the weights or the configuration in {folder}"
    yield f"model {model.name}: {what} {'have' if not parts or len(parts) > 1 else 'has'} changed"


def _judge(judge: Judge, known: str) -> Iterator[str]:
    if judge.embedded:
        return
    from engine.judges.load import pairwise_form, scoring_form

    now = scoring_form(judge).hash if judge.kind == "pointwise" else pairwise_form(judge).hash
    if now != known:
        yield f"judge {judge.name}: its prompt or rubric has changed ({known}, now {now})"
