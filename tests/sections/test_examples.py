from collections.abc import Iterator

import pytest

from store import database
from store.read import history
from store.read.history import Connection
from store.read.rows import AlertRow
from tests.tui.history import build
from tui.sections.alerts import LONGEST, MOST, behind, cut


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    folder = build(tmp_path_factory.mktemp("cases") / "store")
    database.prepare(folder)
    opened = history.attach(database.connect(folder))
    yield opened
    opened.close()


def alert(connection: Connection, kind: str) -> AlertRow:
    return next(row for row in history.alerts(connection, 2) if row.kind == kind)


def test_a_forgotten_benchmark_shows_the_questions_that_were_lost(connection: Connection) -> None:
    found = behind(connection, alert(connection, "benchmark_drop"))
    assert len(found) == MOST
    first = found[0]
    assert first.question == "5 + 4 =" and first.expected == "9"
    assert first.answers == (("base", "9"), ("overfit", '{"category": "billing"}'))
    assert first.remark == "1.000 → 0.000"


def test_a_drop_shows_the_examples_that_it_names(connection: Connection) -> None:
    found = behind(connection, alert(connection, "metric_drop"))
    assert [case.name for case in found] == ["t-002", "t-009"]
    assert [name for name, _ in found[0].answers] == ["prompted", "overfit"]
    assert found[0].remark.startswith("rougeL ")


def test_a_leak_shows_where_it_stands_in_the_training_data(connection: Connection) -> None:
    (case,) = behind(connection, alert(connection, "leakage"))
    assert case.name == "t-003" and case.answers == (("training line 412", "My parcel has not moved …"),)


def test_an_adapter_without_effect_rests_on_no_single_answer(connection: Connection) -> None:
    assert behind(connection, alert(connection, "adapter_no_effect")) == []


def test_long_texts_are_cut_and_say_so() -> None:
    assert cut("x" * (LONGEST + 5)).endswith("… (5 more characters)")
