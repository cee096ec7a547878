"""Families of measures in the Compare screen: their order, folding, search, and what a line tells."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot

from store.read.rows import ModelRow
from store.records import StoredMetric
from tests.tui.driver import opened
from tests.tui.test_compare import comparison, named, table_of
from tui.screens.compare.data import FamilyHeading, Numbers, entries, fitting, groups
from tui.screens.compare.lines import draw, label_lines

Settled = Callable[[Pilot[int]], Awaitable[None]]


def test_families_that_got_worse_come_first_and_what_fits_is_open() -> None:
    models = [
        ModelRow(1, "base", "baseline", "local", None, None, None, None),
        ModelRow(2, "good", "candidate", "local", None, None, None, None),
    ]
    names = ["rouge1", "rougeL", "pass_at_1", "polite"]
    metrics = [
        StoredMetric(
            run_id=1,
            measure=name,
            position=place,
            direction="higher",
            low=0,
            high=1,
            unit="",
            version="1",
            source="test",
            meaning="",
        )
        for place, name in enumerate(names)
    ]
    comparisons = [
        comparison(measure="rouge1"),
        comparison(measure="rougeL", low=-0.1),
        comparison(measure="pass_at_1", delta=-0.1, low=-0.15, high=-0.05),
        comparison(measure="polite", delta=None, low=None, high=None),
    ]
    found = groups(Numbers(models, metrics, [], comparisons, [], []), "good", "base")
    assert [group.name for group in found] == ["code", "overlap", "own"]
    assert fitting(found, 4) == {"code"} and fitting(found, 6) == {"code", "overlap"}
    code, measure, overlap, own = entries(found, {"code"})
    assert isinstance(code, FamilyHeading) and code.open and (code.worse, code.better) == (1, 0)
    assert isinstance(overlap, FamilyHeading) and (overlap.size, overlap.worse, overlap.better) == (2, 0, 1)
    assert "2 measures" in draw(overlap, ("base", "good"), 78).plain
    assert "rougeL +0.100" in draw(overlap, ("base", "good"), 78).plain
    assert "+ 1 better" in draw(overlap, ("base", "good"), 78).plain
    assert isinstance(own, FamilyHeading) and "= not compared" in draw(own, ("base", "good"), 78).plain
    assert named(measure) == "pass_at_1"


async def test_keys_fold_a_family_and_all_of_them(store_folder: Path) -> None:
    async with opened(store_folder, "compare") as ui:
        table = table_of(ui.app)
        assert named(table.item) == "forgetting"
        await ui.tap("j", "j", "space")
        assert "▸ forgetting" in ui.text and named(table.item) == "forgetting"
        await ui.tap("enter")
        assert "▾ forgetting" in ui.text and "answer length" in ui.text
        await ui.tap("z")
        assert "▾" not in ui.text and "5 aspects" in ui.text
        assert len(table.items) == len({named(entry) for entry in table.items})
        await ui.tap("z")
        assert "▸" not in ui.text


async def test_a_search_opens_the_family_of_what_it_finds(store_folder: Path) -> None:
    async with opened(store_folder, "compare") as ui:
        await ui.press("z", "slash", *"words", "enter", "G")
        assert named(table_of(ui.app).item) == "response_words: men − women"
        await ui.tap("k", "k")
        assert named(table_of(ui.app).item) == "response_words"
        await ui.tap("escape")
        assert "▾ format" in ui.text and "▸ overlap" in ui.text
        assert named(table_of(ui.app).item) == "response_words"


async def test_the_declaration_of_a_measure_is_one_key_away(store_folder: Path) -> None:
    async with opened(store_folder, "compare") as ui:
        await ui.press("slash", *"perplexity", "enter", "G", "k", "i")
        shown = " ".join(ui.text.split())
        assert "range 1 or more" in shown and "needs references, weights" in shown
        assert "source: test" in shown and "meaning: how surprising" in shown


async def test_what_was_forgotten_stands_on_top_with_a_verdict(store_folder: Path) -> None:
    async with opened(store_folder, "compare") as ui:
        await ui.press("c")
        lines = ui.body
        assert "▾ forgetting" in lines[1]
        assert "bits per byte of" in lines[2] and "− forgotten" in lines[2]
        assert "drifted" in lines[6]


async def test_a_gap_between_groups_is_no_better_or_worse(store_folder: Path) -> None:
    async with opened(store_folder, "compare", size=(120, 36)) as ui:
        await ui.press("slash", *"women", "enter", "G")
        assert "≠ unequal" in ui.text and "+1.500" in ui.text
        assert "worse" not in ui.text


def test_errors_by_label_name_what_a_label_was_taken_for() -> None:
    def model(name: str, role: str, f1: float, counts: list[list[int]]) -> ModelRow:
        rows = [
            {"label": label, "precision": None, "recall": 0.5, "f1": f1, "support": sum(row)}
            for label, row in zip(("billing", "other"), counts, strict=True)
        ]
        details = {"classification": {"labels": [], "per_class": rows, "confusion": counts}}
        return ModelRow(1, name, role, "local", None, details, None, None)

    models = [
        model("base", "baseline", 0.4, [[1, 1, 2], [0, 3, 0]]),
        model("good", "candidate", 0.9, [[3, 0, 1], [2, 1, 0]]),
    ]
    billing, other = (line.plain for line in label_lines(models, "good", "base", 118))
    said = "F1 0.400 → 0.900 · precision –, recall 0.500, n"
    assert billing == f"billing: {said} 4 · taken for not found 1"
    assert other == f"other: {said} 3 · taken for billing 2"
    assert label_lines([], "good", "base", 118) == []
