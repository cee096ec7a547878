"""The Review screen: moving, queues, and decisions that are on disk before the next example shows."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.events import Key
from textual.pilot import Pilot

from store import database
from store.read import answers, evidence, history, queues
from store.reviewing import annotate, make_tag
from tests.tui.driver import driven, opened
from tests.tui.history import NOW
from tests.tui.terminal import terminal
from tui.app.app import AssayApp
from tui.screens.review.lines import excerpt
from tui.screens.review.screen import ReviewScreen
from tui.screens.review.views import Answers

HOSTILE_TAG = "[/b] [red] {x}"
Settled = Callable[[Pilot[int]], Awaitable[None]]


def review(store: Path, **options: Any) -> AssayApp:
    return AssayApp(store, run=2, screen="review", now=lambda: NOW, **options)


def decisions(store: Path, kind: str = "preference") -> list[tuple[str, int | None, int | None]]:
    connection = history.attach(database.connect(store))
    found = [(n.value, n.left_id, n.right_id) for n in answers.annotations(connection, 2) if n.kind == kind]
    connection.close()
    return found


async def test_both_answers_stand_side_by_side_with_everything_about_them(store_folder: Path) -> None:
    app = review(store_folder)
    async with driven(app, (160, 48)) as ui:
        shown = ui.text
    assert "1/12" in shown and "t-001" in shown and "billing" in shown
    assert "I was charged twice" in shown
    assert "I am sorry to hear that." in shown and '{"category": "billing"' in shown
    assert "not a language model" in shown
    assert "good shown first" in shown and "base shown first" in shown and "Closer to the reference" in shown
    assert all(measure in shown for measure in ("rougeL", "exact_match", "perplexity", "tokens_per_second"))


async def test_an_examples_rubric_and_how_a_model_wrote_it_stand_in_its_details(
    own_store: Path,
) -> None:
    connection = database.connect(own_store)
    extra = {
        "rubric": {"criteria": "Is it kind?", "score1_description": "Rude."},
        "extra": {"synthetic": {"kind": "edge", "source": "eval.jsonl#refund"}},
    }
    connection.execute("UPDATE example SET extra = ?", (json.dumps(extra),))
    connection.close()
    async with driven(review(own_store), (160, 80)) as ui:
        assert "criteria: Is it kind?" in ui.text and "score1 description: Rude." in ui.text
        assert "kind: edge" in ui.text and "source: eval.jsonl#refund" in ui.text


async def test_at_80_by_24_the_details_take_the_answers_place_and_give_it_back(store_folder: Path) -> None:
    app = review(store_folder)
    async with driven(app) as ui:
        assert "both orders agree" in ui.text and "Closer to the reference" not in ui.text
        await ui.tap("o")
        await ui.pilot.pause()
        assert "Closer to the reference" in ui.text
        await ui.tap("tab")
        await ui.pilot.pause()
        assert "I am sorry to hear that." in ui.text


@pytest.mark.parametrize(("key", "value"), [("1", "left"), ("2", "right"), ("t", "tie"), ("b", "both_bad")])
async def test_one_key_records_a_preference_and_goes_on(own_store: Path, key: str, value: str) -> None:
    app = review(own_store)
    async with driven(app) as ui:
        await ui.press(key)
        assert "2/12" in ui.text and "11 undecided" in ui.text
        connection = database.connect(own_store)
        ids = {model.name: model.id for model in history.models(connection, 2)}
        connection.close()
        assert decisions(own_store) == [(value, ids["base"], ids["good"])]


async def test_fast_keys_decide_on_one_example_each(own_store: Path) -> None:
    app = review(own_store)
    async with driven(app) as ui:
        await ui.press("1", "2", "t", "b", "space", "2")
        assert "7/12" in ui.text
    assert [value for value, *_ in decisions(own_store)] == ["left", "right", "tie", "both_bad", "right"]


async def test_undo_goes_back_to_the_example_also_after_a_restart(own_store: Path) -> None:
    app = review(own_store)
    async with driven(app) as ui:
        await ui.press("j", "1", "2", "u")
        assert "3/12" in ui.text and "you: not decided" in ui.text
    app = review(own_store)
    async with driven(app) as ui:
        await ui.press("u")
        assert "2/12" in ui.text and "you: not decided" in ui.text
        await ui.press("u")
        assert "nothing to undo" in ui.text
    assert decisions(own_store) == []


async def test_undo_of_the_example_in_sight_shows_it_as_undecided(own_store: Path) -> None:
    app = review(own_store)
    async with driven(app) as ui:
        await ui.press("1", "k")
        assert "you: left is better" in ui.text
        await ui.press("u")
        assert "1/12" in ui.text and "you: not decided" in ui.text


async def test_notes_and_tags_are_kept_and_a_used_tag_is_a_letter_away(own_store: Path) -> None:
    app = review(own_store)
    async with driven(app) as ui:
        await ui.press("n", *"too short", "enter")
        await ui.press("f", *"no-json", "enter")
        assert "#no-json" in ui.text and "noted" in ui.text
        await ui.press("j", "f")
        assert "n    no-json" in ui.text
        await ui.press("n")
        assert "#no-json" in ui.text
        await ui.press("f", "n")
        assert "no longer tagged no-json" in ui.text
        await ui.press("f", "plus", *HOSTILE_TAG, "enter")
    assert [value for value, *_ in decisions(own_store, "note")] == ["too short"]
    assert [value for value, *_ in decisions(own_store, "tag")] == ["no-json", HOSTILE_TAG]


async def test_a_note_typed_in_one_burst_is_a_note_and_no_decision(own_store: Path, settled: Settled) -> None:
    app = review(own_store)
    async with driven(app) as ui:
        for letter in "nb1t2u":
            ui.app.post_message(Key(letter, letter))
        ui.app.post_message(Key("enter", None))
        await ui.settled()
    assert [value for value, *_ in decisions(own_store, "note")] == ["b1t2u"]
    assert decisions(own_store) == []


async def test_an_empty_note_is_no_note(own_store: Path) -> None:
    app = review(own_store)
    async with driven(app) as ui:
        await ui.press("n", "space", "enter")
    assert decisions(own_store, "note") == []


async def test_what_could_not_be_written_is_said_and_the_example_stays(own_store: Path) -> None:
    connection = database.connect(own_store)
    connection.execute(
        "CREATE TRIGGER full BEFORE INSERT ON annotation BEGIN SELECT raise(ABORT, 'disk is full'); END"
    )
    connection.close()
    app = review(own_store)
    async with driven(app) as ui:
        for keys in (["1"], ["n", "x", "enter"], ["f", "x", "enter"]):
            await ui.press(*keys)
            assert "1/12" in ui.text and "12 undecided" in ui.text
            assert "disk that holds the store" in ui.text
    assert decisions(own_store) == []


async def test_the_list_of_queues_has_their_counts_and_a_letter_opens_one(own_store: Path) -> None:
    connection = history.attach(database.connect(own_store))
    ids = {model.name: model.id for model in history.models(connection, 2)}
    app = review(own_store)
    async with driven(app, (120, 36)) as ui:
        for name in ("losses", "wins", "ties", "disagreements", "missing", "random", "later"):
            held = len(queues.queue(connection, 2, ids["good"], ids["base"], show=name))
            await ui.press("F")
            assert f"{name:<13}  {held:>6}" in ui.text
            await ui.press(queues.QUEUES[name].key)
            assert (f"1/{held} " if held else f"nothing in “{name}”") in ui.text
        await ui.press("F")
        await ui.press("c")
        for name, held in (("category: account", 3), ("numbers", 5), ("not leaked", 11)):
            line = next(line for line in ui.lines if f" {name} " in line)
            assert line.split()[-1] == str(held)
            await ui.press(line.strip(" ›").split()[0])
            assert f" 1/{held} " in ui.text and name[-7:] in ui.body[0]
            await ui.press("F")
            await ui.press("c")
    connection.close()


async def test_a_missing_answer_shows_its_reason(own_store: Path) -> None:
    app = review(own_store)
    async with driven(app, (120, 36)) as ui:
        await ui.press("right_curly_bracket", "G")
        assert "prompted" in ui.text
        assert "no answer: the server answered 500 four times" in ui.text


async def test_worst_first_starts_with_the_candidate_s_own_failures_beside_the_reference(
    own_store: Path, settled: Settled
) -> None:
    async with opened(own_store) as ui:
        await ui.app.push_screen(ReviewScreen(2, "overfit", "prompted", worst_by="rougeL"))
        await ui.settled()
        assert "worst rougeL first" in ui.text
        screen = ui.screen
        assert isinstance(screen, ReviewScreen) and screen._review is not None
        known = [
            (item.value, item.difference or 0.0) for item in screen._review.items if item.value is not None
        ]
        assert known == sorted(known)
        assert "right against reference" in ui.text
        await ui.press("W")
        assert "worst" not in ui.body[0]


async def test_search_finds_as_it_is_typed_and_esc_takes_it_off(own_store: Path) -> None:
    app = review(own_store)
    async with driven(app) as ui:
        await ui.press("slash", *"kettle", "enter")
        assert "1/1" in ui.text and "kettle" in ui.text
        await ui.press("escape")
        assert isinstance(ui.screen, ReviewScreen) and "8/12" in ui.text


async def test_long_answers_scroll_together(own_store: Path, settled: Settled) -> None:
    write(own_store, "base", "\n".join(f"old line {n}" for n in range(200)))
    write(own_store, "good", "\n".join(f"new line {n}" for n in range(200)))
    app = review(own_store)
    async with driven(app) as ui:
        await ui.tap("ctrl+d", "down")
        await ui.pilot.pause()
        first = ui.body[5]
        left, right = (int(side.split()[2]) for side in first.split("▲"))
        assert left == right > 0
        top = ui.screen.query_one(Answers).top
        ui.screen.reload()
        await ui.settled()
        assert ui.screen.query_one(Answers).top == top
        await ui.press("j")
        assert ui.screen.query_one(Answers).top == 0


async def test_a_run_that_has_only_begun_says_what_is_not_there_yet(own_store: Path) -> None:
    connection = database.connect(own_store)
    for table in ("response", "score", "judgment", "verdict"):
        connection.execute(f"DELETE FROM {table}")
    connection.close()
    app = review(own_store)
    async with driven(app) as ui:
        assert "not answered yet" in ui.text and "not judged yet" in ui.text
    connection = database.connect(own_store)
    connection.execute("PRAGMA foreign_keys=OFF")
    connection.execute("DELETE FROM model WHERE role = 'candidate'")
    connection.close()
    app = review(own_store)
    async with driven(app) as ui:
        assert "no candidate and baseline" in ui.text
        await ui.press("j", "1", "u", "w", "F", "right_square_bracket", "n", "f", "o", "ctrl+d")
    assert decisions(own_store) == []


@pytest.mark.e2e
def test_the_next_example_and_the_next_line_are_few_bytes_and_rest_is_silence(own_store: Path) -> None:
    for screen, marker, budget in (("review", "1/12", 8_000), ("compare", "rougeL", 600)):
        with terminal(own_store, screen) as opened:
            opened.until(marker)
            while opened.rest():
                pass
            for _ in range(3):
                assert 0 < len(opened.press("j")) <= budget


def write(store: Path, model: str, text: str) -> None:
    """Replaces a model's answers to all examples of run 2."""
    connection = database.connect(store)
    connection.execute(
        "UPDATE response SET text = ? WHERE model_id = (SELECT id FROM model WHERE run_id = 2 AND name = ?)",
        (text, model),
    )
    connection.close()


