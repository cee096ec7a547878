"""One comparison, one verdict: every face prints the stored ruling, and none rules by itself."""

import json
from pathlib import Path

import pytest

from engine.compare.forgetting import forgetting
from engine.decision.decision import decide
from engine.decision.words import change
from store.database import connect
from store.read import history
from store.read.history import attach
from tests.cli.conftest import Assay
from tests.tui.decided import benchmark, compared, told
from tui.screens.compare.lines import meaning, verdict

NEEDED = 210


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A benchmark whose own interval leaves 0 out, and not the one that allows for its family."""
    others = [compared(f"other {place}", 0.0, p=0.9) for place in range(4)]
    doubted = benchmark(-0.05, 0.045, p=0.03, smallest_detectable=2.8 * 0.045 / 1.96)
    told(tmp_path, [doubted, *others], passed=None)
    return tmp_path


def test_one_comparison_one_verdict(assay: Assay, store: Path) -> None:
    connection = attach(connect(store))
    [row] = [item for item in history.comparisons(connection, 1) if item.kind == "benchmark"]
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
