"""Runs from Python: start, resume, read and compare them, as the commands do."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.scores import ScoreTable, compare_scores
from assay.tables import ResultTable, in_one_class, paragraph_html, table_html
from engine.errors import BadInput, CannotRun

if TYPE_CHECKING:
    from store.read.history import Connection
    from tui.sections.gather import RunSections

StorePath = str | os.PathLike[str] | None


class RunResult:
    """One run as it stands: its verdict and its tables.

    `passed`: whether every candidate passed its gates; None without a verdict, which `reason` explains.
    `values` is the content of `assay show --json`, `tables` its lists.
    """

    def __init__(self, found: "RunSections", store: Path) -> None:
        from tui.report.json import run_values
        from tui.text.output import as_json

        self._found = found
        self.store = store
        self.id = found.run.id
        self.name = found.run.name
        self.status = found.run.status
        self.passed = found.run.passed
        self.verdict = found.overview.verdict
        self.values: dict[str, Any] = json.loads(as_json(run_values(found)))
        self.reason: str | None = self.values["reason"]
        self.tables = {
            name: ResultTable(rows)
            for name, rows in self.values.items()
            if isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
        }

    @property
    def scores(self) -> ResultTable:
        """Every measure of every model: value, interval, how many examples have one."""
        return self.tables["scores"]

    @property
    def comparisons(self) -> ResultTable:
        """Candidates against baselines, with the one ruling on each (`standing`)."""
        return self.tables["comparisons"]

    @property
    def win_rates(self) -> ResultTable:
        """What judges of pairs say."""
        return self.tables["verdicts"]

    @property
    def alerts(self) -> ResultTable:
        return self.tables["alerts"]

    @property
    def decision(self) -> ResultTable:
        """Ship or not, for each candidate, and why."""
        return self.tables["decision"]

    def __repr__(self) -> str:
        return f"<assay run {self.id} {self.name!r}: {self.verdict}>"

    def _repr_html_(self) -> str:
        found = self._found
        parts = [paragraph_html(f"Run {self.id}, {self.name}: {self.verdict}. {found.headline}".strip())]
        parts += [paragraph_html(f"No verdict: {self.reason}")] if self.reason else []
        for each in found.decision:
            said = f"{each.candidate}: {each.word}"
            parts.append(paragraph_html("; ".join([said, *each.reasons])))
        for candidate, main in found.measures.main.items():
            rows = [
                {
                    "measure": change.row.measure,
                    "baseline": change.row.baseline_value,
                    "candidate": change.row.candidate_value,
                    "difference": change.row.delta,
                    "low": change.row.low,
                    "high": change.row.high,
                    "outcome": change.word,
                }
                for change in found.measures.of(candidate)
                if change.row.measure in main
            ]
            parts.append(table_html(rows, candidate))
        alerts = [{"severity": row["severity"], "alert": row["message"]} for row in self.alerts]
        return "".join([*parts, table_html(alerts, "Alerts") if alerts else ""])


RunName = int | str | RunResult


class ComparisonResult:
    """Something newer against something older, on what both have: `comparisons` with the ruling on each,
    `incomparable` with the reasons.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)
        self.comparisons = ResultTable(values["comparisons"])
        self.benchmarks = ResultTable(values.get("benchmarks", ()))
        self.alerts = ResultTable(values.get("alerts", ()))
        self.incomparable = ResultTable(values["incomparable"])

    def _repr_html_(self) -> str:
        names = ("measure", "candidate", "baseline", "candidate_value", "baseline_value")
        shown = (*names, "delta", "low", "high", "standing", "reason")
        rows = [{name: row[name] for name in shown} for row in [*self.comparisons, *self.benchmarks]]
        left = table_html(self.incomparable, "Not compared") if self.incomparable else ""
        return table_html(rows) + left


def locate(store: StorePath) -> Path:
    """The store's folder: the one given, else $ASSAY_STORE, else the nearest `.assay/` upwards."""
    from store.database import locate as find

    return find(None if store is None else os.fspath(store), Path.cwd())