def test_a_long_query_is_cut_with_an_ellipsis() -> None:
    (line,) = excerpt("query", "word " * 100, 60, 1)
    assert line.cell_length <= 60 and line.plain.endswith("…")
    lines = excerpt("query", "word " * 100, 60, 3)
    assert len(lines) == 3 and lines[-1].plain.endswith("…")
    assert excerpt("query", "short", 60, 3)[0].plain.endswith("short")


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_how_it_looks(own_store: Path, settled: Settled, snap_compare: Any, size: tuple[int, int]) -> None:
    async def before(pilot: Pilot[int]) -> None:
        await settled(pilot)
        await pilot.press("right_square_bracket", "right_curly_bracket", "j")
        await settled(pilot)

    assert snap_compare(review(own_store), terminal_size=size, run_before=before)


async def test_g_shows_the_plan_s_guidelines_with_answers_that_were_tagged_and_rated(
    own_store: Path, tmp_path: Path
) -> None:
    (tmp_path / "guidelines.md").write_text(f"# What is right\n\nNever promise {HOSTILE_TAG}.")
    connection = database.connect(own_store)
    connection.execute(
        "UPDATE run SET plan = ?, plan_folder = ? WHERE id = 2",
        ('[review]\nguidelines = "guidelines.md"\n', str(tmp_path)),
    )
    app = review(own_store)
    async with driven(app, (120, 40)) as ui:
        candidate = ui.screen._review.candidate.id
        for example, tag, grade in zip(answers_of(own_store), ("vague", "vague"), ("1", "5"), strict=True):
            annotate(connection, 2, example, "tag", make_tag(connection, tag, "ann"), left_id=candidate,
                     annotator="ann")  # fmt: skip
            annotate(connection, 2, example, "rating", grade, left_id=candidate, criterion="tone",
                     annotator="ann")  # fmt: skip
        await ui.press("g")
        assert f"Never promise {HOSTILE_TAG}." in ui.text
        assert "Examples of the tags" in ui.text and ui.text.count("vague  t-0") == 2
        assert "tone 1  t-0" in ui.text and "tone 5  t-0" in ui.text
        await ui.press("escape")
        assert isinstance(ui.screen, ReviewScreen)


def answers_of(store: Path) -> list[int]:
    """Two examples that were answered."""
    connection = history.attach(database.connect(store))
    found = [row.id for row in evidence.run_examples(connection, 2)][:2]
    connection.close()
    return found
