"""`assay plan`: a plan made of a folder's files, that `assay check` has nothing against."""

from pathlib import Path

from tests.cli.conftest import Assay
from tests.engine.runs import lines
from tests.tui.history import HOSTILE


def fill(folder: Path) -> Path:
    lines(
        folder / "eval.jsonl",
        ({"id": f"e{n}", "query": f"q{n}", "reference": "a long one {n}"} for n in range(6)),
    )
    for name in ("before", "after"):
        lines(folder / f"{name}.jsonl", ({"id": f"e{n}", "response": name} for n in range(6)))
    return folder


def test_a_plan_is_written_that_can_run(assay: Assay, tmp_path: Path) -> None:
    ran = assay("plan", fill(tmp_path))
    assert ran.code == 0, ran.err
    for said in ("+   candidate  after", "6 answers", "wrote", "plan.toml"):
        assert said in ran.out
    checked = assay("check", tmp_path / "plan.toml", "--store", tmp_path / "store")
    assert checked.code == 0 and "error" not in checked.out, checked.out


def test_a_file_that_is_there_stays_and_another_may_be_named(assay: Assay, tmp_path: Path) -> None:
    (fill(tmp_path) / "plan.toml").write_text("mine")
    ran = assay("plan", tmp_path)
    assert ran.code == 2 and "exists already" in ran.err and "--out" in ran.err
    assert (tmp_path / "plan.toml").read_text() == "mine"
    (tmp_path / "plans").mkdir()
    assert assay("plan", tmp_path, "--out", tmp_path / "plans/new.toml").code == 0
    assert '"../eval.jsonl"' in (tmp_path / "plans/new.toml").read_text()


def test_for_programs_it_only_tells(assay: Assay, tmp_path: Path) -> None:
    told = assay("plan", fill(tmp_path), "--json").json
    assert {item["kind"] for item in told["items"]} >= {"baseline", "candidate", "examples", "metric", "gate"}
    assert told["lacking"] == [] and 'examples = "eval.jsonl"' in told["text"]
    assert not (tmp_path / "plan.toml").exists()


def test_without_models_or_data_it_says_what_there_is_not(assay: Assay, tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "").replace("\0", "")[:60]
    (tmp_path / f"{name}.jsonl").write_text("{")
    ran = assay("plan", tmp_path)
    assert ran.code == 2
    assert "a baseline:" in ran.err and "assay init DIR" in ran.err and "Found, not used" in ran.out
    assert "\x1b" not in ran.out + ran.err and not list(tmp_path.glob("*.toml"))
    assert assay("plan", tmp_path / "nowhere").code == 2
