"""The command that sends runs to experiment trackers, and what of a run they are told."""

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from enum import StrEnum
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from engine.errors import BadInput, CannotRun
from engine.run.trackers import TrackedRun, TrackedTable, TrackedValue
from engine.run.tracking import key_of, send, tracking_of
from store.read import history
from store.read.history import Connection
from store.read.rows import ModelRow
from store.records import Run
from store.session import opened
from store.transfer.export import records
from tui.cli.common import Json, Store, store_folder
from tui.sections.overview import track_said
from tui.text.gate import printable
from tui.text.output import iso, out, paragraph, print_json

if TYPE_CHECKING:
    from tui.sections.gather import RunSections


class TrackerName(StrEnum):
    mlflow = "mlflow"
    wandb = "wandb"
    tensorboard = "tensorboard"
    trackio = "trackio"


RunToTrack = Annotated[
    str | None, typer.Argument(metavar="[RUN]", help="The run to send: id, name or last.", show_default=False)
]
To = Annotated[
    list[TrackerName],
    typer.Option(
        "--to", metavar="TRACKER", help="mlflow, wandb, tensorboard or trackio [default: the plan's]"
    ),
]
Waiting = Annotated[bool, typer.Option("--waiting", help="Send what could not be sent before, of all runs.")]
FORMS = ("html", "md", "json")
ROWS = 10_000  # of a table: what W&B takes
_NAME, _CELL = 110, 10_000  # characters of a part of a name, and of a text in a table


def track(
    context: typer.Context,
    run: RunToTrack = None,
    to: To = [],  # noqa: B006  # typer takes an option's default from here, and nobody adds to it
    waits: Waiting = False,
    json: Json = False,
    store: Store = None,
) -> None:
    """Send a run to experiment trackers; sent again, it is brought up to date there."""
    folder = store_folder(context, store)
    if (run is None) != waits or (waits and to):
        raise BadInput("name a run, or give --waiting alone", "assay track last")
    with opened(folder) as connection:
        if waits:
            asked = [(row.run_id, row.tracker) for row in history.waiting_tracks(connection)]
        else:
            run_id = history.find_run(connection, run or "last")
            asked = [(run_id, name) for name in _trackers(history.run(connection, run_id), to)]
        runs = dict.fromkeys(run_id for run_id, _ in asked)
        told = {run_id: tracked_run(connection, run_id, folder) for run_id in runs}
    rows = [send(folder, run_id, told[run_id], tracker) for run_id, tracker in asked]
    if json:
        print_json([asdict(row) for row in rows])
    else:
        for row in rows:
            paragraph(f"run {row.run_id}, {track_said(row)}")
        if not rows:
            out("nothing waits to be sent")
    if wrong := [row for row in rows if row.status != "sent"]:
        trackers = ", ".join(dict.fromkeys(row.tracker for row in wrong))
        raise CannotRun(f"not sent to {trackers}", "; ".join(str(row.reason) for row in wrong if json))


def _trackers(run: Run, to: list[TrackerName]) -> list[str]:
    if to:
        return list(dict.fromkeys(name.value for name in to))
    plan = tracking_of(run)
    if plan is None:
        raise BadInput(f"the plan of run {run.id} names no tracker", "name one: --to mlflow")
    return list(dict.fromkeys(plan.to))


def tracked_run(connection: Connection, run_id: int, store: Path) -> TrackedRun:
    """What trackers are told of a run, from the sections that its reports are made of.

    Raises StoreError when there is no such run.
    """
    from tui.report import render
    from tui.sections.gather import gather, gather_report

    run = history.run(connection, run_id)
    plan = tracking_of(run)
    with_texts = plan is None or plan.examples
    found = gather_report(connection, run_id) if with_texts else gather(connection, run_id)
    names = _Names()
    values: list[TrackedValue] = []
    missing: list[list[str]] = []
    for item in _measured(found):
        if item.value is not None and isfinite(item.value):
            bounds = [bound if bound is not None and isfinite(bound) else None for bound in item[4:6]]
            values.append(TrackedValue(names.of(item.model, item.measure), item.step, item.value, *bounds))
        else:
            reason = item.reason or "not a finite number"
            missing.append([_text(text) for text in (item.model, item.measure, reason)])
    tables = {"alerts": _alerts(found)}
    verdicts = _verdicts(found)
    if missing:
        tables["missing"] = TrackedTable(("model", "measure", "reason"), missing[:ROWS])
    if with_texts:
        tables["examples"], left = _examples(connection, run_id)
        verdicts |= {"examples_left_out": f"{left:,}: a tracker's table has {ROWS:,} rows"} if left else {}
    files = {"plan.toml": run.plan} | {f"report.{form}": render(found, form) for form in FORMS}
    project = (plan and plan.project) or run.name
    return TrackedRun(
        key=key_of(run),
        name=_text(run.name),
        project=re.sub(r"[^A-Za-z0-9_.-]+", "-", project).strip("-.")[:100] or "assay",
        created=run.created,
        ended=run.finished,
        status=run.status,
        values=values,
        settings=_settings(found),
        verdicts={name: _text(value) for name, value in verdicts.items()},
        files={name: _utf8(text) for name, text in files.items()},
        tables=tables,
        store=store,
        folder=(plan and plan.folder) or store / "tensorboard",
    )


