"""The map of a sweep: gain against forgetting, what is drawn, what is not and why, and the way through it."""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from engine.decision.decision import TradeOff, trade_off, verdicts
from engine.decision.facts import RunFacts, cases, read
from store import database
from store.read import history
from store.read.rows import ModelRow
from tests.tui.conftest import Settled
from tests.tui.driver import opened
from tests.tui.history import NOW, SWEEP, build_sweep
from tui.app.app import AssayApp
from tui.screens.decision import DecisionScreen
from tui.screens.map import MapScreen
from tui.widgets.plot import Dot, axis, nearest, scatter

LOST = 4  # the place of the checkpoint whose benchmark gave no values


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty checkpoints of three ranks and two learning rates, which forget more with every step."""
    folder = build_sweep(tmp_path_factory.mktemp("map") / "store")
    connection = sqlite3.connect(folder / "assay.db")
    for place, name in enumerate(SWEEP):
        details = {
            "path": "models/base",
            "adapter": {"path": f"out/checkpoint-{place}", "r": (8, 16, 32)[place % 3]},
            "training": {"file": "t.yml", "sha256": "", "values": {"learning_rate": (2e-4, 1e-4)[place % 2]}},
        }
        loss = 0.002 * place + 0.01 * (place % 4)
        (model,) = connection.execute("SELECT id FROM model WHERE name = ?", (name,)).fetchone()
        connection.execute("UPDATE model SET details = ? WHERE id = ?", (json.dumps(details), model))
        connection.execute(
            "UPDATE comparison SET delta = ?1, candidate_value = baseline_value + ?1, low = ?1 - 0.02, "
            "high = ?1 + 0.02, allowed = 0.05 WHERE candidate_id = ?2 AND measure = 'arithmetic · acc'",
            (-loss, model),
        )
        if place == LOST:
            connection.execute(
                "UPDATE comparison SET delta = NULL, low = NULL, high = NULL, reason = 'no values' "
                "WHERE candidate_id = ? AND measure = 'arithmetic · acc'",
                (model,),
            )
    connection.execute("UPDATE run SET plan = 'name = \"t\"\n[gates]\nmin_win_rate = 0.55\n'")
    connection.commit()
    connection.close()
    return folder


@pytest.fixture(scope="module")
def facts(sweep: Path) -> RunFacts:
    connection = history.attach(database.connect(sweep))
    found = read(connection, 1)
    connection.close()
    return found


def traded(facts: RunFacts) -> TradeOff:
    found = cases(facts)
    return trade_off(found, verdicts(found, None))


def test_points_stand_in_the_order_of_their_steps_with_their_training(facts: RunFacts) -> None:
    found = traded(replace(facts, models=facts.models[::-1]))
    assert [point.step for point in found.points] == [100 * step for step in range(1, 31)]
    assert [(point.rank, point.lr) for point in found.points[:3]] == [(8, 2e-4), (16, 1e-4), (32, 2e-4)]
    assert (found.gain, found.forgotten) == ("win rate (reference)", "arithmetic · acc")
    assert (found.least_gain, found.most_forgotten, found.even) == (0.55, 0.05, 0.5)


def test_forgetting_is_a_worsening_and_its_interval_turns_with_it(facts: RunFacts) -> None:
    point = traded(facts).points[1]
    assert point.forgotten.value == pytest.approx(0.012)
    assert point.forgotten.low == pytest.approx(-0.008) and point.forgotten.high == pytest.approx(0.032)


def test_what_is_missing_is_not_drawn_and_says_why(facts: RunFacts) -> None:
    found = traded(facts)
    assert [point.candidate for point in found.missing] == [SWEEP[LOST]]
    assert found.missing[0].reason == "forgetting: no values"
    assert not found.missing[0].is_front and len(found.drawn) == 29


def test_on_the_front_none_is_beaten_and_all_others_are(facts: RunFacts) -> None:
    found = traded(facts)
    places = {point: (point.gain.value or 0.0, -(point.forgotten.value or 0.0)) for point in found.drawn}
    for point, mine in places.items():
        beaten = any(a >= mine[0] and b >= mine[1] and (a, b) != mine for a, b in places.values())
        assert point.is_front is not beaten


def test_all_are_measured_by_one_measure_the_corpus_before_benchmarks(facts: RunFacts) -> None:
    """Perplexities of other tokenizers have another unit: with one of them bits per byte are for all."""
    rows = [row for row in facts.comparisons if row.measure == "arithmetic · acc"]
    known = [
        replace(row, kind="corpus", measure=f"{measure}:{corpus}", direction="lower", delta=0.1)
        for row in rows
        for corpus in ("domain", "general")
        for measure in ("perplexity", "bits_per_byte")
    ]
    assert (
        traded(replace(facts, comparisons=[*facts.comparisons, *known])).forgotten == "perplexity of general"
    )
    other = [
        replace(row, delta=None, reason="other tokenizer")
        if (row.measure, row.candidate) == ("perplexity:general", SWEEP[0])
        else row
        for row in known
    ]
    found = traded(replace(facts, comparisons=[*facts.comparisons, *other]))
    assert found.forgotten == "bits per byte of general" and len(found.drawn) == 30
    only_domain = [row for row in known if row.measure.endswith("domain")]
    assert (
        traded(replace(facts, comparisons=[*facts.comparisons, *only_domain])).forgotten == "arithmetic · acc"
    )


def test_the_gain_is_by_what_most_have_and_orders_decisions_only_where_all_have_it(facts: RunFacts) -> None:
    judging = replace(facts.judging, win_rates=[])
    first = next(row for row in facts.comparisons if row.candidate == SWEEP[0] and row.measure == "rougeL")
    fewer = [row for row in facts.comparisons if row.candidate != SWEEP[0] or row.kind != "metric"]
    found = traded(replace(facts, judging=judging, comparisons=fewer))
    assert found.gain.startswith("improvement of ") and len(found.drawn) == 28
    assert f"has not compared it with {first.baseline}" in (found.points[0].reason or "")
    assert {
        each.gain for each in verdicts(cases(replace(facts, judging=judging, comparisons=fewer)), None)
    } == {None}


def test_with_nothing_compared_everything_is_missing_with_its_reason(facts: RunFacts) -> None:
    found = traded(replace(facts, comparisons=[], judging=replace(facts.judging, win_rates=[])))
    assert not found.drawn and found.most_forgotten is None
    assert found.points[0].reason == (
        "gain: no judge and no measure of quality has compared it with base; "
        "forgetting: neither a general corpus nor a benchmark was compared"
    )


def test_a_value_that_is_no_finite_number_is_not_drawn(facts: RunFacts) -> None:
    rows = [
        replace(row, delta=float("-inf")) if row.candidate == SWEEP[0] and row.kind == "benchmark" else row
        for row in facts.comparisons
    ]
    assert (
        traded(replace(facts, comparisons=rows)).points[0].reason == "forgetting: it is not a finite number"
    )


@pytest.mark.parametrize(
    ("name", "folder", "step", "series"),
    [
        ("lora-checkpoint-200", "", 200, "lora-checkpoint-*"),
        ("r8/checkpoint-1000", "", 1000, "r8/checkpoint-*"),
        ("tickets-lora-r16-step-0300", "", 300, "tickets-lora-r16-step-*"),
        ("v2", "out/global_step500/", 500, "out/global_step*/"),
        ("lora-r16", "out/step2/lora-r16", None, "lora-r16"),
        ("multistep3", "", None, "multistep3"),
        ("checkpoint-20000000000000", "", None, "checkpoint-20000000000000"),
    ],
)
def test_a_step_is_read_off_a_name_or_the_folder_and_never_guessed(
    name: str, folder: str, step: int | None, series: str
) -> None:
    model = ModelRow(1, name, "candidate", "local", None, {"adapter": {"path": folder}}, None, None)
    assert (model.step, model.series) == (step, series)
    recorded = ModelRow(1, name, "candidate", "local", None, {"checkpoint": {"step": 7}}, None, None)
    assert recorded.step == 7, "what the trainer wrote down counts"


# The picture


def test_a_scatter_keeps_to_its_width_and_shows_front_and_limits() -> None:
    dots = [Dot(0.0, 0.2, True), Dot(0.5, 0.9, True), Dot(0.6, 0.1, False)]
    x, y = axis([0.0, 0.5, 0.6], 0.0, 0.55), axis([0.2, 0.9, 0.1], 0.5)
    for width, height in ((30, 3), (40, 12), (200, 60)):
        lines = [line.plain for line in scatter(dots, x, y, width, height, chosen=2)]
        assert len(lines) == max(3, height) and max(map(len, lines)) <= width
    text = "\n".join(line.plain for line in scatter(dots, x, y, 40, 12, chosen=2))
    assert text.count("●") == 2 and text.count("◆") == 1 and "┊" in text
    plain = "\n".join(line.plain for line in scatter(dots, x, y, 40, 12, chosen=2, ascii=True))
    assert plain.isascii() and {"o", "@", "!"} <= set(plain)


def test_equal_points_can_be_drawn() -> None:
    same = axis([0.3, 0.3])
    assert "●" in "".join(line.plain for line in scatter([Dot(0.3, 0.3, True)], same, same, 30, 8))


def test_the_nearest_in_a_direction_lies_ahead() -> None:
    dots = [Dot(0.5, 0.5, False), Dot(0.6, 0.9, False), Dot(0.8, 0.5, False), Dot(0.1, 0.5, False)]
    x = y = axis([0.0, 1.0])
    ways = {"right": (1, 0), "left": (-1, 0), "up": (0, 1), "down": (0, -1)}
    assert {name: nearest(dots, 0, x, y, way) for name, way in ways.items()} == {
        "right": 2, "left": 3, "up": 1, "down": 0
    }  # fmt: skip


# The screen


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (160, 48)], ids=["80x24", "120x36", "160x48"])
def test_the_map_of_thirty_looks(
    size: tuple[int, int], snap_compare: Callable[..., bool], sweep: Path, settled: Settled
) -> None:
    app = AssayApp(sweep, run=1, screen="map", now=lambda: NOW)
    assert snap_compare(app, terminal_size=size, run_before=settled)


@pytest.mark.parametrize(
    ("presses", "view"), [(1, "rank"), (2, "lr"), (3, "step")], ids=["rank", "lr", "step"]
)
def test_the_map_by_settings_looks(
    presses: int, view: str, snap_compare: Callable[..., bool], sweep: Path, settled: Settled
) -> None:
    async def cycled(pilot: Pilot[int]) -> None:
        await settled(pilot)
        await pilot.press(*"b" * presses)
        await settled(pilot)

    app = AssayApp(sweep, run=1, screen="map", now=lambda: NOW)
    assert snap_compare(app, terminal_size=(120, 36), run_before=cycled)


def test_the_map_of_one_candidate_looks(
    snap_compare: Callable[..., bool], store_folder: Path, settled: Settled
) -> None:
    app = AssayApp(store_folder, run=1, screen="map", now=lambda: NOW)
    assert snap_compare(app, terminal_size=(80, 24), run_before=settled)


async def test_keys_walk_the_points_and_enter_opens_the_decision_on_one(sweep: Path) -> None:
    async with opened(sweep, "decision", run=1, size=(120, 36)) as ui:
        await ui.press("Z")
        assert isinstance(ui.screen, MapScreen)
        before = ui.screen.hand.candidate
        await ui.press("n")
        await ui.press("p")
        assert ui.screen.hand.candidate == before
        await ui.press("l")
        candidate = ui.screen.hand.candidate
        assert candidate != before and candidate in ui.text
        await ui.press("enter")
        assert isinstance(ui.screen, DecisionScreen) and ui.screen.hand.candidate == candidate
        await ui.press("escape")
        assert isinstance(ui.screen, MapScreen) and ui.screen.hand.candidate == candidate


async def test_every_point_can_be_reached_in_order(sweep: Path) -> None:
    async with opened(sweep, "map", run=1) as ui:
        seen = set()
        for _ in range(29):
            seen.add(ui.app.in_hand(1).candidate)
            await ui.tap("n")
        assert seen == set(SWEEP) - {SWEEP[LOST]}


async def test_one_candidate_and_candidates_of_which_nothing_is_known_say_so(
    store_folder: Path, sweep: Path
) -> None:
    async with opened(store_folder, "map", run=1) as ui:
        assert "the map needs 2 candidates: this run has 1" in ui.text
        await ui.press("b", "n", "l", "enter")
        assert isinstance(ui.screen, MapScreen)
    async with opened(sweep, "map", run=1, size=(30, 8)) as ui:
        assert "gain" in ui.text


@pytest.mark.parametrize("size", [(30, 8), (80, 24), (240, 70)])
async def test_the_map_fits_any_terminal(sweep: Path, size: tuple[int, int]) -> None:
    async with opened(sweep, "map", run=1, size=size) as ui:
        for _ in range(4):
            await ui.press("b")
            assert all(len(line) <= size[0] for line in ui.lines) and len(ui.lines) == size[1]


def test_reports_and_show_have_the_same_figures(sweep: Path, capsys: Any) -> None:
    from tui.cli.main import command

    assert command(["show", "1", "--section", "trade-off", "--store", str(sweep)]) == 0
    shown = capsys.readouterr().out
    assert (
        "Gain against forgetting" in shown
        and "Gates: gain at least 0.550, forgetting at most 0.050." in shown
    )
    assert command(["show", "1", "--json", "--store", str(sweep)]) == 0
    points = json.loads(capsys.readouterr().out)["trade_off"]["points"]
    assert [point["step"] for point in points[:2]] == [100, 200]
    assert points[LOST]["forgotten"] is None and points[LOST]["reason"] == "forgetting: no values"
    assert command(["report", "1", "--format", "md", "--store", str(sweep)]) == 0
    assert "<summary>Gain against forgetting</summary>" in capsys.readouterr().out
    assert command(["report", "1", "--format", "html", "--store", str(sweep)]) == 0
    html = capsys.readouterr().out
    assert "Gain against forgetting" in html and 'class="range better"' in html and 'class="wanted"' in html
