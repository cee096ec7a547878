import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.content import Content

from tui.text.gate import (
    age,
    bar,
    cut,
    duration,
    fit,
    number,
    one_line,
    percent,
    plain,
    printable,
    signed,
    size,
    spark,
    told_apart,
)


@given(st.text())
def test_no_control_or_bidi_character_survives(text: str) -> None:
    shown = printable(text)
    assert not any(ord(c) < 32 and c != "\n" for c in shown)
    assert not any(
        0x7F <= ord(c) <= 0x9F or 0x202A <= ord(c) <= 0x202E or 0x2066 <= ord(c) <= 0x2069 for c in shown
    )


def test_lone_surrogates_can_be_encoded_afterwards() -> None:
    assert printable("a\ud800b").encode() == "a‹U+D800›b".encode()


def test_escape_sequences_are_shown_not_sent() -> None:
    assert plain("\x1b[31mred\x1b]52;c;aGk=\x07").plain == "␛[31mred␛]52;c;aGk=␇"


@pytest.mark.parametrize(
    "text", ["[/", "[INST] hi [/INST]", "[bold red]x[/]", "$error", "[link=https://x]y[/link]"]
)
def test_markup_stays_what_it_is(text: str) -> None:
    assert plain(text).plain == text
    assert plain(text).spans == []
    assert str(one_line(text, "$bad")) == text


def test_text_in_other_scripts_and_emoji_is_untouched() -> None:
    text = "包裹到了 שלום می‌خواهم 👩‍🔬\nline two"
    assert printable(text) == text


def test_line_feeds_are_visible_where_there_is_one_line() -> None:
    assert one_line("a\nb").plain == "a⏎b"


@given(st.text(max_size=40), st.integers(0, 30))
def test_fit_is_exactly_as_wide_as_asked(text: str, cells: int) -> None:
    assert cell_len(fit(text, cells).plain) == cells
    assert cell_len(cut(text, cells)) <= cells


def test_fit_says_where_it_cut_and_aligns() -> None:
    assert fit("abcdef", 4).plain == "abc…"
    assert fit("ab", 4, "right").plain == "  ab"
    assert fit(Content("包裹到"), 5).plain == "包裹…"


def test_names_of_one_family_lose_what_they_share_and_no_more_than_is_needed() -> None:
    family = tuple(f"llama-3.1-8b-lora-step-{step:04}" for step in (100, 200, 1000))
    assert list(told_apart(family, 30).values()) == list(family)
    assert told_apart(family, 20)[family[0]] == "…8b-lora-step-0100"
    assert list(told_apart(family, 5).values()) == ["…0100", "…0200", "…1000"]
    ended = ("run-a1-merged-bf16", "run-b2-merged-bf16")
    assert list(told_apart(ended, 6).values()) == ["…a1…", "…b2…"]


def test_a_name_outside_the_family_makes_no_two_of_it_alike() -> None:
    family = ("support-lora-r8-step-1000-merged-final", "support-lora-r16-step-1000-merged-final")
    for cells in (30, 24, 14):
        assert len(set(told_apart(("dpo", *family), cells).values())) == 3


def test_a_name_never_loses_all_of_itself() -> None:
    assert told_apart(("llama-lora", "llama-lora-2"), 8) == {
        "llama-lora": "…lora", "llama-lora-2": "…lora-2"
    }  # fmt: skip
    assert told_apart(("a-very-long-name",), 9) == {"a-very-long-name": "a-…g-name"}
    assert told_apart(("base", "another-thing"), 8) == {"base": "base", "another-thing": "an…thing"}


def test_numbers_name_what_is_missing_and_carry_their_sign() -> None:
    assert (number(None), number(0.5), number(12345.6)) == ("–", "0.500", "12.3k")
    assert (signed(-0.25), signed(0.25), signed(None)) == ("−0.250", "+0.250", "–")
    assert (signed(-2485.6), signed(-39_454.2), signed(1.2e7)) == ("−2,486", "−39.5k", "+12.0M")
    assert (percent(0.996), percent(1.0), percent(None)) == ("99.6%", "100%", "–")


def test_times_and_sizes_in_the_unit_that_fits() -> None:
    assert [age(s) for s in (5, 61, 7_300, 200_000)] == ["now", "1m ago", "2h ago", "2d ago"]
    assert [duration(s) for s in (5, 61, 7_300, 200_000)] == ["5s", "1m 01s", "2h 01m", "2d 07h"]
    assert [size(n) for n in (None, 512, 1536, 150 << 30)] == ["–", "512 B", "1.5 KiB", "150 GiB"]


def test_spark_keeps_missing_values_apart_from_low_ones() -> None:
    assert spark([0.0, None, 1.0]) == "▁·█"
    assert spark([2.0, 2.0]) == "▄▄"
    assert spark([None]) == "·"


def test_a_bar_is_full_only_when_all_is_done() -> None:
    assert bar(0.999, 10) == ("█" * 9, "░")
    assert bar(1.0, 4) == ("████", "")
    assert bar(0.0, 4) == ("", "░░░░")
