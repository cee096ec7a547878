"""Cut answers and reasoning traces: beside the scores on every face, counted and in full."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.decision.decision import decide
from engine.gates.checks import cut_alerts
from store import database
from store.read.answers import AnswerCount, answer_counts, cut_answers
from store.session import opened
from tests.cli.conftest import Assay
from tests.cli.conftest import assay as assay
from tests.tui import driver
from tests.tui.history import NOW
from tui.report import render
from tui.sections.gather import gather_report
from tui.sections.remarks import answer_table

TRACE = "First \x1b[2J[bold]add[/bold] <b>two</b>.\nThen stop."


@contextmanager
def changed(store: Path) -> Iterator[None]:
    """Run 2: half of the candidate's answers are cut, and some have traces, one of them alone."""
    connection = database.connect(store)
    of = "model_id = (SELECT id FROM model WHERE run_id = 2 AND name = 'good')"
    connection.execute(f"UPDATE response SET finish_reason = 'length' WHERE {of} AND example_id % 2 = 0")
    connection.execute(
        "UPDATE response SET thinking = ?, thinking_tokens = 7, tokens_out = 20 WHERE model_id IN "
        "(SELECT id FROM model WHERE run_id = 2 AND role = 'candidate')",
        (TRACE,),
    )
    connection.execute(f"UPDATE response SET thinking_tokens = NULL WHERE {of} AND example_id % 3 = 0")
    connection.commit()
    yield
    connection.close()


@pytest.fixture
def store(own_store: Path) -> Path:
    with changed(own_store):
        return own_store


def counts(name: str, cut: int, of: int) -> AnswerCount:
    return AnswerCount(name, of, 0, 0, of, cut, 0, 0, None, None)


def cut_first(cut: int, of: int) -> dict[str, tuple[int, int]]:
    return {str(place): (int(place < cut), 1) for place in range(of)}


def cut_last(cut: int, of: int) -> dict[str, tuple[int, int]]:
    return {str(place): (int(place >= of - cut), 1) for place in range(of)}


@pytest.mark.parametrize(
    ("base", "tuned", "found"),
    [
        ((0, 40), (3, 40), []),  # 7.5 %, and so few that 3 % would be no surprise
        ((0, 400), (30, 400), [("warning", None, 0.075)]),
        ((0, 40), (10, 40), [("warning", None, 0.25)]),
        ((0, 40), (12, 40), [("critical", "base", 0.3)]),
        ((0, 3), (1, 3), [("note", "base", 1 / 3)]),  # may be chance
        ((5, 40), (12, 40), [("note", "base", 0.3), ("warning", None, 0.3)]),  # that it is more may be chance
        ((6, 40), (12, 40), [("warning", None, 0.3)]),  # the base has half of that
        ((0, 0), (12, 40), [("warning", None, 0.3)]),  # how the base's answers ended is not known
        ((40, 40), (0, 40), [("warning", "base", 1.0)]),
        ((30, 40), (12, 40), [("warning", "base", 0.75)]),  # of the two the one with the larger share
        ((0, 40), (0, 0), []),
    ],
)
def test_many_cut_answers_are_an_alert(
    base: tuple[int, int], tuned: tuple[int, int], found: list[tuple[str, str | None, float]]
) -> None:
    ends = {"base": cut_last(*base), "tuned": cut_first(*tuned)}
    alerts = cut_alerts(ends, ["tuned"], ["base"])
    assert [(a.severity, a.baseline, a.evidence.value) for a in alerts] == found  # type: ignore[attr-defined]
    assert all("max_new_tokens" in alert.message for alert in alerts)


def test_a_clearer_difference_of_cut_answers_is_never_a_weaker_alert() -> None:
    def weight(base: int) -> int:
        ends = {"base": cut_last(base, 40), "tuned": cut_first(12, 40)}
        found = cut_alerts(ends, ["tuned"], ["base"])
        return max(("note", "warning", "critical").index(alert.severity) for alert in found)

    weights = [weight(base) for base in range(13)]
    assert weights == sorted(weights, reverse=True) and (weights[0], weights[-1]) == (2, 1)


def test_cut_answers_are_counted_by_example(store: Path) -> None:
    with opened(store) as connection:
        found, totals = cut_answers(connection, 2), answer_counts(connection, 2)
    assert any(row.ended_by_length for row in totals)
    for row in totals:
        own = found.get(row.model, {}).values()
        counted = sum(cut for cut, _ in own), sum(ended for _, ended in own)
        assert counted == (row.ended_by_length, row.ended)


