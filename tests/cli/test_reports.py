import re
import xml.etree.ElementTree as ElementTree
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from store import records
from store.write import Recorder
from tests.cli.conftest import Assay
from tests.rulings import ruled
from tests.tui.history import HOSTILE

SECTIONS = (
    *("decision", "alerts", "measures", "benchmarks", "win-rates", "slices"),
    *("data", "cost", "protocol"),
)
ATTACK = f'<script>alert(1)</script> & "quoted" | [x](javascript:1) @someone {HOSTILE}'


@pytest.fixture
def hostile_store(own_store: Path) -> Path:
    """A run whose names and messages try to break out of every format."""
    recorder = Recorder(own_store, 2)
    model = recorder.rows(records.StoredModel, run_id=2, name="overfit")[0].id
    recorder.set_model(model, name=ATTACK)
    recorder.set_run(name=ATTACK)
    recorder.insert(
        records.StoredAlert(
            run_id=2,
            severity="critical",
            kind="metric_drop",
            candidate=ATTACK,
            measure=ATTACK,
            message=ATTACK,
            created=0.0,
        )
    )
    recorder.close()
    return own_store


class Page(HTMLParser):
    """What a browser would make of a page: its elements, what it would load, which were never closed."""

    VOID = frozenset({"meta", "br", "rect", "line", "path"})
    LOADS = frozenset({"src", "srcset", "data", "poster", "background", "action", "xlink:href"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str | None] = []
        self.handlers: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.loads += [value for name, value in attrs if name in self.LOADS]
        self.loads += [value for name, value in attrs if name == "href" and not str(value).startswith("#")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag, f"</{tag}> closes another element"


@pytest.mark.parametrize("form", ["html", "md", "json", "junit"])
def test_no_control_character_of_the_data_reaches_a_report(
    assay: Assay, hostile_store: Path, form: str
) -> None:
    report = assay("report", "2", "--format", form, "--store", hostile_store)
    assert report.code == 0
    assert not set(report.out) & set("\x1b\x07\x00\x9b\u202e")


def test_html_is_one_inert_file_that_names_its_conditions(assay: Assay, hostile_store: Path) -> None:
    page = assay("report", "2", "--format", "html", "--store", hostile_store).out
    parsed = Page(page)
    assert parsed.open == [] and parsed.loads == [] and parsed.handlers == []
    assert not {"script", "link", "img", "iframe", "object", "embed", "form", "base"} & set(parsed.tags)
    policy = str(dict(parsed.attributes)["content"])
    assert "default-src 'none'" in page and "@import" not in page and "url(" not in page, policy
    assert "prefers-color-scheme: dark" in page and "@media print" in page
    for words in ("not a language model", "5be1c07a9d42", "9f2c41d07be3", "2.13.0", "seed", "rougeL"):
        assert words in page, words


def test_every_plot_says_in_words_what_it_shows(assay: Assay, history_store: Path) -> None:
    page = assay("report", "2", "--format", "html", "--store", history_store).out
    pictures = re.findall(
        r'<svg class="picture".*?</svg></svg>|<svg class="picture".*?</svg>', page, re.DOTALL
    )
    assert len(pictures) > 40
    assert all('role="img"><title>' in picture for picture in pictures)
    assert not re.search(r"\b(nan|inf|None)\b", "".join(re.findall(r"<(?:rect|line|svg|text)[^>]*>", page)))
    places = [float(place) for place in re.findall(r'(?:x|x1|x2)="(-?[\d.]+)%"', page)]
    assert places and min(places) >= 0 and max(places) <= 100


def test_the_decision_comes_first_and_alerts_bring_their_examples(assay: Assay, history_store: Path) -> None:
    page = assay("report", "2", "--format", "html", "--store", history_store).out
    order = [page.index(f'<section id="{name}">') for name in SECTIONS]
    assert order == sorted(order)
    decision = page[order[0] : order[1]]
    assert "overfit" in decision and "don&#39;t ship" in decision
    alerts = page[order[1] : order[2]]
    assert "<pre>3 + 0 =</pre>" in alerts or "<pre>5 + 4 =</pre>" in alerts
    assert "training line 412" in alerts and "Why is there a fee of 3 EUR" in alerts


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


def test_junit_skips_what_a_run_did_not_look_at(assay: Assay, history_store: Path) -> None:
    report = assay("report", "1", "--format", "junit", "--store", history_store).out
    (suite,) = ElementTree.fromstring(report)
    skipped = {case.get("name") for case in suite.iter("testcase") if case.find("skipped") is not None}
    assert "benchmark_drop" in skipped and "win_rate" not in skipped and "metric_drop" not in skipped
    assert suite.get("skipped") == str(len(skipped)) and suite.get("failures") == "0"


def test_a_long_run_still_fits_a_comment(assay: Assay, own_store: Path) -> None:
    recorder = Recorder(own_store, 2)
    model = recorder.rows(records.StoredModel, run_id=2, name="overfit")[0].id
    base = recorder.rows(records.StoredModel, run_id=2, name="base")[0].id
    row = {"candidate_id": model, "baseline_id": base, "kind": "metric", "direction": "higher", "n": 9}
    names = [f"{ATTACK * 9} {number}" for number in range(300)]
    made = ruled([row | {"measure": name, "reason": ATTACK * 20} for name in names])
    recorder.append([records.StoredComparison(**one) for one in made])
    alert = {"run_id": 2, "severity": "critical", "kind": "metric_drop", "candidate": "overfit"}
    recorder.append(
        [
            records.StoredAlert(**{**alert, "measure": name, "message": name * 9, "created": 0.0})
            for name in names
        ]
    )
    recorder.close()
    report = assay("report", "2", "--format", "md", "--store", own_store).out
    assert len(report) < 65_536 and "don't ship" in report
    assert report.count("<details>") == report.count("</details>")
    assert "Too long for a comment" in report.splitlines()[-1]


def test_junit_of_an_unfinished_run_is_an_error_and_no_pass(assay: Assay, history_store: Path) -> None:
    report = assay("report", "3", "--format", "junit", "--store", history_store).out
    (suite,) = ElementTree.fromstring(report)
    assert suite.get("errors") == suite.get("tests")


def test_json_report_holds_what_show_prints_and_what_repeats_the_run(
    assay: Assay, history_store: Path
) -> None:
    shown = assay("show", "2", "--json", "--store", history_store).json
    report = assay("report", "2", "--format", "json", "--store", history_store).json
    assert {name: report[name] for name in shown} == shown
    assert report["format"] == 2 and report["plan"].startswith("name =")
    assert {"plan", "data", "models", "judges", "metrics", "benchmarks", "libraries"} <= set(
        report["protocol"]
    )
    assert report["protocol"]["data"]["uses of the test split"].startswith("0: nobody")
    assert all(example["cases"] for example in report["examples"])


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
    worst = [line for line in report.splitlines() if "category: shipping" in line and "-0.310" in line]
    assert len(worst) >= 10
    assert "1 or more" in report and "no better direction" in report


def test_html_has_the_pictures_of_the_screens(assay: Assay, history_store: Path) -> None:
    page = unescape(assay("report", "2", "--format", "html", "--store", history_store).out)
    assert "How the values spread" in page and "the dashed line is the gate's limit" in page
    assert "overfit against base: every slice by measure" in page
    cell = re.search(r'<td class="number shade-\d way-worse">−0.31 <strong>▼</strong></td>', page)
    assert cell is not None and 'class="number dim" title' not in page.split("every slice by measure")[0]


def test_the_limit_of_a_comparison_is_that_of_the_plans_gate(assay: Assay, own_store: Path) -> None:
    recorder = Recorder(own_store, 2)
    plan = "[gates]\nmax_metric_drop = 0.2\n[gates.metrics]\nperplexity = 0.5\n"
    recorder.set_run(plan=plan)
    recorder.close()
    rows = assay("show", "2", "--json", "--store", own_store).json["comparisons"]
    found = {
        row["measure"]: (row["limits"], row["baseline_value"])
        for row in rows
        if (row["candidate"], row["baseline"]) == ("good", "base")
    }
    assert found["rougeL"][0] == [-0.2]
    limits, baseline = found["perplexity"]
    assert limits == [0.5 * baseline], "relative to the baseline, and a rise is the drop"
    assert found["arithmetic · acc"][0] == [-0.05]
    drift, words = found["response_words"]
    assert drift == [-0.5 * words, 0.5 * words] and found["tokens_per_second"][0] == []
