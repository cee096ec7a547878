"""The Splits screen: whether the eval set can be believed, part by part, and taking examples out of it."""

import json
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from store import database
from tests.tui.driver import driven
from tests.tui.leaky import COVERAGE, below, open_splits, rest, set_summary, summary
from tests.tui.terminal import terminal
from tests.tui.test_hostile import CORPUS, check
from tui.keys import REGISTRY
from tui.screens.review.screen import ReviewScreen
from tui.screens.splits.data import NEAR
from tui.screens.splits.screen import SplitsScreen

Settled = Callable[[Pilot[int]], Awaitable[None]]


async def test_the_judgement_names_every_tier_the_lock_and_the_smallest_change(leaky: Path) -> None:
    app = open_splits(leaky)
    async with driven(app, (160, 48)) as ui:
        first, second = ui.body[:2]
    assert (
        "! 4 of 12 evaluated examples leaked: 1 identical, 1 near, 1 long shared n-gram, 1 same meaning"
        in first
    )
    assert "1 answer also in training · 2 only similar · test split used twice" in second
    assert "with 12 examples you can see a 65-point change" in second


async def test_every_part_is_one_key_away(leaky: Path) -> None:
    app = open_splits(leaky)
    async with driven(app) as ui:
        for keys, tab, shown in (
            ("2", "[2 sizes]", "81%"),
            ("3", "[3 coverage !1]", "! lacks 3"),
            ("4", "[4 lock 2]", "a look before the release"),
            ("]", "[5 versions 2]", "+2 added, −1 removed, ~1 edited"),
            ("]", "[1 leakage 4]", "n-gram"),
            ("[", "[5 versions 2]", "the oldest known"),
        ):
            await ui.press({"]": "right_square_bracket", "[": "left_square_bracket"}.get(keys, keys))
            assert tab in ui.text, keys
            assert shown in ui.text, keys


async def test_the_help_names_every_part(leaky: Path) -> None:
    app = open_splits(leaky)
    async with driven(app, (120, 60)) as ui:
        await ui.press("question_mark")
        for name in ("exclude", "undo", "next", "leaks", "sizes", "coverage", "lock", "versions"):
            assert REGISTRY[f"splits.{name}"].help in ui.text


async def test_a_run_without_a_leak_opens_on_its_sizes(leaky: Path) -> None:
    connection = database.connect(leaky)
    connection.execute("DELETE FROM leak")
    connection.close()
    app = open_splits(leaky)
    async with driven(app) as ui:
        assert "[2 sizes]" in ui.text
        await ui.press("1")
        assert "no example was found in the training data" in ui.text


async def test_a_wide_screen_shows_the_other_parts_beside(leaky: Path) -> None:
    app = open_splits(leaky)
    async with driven(app, (160, 48)) as ui:
        shown = ui.text
    for part in ("1,290", "! 3", "maria", "+2 added", "I was charged twice for order"):
        assert part in shown, part


async def test_a_part_keeps_its_cursor(leaky: Path, settled: Settled) -> None:
    app = open_splits(leaky)
    async with driven(app) as ui:
        await ui.press("j", "j")
        await ui.tap("3", "1")
        await rest(ui.pilot, settled, "Can I change the delivery address")
        assert "› t-004" in ui.text


async def test_what_is_said_follows_the_cursor(leaky: Path, settled: Settled) -> None:
    app = open_splits(leaky)
    async with driven(app, (80, 24), settle=False) as ui:
        await rest(ui.pilot, settled, "train line 412")
        await ui.tap("3", "j", "j")
        await rest(ui.pilot, settled, "How do I cancel?")
        assert "the log asks this 20.0% of the time, the eval set 0.0%: 3 examples missing" in below(ui.app)
        await ui.tap("5")
        await rest(ui.pilot, settled, "t-011, t-012")
        assert "#3 tickets-v3, #2 tickets-v2" in below(ui.app)


