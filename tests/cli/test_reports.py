import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest

from store import tables
from store.record import Recorder
from tests.cli.conftest import Assay
from tests.tui.history import HOSTILE

ATTACK = f'<script>alert(1)</script> & "quoted" | [x](javascript:1) @someone {HOSTILE}'


@pytest.fixture
def hostile_store(own_store: Path) -> Path:
    """A run whose names and messages try to break out of every format."""
    recorder = Recorder(own_store, 2)
    model = recorder.rows(tables.Model, run_id=2, name="overfit")[0]["id"]
    recorder.set_model(model, name=ATTACK)
    recorder.set_run(name=ATTACK)
    recorder.insert(
        tables.Alert,
        {"run_id": 2, "severity": "critical", "kind": "metric_drop", "candidate": ATTACK, "measure": ATTACK}
        | {"message": ATTACK, "created": 0.0},
    )
    recorder.close()
    return own_store


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)


@pytest.mark.parametrize("form", ["html", "md", "json", "junit"])
def test_no_control_character_of_the_data_reaches_a_report(
    assay: Assay, hostile_store: Path, form: str
) -> None:
    report = assay("report", "2", "--format", form, "--store", hostile_store)
    assert report.code == 0
    assert not set(report.out) & set("\x1b\x07\x00\x9b\u202e")


def test_html_is_one_inert_file_that_names_its_conditions(assay: Assay, hostile_store: Path) -> None:
    page = assay("report", "2", "--format", "html", "--store", hostile_store).out
    parser = Tags()
    parser.feed(page)
    assert "script" not in parser.tags and "link" not in parser.tags and "img" not in parser.tags
    assert "prefers-color-scheme: dark" in page
    for words in ("not a language model", "5be1c07a9d42", "9f2c41d07be3", "2.13.0", "seed", "rougeL"):
        assert words in page, words


def test_markdown_keeps_data_out_of_its_markup(assay: Assay, hostile_store: Path) -> None:
    report = assay("report", "2", "--format", "md", "--store", hostile_store).out
    assert "<script>" not in report and "[x](javascript" not in report and "@someone" not in report
    assert len(report) < 65_536
    rows = [line for line in report.splitlines() if line.startswith("| critical")]
    assert rows and all(line.replace("\\|", "").count("|") == 4 for line in rows)
    assert "not a language model" in report


def test_junit_fails_the_case_of_a_critical_alert(assay: Assay, history_store: Path) -> None:
    report = assay("report", "2", "--format", "junit", "--store", history_store).out
    suites = {suite.get("name"): suite for suite in ElementTree.fromstring(report)}
    assert suites["tickets-v2: good"].get("failures") == "0"
    overfit = suites["tickets-v2: overfit"]
    assert overfit.get("failures") == "1"
    (case,) = [case for case in overfit.iter("testcase") if case.find("failure") is not None]
    assert case.get("name") == "benchmark_drop" and len(case.findall("failure")) == 2
    properties = {item.get("name"): item.get("value") for item in overfit.iter("property")}
    assert "not a language model" in str(properties["judge reference"])
    assert properties["eval_set"] == "5be1c07a9d42"


def test_junit_of_an_unfinished_run_is_an_error_and_no_pass(assay: Assay, history_store: Path) -> None:
    report = assay("report", "3", "--format", "junit", "--store", history_store).out
    (suite,) = ElementTree.fromstring(report)
    assert suite.get("errors") == suite.get("tests")


def test_json_report_is_what_show_prints(assay: Assay, history_store: Path) -> None:
    shown = assay("show", "1", "--json", "--store", history_store)
    assert assay("report", "1", "--format", "json", "--store", history_store).json == shown.json


def test_a_report_goes_into_a_file(assay: Assay, history_store: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    done = assay("report", "2", "--format", "html", "--out", file, "--store", history_store)
    assert done.out == "" and file.read_text().startswith("<!doctype html>")
    refused = assay("report", "2", "--format", "html", "--out", tmp_path, "--store", history_store)
    assert refused.code == 2 and "cannot be written" in refused.err


@pytest.mark.parametrize("form", ["html", "md"])
def test_reports_tell_slices_forgetting_corpora_disparities_and_declarations(
    assay: Assay, history_store: Path, form: str
) -> None:
    report = assay("report", "2", "--format", form, "--store", history_store).out.replace("\\", "")
    for words in (
        "category: shipping",
        "forgotten",
        "unequal",
        "fewer than two tokens",
        "references, weights",
    ):
        assert words in report, words
    assert report.count("category: shipping") == 10 and "category: billing" not in report
    assert "from 1 on" in report and "neither end is better" in report