@in_one_class()
def run(
    plan: str | os.PathLike[str] | Mapping[str, Any],
    *,
    store: StorePath = None,
    limit: int | None = None,
    fold: int | None = None,
    against: str | None = None,
    cache: bool = True,
    progress: bool = False,
) -> RunResult:
    """Runs a plan, a TOML file or its tables as a dict, in a process of its own, and waits for its end.

    The options are those of `assay run`; paths in a dict start at the current folder. `progress` is written
    to standard error. Ctrl-C pauses the run. Where judges would cost more than the plan's `max_cost`, the run
    pauses there. Raises AssayError for what is wrong with the plan, before anything is stored, and for a run
    that could not finish: what it has done is kept, and `resume` goes on.
    """
    from engine.plan.plan import plan_of_tables
    from engine.run import launch

    folder = locate(store)
    read = plan_of_tables(plan, Path.cwd(), fold) if isinstance(plan, Mapping) else Path(plan)
    run_id = launch.create(read, folder, limit=limit, fold=fold, against=against, cache=cache)
    return _carry_out(folder, run_id, progress=progress)


@in_one_class()
def resume(run: RunName, *, store: StorePath = None, progress: bool = False) -> RunResult:
    """Continues a run that was paused or interrupted, or failed, and waits for its end, as `run` does."""
    with _of_run(run, store) as (connection, folder, run_id):
        from store.read import history

        status = history.run(connection, run_id).status
        if status in ("finished", "cancelled", "running"):
            raise BadInput(f"run {run_id} is {status}: there is nothing to resume")
    return _carry_out(folder, run_id, progress=progress)


@in_one_class()
def evaluate(plan: str | os.PathLike[str], *, store: StorePath = None) -> RunResult:
    """As `run`; but where the newest run of the same plan did not finish, that one goes on."""
    from engine.plan.plan import read_plan
    from store import database
    from store.read import history, runs
    from store.session import opened

    folder = locate(store)
    wanted = read_plan(Path(plan)).hash
    if database.exists(folder):
        with opened(folder) as connection:
            same = [row for row in runs.page(connection) if row.plan_hash == wanted]
            newest = history.run(connection, same[0].id) if same else None
        whole = newest is not None and not any((newest.options or {}).get(name) for name in _PARTIAL)
        if newest is not None and whole and newest.status in ("paused", "interrupted", "failed"):
            return _carry_out(folder, newest.id, progress=False)
    return run(plan, store=folder)


_PARTIAL = ("limit", "only", "fold", "against", "follow", "imported")  # a run with these is not the plan's


def _carry_out(folder: Path, run_id: int, *, progress: bool) -> RunResult:
    from engine.run import launch
    from store import people
    from store.read import history, live
    from store.session import opened
    from tui.cli.progress import Watcher

    stopped = False
    with opened(folder) as connection:

        def pause() -> bool:
            nonlocal stopped
            if history.run(connection, run_id).status != "running":
                return False
            people.request(connection, run_id, "pause")
            stopped = True
            return True

        past = max((event.id for event in live.events(connection, run_id, limit=1)), default=0)
        watcher = Watcher(connection, run_id, quiet=not progress, after=past)
        ended = watcher.watch(launch.start(folder, run_id), pause)
    if stopped and ended.status == "paused":
        raise KeyboardInterrupt(f"run {run_id} is paused; assay.resume({run_id}) goes on")
    if ended.status != "finished":
        why = f": {ended.error}" if ended.error else ""
        raise CannotRun(f"run {run_id} is {ended.status}{why}", f"assay.resume({run_id}) goes on with it")
    return results(run_id, store=folder)


@contextmanager
def _of_run(run: RunName, store: StorePath) -> "Iterator[tuple[Connection, Path, int]]":
    """A connection to the run's store, the store's folder and the run's id."""
    from store.read import history
    from store.session import opened

    folder = run.store if isinstance(run, RunResult) and store is None else locate(store)
    with opened(folder) as connection:
        word = str(run.id) if isinstance(run, RunResult) else str(run)
        yield connection, folder, history.find_run(connection, word)


@in_one_class()
def results(run: RunName = "last", *, store: StorePath = None) -> RunResult:
    """What is stored of a run, by its id, its name (the newest of that name) or "last".

    Raises AssayError where there is no such run.
    """
    with _of_run(run, store) as (connection, folder, run_id):
        from tui.sections.gather import gather

        return RunResult(gather(connection, run_id), folder)


