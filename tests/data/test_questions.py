"""Every part of a question that a record holds is in what the model is asked."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.data.cells import Malformed
from engine.data.choices import choices_of
from engine.data.example import Example, eval_set_version
from engine.data.examples import data_rows, read_examples
from engine.data.preview import preview
from engine.errors import BadInput


def one(tmp_path: Path, record: Any, **fields: str) -> Example:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps(record) + "\n", "utf-8")
    [example] = read_examples(path, fields)
    return example


def refused(tmp_path: Path, record: Any) -> str:
    with pytest.raises(BadInput) as error:
        one(tmp_path, record)
    return str(error.value)


def said(example: Example) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in example.messages]


def test_hellaswags_endings_are_choices(tmp_path: Path) -> None:
    record = {
        "ind": 4,
        "ctx": "A man sits on a roof. he",
        "ctx_b": "he",
        "endings": ["sings.", "falls."],
        "label": "1",
    }
    example = one(tmp_path, record)
    assert said(example) == [("user", "A man sits on a roof. he\n\nA. sings.\nB. falls.")]
    assert example.references == ("B", "falls.")


HISTORY = [["Where do swifts nest?", "In towers."], ["In spring?", "In May."]]
TURNS = [
    ("user", "Where do swifts nest?"),
    ("assistant", "In towers."),
    ("user", "In spring?"),
    ("assistant", "In May."),
]


@pytest.mark.parametrize(
    "history",
    [
        HISTORY,
        json.dumps(HISTORY),
        repr(HISTORY),
        [{"role": role, "content": text} for role, text in TURNS],
        [{"from": role, "value": text} for role, text in TURNS],
        [list(turn) for turn in TURNS],
        [{"question": question, "answer": answer} for question, answer in HISTORY],
        [{"user": question, "bot": answer} for question, answer in HISTORY],
        [{"role": "AI" if role == "assistant" else "Human", "content": text} for role, text in TURNS],
    ],
    ids=[
        "pairs",
        "JSON",
        "Python",
        "chat",
        "ShareGPT",
        "roles and texts",
        "objects",
        "speakers",
        "Human, AI",
    ],
)
def test_earlier_exchanges_are_turns_before_the_question(tmp_path: Path, history: Any) -> None:
    record = {
        "instruction": "And leave?",
        "input": "",
        "output": "August",
        "system": "Birds.",
        "history": history,
    }
    example = one(tmp_path, record)
    assert said(example) == [("system", "Birds."), *TURNS, ("user", "And leave?")]
    assert (example.query, example.references, example.extra) == ("And leave?", ("August",), {})


@pytest.mark.parametrize("history", [[], "", None, "A fracture in 2019.", ["a", "b"]])
def test_a_history_that_is_no_exchange_stays_beside_the_question(tmp_path: Path, history: Any) -> None:
    example = one(tmp_path, {"query": "Q", "history": history})
    assert said(example) == [("user", "Q")] and example.extra == {"history": history}


@pytest.mark.parametrize(
    ("record", "prompt"),
    [
        ({"instruction": "Q?", "context": "Text.", "response": "A"}, "Text.\n\nQ?"),
        ({"question": "Q?", "passage": "Text.", "answer": True}, "Text.\n\nQ?"),
        ({"instruction": "Do", "input": "it", "context": "Text.", "output": "A"}, "Text.\n\nDo\n\nit"),
        ({"query": "Q?", "contexts": ["One.", "Two."], "reference": "A"}, "One.\n\nTwo.\n\nQ?"),
        ({"query": "Q?", "contexts": "['One.' 'Two.']", "reference": "A"}, "One.\n\nTwo.\n\nQ?"),
        (
            {"query": "Q?", "context": {"contexts": ["One.", "Two."], "labels": ["a", "b"]}},
            "One.\n\nTwo.\n\nQ?",
        ),
        (
            {"query": "Q?", "context": {"title": ["T"], "sentences": [["One. ", "2."]]}},
            "T\nOne. 2.\n\nQ?",
        ),
        ({"query": "Q?", "passages": [{"title": "T", "text": "One."}]}, "T\nOne.\n\nQ?"),
        ({"query": "Text.\nQ?", "context": "Text."}, "Text.\nQ?"),
        ({"query": "Q?", "context": ""}, "Q?"),
        ({"query": "Q?", "context": None}, "Q?"),
    ],
)
def test_a_passage_stands_before_the_question_once(tmp_path: Path, record: Any, prompt: str) -> None:
    example = one(tmp_path, record)
    assert said(example) == [("user", prompt)] and example.query == prompt
    # Judges compare answers with it.
    assert example.extra.get("context") == record.get("context")


@pytest.mark.parametrize(
    ("answers", "references"),
    [
        ({"text": ["1902", "in 1902", "1902"], "answer_start": [3, 0, 3]}, ("1902", "in 1902")),
        ({"text": [], "answer_start": []}, ()),
        ([{"text": "1902", "answer_start": 3}, {"text": "in 1902", "answer_start": 0}], ("1902", "in 1902")),
        (["1902", "in 1902"], ("1902", "in 1902")),
        ("{'text': ['1902', 'in 1902'], 'answer_start': [3, 0]}", ("1902", "in 1902")),
        ("{'text': array(['1902', 'in 1902'], dtype=object), 'answer_start': array([3, 0], dtype=int32)}",
         ("1902", "in 1902")),
    ],
)  # fmt: skip
def test_squads_answers_are_the_references(tmp_path: Path, answers: Any, references: tuple[str, ...]) -> None:
    example = one(tmp_path, {"id": "a", "context": "C", "question": "When?", "answers": answers})
    assert example.references == references and "answers" not in example.extra
    assert one(tmp_path, {"question": "When?", "gold": answers}, reference="gold").references == references


CHOICES = ["Iron", "Tin", "Gold"]
BY_LETTER = dict(zip("ABC", CHOICES, strict=True))
OBJECTS = [{"label": label, "text": text} for label, text in zip("ABC", CHOICES, strict=True)]
PROMPT = "Which?\n\nA. Iron\nB. Tin\nC. Gold"


@pytest.mark.parametrize(
    "record",
    [
        {"question": "Which?", "choices": CHOICES, "answer": 1},
        {"question": "Which?", "choices": CHOICES, "answer": "B"},
        {"question": "Which?", "options": CHOICES, "answer": "B", "answer_index": 1},
        {"question": "Which?", "choices": CHOICES, "answer": "tin"},
        {"question": "Which?", "choices": CHOICES, "answer": 1.0},
        {"question": "Which?", "choices": CHOICES, "answer": "(b)"},
        {"question": "Which?", "choices": "['Iron' 'Tin' 'Gold']", "answer": "1"},
        {"question": "Which?", "choices": '["Iron", "Tin", "Gold"]', "label": 1},
        {"question": "Which?", "choices": {"text": CHOICES, "label": ["A", "B", "C"]}, "answerKey": "B"},
        {"question": "Which?", "choices": {"text": CHOICES, "label": ["1", "2", "3"]}, "answerKey": "2"},
        {"question": {"stem": "Which?", "choices": OBJECTS}, "answerKey": "B"},
        {"question": "Which?", "options": OBJECTS, "answer": "B"},
        {"question_stem": "Which?", "choices": {"text": CHOICES, "label": ["A", "B", "C"]}, "answerKey": "B"},
        {"question": "Which?", "options": BY_LETTER, "answer": "Tin", "answer_idx": "B"},
        {"question": "Which?", "options": ["A)Iron", "B)Tin", "C)Gold"], "correct": "B"},
        {"question": "Which?", "A": "Iron", "B": "Tin", "C": "Gold", "answer": "B"},
        {"question": "Which?", "option_a": "Iron", "option_b": "Tin", "option_c": "Gold", "answer": "b"},
        {"question": "Which?", "optionC": "Gold", "optionB": "Tin", "optionA": "Iron", "answer": "Tin"},
        {"question": "Which?", "opa": "Iron", "opb": "Tin", "opc": "Gold", "opd": "", "label": 1},
        {"question": "Which?", "choice1": "Iron", "choice2": "Tin", "choice3": "Gold", "answer": "choice2"},
        {"question": "Which?", "option1": "Iron", "option2": "Tin", "option3": "Gold", "correct_option": 2},
        {"question": "Which?", "option1": "Iron", "option2": "Tin", "option3": "Gold", "answer": "B"},
        {"question": "Which?", "ending0": "Iron", "ending1": "Tin", "ending2": "Gold", "label": 1},
        {"question": "Which?", "answerA": "Iron", "answerB": "Tin", "answerC": "Gold", "correct": "B"},
        {"question": "Which?", "choices": CHOICES, "answer": "Option B"},
        {"question": "Which?", "choices": CHOICES, "answer": "B. tin"},
        {"question": "Which?", "choices": CHOICES, "answer": "(B) Tin"},
        {"question": "Which?", "choices": CHOICES, "answer": "Tin."},
        {"question": "Which?", "choices": CHOICES, "answers": ["B", "Tin"]},
        {"question": "Which?\n\nA. Iron\nB. Tin\nC. Gold", "choices": CHOICES, "answer": "B"},
        {"question": "Which?", "choices": "{'text': array(['Iron', 'Tin', 'Gold'], dtype=object), "
                                          "'label': array(['A', 'B', 'C'], dtype=object)}", "answerKey": "B"},
    ],
)  # fmt: skip
def test_choices_are_lettered_and_letter_and_text_are_right(tmp_path: Path, record: Any) -> None:
    example = one(tmp_path, record)
    assert (example.query, example.references) == (PROMPT, ("B", "Tin"))


def test_the_passage_stands_above_question_and_choices(tmp_path: Path) -> None:
    record = {"context": "About metals.", "question": "Which?", "choices": CHOICES, "answer": 2}
    assert one(tmp_path, record).query == f"About metals.\n\n{PROMPT}"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (3, "answer: 3 is none of the 3 choices, counted from 0"),
        (-1, "answer: -1 is none of the 3 choices"),
        ("E", "answer: 'E' names none of the 3 choices"),
        ("7", "answer: '7' names none of the 3 choices"),
        ("A. Gold", "answer: 'A. Gold' has the text of choice C"),
        (["A", "C"], "answer: ['A', 'C'] names several choices; only one can be right"),
        ([0, 2], "answer: [0, 2] names several choices"),
        ("A, C", "answer: 'A, C' names several choices"),
        ("A and B", "answer: 'A and B' names several choices"),
        ("ABC", "answer: 'ABC' names several choices"),
        (1.5, "answer: 1.5 is none of the 3 choices"),
    ],
)
def test_an_answer_that_names_no_choice_is_refused(tmp_path: Path, answer: Any, says: str) -> None:
    message = refused(tmp_path, {"question": "Which?", "choices": CHOICES, "answer": answer})
    assert "one.jsonl:1: " in message and says in message


def test_a_digit_that_could_be_a_text_or_an_index_is_refused_in_a_text_only(tmp_path: Path) -> None:
    record = {"question": "2 + 1?", "choices": ["3", "2", "1", "0"]}
    assert "'3' is the text of choice A and could name choice D" in refused(
        tmp_path, record | {"answer": "3"}
    )
    assert one(tmp_path, record | {"answer": 0}).references == ("A", "3")
    labelled = {"text": record["choices"], "label": ["A", "B", "C", "D"]}
    assert one(tmp_path, {"question": "2 + 1?", "choices": labelled, "answer": "3"}).references == ("A", "3")


@pytest.mark.parametrize("name", ["option", "choice_", "Ending"])
@pytest.mark.parametrize("key", ["answer", "label", "answer_index", "answer_idx", "target", "gold"])
def test_an_answer_beside_numbered_columns_that_could_count_from_0_or_1_is_refused(
    tmp_path: Path, name: str, key: str
) -> None:
    record = {"question": "Which?", f"{name}1": "Iron", f"{name}2": "Tin", f"{name}3": "Gold"}
    for value in (1, "1", 1.0, 2, "(2)"):
        says = refused(tmp_path, record | {key: value})
        assert f"could be {name}{str(value).strip('()')[0]}, or count from 0; write the text of the" in says
    for value in (0, "0"):
        says = refused(tmp_path, record | {key: value})
        assert f"{key}: 0 is none of {name}1, {name}2, {name}3; write the text of the right choice" in says
    assert one(tmp_path, record | {key: 3}).references == ("C", "Gold")
    assert one(tmp_path, record | {key: f"{name}1"}).references == ("A", "Iron")
    assert "is none of" in refused(tmp_path, record | {key: 4})
    assert "could be" in refused(tmp_path, record | {f"{name}1": "", key: 2})
    for value in (2, "2"):
        assert "could be an empty choice" in refused(tmp_path, record | {f"{name}2": "", key: value})


def test_choices_labelled_from_1_have_no_0(tmp_path: Path) -> None:
    labelled = {"question": "Which?", "choices": {"text": CHOICES, "label": ["1", "2", "3"]}}
    assert one(tmp_path, labelled | {"answer": 1}).references == ("A", "Iron")
    for value in (0, "0"):
        assert "answer: 0 is none of 1, 2, 3" in refused(tmp_path, labelled | {"answer": value})


@pytest.mark.parametrize(
    "choices",
    [
        {"option_a": "Iron", "option_b": "", "option_c": "Tin", "option_d": None},
        {"choices": {"A": "Iron", "B": None, "C": "Tin"}},
        {"ending0": "Iron", "ending1": None, "ending2": "Tin"},
    ],
)
def test_an_index_counts_the_choices_that_are_empty(tmp_path: Path, choices: dict[str, Any]) -> None:
    record = {"question": "Which?", **choices}
    for value in (2, "2", "Tin"):
        assert one(tmp_path, record | {"answer": value}).references[1] == "Tin"
    for value in (1, "1", 3):
        assert "none of the 2" in refused(tmp_path, record | {"answer": value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_names_no_choice(value: float) -> None:
    choices = choices_of({"choices": CHOICES})
    assert choices is not None
    with pytest.raises(Malformed, match="is none of the 3 choices, counted from 0"):
        choices.right({"answer": value})


def test_letters_are_counted_in_no_time(tmp_path: Path) -> None:
    record = {"question": "Which?", "choices": CHOICES, "answer": "A   " * 30 + "x"}
    assert one(tmp_path, record).references == ("A   " * 30 + "x",)


def test_the_answers_of_two_models_are_no_choices(tmp_path: Path) -> None:
    record = {"question": "Which?", "answer_a": "Iron", "answer_b": "Tin", "reference": "Tin"}
    assert one(tmp_path, record).query == "Which?"


@pytest.mark.parametrize("answer", [None, "", "neither of them, I think"])
def test_an_answer_in_other_words_stays_a_reference(tmp_path: Path, answer: Any) -> None:
    example = one(tmp_path, {"question": "Which?", "choices": CHOICES, "answer": answer})
    assert example.query == PROMPT and example.references == ((answer,) if answer else ())


USER = {"role": "user", "content": "Name a river."}
GOOD = {"role": "assistant", "content": "The Lenn."}
BAD = {"role": "assistant", "content": "No."}


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": "Name a river.", "chosen": "The Lenn.", "rejected": "No."},
        {"prompt": "Name a river.", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD], "score_chosen": 9.0},
        {"chosen": [USER, GOOD]},
        {"chosen": [USER, GOOD], "rejected": [USER, GOOD]},
        {"question": "Name a river.", "chosen": "The Lenn.", "rejected": "No."},
        {"instruction": "Name a river.", "input": "", "chosen": "The Lenn.", "rejected": "No."},
        {"conversations": [{"from": "human", "value": "Name a river."}],
         "chosen": {"from": "gpt", "value": "The Lenn."}, "rejected": {"from": "gpt", "value": "No."}},
        {"chosen": "\n\nHuman: Name a river.\n\nAssistant: The Lenn.",
         "rejected": "\n\nHuman: Name a river.\n\nAssistant: No."},
        {"prompt": repr([USER]), "chosen": repr([GOOD]), "rejected": repr([BAD])},
    ],
)  # fmt: skip
def test_the_chosen_answer_is_the_reference(tmp_path: Path, record: Any) -> None:
    for example in (one(tmp_path, record), one(tmp_path, record, reference="chosen")):
        assert (said(example), example.references) == ([("user", "Name a river.")], ("The Lenn.",))


def test_an_answer_beside_the_preferences_wins(tmp_path: Path) -> None:
    record = {"prompt": "Q", "answer": "A", "chosen": "B", "rejected": "C"}
    assert one(tmp_path, record).references == ("A",)
    assert one(tmp_path, record, reference="chosen").references == ("B",)


CHAT = [{"role": "user", "content": 'It\'s "q"?\n'}, {"role": "assistant", "content": "Yes", "name": None}]


@pytest.mark.parametrize(
    "cell",
    [repr(CHAT), json.dumps(CHAT), "[" + "\n ".join(map(repr, CHAT)) + "]", f"array({CHAT!r}, dtype=object)"],
    ids=["pandas", "JSON", "NumPy", "array"],
)
@pytest.mark.parametrize("key", ["messages", "conversations"])
def test_conversations_in_a_cell(tmp_path: Path, key: str, cell: str) -> None:
    example = one(tmp_path, {"": "0", key: cell})
    assert (said(example), example.references) == ([("user", 'It\'s "q"?\n')], ("Yes",))


@pytest.mark.parametrize(
    ("cell", "texts"),
    [
        ("['red', 'blue']", ("red", "blue")),
        ("['red' 'blue']", ("red", "blue")),
        ("['red' 'blue'\n 'it\\'s']", ("red", "blue", "it's")),
        ('["it\'s", None, nan]', ("it's",)),
        ("[np.str_('red'), np.str_('blue')]", ("red", "blue")),
        ("array(['red', 'blue'], dtype='<U4')", ("red", "blue")),
        ("[1 2]", ("1", "2")),
        ("('red', 'blue')", ("red", "blue")),
        ("{'red', 'blue'}", ("red", "blue")),
        ("{'red'}", ("red",)),
        ("{red}", ("{red}",)),
        ("{3}", ("{3}",)),
        ("[see the manual]", ("[see the manual]",)),
        ("[__import__('os').system('true')]", ("[__import__('os').system('true')]",)),
        ("['red', ...]", ("['red', ...]",)),
        ("['red'", ("['red'",)),
        pytest.param("[" * 99 + "'a'" + "]" * 99, ("[" * 99 + "'a'" + "]" * 99,), id="deep"),
    ],
)
def test_lists_of_references_in_a_cell(tmp_path: Path, cell: str, texts: tuple[str, ...]) -> None:
    assert one(tmp_path, {"query": "Q", "references": cell}).references == texts


def test_a_single_reference_that_looks_like_a_list_is_a_text(tmp_path: Path) -> None:
    for text in ("['red', 'blue']", '["red"]', '{"role": "admin", "content": "x"}'):
        assert one(tmp_path, {"query": "Q", "reference": text}).references == (text,)


@pytest.mark.parametrize(
    ("record", "references"),
    [
        ({"question": "?", "answer": {"value": "X", "aliases": ["X", "Y"]}}, ("X", "Y")),
        ({"question": "?", "answer": {"value": "Paris", "aliases": None}}, ("Paris",)),
        ({"question": "?", "answer": {"value": "Paris", "aliases": "Paree"}}, ("Paris", "Paree")),
        ({"input": [{"role": "user", "content": "?"}], "ideal": ["X", "Y"]}, ("X", "Y")),
        ({"input": "?", "output": "X"}, ("X",)),
        ({"problem": "?", "solution": "$\\boxed{X}$"}, ("$\\boxed{X}$",)),
        ({"question": "?", "ground_truth": "X"}, ("X",)),
        ({"question": "?", "ground_truths": "['X', 'Y']"}, ("X", "Y")),
        ({"input": "?", "target": "X"}, ("X",)),
        ({"question": "?", "expected_output": "X"}, ("X",)),
        ({"question": "?", "best_answer": "X", "correct_answers": ["X", "Y"]}, ("X", "Y")),
        ({"question": "?", "correct_answer": "X", "target": ""}, ("X",)),
        ({"question": "?", "ground_truth": [{"f": {"x": [1]}}]}, ()),
    ],
)
def test_questions_and_references_of_public_sets(
    tmp_path: Path, record: Any, references: tuple[str, ...]
) -> None:
    example = one(tmp_path, record)
    assert (said(example), example.references) == ([("user", "?")], references)


def test_columns_by_other_names_are_mapped_to_the_parts_of_the_question(tmp_path: Path) -> None:
    record = {
        "ask": "Which?",
        "doc": "About metals.",
        "alternatives": CHOICES,
        "gold": "B",
        "talk": [["Hi", "Hello"]],
    }
    fields = {
        "query": "ask",
        "context": "doc",
        "choices": "alternatives",
        "reference": "gold",
        "history": "talk",
    }
    example = one(tmp_path, record, **fields)
    assert said(example) == [("user", "Hi"), ("assistant", "Hello"), ("user", f"About metals.\n\n{PROMPT}")]
    assert example.references == ("B", "Tin")


def test_training_data_hold_the_same_question(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"instruction": "Q?", "context": "Text.", "response": "A"}))
    assert [row.query for row in data_rows(path)] == ["Text.\n\nQ?"]


ASKED = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
ANSWERED = [*ASKED, {"role": "assistant", "content": "A"}]
CALLED = [
    {"role": "user", "content": "Q"},
    {"role": "assistant", "content": "T"},
    {"role": "tool", "content": "4", "tool_call_id": "x", "name": "n"},
]
OBSERVED = [
    {"from": "human", "value": "Q"},
    {"from": "gpt", "value": "A"},
    {"from": "observation", "value": "A"},
]


@pytest.mark.parametrize(
    ("record", "identity", "version"),
    [
        ({"query": "Q", "reference": "A"}, "5ba0f7b894a5", "b88c3ff77cd9"),
        ({"query": "Q", "references": ["A", "B"]}, "5ba0f7b894a5", "34fd8f84ff53"),
        ({"query": "Q", "answer": {"x": 1}}, "5ba0f7b894a5", "e438284886c5"),
        ({"instruction": "I", "input": "in", "output": "O"}, "59b3a6d0b210", "d9ce3f27f08e"),
        ({"instruction": "I", "input": "", "output": "O", "history": []}, "5eb54f8392f3", "798861fe0bd7"),
        (
            {"instruction": "I", "context": "", "response": "R", "category": "open_qa"},
            "5eb54f8392f3",
            "6e1f70f252b1",
        ),
        ({"messages": ANSWERED}, "5ba0f7b894a5", "84416f5b51aa"),
        (
            {"messages": [*ANSWERED, {"role": "user", "content": "Q2"}], "tools": []},
            "f3ba8c61f8fc",
            "b4fd804a13e5",
        ),
        ({"messages": CALLED, "tools": None}, "5ba0f7b894a5", "744b51fbc836"),
        ({"conversations": OBSERVED, "tools": ""}, "5ba0f7b894a5", "f8743e4be856"),
        (
            {"turns": ["a", "b"], "reference": ["x", "y"], "question_id": 81, "category": "math"},
            "81",
            "b6c7388d1de1",
        ),
        ({"prompt": "P", "completion": "C"}, "1baf02a0ffe3", "078a8eb47180"),
        ({"prompt": ASKED, "completion": ANSWERED[2:]}, "5ba0f7b894a5", "84416f5b51aa"),
        ({"text": "T", "test_list": ["assert 1"]}, "ef6ff420b319", "7bef225685f9"),
        (
            {
                "query": "Q",
                "label": "spam",
                "group": "g",
                "schema": {"type": "object"},
                "note": 1,
                "system": "S",
            },
            "5ba0f7b894a5",
            "22d495543906",
        ),
        (
            {"query": "Q", "history": "patient had flu", "options": {"temperature": 0.1}, "tools": "hammer"},
            "5ba0f7b894a5",
            "b04e8608dd9d",
        ),
        ({"query": "Q", "answer": '{"role": "admin", "content": 1}'}, "5ba0f7b894a5", "114cdb07b6b6"),
        ({"query": "Q", "answer": "['a', 'b']"}, "5ba0f7b894a5", "655c4f0e4c73"),
        ({"query": "Q", "references": "[see the manual]"}, "5ba0f7b894a5", "5bd80c20fe32"),
        ({"query": "Q", "answer": {"role": "admin", "name": "x"}}, "5ba0f7b894a5", "ba9b5071f404"),
    ],
)
def test_what_was_always_read_keeps_its_identity(
    tmp_path: Path, record: Any, identity: str, version: str
) -> None:
    example = one(tmp_path, record)
    assert (example.id, eval_set_version([example])) == (identity, version)


TWO = {"text": ["library", "fridge"], "label": ["A", "B"]}
LISTED = [{"label": "A", "text": "library"}, {"label": "B", "text": "fridge"}]


@pytest.mark.parametrize(
    ("record", "columns"),
    [
        (
            {"question": "Where are books?", "choices": TWO, "answerKey": "A"},
            {"query": "question", "choices": "choices", "references": "answerKey"},
        ),
        (
            {"question": {"stem": "Where are books?", "choices": LISTED}, "answerKey": "A"},
            {"query": "question.stem", "choices": "question.choices", "references": "answerKey"},
        ),
        (
            {"question_stem": "Books are in the", "choices": TWO, "answerKey": "A"},
            {"query": "question_stem", "choices": "choices", "references": "answerKey"},
        ),
        (
            {"ctx": "He takes a book from the", "endings": ["library", "fridge"], "label": "0"},
            {"query": "ctx", "choices": "endings", "references": "label", "label": "label"},
        ),
    ],
    ids=["ARC", "CommonsenseQA", "OpenBookQA", "HellaSwag"],
)
def test_a_preview_names_the_columns_of_nested_choices(
    tmp_path: Path, record: dict[str, Any], columns: dict[str, str]
) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps(record) + "\n", "utf-8")
    found = preview(path)
    assert found.columns == {name: {column: 1} for name, column in columns.items()}
    assert found.kept == {} and found.first[0].references == ("A", "library")
