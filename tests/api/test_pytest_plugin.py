"""The pytest plugin, in processes of pytest's own: what passes, what fails and how it says why."""

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import assay
from assay.pytest_plugin import AssayRun
from assay.runs import evaluate
from engine.run import launch
from store import database
from tests.api.plans import EXAMPLES, REST, RIGHT, WRONG, write
from tests.engine.runs import recorded_plan, work_here
from tests.judges.scripted import JudgeServer, says
from tests.tui.history import build

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.e2e

ROOT = Path(assay.__file__).parents[1]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan whose candidate is worse, and beside it the store of its run."""
    folder = tmp_path_factory.mktemp("plugin")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "start", work_here)
        assay.run(write(folder, WRONG), store=folder / "store")
    return folder


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> "Run":
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("ASSAY_STORE", raising=False)
    return Run(pytester)


class Run:
    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester

    def __call__(self, code: str, *options: str | Path) -> pytest.RunResult:
        self.pytester.makepyfile(f"import pytest\n\n{code}")
        given = ("-p", "assay.pytest_plugin", "-p", "no:cacheprovider", *map(str, options))
        return self.pytester.runpytest_subprocess(*given)


def stored(folder: Path) -> tuple[str | Path, ...]:
    return ("--assay-run", "last", "--assay-store", folder / "store")


def test_what_holds_passes(run: Run, evaluated: Path) -> None:
    run(
        """
def test_values(assay_run):
    assay_run.assert_at_least("exact_match", 0.1)
    assay_run.assert_at_most("exact_match", 0.5, confident=True)
    assay_run.assert_at_least("exact_match", 1.0, model="base")
    assay_run.assert_at_most("win_rate", 0.5)
    assert assay_run.result.name == "recorded"
""",
        *stored(evaluated),
    ).assert_outcomes(passed=1)


def test_what_does_not_hold_fails_with_the_figures_and_the_worst_examples(run: Run, evaluated: Path) -> None:
    ended = run(
        """
def test_low(assay_run):
    assay_run.assert_at_least("exact_match", 0.9)

def test_unsure(assay_run):
    assay_run.assert_at_least("exact_match", 0.16, confident=True)

def test_worse(assay_run):
    assay_run.assert_not_worse("exact_match", than="base")

def test_alerts(assay_run):
    assay_run.assert_no_alerts()

def test_gates(assay_run):
    assay_run.assert_gates()
""",
        *stored(evaluated),
    )
    ended.assert_outcomes(failed=5)
    ended.stdout.fnmatch_lines(
        [
            "*exact_match of tuned is 0.167 [[]0.*[]], n 24; wanted at least 0.9 (run 1, recorded)",
            "*e4 (0.000): query 'Which is 4[?]', answer 'no', expected '4'*",
            "*wanted at least 0.16 with 95 % confidence*",
            "*exact_match of tuned against base is worse: 1.000 → 0.167, difference*",
            "*1 alert*",
            "*critical: *exact_match*",
            "*a gate failed (run 1, recorded)",
        ]
    )
    ended.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_what_is_missing_fails_and_never_passes(run: Run, evaluated: Path) -> None:
    ended = run(
        """
def test_unknown(assay_run):
    assay_run.assert_at_least("exact_mach", 0.0)

def test_no_such_model(assay_run):
    assay_run.assert_at_most("exact_match", 1.0, model="other")

def test_no_such_slice(assay_run):
    assay_run.assert_at_least("exact_match", 0.0, slice="category: x")

def test_not_compared(assay_run):
    assay_run.assert_not_worse("rouge")

def test_no_answer(assay_case):
    assay_case("Which is 99?", model="tuned").check("exact_match")
""",
        *stored(evaluated),
    )
    ended.assert_outcomes(failed=5)
    ended.stdout.fnmatch_lines(
        [
            "*exact_mach was not measured*",
            "*measures: exact_match*",
            "*exact_match was not measured of other*",
            "*exact_match in category: x was not measured*",
            "*nothing of rouge was compared*",
            "*tuned was not asked 'Which is 99[?]'*",
        ]
    )


def test_a_plan_is_evaluated_once_for_all_tests_and_processes(
    run: Run, tmp_path: Path, pytester: pytest.Pytester
) -> None:
    plan = write(tmp_path, RIGHT)
    pytester.makeini(f"[pytest]\nassay_store = {tmp_path / 'store'}\n")
    pytester.makeconftest(
        "from engine.run import launch\nfrom tests.engine.runs import work_here\nlaunch.start = work_here\n"
    )
    tests = "\n".join(
        f"@pytest.mark.assay(plan={str(plan)!r})\ndef test_{n}(assay_run): assay_run.assert_gates()\n"
        for n in range(4)
    )
    run(tests, "-p", "xdist.plugin", "-n", "2").assert_outcomes(passed=4)
    assert len(assay.Store(tmp_path / "store").runs()) == 1


def test_a_run_that_was_left_unfinished_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "start", work_here)
    plan, store = write(tmp_path, RIGHT), tmp_path / "store"
    launch.create(plan, store, limit=3)
    unfinished = launch.create(plan, store)
    connection = database.connect(store)
    connection.execute("UPDATE run SET status = 'paused'")
    connection.commit()
    connection.close()
    assert evaluate(plan, store=store).id == unfinished
    assert evaluate(plan, store=store).id == unfinished + 1


def test_without_a_plan_or_with_a_wrong_one_the_reason_is_told(run: Run, tmp_path: Path) -> None:
    ended = run(
        """
