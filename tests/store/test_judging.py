"""What is read of a run's judges: their calls, their cost, what is known of them."""

from pathlib import Path

from store.database import connect
from store.read import history, judging
from tests.engine.runs import carry_out, queue, recorded_plan


def test_a_judges_calls_and_leanings_are_read_together(tmp_path: Path) -> None:
    examples = [{"id": f"e{place}", "query": "q", "references": ["right answer"]} for place in range(6)]
    texts = {
        "base": {f"e{place}": "wrong" for place in range(6)},
        "tuned": {f"e{place}": "right answer" for place in range(6)},
    }
    plan = recorded_plan(tmp_path, examples, texts, '[metrics]\nuse = ["length"]')
    carry_out(tmp_path / "store", queue(tmp_path / "store", plan))
    connection = history.attach(connect(tmp_path / "store"))
    (judge,) = judging.judges(connection, 1)
    assert (judge.name, judge.calls, judge.failed, judge.from_cache) == ("reference", 12, 0, 0)
    assert judge.cost is None and judge.unpriced == 12 and not judge.is_language_model
    measures = {row.measure: row for row in judging.audits(connection, 1)}
    assert measures["consistency"].value == 1.0
    assert measures["longer_wins"].subject == "tuned against base"
    ranked = judging.rankings(connection, 1)
    assert [row.model for row in ranked] == ["tuned", "base"]
    assert ranked[0].strength is not None and ranked[0].strength > 1000
