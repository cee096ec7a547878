"""The experiment trackers: MLflow, Weights & Biases, TensorBoard and Trackio, each with its own package.

Each sends a run whole and returns the tracker's own id of it; sent again, the run is the same there.
Addresses and keys are the trackers' own environment variables.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from engine.data.textfile import write_text
from engine.errors import BadInput
from engine.servers.address import held, shown_address

T = TypeVar("T")
# Of one request to MLflow, which takes 1,000, 100 and 1 MB.
_METRICS, _WORDS = 1_000, 25
_PARAMETER, _TAG = 6_000, 8_000  # characters
_REFUSED = {400, 401, 403, 404}  # what trying again does not change


@dataclass(frozen=True, slots=True)
class TrackedValue:
    """A measure of a model, or of all checkpoints of a training by their `step`; never without a number."""

    name: str
    step: int
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class TrackedTable:
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """What a tracker is told of a run: its measures, its settings, its verdicts (which labels of people may
    change later), reports by file name, and tables.
    """

    key: str
    name: str
    project: str
    created: float
    ended: float | None  # None for one that goes on
    status: str
    values: Sequence[TrackedValue]
    settings: Mapping[str, str]
    verdicts: Mapping[str, str]
    files: Mapping[str, str]
    tables: Mapping[str, TrackedTable]
    store: Path
    folder: Path  # of TensorBoard's event files

    @property
    def steps(self) -> dict[int, dict[str, float]]:
        """The numbers by step, each interval as two of them."""
        found: dict[int, dict[str, float]] = {}
        for item in sorted(self.values, key=lambda item: item.step):
            numbers = {item.name: item.value, f"{item.name}_low": item.low, f"{item.name}_high": item.high}
            at = found.setdefault(item.step, {})
            at |= {name: number for name, number in numbers.items() if number is not None}
        return found


def place_of(tracker: str, run: TrackedRun) -> str:
    """The address or the folder that a run is sent to, without keys."""
    if tracker == "mlflow":
        return shown_address(held("MLFLOW_TRACKING_URI"))
    if tracker == "wandb":
        offline = held("WANDB_MODE") == "offline"
        return str(_wandb_folder(run)) if offline else shown_address(held("WANDB_BASE_URL")) or "wandb.ai"
    if tracker == "tensorboard":
        return str(run.folder)
    server = shown_address(held("TRACKIO_SERVER_URL"))
    return held("TRACKIO_SPACE_ID") or server or held("TRACKIO_DIR") or "this machine"


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _short(run: TrackedRun) -> str:
    """A name for a folder or a run where no other has it."""
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', run.name)[:60]}-{run.key[:8]}"


def _written(run: TrackedRun, folder: Path) -> None:
    """The reports, and the tables in the form that pandas and MLflow call "split"."""
    for name, text in run.files.items():
        write_text(folder / name, text)
    for name, table in run.tables.items():
        values = {"columns": list(table.columns), "data": [list(row) for row in table.rows]}
        write_text(folder / f"{name}.json", json.dumps(values))


def _mlflow(run: TrackedRun) -> str:
    address = held("MLFLOW_TRACKING_URI")
    if (parts := urlsplit(address)).scheme in ("http", "https"):
        # MLflow shows the address of a run, so the user and the password go where it shows nothing of them.
        for variable, value in (("USERNAME", parts.username), ("PASSWORD", parts.password)):
            if value:
                os.environ[f"MLFLOW_TRACKING_{variable}"] = unquote(value)
        address = shown_address(address)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        return _to_mlflow(MlflowClient(address), run)
    except MlflowException as error:
        if error.get_http_status_code() in _REFUSED:
            raise BadInput(f"MLflow refused it: {error}") from error
        raise


def _to_mlflow(client: Any, run: TrackedRun) -> str:
    from mlflow.entities import Metric, Param, RunTag

    known = client.get_experiment_by_name(run.project)
    experiment = client.create_experiment(run.project) if known is None else known.experiment_id
    found = client.search_runs([experiment], f"tags.assay_key = '{run.key}'", max_results=1)
    if found:
        run_id = str(found[0].info.run_id)
    else:
        began, tags = int(1_000 * run.created), {"assay_key": run.key}
        run_id = str(client.create_run(experiment, began, tags, run.name).info.run_id)
    # The same time whenever it is sent: MLflow keeps a number twice that came with another.
    metrics = [
        Metric(name, number, int(1_000 * run.created), step)
        for step, at in run.steps.items()
        for name, number in at.items()
    ]
    for chunk in _chunks(metrics, _METRICS):
        client.log_batch(run_id, metrics=chunk)
    for words in _chunks(list(run.settings.items()), _WORDS):
        client.log_batch(run_id, params=[Param(name, value[:_PARAMETER]) for name, value in words])
    shown = [{"path": f"{name}.json", "type": "table"} for name in run.tables]
    tags = dict(run.verdicts) | {"mlflow.loggedArtifacts": json.dumps(shown)}
    for words in _chunks(list(tags.items()), _WORDS):
        client.log_batch(run_id, tags=[RunTag(name, value[:_TAG]) for name, value in words])
    with TemporaryDirectory() as folder:
        _written(run, Path(folder))
        client.log_artifacts(run_id, folder)
    if run.ended is not None:
        status = {"failed": "FAILED", "cancelled": "KILLED"}.get(run.status, "FINISHED")
        client.set_terminated(run_id, status, int(1_000 * run.ended))
    return run_id


def _wandb_folder(run: TrackedRun) -> Path:
    return Path(held("WANDB_DIR") or run.store).absolute() / "wandb"


def _wandb(run: TrackedRun) -> str:
    import wandb

    offline = held("WANDB_MODE") == "offline"
    kept = _wandb_folder(run)
    kept.mkdir(parents=True, exist_ok=True)
    earlier = [path for path in kept.glob(f"offline-run-*-{run.key}") if not any(path.glob("*.synced"))]
    settings = wandb.Settings(
        console="off",
        silent=True,
        disable_git=True,
        disable_code=True,
        x_disable_meta=True,
        x_disable_stats=True,
    )
    session = wandb.init(
        project=run.project, id=run.key, name=run.name, resume="allow", dir=kept.parent, settings=settings,
        config=dict(run.settings),
    )  # fmt: skip
    last: dict[str, Any] = {}
    tables = {name: _wandb_table(wandb, table) for name, table in run.tables.items()}
    for step, numbers in (run.steps or {0: {}}).items():
        # W&B passes over a step that is there already, so nothing may take the place of one to come.
        session.log(numbers | tables if step == max(run.steps, default=0) else numbers, step=step)
        last |= numbers
    session.summary.update(last | dict(run.verdicts))
    artifact = wandb.Artifact(f"assay-{run.key}", type="evaluation")
    with TemporaryDirectory() as folder:
        _written(run, Path(folder))
        artifact.add_dir(folder)
        session.log_artifact(artifact)
        session.finish()
    if offline:
        for path in earlier:  # of the same run, and not synchronised: this one has all that was in it
            if path != Path(session.dir).parent:
                shutil.rmtree(path, ignore_errors=True)
    return run.key


def _wandb_table(wandb: Any, table: TrackedTable) -> Any:
    rows = [list(row) for row in table.rows]
    return wandb.Table(columns=list(table.columns), data=rows, allow_mixed_types=True)


def _tensorboard(run: TrackedRun) -> str:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb
    from tensorboard.plugins.text.summary_v2 import text_pb
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    name = _short(run)
    folder = run.folder / name
    new = folder.with_name(f".{name}.new")
    shutil.rmtree(new, ignore_errors=True)
    writer = EventFileWriter(str(new))
    texts: dict[str, Any] = {name: _cells(table) for name, table in run.tables.items()}
    facts = {"settings": run.settings, "verdicts": run.verdicts}
    texts |= {name: [["name", "value"], *map(list, words.items())] for name, words in facts.items() if words}
    texts |= {name: text if name.endswith(".md") else _fenced(text) for name, text in run.files.items()
              if not name.endswith((".html", ".json"))}  # fmt: skip
    scalars = [scalar_pb(name, number) for at in run.steps.values() for name, number in at.items()]
    steps = [step for step, at in run.steps.items() for _ in at]
    for summary, step in zip(
        [*scalars, *(text_pb(name, text) for name, text in texts.items())],
        [*steps, *(0 for _ in texts)],
        strict=True,
    ):
        writer.add_event(Event(wall_time=run.ended or run.created, step=step, summary=summary))
    writer.close()
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
    return name


def _cells(table: TrackedTable) -> list[list[str]]:
    rows = [["" if cell is None else str(cell) for cell in row] for row in table.rows]
    return [list(table.columns), *rows]


def _fenced(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _trackio(run: TrackedRun) -> str:
    import trackio

    local = not (held("TRACKIO_SPACE_ID") or held("TRACKIO_SERVER_URL"))
    name = _short(run)
    if local and run.project in trackio.SQLiteStorage.get_projects():
        for earlier in trackio.Api().runs(run.project):
            if earlier.name == name:
                earlier.delete()
    session = trackio.init(
        project=run.project, name=name, resume="allow", embed=False, auto_log_gpu=False, auto_log_cpu=False,
        config={**run.settings, **run.verdicts},
    )  # fmt: skip
    for step, numbers in run.steps.items():
        session.log(numbers, step=step)
    tables = {name: trackio.Table(list(table.columns), [list(row) for row in table.rows])
              for name, table in run.tables.items()}  # fmt: skip
    texts = {name: trackio.Markdown(text) for name, text in run.files.items() if name.endswith(".md")}
    session.log({**tables, **texts}, step=max(run.steps, default=0))
    trackio.finish()
    return name


SENDERS: Mapping[str, Callable[[TrackedRun], str]] = {
    "mlflow": _mlflow,
    "wandb": _wandb,
    "tensorboard": _tensorboard,
    "trackio": _trackio,
}
