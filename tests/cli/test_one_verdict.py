"""One comparison, one verdict: every face prints the stored ruling, and none rules by itself."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from engine.compare.comparison import Comparison, from_paired
from engine.compare.forgetting import forgetting
from engine.compare.ruling import Ruling
from engine.decision.decision import decide
from engine.decision.families import change
from engine.gates.measures import drop_alerts
from engine.plan.plan import Gates
from engine.stats.paired import Paired
from store.database import connect
from store.read import history, slices
from store.read.history import attach
from store.read.rows import ComparisonRow
from tests.cli.conftest import Assay
from tests.tui.decided import alert, benchmark, compared, told
from tests.tui.driver import opened
from tui.screens.compare.lines import meaning, verdict

SLICE = "category: billing"
OTHERS = [compared(f"other {place}", 0.0, p=0.9) for place in range(4)]
# The interval of the benchmark alone leaves 0 out, and not the one that allows for its family.
DOUBTED = benchmark(-0.05, 0.045, p=0.03, smallest_detectable=2.8 * 0.045 / 1.96)


def live(row: ComparisonRow) -> Comparison:
    """The stored comparison as the last phase of a run had it."""
    paired = Paired(
        row.candidate_value, row.baseline_value, row.delta, row.low, row.high, row.p, row.n,
        row.smallest_detectable,
    )  # fmt: skip
    ruling = Ruling(
        row.standing, row.family, row.family_size, row.p_corrected, row.low_corrected, row.high_corrected,
        row.needed,
    )  # type: ignore[arg-type]  # fmt: skip
    made = from_paired(row.candidate, row.baseline, row.measure, "higher", "benchmark", paired)
    return replace(made, ruling=ruling)


def only_benchmark(folder: Path) -> ComparisonRow:
    connection = attach(connect(folder))
    [row] = [item for item in history.comparisons(connection, 1) if item.kind == "benchmark"]
    connection.close()
    return row


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A run whose benchmark fell beyond its limit, perhaps by chance, and so did a slice."""
    scratch = tmp_path / "scratch"
    told(scratch, [DOUBTED, *OTHERS], passed=None)
    [raised] = drop_alerts([], [live(only_benchmark(scratch))], Gates(), {})
    fell: dict[str, Any] = {
        "baseline": "base", "measure": "exact_match", "slice": SLICE, "direction": "higher",
        "baseline_value": 0.5, "candidate_value": 0.4, "delta": -0.1, "low": -0.19, "high": -0.01, "p": 0.09,
        "n": 40,
    }  # fmt: skip
    shown = alert(
        raised.severity, raised.kind, raised.message, measure=raised.measure, evidence=asdict(raised.evidence)
    )
    told(tmp_path / "store", [DOUBTED, *OTHERS], (shown,), slices=(fell,))
    return tmp_path / "store"


def test_one_comparison_one_verdict(assay: Assay, store: Path) -> None:
    connection = attach(connect(store))
    row = only_benchmark(store)
    assert row.low is not None and row.high is not None and row.high < 0 < (row.high_corrected or 0.0)
    assert row.standing == "inconclusive" and row.needed
    [forgot] = forgetting([row])
    needs = f"needs about {row.needed:,} examples"
    assert change(row) == "inconclusive"
    assert forgot.said == f"inconclusive: {needs}"
    assert meaning(row).plain == verdict(forgot).plain == "= inconclusive"
    [decided] = decide(connection, 1)
    answer = decided.answer("forgotten")
    assert answer is not None and any(needs in line for line in answer.evidence)
    shown = json.loads(assay("show", "1", "--json", "--store", store).out)
    [told_] = [item for item in shown["comparisons"] if item["measure"] == row.measure]
    assert (told_["standing"], told_["needed"]) == ("inconclusive", row.needed)
    for option in ((), ("--full",)):
        text = assay("show", "1", *option, "--store", store).out
        assert "forgotten" not in text and "- worse" not in text
    for kind in ("md", "html"):
        text = assay("report", "1", "--format", kind, "--store", store).out
        assert f"inconclusive: {needs}" in text and "forgotten (" not in text


def test_an_inconclusive_drop_fails_no_test_case(assay: Assay, store: Path) -> None:
    row = only_benchmark(store)
    text = assay("report", "1", "--format", "junit", "--store", store).out
    assert "<failure" not in text
    assert (
        f"note: tuned against base, {row.measure}: Inconclusive: needs about {row.needed:,} examples" in text
    )


async def test_alerts_compare_and_slices_say_it_on_screen(store: Path) -> None:
    row = only_benchmark(store)
    async with opened(store, "alerts", run=1, size=(160, 40)) as ui:
        text = " ".join(ui.text.split())
        assert "· note" in text and f"Inconclusive: needs about {row.needed:,} examples" in text
        assert "critical" not in text
    async with opened(store, "compare", run=1, size=(160, 40)) as ui:
        assert "− worse" not in ui.text
        await ui.press("s")
        line = next(line for line in ui.lines if SLICE in line)
        assert "= inconclusive" in line and "worse" not in line


def test_slices_say_it_in_the_terminal_and_in_reports(assay: Assay, store: Path) -> None:
    connection = attach(connect(store))
    [row] = slices.slices(connection, 1)
    assert row.high is not None and row.high < 0 and row.standing == "inconclusive"
    text = assay("show", "1", "--slices", "--store", store).out
    assert "0 of 1 clearly worse" in text
    [line] = [line for line in text.splitlines() if SLICE in line]
    assert "-0.100 =" in line
    [decided] = decide(connection, 1)
    answer = decided.answer("slices")
    assert answer is not None and "inconclusive" in " ".join(answer.evidence)
    assert SLICE not in assay("report", "1", "--format", "md", "--store", store).out
    assert "none of 1 slices clearly worse" in assay("report", "1", "--format", "html", "--store", store).out


def test_two_runs_are_compared_by_the_same_rule(assay: Assay, own_store: Path) -> None:
    found = json.loads(assay("compare", "1", "2", "--json", "--store", own_store).out)
    text = assay("compare", "1", "2", "--store", own_store).out
    every = [*found["comparisons"], *found["benchmarks"]]
    ruled = {item["measure"]: item["standing"] for item in every if item["delta"] is not None}
    assert {"inconclusive"} < set(ruled.values())
    lines = text.splitlines()
    unclear = " ".join(text.split())
    for measure, standing in ruled.items():
        if standing in ("inconclusive", "no worse", "at the floor"):
            listed = unclear.split(f"= {standing}", 1)[1].split(" = ", 1)[0]
            assert measure in listed, (measure, standing)
        else:
            words = {"better": "+ better", "worse": "- worse"}.get(standing, standing)
            assert any(measure in line and words in line for line in lines), (measure, standing)
    for raised in found["alerts"]:
        by_chance = ruled.get(raised["measure"]) not in ("worse", "not tested")
        assert not by_chance or raised["severity"] == "note"
