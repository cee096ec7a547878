"""The diff engine: nothing altered, sensible pairing, bounded cost; and its wrapping into rows."""

import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tui.text.diff import Diff, Segment, common, diff, sentences, text_of, tokens
from tui.text.gate import printable
from tui.text.side_by_side import rows, wrapped

HARD = "\x00\x1b[]()ab \n\t.!?é́中。กำ👩\u200d💻\u202e\u2066\ud800[/INST]’'"
texts = st.text(st.sampled_from(HARD) | st.characters(), max_size=80)


def sides(found: Diff) -> tuple[str, str]:
    return "".join(text_of(p.left) for p in found.pairs), "".join(text_of(p.right) for p in found.pairs)


def changed(segments: tuple[Segment, ...]) -> list[str]:
    return [segment.text for segment in segments if segment.changed]


@given(texts, texts)
@settings(max_examples=300, deadline=None)
def test_the_segments_of_a_side_are_its_text(left: str, right: str) -> None:
    assert sides(diff(left, right)) == (left, right)


@given(texts, texts)
@settings(max_examples=150, deadline=None)
def test_what_is_unmarked_on_one_side_is_unmarked_on_the_other(left: str, right: str) -> None:
    for pair in diff(left, right).pairs:
        unmarked = [
            [text for text in tokens("".join(s.text for s in side if not s.changed)) if text[0].isalnum()]
            for side in pair
        ]
        assert unmarked[0] == unmarked[1]


@given(texts)
def test_a_text_does_not_differ_from_itself(text: str) -> None:
    found = diff(text, text)
    assert found.precision == "words"
    assert not any(segment.changed for pair in found.pairs for side in pair for segment in side)


@given(texts)
def test_sentences_and_tokens_lose_nothing(text: str) -> None:
    assert "".join(sentences(text)) == text
    assert "".join(tokens(text)) == text


@given(st.lists(st.integers(0, 4), max_size=40), st.lists(st.integers(0, 4), max_size=40))
def test_a_common_subsequence_is_in_order_and_the_longest(a: list[int], b: list[int]) -> None:
    found = common(a, b)
    assert found is not None
    assert all(a[i] == b[j] for i, j in found)
    assert all(i < x and j < y for (i, j), (x, y) in pairwise(found))
    assert len(found) == lcs_length(a, b)


def lcs_length(a: list[int], b: list[int]) -> int:
    row = [0] * (len(b) + 1)
    for x in a:
        before = row[:]
        for j, y in enumerate(b):
            row[j + 1] = before[j] + 1 if x == y else max(row[j], before[j + 1])
    return row[-1]


def test_close_sentences_are_paired_and_their_words_marked() -> None:
    found = diff(
        "Please restart the router. It takes two minutes.",
        "Hello! Please restart the old router. It takes five minutes.",
    )
    assert [text_of(pair.right) for pair in found.pairs] == [
        "Hello! ",
        "Please restart the old router. ",
        "It takes five minutes.",
    ]
    assert found.pairs[0].left == ()
    assert [changed(pair.left) for pair in found.pairs[1:]] == [[], ["two"]]
    assert [changed(pair.right) for pair in found.pairs[1:]] == [["old "], ["five"]]


def test_changed_words_that_follow_each_other_are_one_segment() -> None:
    found = diff(
        "Send it by plain old mail to the office today.", "Send it by fast new post to the office today."
    )
    assert changed(found.pairs[0].left) == ["plain old mail"]
    assert changed(found.pairs[0].right) == ["fast new post"]


def test_unrelated_sentences_stand_beside_each_other_marked_as_a_whole() -> None:
    (pair,) = diff("yes", "The order was lost.").pairs
    assert (changed(pair.left), changed(pair.right)) == (["yes"], ["The order was lost."])


def test_a_difference_in_white_space_alone_is_marked() -> None:
    (pair,) = diff("keep  the spaces here", "keep the spaces here").pairs
    assert changed(pair.left) == ["  "]


def test_scripts_without_spaces_are_compared_by_character() -> None:
    (pair,) = diff("我喜欢红茶和米饭", "我喜欢绿茶和米饭").pairs
    assert (changed(pair.left), changed(pair.right)) == (["红"], ["绿"])


def test_an_accent_written_apart_stays_on_its_letter() -> None:
    assert tokens("cafe\u0301 ok") == ["cafe\u0301", " ", "ok"]
    assert tokens("👩\u200d💻!") == ["👩\u200d💻", "!"]


def test_texts_too_long_for_words_are_compared_by_line_and_say_so() -> None:
    found = diff("a b " * 25_000, "b c a " * 25_000)
    assert found.precision == "lines"
    assert sides(found) == ("a b " * 25_000, "b c a " * 25_000)


def prose(seed: int, words: int) -> str:
    return " ".join(
        f"w{(seed * 7919 + i * i * 31 + i * 17) % 997}" + (". " if i % 14 == 13 else "") for i in range(words)
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: (prose(1, 20_000), prose(2, 20_000)),
        lambda: (prose(1, 20_000).replace(".", ""), prose(2, 20_000).replace(".", "")),
        lambda: ("." * 100_000, "." * 40_000 + "q" + "." * 50_000),
        lambda: ("x" * 100_000, "y" * 100_000),
        lambda: ("\n" * 100_000, prose(1, 20_000)),
        lambda: ("👩\u200d" * 50_000, "e\u0301" * 50_000),
        lambda: (".)" * 50_000, ". " * 50_000),
    ],
)
def test_no_input_makes_the_work_explode(make: Callable[[], tuple[str, str]]) -> None:
    left, right = make()
    started = time.process_time()
    found = diff(left, right)
    rows(found, 58)
    assert time.process_time() - started < 3.0  # ten times what it takes, so that only an explosion fails
    assert sides(found) == (left, right)


@given(texts, texts, st.integers(2, 12))
@settings(max_examples=300, deadline=None)
def test_rows_keep_every_character_and_stay_inside_their_column(left: str, right: str, width: int) -> None:
    found = diff(left, right)
    for side in (0, 1):
        kept = []
        for row in rows(found, width):
            line = text_of(row[side])
            assert sum(cell_len(text) for text, *_ in row[side]) <= width + line[-1:].isspace()
            kept.append(line)
        shown = printable((left, right)[side]).replace("\n", "")
        assert "".join(kept).replace("⏎", "") == shown.replace("⏎", "")


def test_both_sides_of_a_pair_take_the_same_number_of_rows() -> None:
    found = rows(diff("one two three four five. Same end.", "one. Same end."), 9)
    ends = [(text_of(row.left), text_of(row.right)) for row in found]
    assert ends[-2:] == [("Same end.", "Same end.")] or ends[-1] == ("Same end.", "Same end.")


def test_words_are_kept_whole_where_there_is_room() -> None:
    (pair,) = diff("alpha beta gamma", "alpha beta gamma").pairs
    assert [text_of(row) for row in wrapped(pair.left, 10)] == ["alpha beta ", "gamma"]


def test_a_line_feed_that_only_one_side_has_is_visible() -> None:
    found = rows(diff("one two three four", "one two\nthree four"), 40)
    assert any("⏎" in text_of(row.right) for row in found)
    assert not any("⏎" in text_of(row.left) for row in found)