def test_what_nobody_knows_is_no_zero() -> None:
    assert answer_table([counts("recorded", 0, 0)]) == []
    rows = answer_table([counts("recorded", 0, 0), AnswerCount("r1", 3, 0, 0, 3, 1, 3, 2, 50, 9)])
    assert rows == [["recorded", "0", "–", "–", "–"], ["r1", "3", "1 (33.3%)", "50 (1 not counted)", "9"]]


def test_the_shares_and_tokens_stand_beside_the_scores(store: Path, assay: Assay) -> None:
    shown = assay("show", 2, "--section", "answers", "--store", store)
    [line] = [line for line in shown.out.splitlines() if line.startswith("good ") and "(50.0%)" in line]
    assert "6 (50.0%)" in line and "not counted" in line
    [row] = [
        row for row in assay("show", 2, "--json", "--store", store).json["answers"] if row["model"] == "good"
    ]
    assert (row["ended"], row["ended_by_length"], row["thoughts"]) == (12, 6, 12)
    assert (
        row["thinking_tokens"] == 7 * row["thoughts_counted"]
        and row["answer_tokens"] == 13 * row["thoughts_counted"]
    )
    with opened(store) as connection:
        decision = next(found for found in decide(connection, 2) if found.candidate == "good")
        gathered = gather_report(connection, 2)
    evidence = decision.answers[0].evidence
    assert any("cut off at the token limit: base 0% of 12, good 50.0% of 12" in line for line in evidence)
    for form in ("md", "html"):
        assert "50.0%" in render(gathered, form)


def test_the_trace_is_exported_and_stands_in_reports(store: Path, assay: Assay, tmp_path: Path) -> None:
    assert assay("export", "runs", 2, tmp_path / "out", "--store", store).code == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "responses.jsonl").read_text().splitlines()]
    assert {row["thinking"] for row in rows if row["model"] == "good"} == {TRACE}
    with opened(store) as connection:
        text = render(gather_report(connection, 2), "html")
    assert ", reasoning" in text and "<b>two" not in text and "\x1b" not in text


async def test_the_trace_is_folded_in_review_until_a_key_unfolds_it(store: Path) -> None:
    async with driver.opened(store, run=2, screen="review", now=lambda: NOW, size=(120, 40)) as app:
        await app.press("right_square_bracket") if "good" not in app.text else None
        assert "▸ reasoning before the answer" in app.text and "Then stop." not in app.text
        await app.press("i")
        assert "▾ reasoning before" in app.text and "Then stop." in app.text
        assert "[bold]add[/bold]" in app.text and "\x1b" not in app.text
        await app.press("v")
        assert "Then stop." in app.text
        await app.press("i", "B")
        assert "reasoning before" not in app.text


def test_two_runs_compared_say_it_too(store: Path, assay: Assay) -> None:
    remarks = assay("compare", 1, 2, "--json", "--store", store).json["remarks"]
    assert "run 2: answers of good cut off at the token limit: 50.0% of 12" in remarks
    assert not any(remark.startswith("run 1") for remark in remarks)


async def test_compare_says_how_many_answers_were_cut(store: Path) -> None:
    async with driver.opened(store, run=2, screen="compare", now=lambda: NOW, size=(140, 40)) as app:
        for _ in range(4):
            if "good against base" in app.text:
                break
            await app.press("c")
        assert "cut off 0% → 50.0%" in app.text


def test_what_is_counted_once_is_counted_anew_after_any_write(own_store: Path) -> None:
    """Whether over the same connection or by another process."""
    reader, other = database.connect(own_store), database.connect(own_store)

    def cut() -> int:
        return sum(row.ended_by_length for row in answer_counts(reader, 2))

    one_more = (
        "UPDATE response SET finish_reason = 'length' WHERE id = (SELECT min(r.id) FROM response r "
        "JOIN model m ON m.id = r.model_id WHERE m.run_id = 2 AND r.finish_reason <> 'length')"
    )
    before = cut()
    other.execute(one_more)
    other.commit()
    assert cut() == before + 1
    reader.execute(one_more)
    assert cut() == before + 2 == cut()
    for connection in (other, reader):
        connection.close()