def test_none(assay_run): ...

@pytest.mark.assay(plan="no.toml")
class TestWrong:
    def test_one(self, assay_run): ...
    def test_two(self, assay_run): ...
""",
        "--assay-store",
        tmp_path / "none",
    )
    ended.assert_outcomes(errors=3)
    ended.stdout.fnmatch_lines(["*assay_run: no plan and no run is named*", "*assay_run: *no.toml*"])
    ended.stdout.no_fnmatch_line("*Traceback*")


def test_a_plan_that_is_named_is_not_passed_over_for_the_ini_files_run(run: Run, evaluated: Path) -> None:
    run.pytester.makeini("[pytest]\nassay_run = last")
    given = f"--assay-store={evaluated / 'store'}"  # pytest looks for its ini file at a path by itself
    run("def test_it(assay_run): assert assay_run.result.id == 1", given).assert_outcomes(passed=1)
    ended = run("def test_it(assay_run): ...", "--assay-plan", "no.toml", given)
    ended.assert_outcomes(errors=1)
    ended.stdout.fnmatch_lines(["*assay_run: *no.toml*"])


CASES = """
def test_metrics(assay_case):
    case = assay_case("2 + 2?", "4", reference="4").check("exact_match")
    case.check("length", at_most=1, measure="response_words")

def test_a_model_is_a_function(assay_case):
    assay_case("2 + 2?", model=lambda query: query[0], reference="2").check("exact_match")

def test_the_evaluated_model(assay_case):
    assay_case("Which is 3?", model="tuned", reference="3").check("exact_match")

def test_settings(assay_case):
    assay_case("?", "abc").check("regex", pattern="a.c")

def test_wrong(assay_case):
    assay_case("2 + 2?", "five\\x1b[31m", reference="4").check("exact_match")

def test_missing(assay_case):
    assay_case("2 + 2?", "4").check("exact_match")

def test_several(assay_case):
    assay_case("2 + 2?", "4", reference="4").check("rouge")

def test_neither(assay_case):
    assay_case("2 + 2?")
"""


def test_single_answers_are_checked_by_metrics(run: Run, evaluated: Path) -> None:
    ended = run(CASES, *stored(evaluated))
    ended.assert_outcomes(passed=4, failed=4)
    ended.stdout.fnmatch_lines(
        [
            "*exact_match is 0.000; wanted at least 1*",
            "*query: 2 + 2[?]",
            "*response: five␛[[]31m",
            "*exact_match is missing",
            "*reason: *reference*",
            "*rouge has the measures rouge1, *",
            "*give either a response or a model*",
        ]
    )


def test_single_answers_are_checked_by_judges_and_asked_once(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = JudgeServer()
    server.script = lambda body, number: says(json.dumps({"reasoning": "too short", "score": 4}))
    tests = f"""
JUDGE = {{"server": {server.url!r}, "model": "judge"}}

def test_enough(assay_case):
    assay_case("Hello?", "Hi").check(JUDGE, at_least=3)

def test_not_enough(assay_case):
    assay_case("Hello?", "Hi").check(JUDGE, at_least=7)

def test_no_bound(assay_case):
    assay_case("Hello?", "Hi").check(JUDGE)

def test_a_pair(assay_case):
    assay_case("2?", "2", baseline="3", reference="2").check({{"name": "reference"}})

def test_a_lost_pair(assay_case):
    assay_case("2?", "3", baseline="2", reference="2").check({{"name": "reference"}})
