"""What `assay show` and the reports say about judges: never less than is known, never a cost of 0."""

from pathlib import Path

import pytest
from rich.cells import cell_len

from engine.formats.importing import import_run
from tests.cli.conftest import Assay
from tests.formats import files
from tests.tui.judged import build


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("judged") / "store")


def test_the_short_form_has_judges_rates_and_doubts_in_eighty_columns(
    assay: Assay, judged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.text.output.width", lambda: 80)
    shown = assay("show", "1", "--section", "all", "--store", judged).out
    assert max(cell_len(line) for line in shown.splitlines()) <= 80
    words = " ".join(shown.split())
    for said in (
        "gpt-4o pairwise, in panel gpt-4o 24 0 0 $0.24", "strict pairwise, in panel strict 24 0 0 unknown",
        "panel pairwise 2 judges – – – –", "grader pointwise grader-7b 36 3 0 $0.66",
        "0.750 [0.550 0.950]", "turn 1 base", "turn 2 base 0.250 [0.100 0.400]",
        "! both orders agree on 42% [32, 52] of 12 pairs", "! gpt-4o: a constant, empty answer wins 30%",
        "! gpt-4o: same model family as tuned", "Krippendorff's alpha 0.39", "Ranking by judge panel",
        "LC win rate 65% [45, 85], not 75%", "the 95% CI: each win rate by itself",
    ):  # fmt: skip
        assert said in words, said
    assert "with more Markdown" not in words and "Ranking by judge gpt-4o" not in words


def test_full_has_every_figure(assay: Assay, judged: Path) -> None:
    words = " ".join(assay("show", "1", "--full", "--store", judged).out.split())
    for said in (
        "answers with more Markdown: none to measure",
        "12 of 36 calls saved by stopping when settled", "kappa 0.41 [0.31, 0.51]", "Ranking by judge gpt-4o",
    ):  # fmt: skip
        assert said in words, said


@pytest.mark.parametrize("form", ["html", "md"])
def test_reports_say_that_the_intervals_of_win_rates_are_not_corrected(
    assay: Assay, judged: Path, form: str
) -> None:
    said = assay("report", "1", "--format", form, "--store", judged).out
    table = next(line for line in said.splitlines() if "first position won" in line)
    assert "95% CI, by itself" in table


def test_json_has_judges_audits_rankings_and_turns(assay: Assay, judged: Path) -> None:
    shown = assay("show", "1", "--json", "--store", judged).json
    judges = {row["name"]: row for row in shown["judges"]}
    assert judges["gpt-4o"]["calls"] == 24 and judges["gpt-4o"]["cost"] == pytest.approx(0.24)
    assert judges["strict"]["cost"] is None and "24 calls of unknown price" in judges["strict"]["reason"]
    assert judges["panel"]["cost"] is None and judges["panel"]["reason"]
    assert [row["turn"] for row in shown["verdicts"] if row["judge"] == "gpt-4o"] == [0, 1, 2]
    assert shown["verdicts"][0]["length_controlled_low"] == pytest.approx(0.45)
    audits = {(row["judge"], row["measure"]): row for row in shown["audits"]}
    assert audits["gpt-4o", "consistency"]["value"] == 0.42
    assert audits["gpt-4o", "markdown_wins"]["value"] is None and audits["gpt-4o", "markdown_wins"]["reason"]
    first = shown["rankings"][0]
    assert (first["model"], first["strength"], first["low"]) == ("tuned", 1040.0, 1010.0)


@pytest.mark.parametrize("form", ["html", "md"])
def test_reports_have_the_judges_doubts_prompts_and_turns(assay: Assay, judged: Path, form: str) -> None:
    report = assay("report", "1", "--format", form, "--store", judged).out
    for said in (
        "a constant, empty answer wins 30%", "same model family as tuned", "unknown", "gpt-4o______", "turn",
        "both orders agree on 42%", "Krippendorff",
    ):  # fmt: skip
        assert said in report.replace("\\", ""), said


def test_an_imported_run_says_where_it_is_from(assay: Assay, tmp_path: Path) -> None:
    store = tmp_path / "store"
    import_run("mt-bench", files.mt_bench(tmp_path / "mt"), store)
    shown = assay("show", "1", "--section", "all", "--store", store).out
    assert shown.startswith("run 1 · mt-bench mt · imported from mt-bench\n")
    assert "not recorded" not in shown and "plan  " not in shown
    assert "category: writing 9.000 of 2 6.750 of 2" in " ".join(shown.split())
    assert shown.count("no LC win rate: ") == 1
    for form in ("md", "html"):
        assert "turn 2" in assay("report", "1", "--format", form, "--store", store).out
    assert "imported from mt-bench" in assay("runs", "--store", store).out
    found = assay("show", "1", "--json", "--store", store).json
    assert found["passed"] is None and found["reason"].startswith("imported from mt-bench")
