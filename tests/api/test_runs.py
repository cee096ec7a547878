"""Runs from Python: a plan as a file or a dict, its results, the store."""

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import assay
from engine.run import launch
from tests.api.plans import EXAMPLES, RIGHT, WRONG, write
from tests.engine.runs import work_here


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "start", work_here)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> assay.RunResult:
    """A run whose candidate is worse, after one whose candidate is as good."""
    folder = tmp_path_factory.mktemp("api")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "start", work_here)
        assay.run(write(folder / "good", RIGHT), store=folder / "store")
        return assay.run(str(write(folder / "bad", WRONG)), store=folder / "store")


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import assay, sys; assay.run, assay.score; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True).stdout
    heavy = {
        *("torch", "transformers", "numpy", "pandas", "pyarrow", "sqlalchemy", "sqlmodel", "pydantic"),
        *("textual", "rich", "sqlite3", "asyncio", "importlib.metadata", "http"),
    }
    assert heavy & set(said.split()) == set()


def test_what_is_public_is_there_and_typed() -> None:
    assert all(getattr(assay, name) is not None for name in assay.__all__ if name != "AssayCallback")
    assert set(assay.__all__) <= set(dir(assay))
    assert (Path(assay.__file__).parent / "py.typed").exists()
    with pytest.raises(AttributeError):
        assay.nothing  # noqa: B018


def test_the_calls_on_the_page_take_what_it_says() -> None:
    page = (Path(assay.__file__).parents[1] / "docs/python.md").read_text()
    calls = re.findall(r"^\| `assay\.(\w+)\(([^)]*)\)`", page, re.MULTILINE)
    assert {name for name, _ in calls} >= {"run", "resume", "results", "compare", "score", "judge", "Store"}
    for name, given in calls:
        known = inspect.signature(getattr(assay, name)).parameters
        assert set(re.findall(r"\w+", given)) <= known.keys(), name


def test_a_module_in_place_of_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine/__init__.py").write_text("")
    root = Path(assay.__file__).parents[1]
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(root)!r}]; import assay; assay.run"
    ended = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, cwd="/")
    assert "ImportError: the module `engine` comes from" in ended.stderr


def test_a_result_says_what_the_run_says(done: assay.RunResult) -> None:
    assert (done.status, done.passed, done.verdict) == ("finished", False, "a gate failed")
    assert done.decision[0]["word"] == "don't ship"
    scores = {(row["model"], row["metric"]): row["value"] for row in done.scores}
    assert scores["tuned", "exact_match"] == pytest.approx(4 / 24)
    (row,) = [row for row in done.comparisons if row["measure"] == "exact_match"]
    assert row["standing"] == "worse"
    assert done.alerts[0]["severity"] == "critical"
    assert done.win_rates[0]["judge"] == "reference"
    assert "don&#x27;t ship" in done._repr_html_()
    assert "exact_match" in done._repr_html_()


def test_a_run_is_read_again_by_id_name_or_as_the_last(done: assay.RunResult) -> None:
    for name in (done.id, "recorded", "last", done):
        assert assay.results(name, store=done.store).id == done.id


def test_two_runs_are_compared_as_the_command_does(done: assay.RunResult) -> None:
    found = assay.compare(1, done, store=done.store)
    (row,) = [row for row in found.comparisons if row["measure"] == "exact_match"]
    assert (row["standing"], row["n"]) == ("worse", 24)
    assert found.values["verdict"] == "drops"
    assert "exact_match" in found._repr_html_()
    with pytest.raises(assay.AssayError, match="cannot be compared with itself"):
        assay.compare(done, done.id, store=done.store)
    with pytest.raises(assay.AssayError, match="a run and a table"):
        assay.compare(done, assay.score([EXAMPLES[0] | {"response": "0"}], "exact_match"))