class _Names:
    """Names that every tracker takes, of letters, digits, `_` and `/`; those of two measures differ."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, ...]] = {}

    def of(self, *parts: str) -> str:
        name = "/".join(map(self._part, parts))
        if self._known.setdefault(name, parts) != parts:
            name += f"_{_hash(*parts)}"
        return name

    def _part(self, text: str) -> str:
        clean = re.sub(r"[^A-Za-z0-9_]", "_", text)
        clean = clean if clean[:1].isalpha() or clean[:1] == "_" else f"_{clean}"
        return clean if len(clean) <= _NAME else f"{clean[: _NAME - 9]}_{_hash(text)}"


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:8]


class _Measured(NamedTuple):
    model: str
    measure: str
    step: int
    value: float | None
    low: float | None
    high: float | None
    reason: str | None


def _measured(found: "RunSections") -> Iterator[_Measured]:
    """Every measure of a model; checkpoints of one training are one curve by their steps."""
    models = [model for model in found.overview.models if model.role != "earlier"]
    series = [model.series for model in models if model.step is not None]
    where = {model.name: _curve(model, series) for model in models}
    for score in found.measures.scores:
        if score.model in where:
            name, step = where[score.model]
            yield _Measured(name, score.measure, step, score.value, score.low, score.high, score.reason)
    for rate in found.judging.win_rates:
        if rate.turn == 0 and rate.candidate in where:
            name, step = where[rate.candidate]
            measure = f"win_rate_over_{rate.baseline}_by_{rate.judge}"
            yield _Measured(name, measure, step, rate.win_rate, rate.low, rate.high, rate.reason)
    for task in found.benchmarks.rows:
        if task.model in where:
            name, step = where[task.model]
            measure = "_".join((task.task, task.metric, *([task.filter] * (task.filter != "none"))))
            yield _Measured(name, measure, step, task.value, None, None, task.reason)
            if task.stderr is not None:
                yield _Measured(name, f"{measure}_stderr", step, task.stderr, None, None, None)


def _curve(model: ModelRow, series: Sequence[str]) -> tuple[str, int]:
    followed = "checkpoint" in (model.details or {})
    if model.step is None or not (followed or series.count(model.series) > 1):
        return model.name, 0
    return model.series.strip("*").strip("-_ .=/") or "checkpoints", model.step


def _settings(found: "RunSections") -> dict[str, str]:
    """What never changes of a run: its hashes, and every key of its plan."""
    run = found.run
    facts = {"plan_sha256": run.plan_hash, "eval_set": run.eval_set, "eval_set_file": run.eval_set_file}
    plan: Mapping[str, Any] = {}
    with suppress(tomllib.TOMLDecodeError):
        plan = tomllib.loads(run.plan)
    words = {**facts, "seed": run.seed, **dict(_flat("plan", plan))}
    names = _Names()
    return {names.of(name): _text(str(value)) for name, value in words.items() if value not in (None, "")}


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    items = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in items:
        yield from _flat(f"{name}_{key}", inner)
    if not isinstance(value, Mapping | list):
        yield name, str(value).lower() if isinstance(value, bool) else str(value)


def _verdicts(found: "RunSections") -> dict[str, str]:
    """The run's outcome, its gates and its decision."""
    names, run = _Names(), found.run
    said = {"verdict": found.overview.verdict, "assay_run": str(run.id), "assay_status": run.status}
    said |= {"started": iso(run.started) or "", "headline": found.headline}
    said |= {names.of("gates", item.name): item.result for item in found.overview.candidates}
    return said | {names.of("decision", item.candidate): item.word for item in found.decision}


_ALERT = ("severity", "kind", "candidate", "baseline", "measure", "message")


def _alerts(found: "RunSections") -> TrackedTable:
    rows = [[_text(getattr(row, name) or "") for name in _ALERT] for row in found.alerts.rows[:ROWS]]
    return TrackedTable(_ALERT, rows)


def _examples(connection: Connection, run_id: int) -> tuple[TrackedTable, int]:
    """Every answer of the first examples with its values, and how many answers were left out."""
    count = len(history.models(connection, run_id))
    asked = [row["example"] for row in records(connection, run_id, "examples")]
    kept = set(asked[: ROWS // max(1, count)])
    examples = {
        row["example"]: row for row in records(connection, run_id, "examples") if row["example"] in kept
    }
    values: dict[tuple[str, str], dict[str, float | None]] = {}
    for score in records(connection, run_id, "scores"):
        if score["example"] in kept:
            values.setdefault((score["model"], score["example"]), {})[score["measure"]] = score["value"]
    measures = list(dict.fromkeys(name for each in values.values() for name in each))
    rows: list[list[str | float | None]] = []
    left = 0
    for answer in records(connection, run_id, "responses"):
        if (example := examples.get(answer["example"])) is None:
            left += 1
            continue
        own = values.get((answer["model"], answer["example"]), {})
        numbers = [own.get(name) for name in measures]
        texts = (
            *(example["example"], answer["model"], example["query"]),
            *("\n".join(example["references"] or ()), answer["text"], answer["reason"]),
        )
        cells = [None if text is None else _text(text) for text in texts]
        rows.append([*cells, *(one if one is not None and isfinite(one) else None for one in numbers)])
    columns = ("example", "model", "question", "references", "answer", "reason", *map(_text, measures))
    return TrackedTable(columns, rows), left


def _text(text: str) -> str:
    """A text of data without what a terminal would act on, as UTF-8 can hold it, and of bounded length."""
    shown = printable(_utf8(text))
    return shown if len(shown) <= _CELL else f"{shown[: _CELL - 1]}…"


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
