"""Leaks that are not word for word are found by tier, and look-alikes are not."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.example import Example
from engine.data.examples import data_rows, read_examples
from engine.data.leak import TEXT_LENGTH
from engine.data.leakage import PIECE, Leak, find_leaks, leak_report
from engine.data.words import edit_distance, placed_words, words

STORY = (
    "the lighthouse keeper of the northern harbour wrote down every ship that passed in the night and what "
    "it carried until the winter when the ice came early and nobody read his books any more"
)
REFUND = "Refunds are paid within fourteen working days of receipt."


def written(path: Path, records: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


def leaks(tmp_path: Path, evaluation: Sequence[object], train: Sequence[object]) -> list[Leak]:
    examples = read_examples(written(tmp_path / "eval.jsonl", evaluation))
    return find_leaks(data_rows(written(tmp_path / "train.jsonl", train)), examples)


def test_a_fifth_of_the_words_changed_is_near_and_half_is_not(tmp_path: Path) -> None:
    draw = random.Random(0)
    vocabulary = [f"word{n}" for n in range(5000)]
    texts = [draw.choices(vocabulary, k=draw.randint(10, 50)) for _ in range(200)]

    def altered(text: list[str], kept: float) -> str:
        places = draw.sample(range(len(text)), round((1 - kept) * len(text)))
        return " ".join(draw.choice(vocabulary) if at in places else word for at, word in enumerate(text))

    evaluation = [{"id": str(n), "query": " ".join(text)} for n, text in enumerate(texts)]
    planted = [{"query": altered(text, 0.8), "answer": "x"} for text in texts[:100]]
    others = [{"query": altered(text, 0.5), "answer": "x"} for text in texts[100:]]
    found = leaks(tmp_path, evaluation, [*planted, *others])
    near = {int(leak.example_id) for leak in found if leak.tier == "near"}
    assert len(near & set(range(100))) >= 98
    assert not near - set(range(100))
    assert all(leak.train_line == int(leak.example_id) + 1 and 0.7 <= leak.score < 1 for leak in found)


def test_an_example_inside_a_long_training_document_is_near_and_the_excerpt_shows_it(tmp_path: Path) -> None:
    filler = "entirely other words stand around here " * 60
    [leak] = leaks(tmp_path, [{"id": "a", "query": STORY}], [{"text": f"{filler} {STORY} {filler}"}])
    assert (leak.tier, leak.field, leak.score) == ("near", "query", 1.0)
    assert leak.excerpt.startswith("the lighthouse keeper")


def test_thirteen_words_in_a_row_are_found_wherever_they_stand(tmp_path: Path) -> None:
    run = " ".join(STORY.split()[4:18])
    answer = f"Somebody told me once that {run} but I have forgotten the rest of that tale."
    [leak] = leaks(tmp_path, [{"id": "a", "query": STORY}], [{"query": "Tell me a tale", "answer": answer}])
    assert (leak.tier, leak.field) == ("ngram", "query")
    assert 0 < leak.score < 0.5
    twelve = answer.replace(run, " ".join(STORY.split()[4:16]))
    assert not leaks(tmp_path, [{"query": STORY}], [{"query": "Tell me a tale", "answer": twelve}])


def test_an_answer_inside_a_training_text_is_found(tmp_path: Path) -> None:
    text = f"Our terms. {REFUND.upper()} Write to us with any question."
    [leak] = leaks(tmp_path, [{"id": "a", "query": "When is it due?", "reference": REFUND}], [{"text": text}])
    assert (leak.tier, leak.field, leak.score) == ("ngram", "reference", 1.0)


def test_a_nearly_equal_answer_under_several_training_questions_is_a_stock_answer(tmp_path: Path) -> None:
    answer = "We are very sorry to hear that and will answer you within two days of today"
    near = answer.replace("very ", "")
    evaluation = [{"id": "a", "query": "My lamp broke", "reference": answer}]
    [leak] = leaks(tmp_path, evaluation, [{"query": "The radio is late", "answer": near}])
    assert (leak.tier, leak.field) == ("near", "reference")
    assert not leaks(
        tmp_path, evaluation, [{"query": q, "answer": near} for q in ("Radio late", "No parcel")]
    )


def test_question_and_answer_in_one_row_are_found_in_both(tmp_path: Path) -> None:
    [leak] = leaks(
        tmp_path,
        [{"id": "a", "query": STORY, "reference": REFUND}],
        [{"query": STORY.replace("ship", "boat"), "answer": REFUND.replace("fourteen", "fifteen")}],
    )
    assert (leak.tier, leak.field) == ("near", "both")


def test_the_strictest_tier_is_told_once_per_example(tmp_path: Path) -> None:
    train = [{"query": STORY.replace("ship", "boat"), "answer": "x"}, {"query": STORY.upper(), "answer": "y"}]
    [leak] = leaks(tmp_path, [{"id": "a", "query": STORY}], train)
    assert (leak.tier, leak.train_line) == ("identical", 2)


@pytest.mark.parametrize(
    ("asked", "trained"),
    [
        ("How do I reset my password?", "how do i reset my pasword"),
        ("Where's my order?", "where is my order"),
        ("Cancel my subscription", "cancel my subscripton!"),
    ],
)
def test_short_questions_that_differ_by_typing_are_near(tmp_path: Path, asked: str, trained: str) -> None:
    [leak] = leaks(tmp_path, [{"query": asked}], [{"query": trained, "answer": "x"}])
    assert leak.tier == "near"


@pytest.mark.parametrize(
    ("asked", "trained"),
    [
        ("What is the capital of France?", "What is the capital of Greece?"),
        ("Track order 4711", "Track order 4712"),
        ("Hello there", "Hello"),
    ],
)
def test_short_templates_filled_otherwise_are_other_questions(
    tmp_path: Path, asked: str, trained: str
) -> None:
    assert not leaks(tmp_path, [{"query": asked}], [{"query": trained, "answer": "x"}])


def test_a_template_that_all_examples_share_is_no_leak(tmp_path: Path) -> None:
    template = (
        "Read the following customer message with care and say in one word which team should answer it:"
    )
    draw = random.Random(1)

    def asked() -> str:
        return f"{template} {' '.join(f'thing{draw.randint(0, 10**6)}' for _ in range(12))}"

    evaluation = [{"query": asked()} for _ in range(60)]
    assert not leaks(tmp_path, evaluation, [{"query": asked(), "answer": "billing"} for _ in range(60)])


def test_text_without_spaces_is_compared_by_character(tmp_path: Path) -> None:
    asked = "请告诉我如何重置我的账户密码因为我忘记了它并且无法登录网站"
    [leak] = leaks(tmp_path, [{"query": asked}], [{"query": asked.replace("网站", "系统"), "answer": "x"}])
    assert leak.tier == "near"


def test_a_text_longer_than_is_held_at_once_is_searched_to_its_end(tmp_path: Path) -> None:
    text = "noise " * (PIECE // 6 + 50_000)
    [leak] = leaks(tmp_path, [{"id": "a", "query": STORY}], [{"text": text + STORY}])
    assert (leak.tier, leak.excerpt[:14]) == ("near", "the lighthouse")


def test_the_report_names_every_tier_and_counts(tmp_path: Path) -> None:
    found = leaks(tmp_path, [{"id": "a", "query": STORY}], [{"query": STORY, "answer": "x"}])
    report = leak_report(found, 1)
    assert report["leaks"][0].keys() == {
        "id", "tier", "score", "train_line", "field", "excerpt", "train_text", "counts",
    }  # fmt: skip
    assert report["totals"]["tiers"] == {"identical": 1, "near": 0, "ngram": 0, "meaning": 0}
    assert (report["totals"]["examples"], report["totals"]["leaked"]) == (1, 1)


def test_an_empty_question_matches_nothing() -> None:
    evaluation = [Example(id="a", query="?!", messages=({"role": "user", "content": "?!"},))]
    rows = [
        Example(id="", query=text, messages=({"role": "user", "content": text},)) for text in ("...", "a b")
    ]
    assert not find_leaks(rows, evaluation)
    assert not find_leaks([], evaluation)


@given(st.text("abc ", max_size=70), st.text("abc ", max_size=70))
def test_the_edit_distance_is_that_of_the_textbook(one: str, other: str) -> None:
    before = list(range(len(other) + 1))
    for place, character in enumerate(one, start=1):
        row = [place]
        for at, against in enumerate(other, start=1):
            row.append(min(before[at] + 1, row[-1] + 1, before[at - 1] + (character != against)))
        before = row
    assert edit_distance(one, other) == before[-1]


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_words_of_ascii_text_are_the_same_by_both_ways(text: str) -> None:
    assert words(text) == [word for word, _ in placed_words(text)]


TICKET = "Hello, this is Rosa. You charged me twice for the green lamp that I bought last week. Please help."
REPLY = "Sorry Rosa, we will return the second charge for the lamp this week."


@pytest.mark.parametrize(
    ("query", "answer", "counts", "field"),
    [
        (TICKET.replace("lamp", "kettle"), REPLY.replace("lamp", "kettle"), False, "query"),
        (TICKET.replace("Please help.", "Help me."), REPLY.upper(), True, "both"),
        (TICKET.replace("Please help.", "Help me."), REPLY.replace("second", "secnd"), True, "both"),
        (TICKET.replace("Please help.", "Help me."), f"Certainly. {REPLY} Goodbye.", True, "both"),
        (TICKET.replace("Please help.", "Help me."), "", True, "query"),
        (TICKET, "Something else entirely.", True, "query"),
        (
            f"A shop was told: {TICKET} Which language is that, asked he?",
            "English",
            True,
            "query",
        ),
    ],
)
def test_nearly_the_same_question_counts_unless_its_answer_is_another(
    tmp_path: Path, query: str, answer: str, counts: bool, field: str
) -> None:
    evaluation = [{"id": "a", "query": TICKET, "reference": REPLY}]
    [leak] = leaks(tmp_path, evaluation, [{"query": query, "answer": answer}])
    assert (leak.counts, leak.similar, leak.field) == (counts, not counts, field)
    assert query[:20] in leak.train_text and answer in leak.train_text


def test_a_leak_is_told_before_a_template_however_alike_that_is(tmp_path: Path) -> None:
    train = [
        {"query": TICKET.replace("green lamp", "green kettle"), "answer": REPLY.replace("lamp", "kettle")},
        {"query": TICKET.replace("that I bought last week", "I got"), "answer": REPLY},
    ]
    [leak] = leaks(tmp_path, [{"id": "a", "query": TICKET, "reference": REPLY}], train)
    assert (leak.train_line, leak.counts) == (2, True)


def test_a_whole_answer_under_another_question_is_told_and_not_counted(tmp_path: Path) -> None:
    evaluation = [
        {"id": "a", "query": TICKET, "reference": REPLY},
        {"query": "Hi", "reference": "Ho"},
    ]
    found = leaks(tmp_path, evaluation, [{"query": "Money gone", "answer": REPLY}])
    totals = leak_report(found, 2)["totals"]
    assert (totals["leaked"], totals["answers_seen"], totals["similar"]) == (0, 1, 0)


def test_the_text_kept_of_a_long_training_example_is_the_part_that_was_found(tmp_path: Path) -> None:
    filler = "entirely other words stand around here " * 200
    [leak] = leaks(tmp_path, [{"id": "a", "query": STORY}], [{"text": f"{filler} {STORY} {filler}"}])
    assert len(leak.train_text) == TEXT_LENGTH and STORY in leak.train_text


ROWS = "Tulips fill 4 rows of the long garden and roses fill half as many. How many rows are there in all?"
OTHER_ROWS = ROWS.replace("in all", "altogether")
SOLVED = "There are 4 / 2 = 2 rows of roses.\nSo the garden has 4 + 2 = 6 rows.\n#### 6"


@pytest.mark.parametrize(
    ("reference", "answer", "counts"),
    [
        (SOLVED, "Half of 4 is 2, and 4 + 2 = 6 rows.\n#### 6", True),
        (SOLVED, "Half of 5 is 2, and 4 + 2 = 8 rows.\n#### 8", False),
        (SOLVED, "Halving four gives two. Adding them makes 6.", True),
        (SOLVED, "Halving four gives two. Adding them makes 7.", False),
        (SOLVED, r"We get \boxed{6.0}", True),
        (SOLVED, r"We get \boxed{\frac{1}{6}}", False),
        (SOLVED, "6", True),
        (SOLVED, "Six rows it is, as far as anybody here can count them.", True),
        (r"Thus \boxed{x^2 + 1}", r"After some algebra we have $\boxed{x^2 + 1}$.", True),
        (r"Thus \boxed{x^2 + 1}", r"After some algebra we have $\boxed{x^3 + 1}$.", False),
        ("1200", "Let us add them.\n#### 1,200", True),
        ("-5", "We subtract and find that the answer is 5.", False),
        ("billing", "Billing.", True),
        ("billing", "technical", False),
        ("billing", "The team that should answer it is the one for billing", True),
        ("billing", "The team that should answer it is the one for parcels", False),
        ('{"team": "billing", "urgent": true}', '```json\n{"urgent": true, "team": "billing"}\n```', True),
        ('{"team": "billing", "urgent": true}', '{"urgent": false, "team": "billing"}', False),
        ("Thinking it over.\nAnswer: B", "After a while I see that the final answer is **B**.", True),
        ("Thinking it over.\nAnswer: B", "After a while I see that the final answer is **C**.", False),
        (
            "Open the settings, choose security and follow the link that we send to you by mail.",
            "First go to your profile. There you find a button with which a new password can be set.",
            True,
        ),
        (
            "Open the settings, choose security and follow the link that we send to you by mail.",
            "Open the settings, choose payments and follow the link that we send to you by post.",
            False,
        ),
    ],
)
def test_only_another_final_answer_makes_a_template(
    tmp_path: Path, reference: str, answer: str, counts: bool
) -> None:
    evaluation = [{"id": "a", "query": ROWS, "reference": reference}]
    [leak] = leaks(tmp_path, evaluation, [{"query": OTHER_ROWS, "answer": answer}])
    assert (leak.tier, leak.counts, leak.similar) == ("near", counts, not counts)


def test_one_of_several_references_is_enough_for_the_same_answer(tmp_path: Path) -> None:
    evaluation = [{"id": "a", "query": ROWS, "references": ["seven", "6 rows"]}]
    [leak] = leaks(tmp_path, evaluation, [{"query": OTHER_ROWS, "answer": SOLVED}])
    assert (leak.counts, leak.field) == (True, "both")
