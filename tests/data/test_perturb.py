"""The same thing asked in another form: what changes, what never does, and that it is the same everywhere."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from engine.data.example import Example
from engine.data.perturb import (
    CONVERSATION,
    PARAPHRASE,
    PERTURBATIONS,
    SAME,
    PerturbedExample,
    paraphrased,
    perturbed,
    spelled,
)

CHOICES = "Which metal is liquid at room temperature?\n\nA. iron\nB. mercury\nC. gold\nD. lead"


def asked(query: str, *references: str, name: str = "one", **more: object) -> Example:
    message = {"role": "user", "content": query}
    return replace(Example(name, query, (message,), references), **more)  # type: ignore[arg-type]


def variant(example: Example, name: str, **more: float) -> PerturbedExample:
    found = perturbed(example, name, **more)
    assert not isinstance(found, str), found
    return found


def query(example: Example, name: str, **more: float) -> str:
    return variant(example, name, **more).example.query


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("case", "Where is Berlin?", "where is berlin?"),
        ("case", "where is it", "WHERE IS IT"),
        ("punctuation", "Where is it? I wait.", "Where is it I wait"),
        ("punctuation", "Where is it", "Where is it."),
        ("contractions", "What is it that you do not see?", "What's it that you don't see?"),
        ("contractions", "I’m sure it isn't there.", "I am sure it is not there."),
        ("numbers", "What is 19 plus 205?", "What is nineteen plus two hundred and five?"),
        ("dialect", "The Center is of which color?", "The Centre is of which colour?"),
        ("dialect", "What is the flavour?", "What is the flavor?"),
    ],
)
def test_what_each_changes(name: str, before: str, after: str) -> None:
    assert query(asked(before), name) == after


def test_typos_touch_as_many_words_as_the_rate_says_and_at_least_one() -> None:
    before = asked("Several people wonder about something entirely different today")
    words = before.query.split()

    def changed(rate: float) -> int:
        now = query(before, "typos", rate=rate).split()
        assert len(now) == len(words)
        return sum(one != other for one, other in zip(words, now, strict=True))

    assert changed(0.001) == 1
    assert changed(1.0) == len([word for word in words if len(word) > 3])


def test_letters_look_alike_and_are_others() -> None:
    now = query(asked("Where does this parcel go?"), "lookalikes", rate=1.0)
    assert now != "Where does this parcel go?" and not now.isascii() and now.endswith(" go?")


def test_spaces_are_one_to_three() -> None:
    now = query(asked("one two three four five six seven"), "spacing")
    assert now.split() == ["one", "two", "three", "four", "five", "six", "seven"]
    assert "  " in now and " " * 4 not in now


def test_politeness_comes_first_and_once() -> None:
    before = asked("Where is the parcel?")
    polite = query(before, "politeness")
    assert polite.endswith(before.query) and polite != before.query
    assert perturbed(asked("Please tell me the time."), "politeness") == "it is polite already"
    assert perturbed(asked("Wo liegt Berlin?"), "politeness") == "not in English"


def test_the_order_of_choices_takes_the_right_letter_along() -> None:
    found = variant(asked(CHOICES, "B", "mercury", label="B"), "choices")
    lines = dict(line.split(". ") for line in found.example.query.splitlines()[2:])
    letter = next(letter for letter, text in lines.items() if text == "mercury")
    assert letter != "B" and sorted(lines.values()) == ["gold", "iron", "lead", "mercury"]
    assert found.example.references == (letter, "mercury") and found.example.label == letter
    assert found.letters["B"] == letter and len(found.letters) == 4
    assert variant(asked(CHOICES, "(B) mercury"), "choices").example.references == (f"({letter}) mercury",)


@pytest.mark.parametrize("last", ["D. all of the above", "D. both A and B", "D. neither"])
def test_choices_that_are_about_their_order_keep_it(last: str) -> None:
    text = CHOICES.replace("D. lead", last)
    assert perturbed(asked(text, "B"), "choices") == "a choice depends on the order"


@pytest.mark.parametrize(
    ("before", "right", "after"),
    [
        (
            "Classify it as Positive, Negative or Neutral. Text: I Like it",
            "Negative",
            "classify it as Positive, Negative or Neutral. text: I Like it",
        ),
        ("Positive or Negative? Say it.", "Negative", "Positive or Negative? say it."),
        ("Is it paris, london or rome?", "rome", "is it paris, london or rome?"),
    ],
)
def test_letter_case_does_not_point_at_the_right_answer(before: str, right: str, after: str) -> None:
    assert query(asked(before, right), "case") == after
    told = perturbed(asked("is it paris, london or rome?", "rome"), "case")
    assert told == "capitals would point at the right answer"


@pytest.mark.parametrize("reference", ["b", "Answer: B", "B, since mercury melts at -39 degrees", "**B**"])
def test_choices_stay_where_the_reference_cannot_follow_them(reference: str) -> None:
    assert perturbed(asked(CHOICES, reference), "choices") == "a reference names none of the choices"


def test_choices_stay_where_something_else_names_the_right_letter() -> None:
    for more in ({"label": "b"}, {"extra": {"regex": r"\bB\b"}}, {"extra": {"items": ["B"]}}):
        found = perturbed(asked(CHOICES, "B", **more), "choices")
        assert found == "a letter of the right answer cannot go along"
    found = variant(asked(CHOICES, "B", label="chemistry"), "choices")
    assert found.example.label == "chemistry"


def test_a_letter_goes_along_before_its_choice_in_any_case_and_line_ending() -> None:
    found = variant(asked(CHOICES.replace("\n", "\r\n"), "B. Mercury."), "choices")
    assert found.example.references == (f"{found.letters['B']}. Mercury.",)


@pytest.mark.parametrize(
    "more",
    [
        {"references": ("rosa",)},
        {"label": "Rosa"},
        {"tests": ('assert greet("Rosa") == "Hi Rosa"',)},
        {"extra": {"entities": [{"text": "Rosa", "type": "PER"}]}},
        {"calls": ({"name": "write", "arguments": {"to": ["Rosa"]}},)},
    ],
)
def test_a_name_stays_where_the_right_answer_cannot_follow_it(more: dict[str, object]) -> None:
    found = perturbed(asked("The lamp is broken. Thanks, Rosa", **more), "names")
    assert found == "a name of the right answer cannot go along"


def test_a_name_takes_none_that_a_reference_holds() -> None:
    taken = {
        query(asked("Who has it? Thanks, Rosa", "Emma has it, Rosa", name=f"e{place}"), "names")
        for place in range(200)
    }
    assert len(taken) > 20 and not any("Emma" in text for text in taken)


def test_what_a_call_or_an_entity_must_hold_is_spelled_as_before() -> None:
    text = "Reserve somewhere beside Harbour Street tomorrow evening"
    for more in (
        {"calls": ({"name": "reserve", "arguments": {"place": "Harbour Street"}},)},
        {"extra": {"entities": [{"text": "Harbour Street", "type": "LOC"}]}},
        {"extra": {"regex": r"\bHarbour\sStreet\b"}},
    ):
        now = query(asked(text, **more), "typos", rate=1.0)
        assert "Harbour Street" in now and "Reserve" not in now


def test_a_mark_within_a_number_is_none_at_the_end_of_a_sentence() -> None:
    assert query(asked("Is 3.5 more? Yes or no.", "5"), "punctuation") == "Is 3.5 more Yes or no"


def test_a_question_that_a_letter_announces_may_be_changed() -> None:
    assert query(asked("Q: Where is Berlin?\nA:", "Germany"), "case") == "q: where is berlin?\na:"


def test_a_name_is_swapped_in_the_question_and_its_references_alike() -> None:
    found = variant(asked("The lamp is broken. Thanks, Rosa", "Sorry Rosa, we will replace it."), "names")
    name = found.example.query.removeprefix("The lamp is broken. Thanks, ")
    assert name != "Rosa" and found.example.references == (f"Sorry {name}, we will replace it.",)
    known = perturbed(asked("When was Maria Callas born?", "1923"), "names")
    assert known == "a name may be that of a known person"


KEPT = [
    "`total = sum(values)`", "https://example.org/Some/Page?q=Where", "someone@example.org",
    '{"Category": "Billing", "Items": {"First": 12}}', "{{ Customer_name }}", "[PLACEHOLDER]", "<Document>",
    "compute_total", "parseNumber", "```python\nprint('Hello World')\n```",
]  # fmt: skip


@pytest.mark.parametrize("held", KEPT)
@pytest.mark.parametrize("name", ["typos", "case", "spacing", "punctuation", "lookalikes", "numbers"])
def test_code_addresses_json_and_placeholders_stay_as_they_are(name: str, held: str) -> None:
    now = query(
        asked(f"What is 14 days before the following? {held} Explain everything briefly."), name, rate=1.0
    )
    assert held in now


@pytest.mark.parametrize("name", ["typos", "case", "lookalikes", "numbers"])
def test_words_and_numbers_of_a_reference_stay_as_they_are(name: str) -> None:
    before = asked("Which of 12, harbour and Timber is the number in the other list?", "12 harbour", "Timber")
    found = perturbed(before, name, rate=1.0)
    now = before.query if isinstance(found, str) else found.example.query
    assert "12" in now and "harbour" in now and "Timber" in now


def test_years_amounts_times_and_decimals_are_no_words() -> None:
    for text in (
        "What is 3.14 of the cost?",
        "What is $5 from 1998?",
        "Is the train at 12:30?",
        "The order #17 is?",
    ):
        assert perturbed(asked(text), "numbers") == SAME


@pytest.mark.parametrize("name", PERTURBATIONS)
@pytest.mark.parametrize(
    "text", ["", "?", "𝕬\ud800", "a" * 100_000, "{" * 20_000, "(" * 20_000, "A. \n" * 5_000]
)
def test_hostile_and_empty_questions_have_no_variant_or_one(name: str, text: str) -> None:
    found = perturbed(asked(text, "B", "x" * 50_000), name)
    assert (isinstance(found, str) and found) or isinstance(found, PerturbedExample)


def test_the_message_that_asks_goes_along_and_others_stay() -> None:
    turns = ({"role": "system", "content": "Be Brief."}, {"role": "user", "content": "Where Is It?"})
    found = variant(Example("one", "Where Is It?", turns), "case")
    assert found.example.messages == (turns[0], {"role": "user", "content": "where is it?"})
    several = replace(asked("Where Is It?"), turns=("Where Is It?", "And Now?"))
    assert perturbed(several, "case") == CONVERSATION


def test_a_variant_is_decided_by_the_example_the_perturbation_and_the_seed_alone() -> None:
    example = asked("Several people wonder about something entirely different today")
    told = "Several people wonder about something entirely dfferent today"  # in every process
    assert query(example, "typos") == told
    others = {query(replace(example, id=f"e{place}"), "typos") for place in range(8)}
    assert len(others) > 4 and query(example, "typos", seed=1) != query(example, "typos", seed=2)


def test_a_models_paraphrase_is_taken_where_it_keeps_what_must_stay() -> None:
    before = asked("How many days has week 12 of `calendar`? Name Berlin.", "Berlin")
    found = paraphrased(before, ' "Name Berlin. Week 12 of `calendar`: what is its number of days?" ')
    assert isinstance(found, PerturbedExample) and found.perturbation == PARAPHRASE
    assert found.example.query == "Name Berlin. Week 12 of `calendar`: what is its number of days?"
    assert found.example.messages[0]["content"] == found.example.query
    for text, reason in {
        None: "the model gave no paraphrase",
        "": "the model gave no paraphrase",
        before.query.upper().replace("`CALENDAR`", "`calendar`"): SAME,
        "Name Berlin. How long is a week of `calendar`?": "the paraphrase lost what must stay",
        "Name it. Week 12 of `calendar`: how many days?": "the paraphrase lost what must stay",
        "Seven. " * 100: "the paraphrase is far longer than the question",
    }.items():
        assert paraphrased(before, text) == reason


def test_the_manual_has_a_row_for_each() -> None:
    page = (Path(__file__).parents[2] / "docs" / "robustness.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)[: len(PERTURBATIONS) + 1] == [
        *PERTURBATIONS,
        PARAPHRASE,
    ]


def test_numbers_in_words() -> None:
    words = {0: "zero", 17: "seventeen", 40: "forty", 99: "ninety-nine", 300: "three hundred"}
    assert {number: spelled(number) for number in words} == words
