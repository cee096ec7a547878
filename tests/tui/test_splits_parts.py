"""What the parts of the Splits screen say: the judgement in words, sizes, coverage, the ledger, the pair."""

from pathlib import Path
from typing import Any

import pytest

from engine.formats.importing import import_run
from store.read.datasets import Use
from store.read.rows import LeakTexts
from store.session import opened
from tests.formats.files import mt_bench
from tests.tui.history import EVAL_SET, NOW
from tests.tui.leaky import COVERAGE
from tui.screens.splits.data import SplitsData, read_data
from tui.screens.splits.parts import CoveragePart, LeakPair, LeaksPart, LockPart, SizesPart, lines, pair
from tui.screens.splits.screen import judgement
from tui.text.diff import text_of as joined

TRAINED = {"total": 9}


def said(data: SplitsData, width: int = 118) -> str:
    return "\n".join(line.plain for line in judgement(data, width))


def data_of(**values: Any) -> SplitsData:
    return SplitsData(EVAL_SET, {"training": TRAINED, "selected": 200, **values})


def test_the_judgement_fits_a_small_screen() -> None:
    tiers = {"identical": 5, "near": 5, "ngram": 4, "meaning": 3}
    found = judgement(data_of(leaks_by_tier=tiers, similar=3, answers_seen=17), 78)
    assert found[0].plain.startswith("! 17 of 200 leaked: 5 identical, 5 near")
    assert all(line.cell_length <= 78 for line in found)


def test_two_hundred_examples_see_seven_points() -> None:
    assert "with 200 examples you can see a 7-point change" in said(data_of(leaks_by_tier={}))
    assert "with 200 examples you can see a 12-point change" in said(data_of(detectable=0.12))


def test_a_clean_run_says_so_and_an_older_one_what_was_searched() -> None:
    assert said(data_of(leaks_by_tier={})).startswith("+ none of the 200 evaluated examples leaked\n")
    tiers = {"identical": 0, "near": 0, "ngram": 0, "meaning": None}
    assert "leaked (same meaning: not searched)" in said(data_of(leaks_by_tier=tiers))
    assert "(searched: identical texts)" in said(data_of())


def test_without_training_data_nothing_is_claimed_about_leaks() -> None:
    assert said(data_of(training=None)).startswith("? leaks were not searched for")
    assert LeaksPart(data_of(training=None), {}).empty.startswith("the plan names no training data")


def test_a_run_that_has_not_read_its_data_says_so() -> None:
    assert said(SplitsData()) == "the data was not read yet"
    assert SizesPart(SplitsData()).empty == LeaksPart(SplitsData(), {}).empty == "the data was not read yet"


@pytest.mark.parametrize("held", ["2 examples (version ", "no examples;"])
def test_an_imported_run_says_what_it_came_with(tmp_path: Path, held: str) -> None:
    run = import_run("mt-bench", mt_bench(tmp_path / "mt_bench"), tmp_path / "store")
    with opened(tmp_path / "store") as connection:
        if held.startswith("no"):
            connection.execute("UPDATE run SET eval_set = NULL")
        data = read_data(connection, run, "", 0, {})
    assert data.unread.startswith(f"imported from mt-bench with {held}")
    assert " ".join(said(data, 40).split()) == data.unread
    assert SizesPart(data).empty == LeaksPart(data, {}).empty == data.unread


def test_sizes_of_a_million_rows_stay_in_their_columns() -> None:
    train = {"total": 1_000_000, "by_split": {"train": 800_000, "test": 200_000}}
    sizes = SizesPart(
        data_of(evaluation={"total": 200, "by_split": {"train": 158, "test": 42}}, training=train)
    )
    rows = [sizes.row(item, 76).plain for item in sizes.items]
    assert "800.0k" in rows[0] and "80%" in rows[0]
    assert "1,000,000" in sizes.heading(76).plain
    assert all(len(row) <= 76 for row in rows)


def test_duplicates_and_earlier_eval_sets_are_told() -> None:
    found = SizesPart(
        data_of(evaluation={"total": 3}, duplicates=1, earlier=[{"file": "a.jsonl", "leaked": 2}])
    )
    assert found.items == [
        "! 1 group of copies inside the eval set",
        "! 2 examples also in the previous eval set a.jsonl",
    ]