def test_a_store_is_read_row_by_row(done: assay.RunResult) -> None:
    store = assay.Store(done.store)
    assert [row["id"] for row in store.runs()] == [2, 1]
    assert len(store.examples()) == 24
    answers = store.answers("last", model="tuned")
    assert {row["id"]: row["text"] for row in answers} == WRONG
    assert answers[0]["scores"]["exact_match"] in (0.0, 1.0)
    assert len(store.answers()) == 48
    assert store.alerts()[0]["severity"] == "critical"
    assert all(row["severity"] != "critical" for row in store.alerts(1))
    store.mark("last", tag="seen", note="why")
    assert store.runs("tag:seen")[0]["tags"] == "seen"
    with pytest.raises(assay.AssayError, match="no model 'other'"):
        store.answers(model="other")
    with pytest.raises(assay.AssayError, match="is no tag"):
        store.mark("last", tag="two words")


@pytest.mark.usefixtures("here")
def test_a_plan_may_be_a_dict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, WRONG)
    monkeypatch.chdir(tmp_path)
    plan: dict[str, Any] = {
        "name": "in Python",
        "data": {"examples": Path("examples.jsonl"), "train": None},
        "models": [
            {"name": "base", "role": "baseline", "outputs": "base.jsonl"},
            {"name": "tuned", "role": "candidate", "outputs": "tuned.jsonl"},
        ],
        "metrics": {"use": ["exact_match", "regex"], "regex": {"pattern": '\\d "\n'}},
        "gates": {"max_metric_drop": 0.05, "metrics": {"exact_match": 0.1}},
    }
    result = assay.run(plan, store=tmp_path / "store", limit=10)
    assert (result.name, result.status) == ("in Python", "finished")
    assert len(assay.Store(tmp_path / "store").examples()) == 10


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metrics": {"use": {"exact_match"}}}, "a value of type set is no value of a plan"),
        ({"metrics": {1: 2}}, "a key of type int is no key of a plan"),
        ({"gatez": {}}, "gates"),
        ({"models": []}, "models"),
    ],
)
def test_what_is_wrong_with_a_dict_is_said_before_anything_is_stored(
    tmp_path: Path, change: dict[Any, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, RIGHT)
    monkeypatch.chdir(tmp_path)
    models = [
        {"name": "base", "role": "baseline", "outputs": "base.jsonl"},
        {"name": "tuned", "role": "candidate", "outputs": "tuned.jsonl"},
    ]
    with pytest.raises(assay.AssayError, match=said):
        assay.run({"name": "x", "data": {"examples": "examples.jsonl"}, "models": models, **change})
    assert not (tmp_path / ".assay").exists()


def test_errors_are_of_one_class_and_say_the_way_out(tmp_path: Path, done: assay.RunResult) -> None:
    for wrong in (
        lambda: assay.run(tmp_path / "no.toml", store=tmp_path),
        lambda: assay.results(store=tmp_path / "none"),
        lambda: assay.results("other", store=done.store),
        lambda: assay.resume(done),
        lambda: assay.Store(tmp_path / "none").runs(),
    ):
        with pytest.raises(assay.AssayError):
            wrong()


@pytest.mark.usefixtures("here")
def test_a_run_that_could_not_finish_is_an_error_and_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = write(tmp_path, RIGHT)
    held = tmp_path / "held.jsonl"

    def fails(store: Path, run_id: int, gpu: int | None = None) -> int:
        (tmp_path / "tuned.jsonl").rename(held)
        try:
            return work_here(store, run_id, gpu)
        finally:
            held.rename(tmp_path / "tuned.jsonl")

    with (
        monkeypatch.context() as patch,
        pytest.raises(assay.AssayError, match=r"(?s)run 1 is .*assay.resume\(1\)"),
    ):
        patch.setattr(launch, "start", fails)
        assay.run(plan, store=tmp_path / "store")
    assert assay.resume(1, store=tmp_path / "store").passed is True


@pytest.mark.e2e
def test_a_run_is_a_process_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = assay.run(write(tmp_path, RIGHT), store=tmp_path / "store", progress=True)
    assert result.passed is True
    assert "compare: 100%" in capsys.readouterr().err
