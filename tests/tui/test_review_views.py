"""The ways of looking at answers: what each shows, that none alters anything or leaves its pane."""

import json
from collections.abc import Awaitable, Callable
from contextlib import closing
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.pilot import Pilot

from store import database
from tests.tui.driver import driven
from tests.tui.history import NOW
from tests.tui.terminal import terminal
from tests.tui.test_hostile import CORPUS, check
from tui.app.app import AssayApp
from tui.screens.review.views import VIEWS, Answers, nearest
from tui.text.diff import Segment, diff, text_of
from tui.text.gate import printable
from tui.text.json_fields import NoJsonFound, field_rows, read_json, reordered
from tui.text.overlay import blocks, code_marks, overlaid, raw_rows
from tui.text.side_by_side import folded, unified

Settled = Callable[[Pilot[int]], Awaitable[None]]
HARD = "\x00\x1b[]()ab \n\t.!?é中กำ👩\u200d💻\u202e\xa0\ud800{}\":,`~'/*#"
texts = st.text(st.sampled_from(HARD) | st.characters(), max_size=60)


def review(store: Path) -> AssayApp:
    return AssayApp(store, run=2, screen="review", now=lambda: NOW)


def write(store: Path, model: str, text: str, turns: list[str] | None = None) -> None:
    """Replaces a model's answers to all examples of run 2."""
    connection = database.connect(store)
    connection.execute(
        "UPDATE response SET text = ?, turns = ? WHERE model_id = "
        "(SELECT id FROM model WHERE run_id = 2 AND name = ?)",
        (text, json.dumps(turns) if turns else None, model),
    )
    connection.close()


# Nothing is altered, and nothing leaves its column


@given(texts, texts, st.integers(8, 20))
@settings(max_examples=60, deadline=None)
def test_one_column_holds_both_texts(left: str, right: str, width: int) -> None:
    found = unified(diff(left, right), width)
    sides: dict[str, str] = {"−": "", "+": ""}
    for ((sign, *rest),) in found:
        line = text_of(rest)
        assert cell_len(sign.text) == 2
        assert cell_len(line) <= width - 4 + line[-1:].isspace()
        for side in sides:
            sides[side] += line if sign.text[0] in (side, " ") else ""
    for side, text in zip(sides.values(), (left, right), strict=True):
        assert side.replace("⏎", "") == printable(text).replace("\n", "").replace("⏎", "")


@given(texts, texts, st.integers(2, 12))
@settings(max_examples=60, deadline=None)
def test_raw_shows_a_character_or_a_picture_for_every_one(left: str, right: str, width: int) -> None:
    for side, text in enumerate((left, right)):
        shown = ""
        for row in raw_rows(diff(left, right), width):
            line = text_of(row[side])
            assert cell_len(line) <= width + line[-1:].isspace()
            assert not any(character in line for character in "\n\t\x00\x1b\u200d\u202e\xa0")
            shown += line
        assert shown.count("⏎") == text.count("\n") + text.count("⏎")