@in_one_class()
def compare(a: RunName | ScoreTable, b: RunName | ScoreTable, *, store: StorePath = None) -> ComparisonResult:
    """`b` against `a`: the candidates of two runs of a store, or two tables of `score`.

    Paired on what both evaluated in the same words, and ruled on as in a run. Raises AssayError for a run
    that is not there, and for a run beside a table.
    """
    if isinstance(a, ScoreTable) and isinstance(b, ScoreTable):
        return ComparisonResult(compare_scores(a, b))
    if isinstance(a, ScoreTable) or isinstance(b, ScoreTable):
        raise BadInput("a run and a table of scores cannot be compared", "give two runs, or two tables")
    from engine.gates.checks import compare_runs
    from store.read import history
    from tui.report.json import comparison_values
    from tui.text.output import as_json

    with _of_run(a, store) as (connection, folder, older):
        if isinstance(b, RunResult) and b.store != folder:
            raise BadInput("the runs are in two stores", "merge the stores: `assay import store`")
        newer = history.find_run(connection, str(b.id) if isinstance(b, RunResult) else str(b))
        return ComparisonResult(
            json.loads(as_json(comparison_values(compare_runs(connection, older, newer))))
        )


class Store:
    """A store to read from; `mark` alone adds to it. Runs are named as in `results`."""

    def __init__(self, folder: StorePath = None) -> None:
        """`folder`: [$ASSAY_STORE, or the nearest `.assay/` upwards]."""
        self.folder = locate(folder)

    def __repr__(self) -> str:
        return f"<assay store {self.folder}>"

    @in_one_class()
    def runs(self, search: str = "", limit: int = 100) -> ResultTable:
        """The newest runs, of those that a search finds which `assay runs --find` would take."""
        from store.read import runs
        from store.read.history import as_values
        from store.session import opened

        with opened(self.folder) as connection:
            words = runs.check(runs.read_words(search))
            return ResultTable(as_values(row) for row in runs.page(connection, limit=limit, words=words))

    def run(self, run: RunName = "last") -> RunResult:
        """One run with its results."""
        return results(run, store=self.folder)

    @in_one_class()
    def examples(self, run: RunName = "last") -> ResultTable:
        """What a run asks: query, references and what else its data said."""
        from store.read import evidence
        from store.read.history import as_values

        with _of_run(run, self.folder) as (connection, _, run_id):
            rows = evidence.run_examples(connection, run_id)
            return ResultTable(as_values(row) | {"id": row.example} for row in rows)

    @in_one_class()
    def answers(self, run: RunName = "last", model: str | None = None) -> ResultTable:
        """What a run's models answered, with every measure's value; a missing text has its `reason`."""
        from dataclasses import fields

        from store.read import evidence, history
        from store.records.results import AnswerContent

        with _of_run(run, self.folder) as (connection, _, run_id):
            examples = {row.id: row.example for row in evidence.run_examples(connection, run_id)}
            models = history.models(connection, run_id)
            if model is not None and model not in {each.name for each in models}:
                names = ", ".join(each.name for each in models)
                raise BadInput(f"run {run_id} has no model {model!r}", f"it has {names}")
            found = ResultTable()
            for each in models:
                if model not in (None, each.name):
                    continue
                scored: dict[int, dict[str, float]] = {}
                for measure, values in evidence.scores(connection, each.id):
                    for value in values:
                        scored.setdefault(value[0], {})[measure] = value[1]
                for place, answers in evidence.answers(connection, each.id).items():
                    found += [
                        {
                            "model": each.name,
                            "id": examples.get(place),
                            "sample": sample,
                            **{field.name: getattr(answer, field.name) for field in fields(AnswerContent)},
                            "scores": scored.get(place, {}) if sample == 0 else None,
                        }
                        for sample, answer in enumerate(answers)
                    ]
            return found

    @in_one_class()
    def alerts(self, run: RunName | None = None) -> ResultTable:
        """A run's alerts, or the newest of all runs."""
        from store.read import history
        from store.session import opened
        from tui.report.json import alert_values

        if run is not None:
            return results(run, store=self.folder).alerts
        with opened(self.folder) as connection:
            return ResultTable({"run": row.run_id} | alert_values(row) for row in history.alerts(connection))

    @in_one_class()
    def mark(self, run: RunName, *, tag: str | None = None, note: str | None = None) -> None:
        """Gives a run a tag (one word), a note, or both, under the name of this process's user."""
        from store import people

        with _of_run(run, self.folder) as (connection, _, run_id):
            user = people.user_name()
            if tag is not None:
                people.tag(connection, run_id, tag, user)
            if note is not None:
                people.mark(connection, run_id, "note", note, user)
