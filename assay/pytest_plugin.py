"""The pytest plugin: evaluations that tests assert on, and single answers. Light until a fixture is used.

def test_refund(assay_run):
    assay_run.assert_at_least("exact_match", 0.9)

def test_greeting(assay_case):
    assay_case("Say hello.", "Hello!", reference="hello").check("contains")
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from assay.runs import RunResult, Store

MARK = "assay"
_FIXTURES = {"assay_run", "assay_case"}
_SEVERITIES = ("critical", "warning", "note")
_WORST = 3  # examples in a failure's text
_QUOTED = 80  # characters of each of their texts
_CHARACTERS = 500  # of a line there
_LINES = 20  # of a failure in an annotation


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("assay", "evaluations by Assay")
    group.addoption("--assay-plan", metavar="FILE", help="the plan that assay_run evaluates")
    group.addoption(
        "--assay-run", metavar="RUN", help="the stored run that assay_run reads: id, name or last"
    )
    group.addoption("--assay-store", metavar="DIR", help="the store [$ASSAY_STORE, or the nearest .assay]")
    for name in ("assay_plan", "assay_run", "assay_store"):
        parser.addini(name, f"as --{name.replace('_', '-')}")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"{MARK}(plan=None, run=None, store=None): what assay_run evaluates or reads"
    )


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Marks what uses a fixture of this plugin, so that `-m "not assay"` leaves it out."""
    for item in items:
        if _FIXTURES & set(getattr(item, "fixturenames", ())) and item.get_closest_marker(MARK) is None:
            item.add_marker(MARK)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    report.is_assay = item.get_closest_marker(MARK) is not None
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """In a job of GitHub Actions, an annotation for each failed test that is marked."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    failed = [
        report
        for outcome in ("failed", "error")
        for report in terminalreporter.stats.get(outcome, ())
        if getattr(report, "is_assay", False)
    ]
    if not failed:
        return
    from tui.report.github import workflow_command

    for report in failed:
        file, line, name = report.location
        said = getattr(getattr(report.longrepr, "reprcrash", None), "message", report.longreprtext)
        text = "\n".join(said.removeprefix("AssertionError: ").splitlines()[:_LINES])
        place = Path(terminalreporter.config.rootpath, file)
        title = f"Assay: {name}"
        terminalreporter.write_line(workflow_command("error", text, file=place, line=line + 1, title=title))


@pytest.fixture
def assay_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> "AssayRun":
    """The run that the marker, the options or the ini file name: a plan, evaluated once for all tests of the
    session (an earlier run of it that did not finish goes on), or a stored run.
    """
    chosen = _Chosen.of(request)
    known = request.config.stash.setdefault(_KNOWN, {})
    if chosen.key not in known:
        known[chosen.key] = _attempt(lambda: _result(chosen, request.config, tmp_path_factory))
    found = known[chosen.key]
    if isinstance(found, str):
        pytest.fail(found, pytrace=False)
    if found.status != "finished":
        pytest.fail(f"assay_run: run {found.id} is {found.status}: its values are not final", pytrace=False)
    return AssayRun(found)


@pytest.fixture
def assay_case(request: pytest.FixtureRequest) -> "Callable[..., AssayCase]":
    """Makes single answers to check: `assay_case(query, response, reference=…)`, or with `model=` a function
    from the query to the answer, or the name of a model of `assay_run`, whose answer to that query is taken.
    """

    def make(
        query: str,
        response: str | None = None,
        *,
        model: str | Callable[[str], str] | None = None,
        baseline: str | None = None,
        **example: Any,
    ) -> AssayCase:
        if (response is None) == (model is None):
            pytest.fail("assay_case: give either a response or a model", pytrace=False)
        reason = None
        if callable(model):
            response = model(query)
        elif model is not None:
            response, reason = request.getfixturevalue("assay_run").answer(model, query)
        return AssayCase({"query": query, **example}, response, reason, baseline, _Chosen.of(request).store)

    return make


_KNOWN = pytest.StashKey[dict[tuple[str, ...], "RunResult | str"]]()


class _Chosen:
    """What one test evaluates: a plan or a run, in a store."""

    def __init__(self, plan: Path | None, run: str | None, store: Path | None) -> None:
        self.plan, self.run, self.store = plan, run, store
        self.key = (str(plan), str(run), str(store))

    @classmethod
    def of(cls, request: pytest.FixtureRequest) -> "_Chosen":
        config = request.config
        marked: dict[str, Any] = {}
        for mark in request.node.iter_markers(MARK):
            marked = {**dict(zip(("plan", "run", "store"), mark.args, strict=False)), **mark.kwargs, **marked}

        def given(name: str) -> tuple[str | None, Path]:
            """A value, and the folder that a path starts at."""
            if marked.get(name) is not None:
                return str(marked[name]), config.rootpath
            if (option := config.getoption(f"assay_{name}")) is not None:
                return str(option), config.invocation_params.dir
            return config.getini(f"assay_{name}") or None, config.rootpath

        (plan, here), (run, _), (store, there) = given("plan"), given("run"), given("store")
        named = [
            marked.get(name) is not None or config.getoption(f"assay_{name}") is not None
            for name in ("plan", "run")
        ]
        if named == [True, False]:
            run = None  # the ini file's is for tests without a plan of their own
        return cls(here / plan if plan else None, run, there / store if store else None)


def _attempt(work: "Callable[[], RunResult]") -> "RunResult | str":
    """What a plan gave, or why it gave nothing: later tests are told the same, and nothing is tried twice."""
    from assay import AssayError

    try:
        return work()
    except AssayError as error:
        return f"assay_run: {_gated(str(error), 4000)}"


def _result(chosen: _Chosen, config: pytest.Config, temporary: pytest.TempPathFactory) -> "RunResult":
    from assay import AssayError, results
    from assay.runs import evaluate

    if chosen.plan is None and chosen.run is None:
        raise AssayError(
            "no plan and no run is named",
            "--assay-plan FILE, assay_plan in the ini file, or @pytest.mark.assay(plan=…)",
        )
    if chosen.plan is None or chosen.run is not None:
        return results(chosen.run or "last", store=chosen.store)
    if not hasattr(config, "workerinput"):
        return evaluate(chosen.plan, store=chosen.store)
    # Of the processes of pytest-xdist the first evaluates, and the others read its run.
    name = hashlib.sha256("\0".join(chosen.key).encode()).hexdigest()[:16]
    with (temporary.getbasetemp().parent / f"assay-{name}").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if done := file.read():
            return results(done, store=chosen.store)
        found = evaluate(chosen.plan, store=chosen.store)
        file.write(str(found.id))
        file.flush()
        return found


class AssayRun:
    """One evaluated run to assert on. A value that is missing fails with its reason, and never passes.

    Measures are called as in `assay show`: metrics ("exact_match"), judges' scores ("judge:NAME"), benchmarks
    ("arc_challenge · acc"); "win_rate" is that of all judges of pairs over all baselines. Without `model`
    every candidate must hold.
    """

    def __init__(self, result: "RunResult") -> None:
        self.result = result

    def assert_at_least(
        self, measure: str, value: float, *, model: str | None = None, slice: str | None = None,
        confident: bool = False,
    ) -> None:  # fmt: skip
        """`confident`: the lower end of the 95 % interval, too."""
        __tracebackhide__ = True
        self._hold(measure, value, model, slice, "low" if confident else "value", 1)

    def assert_at_most(
        self, measure: str, value: float, *, model: str | None = None, slice: str | None = None,
        confident: bool = False,
    ) -> None:  # fmt: skip
        """`confident`: the upper end of the 95 % interval, too."""
        __tracebackhide__ = True
        self._hold(measure, value, model, slice, "high" if confident else "value", -1)

    def assert_not_worse(self, measure: str, than: str | None = None, *, model: str | None = None) -> None:
        """No candidate is worse than the baseline `than` (each of them), by the run's ruling."""
        __tracebackhide__ = True
        rows = [
            row
            for row in self.result.comparisons
            if row["measure"] == measure
            and than in (None, row["baseline"])
            and model in (None, row["candidate"])
        ]
        if not rows:
            known = {row["measure"] for row in self.result.comparisons}
            self._fail(f"nothing of {measure} was compared{_of(model)}", _known("measures", known))
        for row in rows:
            said = f"{measure} of {row['candidate']} against {row['baseline']}"
            if row["standing"] in ("missing", "not tested"):
                self._fail(f"{said} is {row['standing']}", row["reason"] or "no reason was recorded")
            if row["standing"] == "worse":
                values = f"{_number(row['baseline_value'])} → {_number(row['candidate_value'])}"
                change = f"difference {_number(row['delta'])}{_interval(row)}, n {row['n']:,}"
                self._fail(f"{said} is worse: {values}, {change}", *self._worst(measure, row["candidate"]))

    def assert_no_alerts(self, severity: str = "critical") -> None:
        """No alert of that severity or a graver one; fails, too, where nothing could be checked."""
        __tracebackhide__ = True
        if severity not in _SEVERITIES:
            raise ValueError(f"severity: {severity!r} is none of {', '.join(_SEVERITIES)}")
        graver = _SEVERITIES[: _SEVERITIES.index(severity) + 1]
        rows = [row for row in self.result.alerts if row["severity"] in graver]
        if rows:
            self._fail(
                f"{len(rows)} alert{'s' * (len(rows) > 1)}",
                *(f"{row['severity']}: {row['message']}" for row in rows),
            )
        if self.result.passed is None:
            self._fail("no gate was evaluated", self.result.reason or "")

    def assert_gates(self) -> None:
        """Every candidate passed its gates."""
        __tracebackhide__ = True
        if not self.result.passed:
            critical = [row["message"] for row in self.result.alerts if row["severity"] == "critical"]
            self._fail(self.result.verdict, self.result.reason or "", *critical)

    def answer(self, model: str, query: str) -> tuple[str | None, str | None]:
        """What a model answered to a query of the run, or why there is no answer."""
        store = self._store()
        asked = {row["id"]: row["query"] for row in store.examples(self.result)}
        for row in store.answers(self.result, model):
            if asked.get(row["id"]) == query:
                return row["text"], row["reason"]
        self._fail(f"{model} was not asked {query!r}")

    def _hold(
        self, measure: str, value: float, model: str | None, slice: str | None, bound: str, sign: int
    ) -> None:
        __tracebackhide__ = True
        from engine.gates.drops import ROUNDING

        rows = [row for row in self._values(measure, slice) if model in (None, row["model"])]
        where = f"{measure}{f' in {slice}' if slice else ''}"
        if model is None:
            candidates = [row for row in self.result.tables["models"] if row["role"] == "candidate"]
            measured = {row["model"] for row in rows}
            rows = [row for row in rows if row["model"] in {one["name"] for one in candidates}]
            # Those that a sweep cut have no scores on purpose, and tasks run once on the same weights.
            weights = {row["fingerprint"] for row in self.result.tables["models"] if row["name"] in measured}
            for one in candidates if rows else ():
                is_cut = not ((one["details"] or {}).get("sweep") or {"kept": True})["kept"]
                shared = one["fingerprint"] is not None and one["fingerprint"] in weights
                if one["name"] not in measured and not is_cut and not shared:
                    self._fail(f"{where} was not measured of {one['name']}")
        if not rows:
            self._fail(f"{where} was not measured{_of(model)}", _known("measures", self._measures(slice)))
        for row in rows:
            said = f"{where} of {row['model']}"
            if "judge" in row:
                said += f" over {row['baseline']} ({row['judge']})"
            if row["value"] is None:
                self._fail(f"{said} is missing", row["reason"] or "no reason was recorded")
            held = row[bound]
            if held is None:
                self._fail(f"{said} has no interval", row["reason"] or "no reason was recorded")
            if (held - value) * sign < -ROUNDING:
                end = "" if bound == "value" else " with 95 % confidence"
                wanted = f"wanted at {'least' if sign > 0 else 'most'} {value:g}{end}"
                n = f", n {row['n']:,}" if row.get("n") is not None else ""
                told = f"{said} is {_number(row['value'])}{_interval(row)}{n}; {wanted}"
                self._fail(told, *([] if slice else self._worst(measure, row["model"], sign)))

    def _values(self, measure: str, slice: str | None) -> list[dict[str, Any]]:
        """The rows of a measure: model, value, low, high, n, reason."""
        tables = self.result.tables
        if slice is not None:
            return [
                row for row in tables["slice_scores"] if (row["measure"], row["slice"]) == (measure, slice)
            ]
        if measure == "win_rate":
            return [
                {**row, "model": row["candidate"], "value": row["win_rate"]}
                | {"n": row["wins"] + row["losses"] + row["ties"]}
                for row in self.result.win_rates
                if row["turn"] == 0
            ]
        scores = [row for row in tables["scores"] if row["metric"] == measure]
        return scores or [
            row | {"low": None, "high": None} for row in self._benchmarks() if row["measure"] == measure
        ]

    def _benchmarks(self) -> list[dict[str, Any]]:
        from engine.compare.benchmarks import Key, measure_name

        return [
            row | {"measure": measure_name(Key(row["task"], row["metric"], row["filter"]))}
            for row in self.result.tables["benchmarks"]
        ]

    def _measures(self, slice: str | None) -> set[str]:
        if slice is not None:
            return {f"{row['measure']} in {row['slice']}" for row in self.result.tables["slice_scores"]}
        found = {row["metric"] for row in self.result.scores} | {row["measure"] for row in self._benchmarks()}
        return found | ({"win_rate"} if self.result.win_rates else set())

    def _worst(self, measure: str, model: str, sign: int = 1) -> list[str]:
        """The clearest examples in words."""
        metric = next((row for row in self.result.tables["metrics"] if row["measure"] == measure), None)
        if metric is not None:
            sign = {"higher": 1, "lower": -1}.get(metric["direction"], sign)
        store = self._store()
        scored = [
            (row["scores"][measure], row)
            for row in store.answers(self.result, model)
            if row["scores"] and row["scores"].get(measure) is not None
        ]
        worst = sorted(scored, key=lambda each: sign * each[0])[:_WORST]
        asked = {row["id"]: row for row in store.examples(self.result)} if worst else {}
        return [_example_said(value, row["text"], asked[row["id"]]) for value, row in worst]

    def _store(self) -> "Store":
        from assay import Store

        return Store(self.result.store)

    def _fail(self, said: str, *more: str) -> NoReturn:
        __tracebackhide__ = True
        lines = [f"{said} (run {self.result.id}, {self.result.name})", *filter(None, more)]
        raise AssertionError("\n  ".join(_gated(line) for line in lines))