@given(texts)
@settings(max_examples=60, deadline=None)
def test_code_marks_are_in_order_and_leave_the_text_as_it_is(text: str) -> None:
    text = f"before\n```python\n{text}\n```\nafter"
    marks = code_marks(text)
    assert all(one.end <= other.start for one, other in pairwise(marks))
    parts = [(Segment(text[:9], False), Segment(text[9:12], True)), (Segment(text[12:], False),)]
    laid = overlaid(parts, marks)
    assert "".join(map(text_of, laid)) == text
    assert not any(segment.changed and segment.style for segment in chain(*laid))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(st.text(max_size=4), values, max_size=4),
    st.dictionaries(st.text(max_size=4), values, max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_fields_pretty_printed_hold_both_values(left: Any, right: Any) -> None:
    ours, theirs = (read_json(json.dumps(value)).node for value in (left, right))
    found = field_rows(ours, theirs, 400)
    for side, value in ((0, left), (1, right)):
        shown = "".join(text_of(row[side]) for row in found)
        if shown.isascii() and shown.isprintable():
            assert json.loads(shown) == value
    changed = any(segment.changed for row in found for cell in row for segment in cell)
    assert changed == (json.dumps(left, sort_keys=True) != json.dumps(right, sort_keys=True))
    for row in field_rows(ours, theirs, 20):
        assert all(cell_len(text_of(cell)) <= 20 + text_of(cell)[-1:].isspace() for cell in row)


@given(st.lists(st.booleans(), max_size=40))
def test_folding_keeps_every_row_and_opens_what_differs(kinds: list[bool]) -> None:
    rows = [((Segment("x", changed),),) for changed in kinds]
    found = folded(rows)
    assert [place for places in found for place in places] == list(range(len(rows)))
    assert not any(kinds[place] for places in found if len(places) > 1 for place in places)


# What each finds


def test_equal_lines_far_from_a_difference_are_folded() -> None:
    rows = [((Segment("x", place == 0),),) for place in range(20)]
    assert [len(places) for places in folded(rows)] == [1, 1, 1, 17]
    same = [((Segment("x", False),),)] * 20
    assert {len(places) for places in folded(same)} == {1}


def test_json_is_read_from_a_fence_and_says_what_stands_around_it() -> None:
    found = read_json('Here it is:\n```json\n{"a": 1.0, "a": 2}\n```\nBye.')
    assert found.node.items == (('"a"', "1.0"), ('"a"', "2"))
    assert found.around == len("Here it is:Bye.")
    with pytest.raises(NoJsonFound, match="line 2"):
        read_json('{"a":\n oops}')
    with pytest.raises(NoJsonFound, match="deep"):
        read_json("[" * 100_000)
    with pytest.raises(NoJsonFound, match="neither an object nor a list"):
        read_json("42")


def test_fields_pair_by_key_and_mark_only_what_differs() -> None:
    left = read_json('{"a": 1, "gone": true, "s": "blue old lamp", "l": [1, 2, 3]}').node
    right = read_json('{"s": "blue new lamp", "a": 1, "l": [1, 3], "new": null}').node
    assert reordered(left, right) and not reordered(left, left)
    rows = field_rows(left, right, 60)
    marked = [
        tuple("".join(s.text for s in cell if s.changed) for cell in row)
        for row in rows
        if any(s.changed for cell in row for s in cell)
    ]
    assert marked == [('"gone": true,', ""), ("old", "new"), ("2,", ""), ("", '"new": null')]


def test_lists_and_objects_that_are_empty_differ() -> None:
    rows = field_rows(read_json('{"a": {}}').node, read_json('{"a": []}').node, 30)
    assert [text_of(s for s in cell if s.changed) for cell in rows[1]] == ['"a": {}', '"a": []']


def test_code_is_told_from_prose_by_its_fences() -> None:
    text = "if so:\n```python\nif x:  # why\n    return 'no'\n```\nreturn it"
    (block,) = blocks(text)
    assert (block.language, text[block.start : block.end]) == ("python", "if x:  # why\n    return 'no'\n")
    assert [text[mark.start : mark.end] for mark in code_marks(text)] == ["if", "# why", "return", "'no'"]
    assert code_marks("```sql\nSELECT '--' -- x\n")[-1].style != code_marks("```sql\nSELECT 1")[0].style


def test_the_nearest_reference_is_the_one_with_most_words_in_common() -> None:
    assert nearest(["we refund it", "we send a new one today", ""], "today we send one") == 1


# On the screen


async def test_v_goes_through_all_views_and_each_has_its_own_look(own_store: Path) -> None:
    write(own_store, "base", '{"a": "old", "b": [1]} \t', ['{"a": "x"}', '{"a": "old", "b": [1]} \t'])
    write(own_store, "good", '{"a": "new", "b": [1]}', ['{"a": "x"}', '{"a": "new", "b": [1]}'])
    app = review(own_store)
    async with driven(app) as ui:
        seen = []
        for name in VIEWS:
            shown = ui.text
            assert name in shown
            seen.append(shown)
            await ui.press("v")
        assert "side by side 1/7" in ui.text
    unified_, reference, raw, turns = seen[1], seen[2], seen[4], seen[5]
    assert "− " in unified_ and "+ " in unified_
    assert "reference" in reference
    assert "␉" in raw and "⏎" in raw
    assert "answers, turn 1" in turns and "user, turn 2" in turns


async def test_the_view_stays_for_the_next_example_and_the_next_opening(own_store: Path) -> None:
    app = review(own_store)
    async with driven(app) as ui:
        await ui.press("s", "u")
        await ui.press("j")
        assert "unified 2/7" in ui.text
        await ui.press("C")
        await ui.press("V")
        assert "unified 2/7" in ui.text


async def test_json_is_compared_field_by_field_or_says_why_not(own_store: Path) -> None:
    write(own_store, "base", 'Sure!\n```json\n{"a": "old", "b": [1, 2]}\n```')
    write(own_store, "good", '{"a": "new", "b": [1, 2]}')
    app = review(own_store)
    async with driven(app) as ui:
        await ui.press("s", "f")
        shown = ui.text
        assert '"a": "old",' in shown and '"a": "new",' in shown and "5 characters around the left" in shown
    write(own_store, "good", "no JSON at all")
    app = review(own_store)
    async with driven(app) as ui:
        await ui.press("s", "f")
        assert "the right answer is not JSON" in ui.text


async def test_equal_parts_are_folded_until_z(own_store: Path) -> None:
    lines = [f"line {n}." for n in range(40)]
    write(own_store, "base", "\n".join([*lines, "Old end here."]))
    write(own_store, "good", "\n".join([*lines, "New end here."]))
    app = review(own_store)
    async with driven(app) as ui:
        assert "… 38 equal lines … z" in ui.text and "New end here." in ui.text
        await ui.press("z")
        assert "equal lines" not in ui.text and "line 3." in ui.text


@pytest.mark.parametrize(("size", "columns"), [((80, 24), 2), ((160, 48), 3)])
async def test_all_models_of_the_run_stand_beside_each_other(
    store_folder: Path, size: tuple[int, int], columns: int
) -> None:
    app = review(store_folder)
    async with driven(app, size) as ui:
        await ui.press("m")
        shown = ui.text
        for model in ("base", "prompted", "good", "overfit", "no-effect"):
            assert model in shown
        assert max(line.count("rougeL") for line in shown.splitlines() if "base baseline" in line) == columns
        await ui.press("m")
        assert "all models" not in ui.text


async def test_all_models_show_every_sample_of_their_answers(own_store: Path) -> None:
    with closing(database.connect(own_store)) as connection, connection:
        connection.execute(
            "INSERT INTO sample (model_id, example_id, sample, text, reason, cached, created) "
            "SELECT model_id, example_id, 2, NULL, 'out of tokens', 0, 1 FROM response UNION ALL "
            "SELECT model_id, example_id, 1, 'another try', NULL, 0, 1 FROM response"
        )
        connection.execute("UPDATE score SET samples = '[0.25, 0.5, null]'")
    app = review(own_store)
    async with driven(app, (160, 48)) as ui:
        await ui.press("m")
        shown = ui.text
    assert "judges read the first sample of each" in shown
    assert "another try" in shown and "no answer: out of tokens" in shown
    first, second = (shown.index(f"sample {place} · ") for place in (1, 2))
    assert first < shown.index("0.25") < second < shown.index("0.50")


async def test_traces_are_folded_above_the_answers_of_all_models_and_against_references(
    own_store: Path,
) -> None:
    with closing(database.connect(own_store)) as connection, connection:
        connection.execute(
            "UPDATE response SET thinking = 'to ponder', thinking_tokens = 7 "
            "WHERE model_id IN (SELECT id FROM model WHERE run_id = 2 AND name IN ('good', 'overfit'))"
        )
    app = review(own_store)
    async with driven(app, (160, 48)) as ui:
        await ui.press("s", "l")
        assert "reasoning before" not in ui.text
        await ui.press("s", "r")
        assert "▸ reasoning before the answer: good 7 tokens · i" in ui.text
        await ui.press("m")
        assert ui.text.count("▸ thought 7 tokens · i") == 2 and "to ponder" not in ui.text
        await ui.press("i")
        assert ui.text.count("▾ thought 7 tokens · i") == 2 == ui.text.count("to ponder")


async def test_no_other_models_are_shown_while_blind(store_folder: Path) -> None:
    app = review(store_folder)
    async with driven(app) as ui:
        await ui.press("m", "B")
        for key in ("m", *"vvvvvvv"):
            shown = ui.text
            names = ("prompted", "overfit", "no-effect", "baseline ", "candidate ", "good ", "base ")
            assert not any(name in shown.split("query")[1].split("hidden")[0] for name in names)
            await ui.press(key)


async def test_y_copies_the_candidates_answer_in_full(own_store: Path) -> None:
    write(own_store, "good", "long answer " * 900)
    app = review(own_store)
    async with driven(app) as ui:
        assert ui.app.front is not None and ui.app.front.copied == "long answer " * 900


async def test_hostile_text_goes_through_every_view(own_store: Path) -> None:
    write(own_store, "base", "\n".join(CORPUS))
    write(own_store, "good", "\n".join(CORPUS[5:] + CORPUS[:5]), ["```\n" + text for text in CORPUS])
    app = review(own_store)
    async with driven(app) as ui:
        answers = ui.screen.query_one(Answers)
        for name in VIEWS:
            answers.look_at(answers.look._replace(view=name))
            for _ in range(3):
                answers.scroll_lines(7)
                await ui.pilot.pause()
                check(ui.app, 80)
        answers.look_at(answers.look._replace(models=True))
        await ui.pilot.pause()
        check(ui.app, 80)


@pytest.mark.e2e
def test_the_next_example_is_few_bytes_in_every_view(own_store: Path) -> None:
    with terminal(own_store, "review") as opened:
        opened.until("1/12")
        while opened.rest():
            pass
        for keys in [*(("s", view.key) for view in VIEWS.values()), ("m",)]:
            for key in keys:
                opened.press(key)
            assert 0 < len(opened.press("j")) <= 8_000, keys


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
@pytest.mark.parametrize("view", ["u", "f"])
def test_how_a_view_looks(
    own_store: Path, settled: Settled, snap_compare: Any, size: tuple[int, int], view: str
) -> None:
    parts = [f'  "field {n}": {n},' for n in range(9)]
    write(
        own_store,
        "base",
        "\n".join(['```json\n{"reply": "We refund it today.",', *parts, '  "old": 1}\n```']),
    )
    write(
        own_store,
        "good",
        "\n".join(['```json\n{"reply": "We refund it tomorrow.",', *parts, '  "z": 1}\n```']),
    )

    async def before(pilot: Pilot[int]) -> None:
        await settled(pilot)
        await pilot.press("s", view)
        await settled(pilot)

    assert snap_compare(review(own_store), terminal_size=size, run_before=before)