"""
    try:
        ended = run(tests, "--assay-store", tmp_path)
    finally:
        server.stop()
    ended.assert_outcomes(passed=2, failed=3)
    ended.stdout.fnmatch_lines(
        [
            "*judge judge is 4*; wanted at least 7*",
            "*reason: too short*",
            "*judge judge has no best value*",
            "*judge reference is 0*; wanted at least 0.5*",
        ]
    )
    assert len(server.requests) == 1


def test_a_job_of_github_gets_an_annotation_at_the_tests_line(
    run: Run, evaluated: Path, monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(pytester.path))
    ended = run(
        """
def test_low(assay_run):
    assay_run.assert_at_least("exact_match", 0.9)

def test_of_their_own():
    assert False
""",
        *stored(evaluated),
    )
    file = "test_a_job_of_github_gets_an_annotation_at_the_tests_line.py"
    lines = [line for line in ended.outlines if line.startswith("::")]
    assert len(lines) == 1
    assert lines[0].startswith(f"::error file={file},line=4,title=Assay%3A test_low::exact_match of tuned is")
    assert "%0A  e4 (0.000)" in lines[0]


def test_tests_that_use_it_are_marked_and_others_are_left_alone(run: Run, evaluated: Path) -> None:
    tests = "def test_ours(assay_run): ...\ndef test_theirs(): ..."
    ended = run(tests, *stored(evaluated), "-m", "not assay", "--strict-markers")
    ended.assert_outcomes(passed=1, deselected=1)


def test_a_session_that_does_not_use_it_imports_nothing_of_it() -> None:
    code = "import assay.pytest_plugin, sys; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True).stdout
    assert {"numpy", "sqlite3", "pydantic", "textual", "rich", "torch"} & set(said.split()) == set()


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a passed, a failed and an unfinished run."""
    return build(tmp_path_factory.mktemp("history") / "store")


def test_a_candidate_that_was_not_measured_passes_no_bound(history: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(history, tmp_path / "store"))
    with sqlite3.connect(store / "assay.db") as connection:
        connection.execute(
            "DELETE FROM score WHERE measure = 'exact_match' AND model_id = "
            "(SELECT id FROM model WHERE run_id = 2 AND name = 'overfit')"
        )
        connection.execute(
            "DELETE FROM modelscore WHERE measure = 'exact_match' AND model_id = "
            "(SELECT id FROM model WHERE run_id = 2 AND name = 'overfit')"
        )
    run = AssayRun(assay.results(2, store=store))
    with pytest.raises(AssertionError, match="exact_match was not measured of overfit"):
        run.assert_at_least("exact_match", 0.0)
    run.assert_at_least("exact_match", 0.0, model="good")


def test_slices_benchmarks_and_win_rates_are_measures_too(history: Path) -> None:
    run = AssayRun(assay.results(2, store=history))
    run.assert_at_least("exact_match", 0.0, slice="category: billing")
    run.assert_at_least("win_rate", 0.1, confident=True)
    rate = min(row["win_rate"] for row in run.result.win_rates if row["candidate"] == "good")
    run.assert_at_least("win_rate", rate + 1e-15, model="good")  # as 0.7 is of 0.7, 0.7 and 0.7
    with pytest.raises(
        AssertionError, match=r"win_rate of good over base \(.+\) is 0.818 .* wanted at least 0.99"
    ):
        run.assert_at_least("win_rate", 0.99)
    with pytest.raises(AssertionError, match="acc of good is"):
        run.assert_at_least("arithmetic · acc", 0.9)
    with pytest.raises(AssertionError, match="has no interval"):
        run.assert_at_least("arithmetic · acc", 0.0, confident=True)
    with pytest.raises(AssertionError, match="3 alerts"):
        run.assert_no_alerts()
    with pytest.raises(AssertionError, match=r"(?s)a gate failed.*arithmetic fell by 0.62"):
        run.assert_gates()


def test_the_values_of_an_unfinished_run_are_no_result(run: Run, history: Path) -> None:
    tests = "def test_it(assay_run): assay_run.assert_at_least('win_rate', 0.0)"
    ended = run(tests, "--assay-run", "3", "--assay-store", history)
    ended.assert_outcomes(errors=1)
    ended.stdout.fnmatch_lines(["*run 3 is *: its values are not final*"])


def test_the_tests_on_the_page_hold_for_a_better_candidate(run: Run, tmp_path: Path) -> None:
    page = (ROOT / "docs/ci.md").read_text()
    code = re.findall(r"```python\n(.*?)```", page[page.index("## From pytest") :], re.DOTALL)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "start", work_here)
        rest = REST.replace('["exact_match"]', '["exact_match", "rouge"]')
        plan = recorded_plan(tmp_path, EXAMPLES, {"base": WRONG, "tuned": RIGHT}, rest)
        assay.run(plan, store=tmp_path / "store")
    run(code, *stored(tmp_path)).assert_outcomes(passed=2)