async def test_enter_opens_the_answers_to_the_leaked_example(leaky: Path) -> None:
    app = open_splits(leaky)
    async with driven(app) as ui:
        await ui.press("enter")
        assert isinstance(ui.screen, ReviewScreen)
        assert "t-003" in ui.text and "1/1" in ui.text


# Finding


async def test_the_filter_narrows_the_list_and_esc_shows_all(leaky: Path) -> None:
    app = open_splits(leaky)
    async with driven(app) as ui:
        await ui.press("slash", *"1042", "enter")
        shown = ui.text
        assert "1 pair with “1042”" in shown and "t-001" in shown and "t-004" not in shown
        await ui.press("escape")
        assert isinstance(ui.screen, SplitsScreen) and "t-004" in ui.text
        await ui.press("slash", *"zz", "enter")
        assert "no leak matches" in ui.text


def more_leaks(connection: sqlite3.Connection, count: int) -> None:
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO leak (run_id, example_id, tier, score, train_line, field, excerpt) "
        "SELECT 2, id, 'near', 0.5, ?, 'query', 'line ' || ? FROM example WHERE example = 't-009' LIMIT 1",
        [(line, line) for line in range(count)],
    )
    connection.execute("COMMIT")


async def test_twenty_thousand_leaks_are_read_by_page(leaky: Path) -> None:
    connection = database.connect(leaky)
    more_leaks(connection, 20_000)
    connection.close()
    app = open_splits(leaky)
    async with driven(app) as ui:
        await ui.press("G")
        await ui.press("k", "k")
        screen = ui.screen
        assert isinstance(screen, SplitsScreen)
        assert "line 19999" in ui.text
        assert len(screen.rows.items) == 20_005
        assert len(screen._near) <= 2 * NEAR


@pytest.mark.e2e
def test_holding_j_writes_a_few_hundred_bytes_a_step(leaky: Path) -> None:
    connection = database.connect(leaky)
    more_leaks(connection, 1_000)
    connection.close()
    with terminal(leaky, "splits") as opened:
        opened.until("train")
        written = len(opened.press("j" * 40))
    assert 0 < written / 40 <= 600


# Hostile text, and how it looks


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_no_part_lets_anything_raw_through(leaky: Path, size: tuple[int, int]) -> None:
    bad = "".join(CORPUS[:4])
    connection = database.connect(leaky)
    connection.execute("UPDATE leak SET train_text = ?, excerpt = ?, field = 'both'", (CORPUS[5] + bad, bad))
    connection.execute('UPDATE example SET query = ?, "references" = ?', (bad, json.dumps([CORPUS[6] + bad])))
    connection.execute("UPDATE splituse SET user = ?, reason = ?", (bad, bad))
    connection.execute("UPDATE run SET name = ?, eval_set_file = ?", (bad, bad))
    clusters = [cluster | {"label": bad, "examples": [bad]} for cluster in COVERAGE["clusters"]]
    named = {"by_category": {bad: 3}, "by_split": {bad: 2}, "by_both": {bad: {bad: 1}}, "total": 3}
    set_summary(
        connection,
        summary(connection)
        | {"coverage": COVERAGE | {"clusters": clusters}, "examples_file": bad, "train_file": bad}
        | {"evaluation": named, "training": named, "earlier": [{"file": bad, "leaked": 1}]},
    )
    connection.execute("UPDATE example SET example = ? || example", (bad,))
    connection.close()
    app = open_splits(leaky)
    async with driven(app, size) as ui:
        for key in ("x", "2", "G", "3", "4", "5", "G"):
            await ui.press(key)
            check(ui.app, size[0])


@pytest.mark.parametrize(
    ("key", "size"), [("1", (80, 24)), ("1", (120, 36)), ("3", (80, 24)), ("5", (160, 48))]
)
def test_how_it_looks(
    leaky_folder: Path, settled: Settled, snap_compare: Any, key: str, size: tuple[int, int]
) -> None:
    async def shown(pilot: Pilot[int]) -> None:
        await settled(pilot)
        await pilot.press(key)
        await settled(pilot)

    assert snap_compare(open_splits(leaky_folder), terminal_size=size, run_before=shown)
