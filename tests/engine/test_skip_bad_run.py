"""A plan may ask that examples which cannot be read are left out; they are counted, and told."""

from pathlib import Path

import pytest

from engine.errors import BadInput
from engine.plan.plan import read_plan
from engine.preflight.check import check
from store import records
from tests.engine.runs import carry_out, queue, recorded_plan

EXAMPLES = [{"id": f"e{place}", "query": f"Question {place}?", "reference": "yes"} for place in range(4)]
ANSWERS = {name: {f"e{place}": "yes" for place in range(4)} for name in ("base", "tuned")}


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """A plan whose eval set has four examples and two broken lines."""
    file = recorded_plan(tmp_path, EXAMPLES, ANSWERS, '[metrics]\nuse = ["exact_match"]\n')
    with (tmp_path / "examples.jsonl").open("a") as examples:
        examples.write('{"id": "torn", "query": "Ques\n{"no": "question"}\n')
    return file


def ask_to_skip(plan: Path) -> None:
    plan.write_text(plan.read_text().replace('"examples.jsonl"', '"examples.jsonl"\nskip_bad = true'))


def test_without_it_the_first_bad_line_stops_the_run(plan: Path, tmp_path: Path) -> None:
    found = [each for each in check(read_plan(plan), tmp_path / "store") if each.level == "error"]
    assert any("examples.jsonl:5" in each.message for each in found)
    with pytest.raises(BadInput, match=r"examples\.jsonl:5"):
        carry_out(tmp_path / "store", queue(tmp_path / "store", plan))


def test_with_it_they_are_left_out_counted_and_told(plan: Path, tmp_path: Path) -> None:
    ask_to_skip(plan)
    warned = [each for each in check(read_plan(plan), tmp_path / "store") if each.level == "warning"]
    assert any("2 records are left out" in each.message for each in warned)
    store = tmp_path / "store"
    recorder = carry_out(store, queue(store, plan))
    assert recorder.run().data_summary["skipped"] == 2
    told = [row.message for row in recorder.rows(records.Event) if "skip_bad" in row.message]
    assert len(told) == 2 and "examples.jsonl:5" in told[0] and "examples.jsonl:6" in told[1]