def test_coverage_says_how_the_sets_differ_or_that_nobody_looked() -> None:
    rows = [
        CoveragePart(data_of(coverage=COVERAGE)).row(drift, 200).plain
        for drift in CoveragePart(data_of(coverage=COVERAGE)).items[3:]
    ]
    assert rows[0].rstrip() == "= training data: like the eval set"
    assert "≠ log: a classifier tells it from the eval set (71% right), lengths shifted (PSI 0.31)" in rows[1]
    assert "not measured" in CoveragePart(data_of()).empty


def test_bars_of_coverage_are_full_at_the_largest_share() -> None:
    clusters = [{"label": "a", "sizes": {"eval": 10}}, {"label": "b", "sizes": {"eval": 5}}]
    clusters += [{"label": "c", "sizes": {"eval": 5}} for _ in range(17)]
    coverage = CoveragePart(data_of(coverage={"clusters": clusters}))
    first, second = (coverage.row(item, 76).plain for item in coverage.items[:2])
    assert "░" not in first and first.rstrip().endswith("10%")
    assert second.count("█") == second.count("░")


def test_the_ledger_tells_of_training_data_edited_since_and_survives_hostile_reasons() -> None:
    use = Use(1, 7, "first", "test", "eve", "\x1b]52;c;aGk=\x07[/b]", NOW - 60, "old")
    lock = LockPart(SplitsData(EVAL_SET, {"train_sha256": "new"}, uses=[use]), NOW)
    assert "1 use before the training data was edited" in lock.said(120).plain
    row = lock.row(use, 200).plain
    assert "\x1b" not in row and "[/b]" in row and "! trained on other data since" in row
    assert not LockPart(SplitsData(EVAL_SET, {"train_sha256": "old"}, uses=[use]), NOW)._edited(use)


def leaked(ours: str, theirs: str | None, **values: Any) -> LeakTexts:
    found: dict[str, Any] = {"field": "query", "tier": "near", "references": []} | values
    return LeakTexts(
        "t-1", found["tier"], 0.9, 12, found["field"], "an excerpt", ours, 1, theirs, found["references"]
    )


def shared(found: LeakPair) -> tuple[list[str], list[str]]:
    ours, theirs = ([part.text for part in side if not part.changed] for side in (found.ours, found.theirs))
    return ours, theirs


def test_the_words_that_both_texts_have_are_marked() -> None:
    found = pair(
        leaked("I was charged twice for order 12, please help.", "Please: I was Charged TWICE for it")
    )
    assert shared(found) == (["I was charged twice for"], ["I was Charged TWICE for"])
    assert (found.shared, found.words) == (5, 9)


def test_a_short_word_that_is_alone_in_common_is_not_marked() -> None:
    found = pair(leaked("is the lamp broken", "what a day the parcel had"))
    assert shared(found) == ([], [])


def test_question_and_answer_are_shown_where_both_were_found() -> None:
    found = pair(leaked("A question?", "A question?\nThe answer", field="both", references=["The answer"]))
    assert joined(found.ours) == joined(found.theirs) == "A question?\nThe answer"
    assert found.shared == found.words == 4
    assert joined(pair(leaked("A question?", None, field="reference", references=["One"])).ours) == "One"


def test_shared_words_are_underlined_so_that_they_show_without_colour() -> None:
    rows = lines(pair(leaked("Where is my parcel now?", "Where is my parcel?")), 60)
    marks = [
        row.plain[span.start : span.end]
        for row in rows
        for span in row.spans
        if "underline" in str(span.style)
    ]
    assert marks == ["Where is my parcel", "Where is my parcel"]


def test_the_texts_stand_side_by_side_where_there_is_room() -> None:
    found = pair(leaked("Where is my parcel now?", "Where is my parcel?"))
    assert any("now? " in row.plain and "│ Where" in row.plain for row in lines(found, 120))
    assert not any("│" in row.plain for row in lines(found, 60))


def test_long_texts_are_cut_and_an_excerpt_is_called_one() -> None:
    found = pair(leaked("word " * 5_000, None))
    assert "… 5,000 more characters" in joined(found.ours)
    assert any("an excerpt" in row.plain for row in lines(found, 60))
    assert any(row.plain.endswith("· an excerpt") for row in lines(found, 60))
