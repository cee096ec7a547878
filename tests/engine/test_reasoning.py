"""Reasoning traces are no part of an answer, in a run and in `assay score`."""

from dataclasses import replace

from engine.models.model import UNFINISHED, Response, without_reasoning


def response(text: str | None, finish: str = "stop", turns: tuple[str, ...] = ()) -> Response:
    return Response("e", text, 3, 9, finish, 0.1, turns=turns)


def test_the_trace_is_kept_apart_and_the_answer_is_the_text() -> None:
    found = without_reasoning(response("<think>6 * 7</think>\n42"))
    assert (found.text, found.thinking, found.reason) == ("42", "6 * 7", None)


def test_a_trace_without_end_is_no_answer() -> None:
    found = without_reasoning(response("<think>6 * 7", "length"))
    assert (found.text, found.thinking, found.reason) == (None, "6 * 7", UNFINISHED)


def test_no_room_after_the_trace_is_no_answer_and_silence_is_one() -> None:
    assert without_reasoning(response("<think>x</think>", "length")).text is None
    assert without_reasoning(response("<think>x</think>", "stop")).text == ""
    assert without_reasoning(response("", "length")).text == ""
    assert without_reasoning(replace(response("\n\n", "length"), thinking="x")).text is None


def test_every_turn_of_a_conversation_is_told_from_its_trace() -> None:
    turns = ("<think>a</think>one", "<think>b</think>two")
    found = without_reasoning(response(turns[-1], turns=turns))
    assert (found.text, found.turns, found.thinking) == ("two", ("one", "two"), "a\n\nb")


def test_a_conversation_with_a_turn_that_has_no_answer_has_none() -> None:
    found = without_reasoning(response("two", turns=("<think>a", "two")))
    assert (found.text, found.turns, found.reason) == (None, (), f"turn 1 of 2: {UNFINISHED}")


def test_a_cut_turn_takes_no_answer_from_a_turn_without_a_trace() -> None:
    """Which turn was cut is not known: an empty one without a trace of its own was not cut within it."""
    found = without_reasoning(response("", "length", turns=("<think>a</think>one", "")))
    assert (found.text, found.turns, found.thinking) == ("", ("one", ""), "a")
    found = without_reasoning(replace(response("", "length", turns=("one", "")), thinking="a"))
    assert found.turns == ("one", "")


def test_a_turn_that_is_all_trace_is_no_answer_wherever_it_stands() -> None:
    found = without_reasoning(response("two", "length", turns=("<think>a</think>", "two")))
    assert (found.text, found.reason, found.thinking) == (None, f"turn 1 of 2: {UNFINISHED}", "a")
    found = without_reasoning(response("two", "stop", turns=("<think>a</think>", "two")))
    assert found.turns == ("", "two")


def test_an_answer_that_was_cut_in_the_trace_that_its_prompt_opened_is_none() -> None:
    assert without_reasoning(response("6 * 7 is", "length"), opened=True).text is None
    found = without_reasoning(response("6 * 7</think>42"), opened=True)
    assert (found.text, found.thinking) == ("42", "6 * 7")


def test_a_trace_that_a_server_sent_apart_stays_with_the_answer() -> None:
    sent = replace(response("42"), thinking="6 * 7")
    assert without_reasoning(sent) == sent
    assert without_reasoning(replace(response("", "length"), thinking="6 *")).text is None
    assert without_reasoning(replace(response("", "length"), thinking_tokens=9)).text is None


def test_an_answer_without_a_trace_stays_as_it_is() -> None:
    for text in (" 42\n", "Write <think> first.", None):
        assert without_reasoning(response(text)) == response(text)
