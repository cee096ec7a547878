"""Annotations in a job of GitHub Actions: which line they are at, and that no text breaks out of them."""

import dataclasses
from pathlib import Path

import pytest

from engine.decision.what_if import gate_line
from store.session import opened
from tests.engine.runs import carry_out, queue, recorded_plan
from tui.cli.run import annotate
from tui.report.github import annotations, workflow_command
from tui.sections.gather import RunSections, gather_report

EXAMPLES = [{"id": f"e{n}", "query": f"Which is {n}?", "references": [str(n)]} for n in range(30)]
METRICS = '[metrics]\nuse = ["exact_match"]\n'


def evaluated(folder: Path, gates: str) -> tuple[Path, RunSections]:
    folder.mkdir(exist_ok=True)
    answers = {"base": {f"e{n}": str(n) for n in range(30)}, "tuned": {f"e{n}": "no" for n in range(30)}}
    plan = recorded_plan(folder, EXAMPLES, answers, METRICS + gates)
    store = folder / "store"
    run_id = queue(store, plan)
    carry_out(store, run_id).set_run(status="finished")
    with opened(store) as connection:
        return plan, gather_report(connection, run_id)


@pytest.fixture(scope="module")
def defaults(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunSections]:
    return evaluated(tmp_path_factory.mktemp("defaults"), "")


def test_messages_and_properties_are_escaped_as_the_runner_reads_them() -> None:
    line = workflow_command("error", "50% of\r\n::error::x", file=Path("a,b:c%.toml"), line=3, title="t\nu:,")
    assert line == "::error file=a%2Cb%3Ac%25.toml,line=3,title=t%0Au%3A%2C::50%25 of␍%0A::error::x"
    assert workflow_command("warning", "x\x1b[31m") == "::warning::x␛[31m"


def test_a_gate_that_the_plan_names_is_annotated_at_its_line(tmp_path: Path) -> None:
    gates = "\n# limits\n[gates]\nmax_metric_drop = 0.04 # of shares\n[generation]\nmax_new_tokens = 9\n"
    plan, found = evaluated(tmp_path, gates)
    wanted = plan.read_text().splitlines().index("max_metric_drop = 0.04 # of shares") + 1
    (line,) = [line for line in annotations(found) if line.startswith("::error")]
    assert line.startswith(f"::error file={plan},line={wanted},title=Assay%3A tuned%2C exact_match::")


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("[gates]\nmax_metric_drop = 1\n[gates.metrics]\nexact_match = 0.1", 4),
        ("[gates]\nmax_metric_drop = 1\nmetrics = { exact_match = 0.1 }", 3),
        ("[gates]\n# max_metric_drop = 1\n'max_metric_drop'=1", 3),
        ("max_metric_drop = 1\n[gate]\nmax_metric_drop = 1", None),
    ],
)
def test_a_measures_own_limit_comes_before_that_of_all(
    written: str, line: int | None, defaults: tuple[Path, RunSections]
) -> None:
    alert = next(row for row in defaults[1].alerts.rows if row.severity == "critical")
    assert gate_line(written, alert) == line


def test_a_gate_at_its_default_is_annotated_at_the_clearest_example(
    defaults: tuple[Path, RunSections],
) -> None:
    plan, found = defaults
    alert = next(row for row in found.alerts.rows if row.severity == "critical")
    name = found.alerts.behind(alert)[0].name
    (line,) = [line for line in annotations(found) if line.startswith("::error")]
    assert f"file={plan.parent / 'examples.jsonl'},line={int(name[1:]) + 1}," in line


def test_files_are_named_from_the_repositorys_root(
    defaults: tuple[Path, RunSections], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, found = defaults
    monkeypatch.setenv("GITHUB_WORKSPACE", str(plan.parents[1]))
    assert any(f"file={plan.parent.name}/" in line for line in annotations(found))


def test_a_run_without_a_verdict_is_an_error_and_what_was_acknowledged_is_none(
    defaults: tuple[Path, RunSections],
) -> None:
    _, found = defaults
    overview = dataclasses.replace(found.overview, no_verdict="the run is paused")
    seen = [dataclasses.replace(row, acknowledged=1.0) for row in found.alerts.rows]
    alerts = dataclasses.replace(found.alerts, rows=seen)
    (line,) = annotations(dataclasses.replace(found, overview=overview, alerts=alerts))
    assert "::run 1 has no verdict: the run is paused" in line


def test_they_are_written_in_a_job_of_github_alone(
    defaults: tuple[Path, RunSections], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(defaults[0].parent / "store") as connection:
        monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
        annotate(connection, 1)
        assert capsys.readouterr() == ("", "")
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        annotate(connection, 1)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("::error file=")
