"""Annotating in Review: twenty pairs with twenty keys, places, people, blind mode, ratings, corrections."""

import shutil
import stat
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from engine.stats.family import wilson
from store import database, records, reviewing
from store.read import history, queues
from store.write import Recorder
from tests.tui.driver import driven, opened
from tests.tui.history import NOW
from tui.app.app import AssayApp
from tui.app.settings import AppSettings, read_settings
from tui.screens.decision import DecisionScreen
from tui.screens.review.aside import OwnScreen, edit
from tui.screens.review.data import swapped, with_controls
from tui.screens.review.screen import ReviewScreen
from tui.sections.judging import own_figures, seconds_each

Settled = Callable[[Pilot[int]], Awaitable[None]]
NAMES = ("good", "base", "overfit", "prompted", "no-effect")


def review(store: Path, **settings: Any) -> AssayApp:
    return AssayApp(store, run=2, screen="review", now=lambda: NOW, settings=AppSettings(**settings))


def said(store: Path) -> list[dict[str, Any]]:
    """Everything that stands of what was said of run 2."""
    connection = history.attach(database.connect(store))
    rows = connection.execute(
        "SELECT * FROM annotation WHERE run_id = 2 AND kind <> 'undo' "
        "AND id NOT IN (SELECT undoes FROM annotation WHERE undoes NOT NULL) ORDER BY id"
    )
    found = [dict(row) for row in rows]
    connection.close()
    return found


def ids_of(store: Path) -> dict[str, int]:
    connection = history.attach(database.connect(store))
    found = {model.name: model.id for model in history.models(connection, 2)}
    connection.close()
    return found