class AssayCase:
    """One answer to check, with metrics and judges as in plans."""

    def __init__(
        self,
        example: Mapping[str, Any],
        response: str | None,
        reason: str | None,
        baseline: str | None,
        store: Path | None,
    ) -> None:
        self.example, self.response, self.reason = dict(example), response, reason
        self.baseline, self.store = baseline, store

    def check(
        self, by: "str | Mapping[str, Any]", *, at_least: float | None = None, at_most: float | None = None,
        measure: str | None = None, **settings: Any,
    ) -> "AssayCase":  # fmt: skip
        """Fails where the answer is not good enough, and where it cannot be told, with the example and why.

        `by` is a metric's name, with its `settings`, or a judge's table as in a plan: of kind "pointwise",
        or of kind "pairwise" against `baseline` (a win is 1, a tie 0.5). Without a bound a metric must reach
        the best end of its range, and a pair must not be lost. `measure` chooses one of a metric's several.
        Returns the case, for the next check.
        """
        __tracebackhide__ = True
        if self.response is None:
            self._fail(f"{by if isinstance(by, str) else 'the judge'}: there is no answer", self.reason)
        if isinstance(by, str):
            name, value, reason, best = self._measured(by, measure, settings)
        else:
            name, value, reason, best = self._judged(by)
        if value is None:
            self._fail(f"{name} is missing", reason)
        if at_least is None and at_most is None:
            if best is None:
                self._fail(f"{name} has no best value", "give at_least or at_most")
            at_least, at_most = (best[0], None) if best[1] > 0 else (None, best[0])
        if at_least is not None and value < at_least:
            self._fail(f"{name} is {_number(value)}; wanted at least {at_least:g}", reason)
        if at_most is not None and value > at_most:
            self._fail(f"{name} is {_number(value)}; wanted at most {at_most:g}", reason)
        return self

    def _measured(
        self, metric: str, measure: str | None, settings: Mapping[str, Any]
    ) -> tuple[str, float | None, str | None, tuple[float, int] | None]:
        """The measure's name, value, reason, and the best end of its range with the direction to it."""
        __tracebackhide__ = True
        from assay import AssayError, score

        try:
            found = score([{**self.example, "response": self.response}], {metric: settings})
        except AssayError as error:
            self._fail(str(error))
        names = [total["metric"] for total in found.totals]
        chosen = measure or (names[0] if len(names) == 1 else metric)
        if chosen not in names:
            self._fail(f"{metric} has the measures {', '.join(names)}", "choose one with measure=")
        declared = next(total.measure for total in found.found.totals if total.measure.name == chosen)
        ends = {"higher": (declared.high, 1), "lower": (declared.low, -1)}.get(declared.direction, (None, 0))
        best = None if ends[0] is None else (ends[0], ends[1])
        row = next(row for row in found.rows if row["metric"] == chosen)
        return chosen, row["value"], row["reason"], best

    def _judged(
        self, table: Mapping[str, Any]
    ) -> tuple[str, float | None, str | None, tuple[float, int] | None]:
        __tracebackhide__ = True
        from assay import AssayError, judge

        settings = {"kind": "pairwise" if self.baseline is not None else "pointwise", **table}
        name = f"judge {settings.get('name', 'judge')}"
        pairs = settings["kind"] == "pairwise"
        texts = (
            {"candidate": self.response, "baseline": self.baseline} if pairs else {"response": self.response}
        )
        if pairs and self.baseline is None:
            self._fail(f"{name} compares pairs", "give assay_case a baseline")
        try:
            (row,) = judge([{**self.example, **texts}], settings, store=self.store).rows
        except AssayError as error:
            self._fail(str(error))
        said = row["reason"] or "; ".join(filter(None, (call["reasoning"] for call in row["judgments"])))
        if not pairs:
            return name, row["score"], said, None
        points = {"win": 1.0, "tie": 0.5, "loss": 0.0}
        return name, points.get(row["outcome"]), said, (0.5, 1)

    def _fail(self, said: str, reason: str | None = None) -> NoReturn:
        __tracebackhide__ = True
        example = {**self.example, "response": self.response, "baseline": self.baseline, "reason": reason}
        lines = [said, *(f"{name}: {value}" for name, value in example.items() if value is not None)]
        raise AssertionError("\n  ".join(_gated(line) for line in lines))


def _example_said(value: float, answer: str, example: Mapping[str, Any]) -> str:
    texts = {"query": example["query"], "answer": answer}
    texts["expected"] = next(iter(example["references"] or []), example["label"])
    said = (f"{name} {text[:_QUOTED]!r}" for name, text in texts.items() if text is not None)
    return f"{example['id']} ({_number(value)}): {', '.join(said)}"


def _gated(text: str, most: int = _CHARACTERS) -> str:
    """A text from a model, a file or a server for the terminal."""
    from tui.text.gate import printable

    return printable(text if len(text) <= most else f"{text[:most]}…")


def _number(value: float | None) -> str:
    from tui.text.gate import number

    return number(value)


def _interval(row: Mapping[str, Any]) -> str:
    return "" if row["low"] is None else f" [{_number(row['low'])}, {_number(row['high'])}]"


def _of(model: str | None) -> str:
    return f" of {model}" if model else ""


def _known(what: str, names: Iterable[str]) -> str:
    return f"{what}: {', '.join(sorted(names)) or 'none'}"