@pytest.fixture(scope="module")
def long_folder(store_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo store with 25 examples in run 2; not to be written to."""
    folder = Path(shutil.copytree(store_folder, tmp_path_factory.mktemp("long") / "store"))
    ids = ids_of(folder)
    recorder = Recorder(folder, 2)
    with recorder.transaction() as write:
        for place in range(12, 25):
            row = {
                "eval_set": "long",
                "example": f"x-{place}",
                "position": place,
                "query": f"question {place}",
            }
            example_id = write.insert(records.StoredExample(**row))
            write.append(records.RunExample(run_id=2, position=place, example_id=example_id))
            for name in ("good", "base"):
                answer = {
                    "model_id": ids[name],
                    "example_id": example_id,
                    "text": f"answer {place} {name[0]}",
                }
                write.append(records.StoredResponse(**{**answer, "created": NOW}))
    recorder.close()
    return folder


@pytest.fixture
def long_store(long_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(long_folder, tmp_path / "long"))


async def test_twenty_pairs_take_twenty_keys(long_store: Path) -> None:
    app = review(long_store)
    async with driven(app) as ui:
        await ui.press(*("1", "2", "t", "b") * 5)
        assert "21/25" in ui.text and "s left" in ui.text
    rows = said(long_store)
    assert [row["value"] for row in rows] == ["left", "right", "tie", "both_bad"] * 5
    assert len({row["example_id"] for row in rows}) == 20
    assert all(row["seconds"] is not None and row["seconds"] >= 0 for row in rows)


async def test_three_keys_lead_from_the_history_to_the_worst_failure(
    own_store: Path, settled: Settled
) -> None:
    connection = database.connect(own_store)
    connection.execute("DELETE FROM benchmarkscore")
    connection.execute("DELETE FROM benchmarksample")
    connection.close()
    async with opened(own_store, run=None) as ui:
        await ui.tap("j")  # the newest run is still under way
        await ui.settled()
        await ui.press("enter")
        assert isinstance(ui.screen, DecisionScreen)
        await ui.press("w")
        assert isinstance(ui.screen, ReviewScreen) and "worst" in ui.text


async def test_review_goes_on_where_each_person_left_off(own_store: Path) -> None:
    app = review(own_store, annotator="ann")
    async with driven(app) as ui:
        await ui.press("F")
        await ui.press("w")
        await ui.press("j", "j")
        left_at = ui.body[0]
        assert " 3/" in left_at and "wins" in left_at
    app = review(own_store, annotator="ann")
    async with driven(app) as ui:
        assert ui.body[0] == left_at
        await ui.press("F")
        await ui.press("a")
        assert "1/12" in ui.text
        await ui.press("F")
        await ui.press("w")
        assert ui.body[0] == left_at
    app = review(own_store, annotator="bob")
    async with driven(app) as ui:
        assert "1/12" in ui.text


async def test_what_somebody_else_says_meanwhile_shows_and_nothing_is_lost(
    own_store: Path, settled: Settled
) -> None:
    app = review(own_store, annotator="ann")
    ids = ids_of(own_store)
    async with driven(app, (120, 36)) as ui:
        await ui.press("1", "k")
        other = database.connect(own_store)
        example = other.execute("SELECT id FROM example WHERE example = 't-001'").fetchone()[0]
        # Bob saw the sides the other way round: his left is the candidate, which stands on the right here.
        reviewing.annotate(
            other,
            2,
            example,
            "preference",
            "left",
            left_id=ids["good"],
            right_id=ids["base"],
            annotator="bob",
        )
        other.close()
        ui.screen.reload()  # type: ignore[attr-defined]  # what the app does when the store changed
        await ui.settled()
        assert "you: left is better · bob: right is better" in ui.text
    assert [row["annotator"] for row in said(own_store)] == ["ann", "bob"]


async def test_ratings_thumbs_and_later_are_of_the_candidate_or_the_other_answer(own_store: Path) -> None:
    ids = ids_of(own_store)
    recorder = Recorder(own_store, 2)
    judge = {
        "run_id": 2,
        "name": "rubric",
        "kind": "pointwise",
        "is_language_model": True,
        "prompt_hash": "-",
    }
    recorder.insert(
        records.StoredJudge(**{**judge, "details": {"criteria": {"clarity": [1, 10], "tone": [1, 10]}}})
    )
    recorder.close()
    app = review(own_store)
    async with driven(app, (120, 36)) as ui:
        await ui.press("r", "4", "x", "2", "plus", "l")
        assert "later" in ui.body[0] and "rated" in ui.body[0]
        await ui.press("a", "minus")
        await ui.press("l")
    found = [(row["kind"], row["criterion"], row["value"], row["left_id"]) for row in said(own_store)]
    assert found == [
        ("rating", "clarity", "4", ids["good"]),
        ("rating", "tone", "2", ids["good"]),
        ("thumbs", None, "up", ids["good"]),
        ("thumbs", None, "down", ids["base"]),
    ]


async def test_undo_says_what_it_took_back_and_an_excluded_example_is_marked(own_store: Path) -> None:
    app = review(own_store)
    async with driven(app, (120, 36)) as ui:
        await ui.press("2", "u")
        assert "undone: t-001: good is better" in ui.text
        await ui.press("x", "j", "k")
        assert "excluded" in ui.body[0]
    assert said(own_store) == []


# Blind mode


async def test_blind_mode_shows_neither_names_nor_scores_until_it_ends(own_store: Path) -> None:
    ids = ids_of(own_store)
    app = review(own_store, blind=True, annotator="ann")
    async with driven(app, (160, 48)) as ui:
        for keys in ((), ("o",), ("o", "v"), ("m",), ("m", "1"), ("t",), ("k",), ("f",), ("escape", "u")):
            await ui.press(*keys)
            shown = ui.text
            assert "blind" in shown
            assert not [name for name in NAMES if name in shown.replace("both bad", "")]
            for hidden in (
                "rougeL",
                "perplexity",
                "Closer to the reference",
                "verdict of",
                "→",
                "0.31 s",
                "gate failed",
                "INCONCLUSIVE",
                "wins",
            ):
                assert hidden not in shown
        await ui.press("F")
        assert "losses" not in ui.text and "random" in ui.text
        await ui.press("escape", "B")
        assert "good" in ui.text and "rougeL" in ui.text and "INCONCLUSIVE" in ui.text
    rows = [row for row in said(own_store) if row["kind"] == "preference"]
    assert rows and all(row["blind"] for row in rows)
    connection = database.connect(own_store)
    names = dict(connection.execute("SELECT id, example FROM example"))
    connection.close()
    for row in rows:
        left = "good" if swapped("ann", 2, names[row["example_id"]], False) else "base"
        assert row["left_id"] == ids[left]


async def test_a_blind_queue_repeats_items_which_never_count_as_labels(own_store: Path) -> None:
    app = review(own_store, blind=True, annotator="ann")
    async with driven(app) as ui:
        assert "1/13" in ui.text
        await ui.press(*"1" * 13)
        assert isinstance(ui.screen, OwnScreen)
        shown = ui.text
        assert "good against base" in shown and "left side   100%" in shown and "of 1 repeated" in shown
    rows = said(own_store)
    assert [row["control"] for row in rows] == [0] * 12 + [1]
    assert rows[-1]["example_id"] in {row["example_id"] for row in rows[:8]}
    ids = ids_of(own_store)
    connection = history.attach(database.connect(own_store))
    decided = queues.known_of(connection, 2, ids["good"], ids["base"], "ann").decided
    connection.close()
    assert len(decided) == 12


def test_repeats_are_few_and_far_from_the_first_time() -> None:
    items = [queues.QueueItem(n, n, f"e{n}", None, "", None, None, 0, None, None, False) for n in range(200)]
    mixed = with_controls(items, "ann", 1)
    again = [place for place, item in enumerate(mixed) if item.control]
    assert 0.05 <= len(again) / len(mixed) <= 0.10
    for place in again:
        first = next(n for n, item in enumerate(mixed) if item.example_id == mixed[place].example_id)
        assert 5 <= place - first <= 15
    sides = [swapped("ann", 1, item.example, False) for item in items]
    assert 70 < sum(sides) < 130
    assert sides != [swapped("bob", 1, item.example, False) for item in items]


def test_own_figures_count_each_example_once_and_repeats_apart() -> None:
    def one(example: int, outcome: str, side: str | None, control: bool = False) -> reviewing.OwnDecision:
        return reviewing.OwnDecision(example, outcome, side, True, control, 4.0, "win")

    own = own_figures(
        [
            one(1, "win", "left"),
            one(2, "loss", "left"),
            one(1, "loss", "left", True),
            one(3, "both_bad", None),
        ]
    )
    assert (own.won.value, own.won.n) == (0.5, 3)
    assert (own.left.value, own.left.n) == (1.0, 3)
    assert (own.again.value, own.again.n) == (0.0, 1)
    assert (own.judged, own.seconds) == (1.0, 4.0)


def test_the_interval_is_wilsons() -> None:
    found = wilson(8, 10)
    assert found.low == pytest.approx(0.4902, abs=1e-4) and found.high == pytest.approx(0.9433, abs=1e-4)
    assert wilson(0, 0).value is None


def test_pauses_do_not_count_towards_the_pace() -> None:
    assert seconds_each([3.0, 4.0, 5.0, 3_000.0]) == 4.0
    assert seconds_each([3.0, 4.0, -7.0]) is None


def test_whose_decisions_they_are_comes_from_the_command_line_else_the_environment(tmp_path: Path) -> None:
    environment = {"ASSAY_CONFIG": str(tmp_path / "none.toml"), "ASSAY_ANNOTATOR": "bob"}
    assert read_settings(environment).annotator == "bob"
    assert read_settings(environment, annotator="ann", blind=True).annotator == "ann"
    assert read_settings(environment, annotator="", blind=True).blind


# Queues


def test_the_random_sample_is_the_same_for_everybody_and_no_smaller_than_thirty() -> None:
    items = [queues.QueueItem(n, n, f"e{n}", None, "", None, None, 0, None, None, False) for n in range(400)]
    known = queues.Known(1, 0, frozenset(), frozenset(), {}, 1)
    drawn = queues.chosen(items, "random", known)
    assert len(drawn) == 50 and drawn == queues.chosen(items, "random", known)
    assert [item.position for item in drawn] != sorted(item.position for item in drawn)
    assert len(queues.chosen(items[:100], "random", known)) == 30
    assert len(queues.chosen(items[:9], "random", known)) == 9


def test_the_judge_against_measure_and_against_people() -> None:
    def item(n: int, outcome: str, difference: float | None) -> queues.QueueItem:
        return queues.QueueItem(n, n, f"e{n}", None, "", outcome, True, 0, difference, difference, False)

    items = [item(1, "win", -0.2), item(2, "loss", 0.6), item(3, "win", 0.5), item(4, "tie", 0.5)]
    people = {1: frozenset({"win"}), 3: frozenset({"loss", "win"})}
    known = queues.Known(1, 0, frozenset({1}), frozenset({2}), people, 1)

    def held(name: str, known: queues.Known = known) -> list[int]:
        return [each.example_id for each in queues.chosen(items, name, known)]

    assert held("metric") == [2, 1]
    assert held("metric", queues.Known(1, 0, frozenset(), frozenset(), {}, -1)) == [3]
    assert held("human") == [3]
    assert held("lowest") == [1]
    assert held("later") == [2]
    assert held("unreviewed") == [2, 3, 4]
    assert held("wins") == [1, 3]


def test_flips_are_what_crossed_the_middle_of_the_measure_lost_ones_first() -> None:
    def item(n: int, value: float | None, before: float | None) -> queues.QueueItem:
        moved = None if value is None or before is None else value - before
        return queues.QueueItem(n, n, f"e{n}", None, "", None, None, 0, value, moved, False)

    items = [item(1, 1.0, 0.0), item(2, 0.0, 1.0), item(3, 1.0, 0.5), item(4, 0.3, 0.2), item(5, None, 1.0)]

    def flips(sign: int, middle: float | None) -> list[int]:
        known = queues.Known(1, 0, frozenset(), frozenset(), {}, sign, middle)
        return [each.example_id for each in queues.chosen(items, "flips", known)]

    assert flips(1, 0.5) == [2, 1]
    assert flips(-1, 0.5) == [1, 3, 2], "where less is better, what stands in the middle is right"
    assert flips(1, None) == [], "a measure without a range is right or wrong nowhere"


# The editor


def script(folder: Path, text: str) -> str:
    """An editor that is a shell script; $1 is the file."""
    file = folder / "editor"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o700)
    return str(file)


async def test_a_corrected_answer_is_recorded_for_the_candidate(
    own_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def lent(app: AssayApp) -> Iterator[None]:
        yield

    monkeypatch.setattr(AssayApp, "suspend", lent)  # a test's terminal cannot be lent
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", script(tmp_path, r"printf 'better \033[31m[/b]\n' > $1"))
    app = review(own_store)
    async with driven(app, (120, 36)) as ui:
        await ui.press("e")
        assert "corrected" in ui.body[0] and "\x1b" not in ui.text
        monkeypatch.setenv("EDITOR", "true")
        await ui.press("e")
        assert "nothing was changed" in ui.text
        monkeypatch.setenv("EDITOR", "no-such-editor")
        await ui.press("e")
        assert "cannot be started" in ui.text
    (row,) = said(own_store)
    assert (row["kind"], row["value"]) == ("correction", "better \x1b[31m[/b]")
    assert (row["left_id"], row["right_id"]) == (ids_of(own_store)["good"], None)


def test_what_was_written_is_kept_when_the_editor_crashes_or_leaves_no_utf8(tmp_path: Path) -> None:
    crashed = edit("before", "a.txt", script(tmp_path, "echo more >> $1; exit 3"))
    assert crashed.text is None and "ended with 3" in crashed.reason
    assert crashed.kept is not None and crashed.kept.read_text() == "beforemore\n"
    assert stat.S_IMODE(crashed.kept.stat().st_mode) == 0o600
    crashed.discard()
    assert not crashed.kept.parent.exists()
    latin = edit("before", "a.txt", script(tmp_path, r"printf '\351t\351' > $1"))
    assert latin.text is None and "not UTF-8" in latin.reason
    assert latin.kept is not None and latin.kept.read_bytes() == b"\xe9t\xe9"
    latin.discard()
    empty = edit("before", "a.txt", script(tmp_path, ": > $1"))
    assert (empty.text, empty.kept) == (None, None) and "nothing was written" in empty.reason


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_the_list_of_queues_looks(
    own_store: Path, settled: Settled, snap_compare: Any, size: tuple[int, int]
) -> None:
    async def before(pilot: Pilot[int]) -> None:
        await settled(pilot)
        await pilot.press("F")
        await settled(pilot)

    assert snap_compare(review(own_store, annotator="ann"), terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_blind_mode_looks(
    own_store: Path, settled: Settled, snap_compare: Any, size: tuple[int, int]
) -> None:
    async def before(pilot: Pilot[int]) -> None:
        await settled(pilot)
        await pilot.press("j")
        await settled(pilot)

    app = review(own_store, annotator="ann", blind=True)
    assert snap_compare(app, terminal_size=size, run_before=before)
