"""Verdicts of any tool become runs, and people's labels become annotations of named people."""

import json
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from engine.decision.answers import better_than_base, judge_believed
from engine.decision.facts import cases, read
from engine.errors import BadInput
from engine.formats.importing import Labelled, import_labels, import_run, import_verdicts
from engine.gates.judges import agreement_of
from store import database
from store.read import history
from store.read.queues import annotated
from tests.formats import files

Records = list[dict[str, Any]]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def _file(folder: Path, records: Records, name: str = "said.jsonl") -> Path:
    return files.lines(folder / name, records)


def _pair(id: str, winner: object, **more: object) -> dict[str, Any]:
    return {"id": id, "model_a": "x", "model_b": "y", "winner": winner, **more}


def _verdicts(path: Path, store: Path, **options: Any) -> int:
    return import_verdicts(path, store, **({"fields": {}, "values": {}} | options))


def _labels(path: Path, store: Path, run: int, **options: Any) -> Labelled:
    connection = database.connect(store)
    return import_labels(path, connection, run, **({"fields": {}, "values": {}} | options))


def _outcomes(store: Path) -> dict[str, str]:
    """The whole verdicts of the newest run by judge and example, seen from the candidate."""
    rows = database.connect(store).execute(
        "SELECT j.name, e.example, v.outcome FROM verdict v JOIN judge j ON j.id = v.judge_id"
        " JOIN example e ON e.id = v.example_id WHERE v.turn = 0 AND j.run_id = (SELECT max(id) FROM run)"
    )
    return {f"{row[0]} {row[1]}": row[2] for row in rows}


def _said(store: Path) -> list[tuple[str, ...]]:
    rows = database.connect(store).execute(
        "SELECT e.example, a.annotator, a.kind, a.value, l.name, r.name, a.criterion FROM annotation a"
        " JOIN example e ON e.id = a.example_id JOIN model l ON l.id = a.left_id"
        " LEFT JOIN model r ON r.id = a.right_id ORDER BY a.id"
    )
    return [tuple(value for value in row if value is not None) for row in rows]


def test_both_orders_of_a_row_make_one_verdict(tmp_path: Path, store: Path) -> None:
    said = [("A", "B"), ("B", "A"), ("tie", "A"), ("model_a", "model_a")]
    records = [
        {"id": str(place), "query": f"q{place}", "model_a": "x", "model_b": "y", "response_a": "one",
         "response_b": "two", "winner_ab": one, "winner_ba": other}
        for place, (one, other) in enumerate(said)
    ]  # fmt: skip
    _verdicts(_file(tmp_path, records), store)
    assert list(_outcomes(store).values()) == ["win", "loss", "tie", "win"]
    agree = database.connect(store).execute("SELECT value, n FROM audit WHERE measure = 'consistency'")
    assert tuple(agree.fetchone()) == (0.75, 4)


def test_a_judge_asked_in_one_order_is_not_beyond_doubt(tmp_path: Path, store: Path) -> None:
    run = _verdicts(
        _file(tmp_path, [_pair(str(n), "x" if n % 2 else "y", judge="gpt") for n in range(8)]), store
    )
    (case,) = cases(read(history.attach(database.connect(store)), run))
    believed, better = judge_believed(case), better_than_base(case)
    assert (believed.standing, believed.said) == (
        "open",
        ("with 1 doubt: gpt, against y: position bias not known: no example was judged in both orders"),
    )
    assert better.said == "not shown by judge gpt"


def test_a_row_with_the_models_exchanged_is_the_other_order(tmp_path: Path, store: Path) -> None:
    other = {"id": "1", "model_a": "y", "model_b": "x", "judge": "gpt"}
    path = _file(tmp_path, [_pair("1", "x", judge="gpt"), other | {"winner": "model_b"}])
    _verdicts(path, store)
    assert _outcomes(store) == {"gpt 1": "win"}
    _verdicts(path, store, baseline="x")
    assert _outcomes(store) == {"gpt 1": "loss"}


@pytest.mark.parametrize(
    ("winner", "outcome"),
    [("model_a", "win"), ("y", "loss"), (1, "win"), (2.0, "loss"), ("tie (bothbad)", "tie"), ("", "failed"),
     ("left", "win"), ("better", "loss"), (None, "failed"), ("[[B]]", "loss"), ("[[C]]", "tie")],
)  # fmt: skip
def test_winners_are_named_in_many_ways(tmp_path: Path, store: Path, winner: object, outcome: str) -> None:
    path = _file(tmp_path, [_pair("1", winner, judge="gpt")])
    _verdicts(path, store, values={"better": "model_b"})
    assert _outcomes(store) == {"gpt 1": outcome}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (_pair("1", 0), r"said.jsonl:1: winner: found 0, which is no winner(.|\n)*--value 0=a"),
        (_pair("1", 1.83), r"winner: found 1\.83"),
        ({"id": "1", "model_a": "x"}, r"said.jsonl:1: says nothing of an answer"),
        (_pair("1", "a") | {"model_b": "x"}, r"model_b: is 'x' like model_a"),
        (_pair("1", "a", turn="x"), r"turn: found 'x'"),
        (_pair("1", "a", turn=10**30), r"said.jsonl:1: turn: found '10{30}', expected a whole number"),
        (_pair("1", "odd"), r"winner: found 'strange', which is no winner(.|\n)*--value odd=a"),
        ({"data": {}, "annotations": ["?"]}, r"said.jsonl:1: has not the shape that its keys promise"),
    ],
)
def test_what_is_no_verdict_is_refused(
    tmp_path: Path, store: Path, record: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput) as refused:
        _verdicts(_file(tmp_path, [record]), store, values={"odd": "strange"})
    refused.match(message)
    assert not database.exists(store)


def test_rows_without_id_and_question_are_pairs_of_their_own(tmp_path: Path, store: Path) -> None:
    said = [{"model_a": "x", "model_b": "y", "winner": winner, "turn": 0.0} for winner in ("A", "B", "A")]
    texts = {"response_a": "one", "response_b": "two"}
    both = [
        {**said[0], **texts},
        {"model_a": "y", "model_b": "x", "winner": "B", "response_a": "two", "response_b": "one"},
    ]
    _verdicts(_file(tmp_path, [*said, *both]), store)
    assert sorted(_outcomes(store).values()) == ["loss", "win", "win", "win"]


def test_a_column_that_no_row_has_is_refused(tmp_path: Path, store: Path) -> None:
    with pytest.raises(BadInput, match="has no column 'choice'"):
        _verdicts(_file(tmp_path, [_pair("1", "a")]), store, fields={"winner": "choice"})


def _talk(*turns: str) -> Records:
    roles = ("user", "assistant")
    return [{"role": roles[place % 2], "content": text} for place, text in enumerate(turns)]


LMSYS = [
    {"question_id": 81, "model_a": a, "model_b": b, "winner": winner, "judge": "expert_1", "turn": turn,
     "conversation_a": _talk("Q", f"{a}1", "Q2", f"{a}2"),
     "conversation_b": _talk("Q", f"{b}1", "Q2", f"{b}2")}
    for a, b, winner, turn in (("x", "y", "model_a", 1), ("y", "x", "model_a", 2))
]  # fmt: skip
PANDA = [
    {"idx": 0, "cmp_key": "x-7b_y-6.9b", "instruction": "Do", "input": "this", "response1": "r1",
     "response2": "r2", "annotator1": 0, "annotator2": 1, "annotator3": 2}
]  # fmt: skip
LLM_BAR = [{"input": "Do", "output_1": "r1", "output_2": "r2", "label": 2}]
FARM = [
    {
        "instruction": "Do",
        "output_1": "r1",
        "output_2": "r2",
        "preference": preference,
        "annotator_index": who,
    }
    for who, preference in enumerate((1, 2, 0))
]


@pytest.mark.parametrize(
    ("records", "outcomes"),
    [(LMSYS, ["loss"]), (PANDA, ["tie", "win", "loss"]), (LLM_BAR, ["loss"]), (FARM, ["win", "loss", "tie"])],
    ids=["lmsys", "pandalm", "llmbar", "alpacafarm"],
)
def test_published_labels_are_read_as_they_are(
    tmp_path: Path, store: Path, records: Records, outcomes: list[str]
) -> None:
    _verdicts(_file(tmp_path, records), store)
    assert list(_outcomes(store).values()) == outcomes


def test_a_question_with_other_answers_is_an_example_of_its_own(tmp_path: Path, store: Path) -> None:
    _verdicts(_file(tmp_path, [*LLM_BAR, LLM_BAR[0] | {"output_2": "r3", "label": 1}]), store)
    assert list(_outcomes(store).values()) == ["loss", "win"]


# Labels on a run


@pytest.fixture
def run(tmp_path: Path, store: Path) -> int:
    """Three judged pairs of x and y, with their answers."""
    records = [
        _pair(f"q{place}", winner, query=f"Question {place}?", response_a=f"x{place}", response_b=f"y{place}",
              judge="gpt")
        for place, winner in enumerate(("a", "b", "tie"))
    ]  # fmt: skip
    return _verdicts(_file(tmp_path, records, "run.jsonl"), store)


def test_labels_become_annotations_of_named_people(tmp_path: Path, store: Path, run: int) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(
        "id,model_a,model_b,annotator,winner\nq0,x,y,ann,model_a\nq1,y,x,bob,tie\nq9,x,y,ann,tie\n"
    )
    found = _labels(path, store, run, random=True)
    assert found.people == {"ann": 1, "bob": 1}
    assert found.left_out == {"the run has no such example": 1}
    assert _said(store) == [("q0", "ann", "preference", "left", "x", "y"),
                            ("q1", "bob", "preference", "tie", "y", "x")]  # fmt: skip
    assert _labels(path, store, run).left_out["here already"] == 2
    (match,) = agreement_of(history.attach(database.connect(store)), run).matches
    assert (match.annotators, match.calibration.against_people.pairs) == (("ann", "bob"), 2)
    assert match.calibration.corrected.labelled == 2  # a random sample corrects


def test_labels_may_be_declared_random_by_a_second_import(tmp_path: Path, store: Path, run: int) -> None:
    path = _file(tmp_path, [_pair("q0", "a", annotator="ann")])
    _labels(path, store, run)
    assert _labels(path, store, run, random=True).people == {"ann": 1}
    assert _labels(path, store, run, random=True).left_out == {"here already": 1}
    (match,) = agreement_of(history.attach(database.connect(store)), run).matches
    assert (match.calibration.against_people.pairs, match.calibration.corrected.labelled) == (1, 1)


@pytest.mark.parametrize("rating", ["nan", "inf", "good"])
def test_a_rating_is_a_finite_number(tmp_path: Path, store: Path, run: int, rating: str) -> None:
    said = {"id": "q0", "model": "x", "annotator": "ann"}
    with pytest.raises(
        BadInput, match=rf"said.jsonl:1: rating: found '{rating}', expected a (finite )?number"
    ):
        _labels(_file(tmp_path, [said | {"rating": rating}]), store, run)
    _labels(_file(tmp_path, [said | {"rating": 1234567.5, "thumbs": 1.0}]), store, run)
    assert [row[3] for row in _said(store)] == ["1234567.5", "up"]


def test_labels_on_pairs_of_candidates_count_in_agreement(tmp_path: Path, store: Path) -> None:
    run = import_run("mt-bench", files.mt_bench(tmp_path / "mt"), store)
    vote = {"question_id": 81, "model_a": files.MODELS[1], "model_b": files.MODELS[0], "winner": "model_b"}
    records = [vote | {"judge": "expert_1", "turn": turn} for turn in (1, 2)]
    found = _labels(_file(tmp_path, records), store, run)
    assert (found.people, found.left_out) == ({"expert_1": 2}, {})
    database.connect(store).execute("UPDATE model SET role = 'candidate'")
    agreement = agreement_of(history.attach(database.connect(store)), run)
    (match,) = agreement.matches
    assert match.calibration.confusion[""] == {"win": {"tie": 1}}
    (turns,) = agreement.by_vote.values()
    assert list(turns) == [1, 0]  # the last turn stands for the conversation
    assert [row.turn for row in annotated(history.attach(database.connect(store)), run)] == [1, 0]


def test_each_vote_on_each_turn_is_counted_as_fastchat_counts_it(tmp_path: Path, store: Path) -> None:
    """Its compute_agreement.py on these votes: 2 of 3 (1 of 2 without ties), then 1 of 2 (1 of 1)."""
    pair = {"question_id": 81, "model_1": "x", "model_2": "y", "judge": ["gpt-4", "pair-v2-multi-turn"]}
    games = [
        pair | {"turn": turn, "g1_winner": won, "g2_winner": won}
        for turn, won in ((1, "model_1"), (2, "model_1"))
    ]
    games += [pair | {"question_id": 82, "turn": 1, "g1_winner": "tie", "g2_winner": "tie"}]
    games += [pair | {"question_id": 82, "turn": 2, "g1_winner": "model_1", "g2_winner": "model_1"}]
    run = import_run("mt-bench", files.lines(tmp_path / "gpt-4_pair.jsonl", games), store)
    votes = [
        {"question_id": question, "model_a": a, "model_b": b, "winner": won, "judge": who, "turn": turn}
        for question, a, b, won, who, turn in (
            (81, "x", "y", "model_a", "expert_1", 1), (81, "y", "x", "model_a", "expert_2", 1),
            (82, "x", "y", "tie (inconsistent)", "expert_1", 1),
            (81, "y", "x", "model_b", "expert_1", 2), (82, "x", "y", "tie", "expert_1", 2),
        )
    ]  # fmt: skip
    assert _labels(_file(tmp_path, votes), store, run, values={"tie (inconsistent)": "tie"}).people == {
        "expert_1": 4, "expert_2": 1,
    }  # fmt: skip
    found = agreement_of(history.attach(database.connect(store)), run)
    (turns,) = found.by_vote.values()
    assert [astuple(each) for each in turns.values()] == [(2, 3, 1, 2), (1, 2, 1, 1)]
    assert found.matches[0].calibration.against_people.pairs == 2  # votes on the first turn are not in it


def test_who_labelled_must_be_known(tmp_path: Path, store: Path, run: int) -> None:
    path = _file(tmp_path, [_pair("q0", "a")])
    with pytest.raises(BadInput, match=r"said.jsonl:1: does not say who labelled"):
        _labels(path, store, run)
    assert _labels(path, store, run, annotator="ann").people == {"ann": 1}
    judged = _file(tmp_path, [_pair("q0", "a", judge="gpt")])
    with pytest.raises(BadInput, match="judge: 'gpt' is no person"):
        _labels(judged, store, run)
    assert _labels(judged, store, run, fields={"annotator": "judge"}).people == {"gpt": 1}


def test_answers_are_found_by_their_text_where_no_model_is_named(
    tmp_path: Path, store: Path, run: int
) -> None:
    records = [{"query": "question 0?", "output_1": "y0", "output_2": "x0", "label": 1},
               {"query": "question 1?", "output_1": "z", "output_2": "x1", "label": 1}]  # fmt: skip
    found = _labels(_file(tmp_path, records), store, run, annotator="ann")
    assert _said(store) == [("q0", "ann", "preference", "left", "y", "x")]
    assert found.left_out == {"the run has no such model or answer": 1}


def test_a_question_of_several_examples_does_not_place_a_label(tmp_path: Path, store: Path) -> None:
    run = _verdicts(_file(tmp_path, [_pair(id, "x", query="Why?", judge="gpt") for id in ("1", "2")]), store)
    records = [
        {"query": "Why?", "model_a": "x", "model_b": "y", "winner": "a"},
        _pair("2", "a", query="Why?"),
    ]
    found = _labels(_file(tmp_path, records), store, run, annotator="ann")
    assert (found.people, found.left_out) == (
        {"ann": 1},
        {"several examples have this question: name one by id": 1},
    )


def test_fair_evals_lines_are_in_the_order_of_the_questions(tmp_path: Path, store: Path, run: int) -> None:
    path = tmp_path / "human.txt"
    path.write_text("CHATGPT\nTIE\nVICUNA13B\n")
    _labels(path, store, run, annotator="ann", values={"CHATGPT": "x", "VICUNA13B": "y"})
    assert [said[3] for said in _said(store)] == ["left", "tie", "right"]
    path.write_text("CHATGPT\nVICUNA13B\n")
    with pytest.raises(BadInput, match="has 2 lines, but run 1 has 3 examples"):
        _labels(path, store, run, annotator="ann")


def test_label_studio_exports_are_read(tmp_path: Path, store: Path, run: int) -> None:
    def result(name: str, **value: object) -> dict[str, Any]:
        return {"from_name": name, "to_name": "text1", "type": name, "value": value}

    pair = {"id": 7, "data": {"id": "q0", "model_a": "y", "model_b": "x"}, "annotations": [
        {"completed_by": {"id": 3, "email": "ann@example.org"}, "was_cancelled": False,
         "result": [result("pairwise", selected="left")]},
        {"completed_by": 4, "was_cancelled": True, "result": [result("pairwise", selected="right")]},
    ]}  # fmt: skip
    one = {"id": 8, "data": {"id": "q1", "model": "x"}, "annotations": [
        {"completed_by": 4, "result": [
            result("clarity", rating=4), result("kind", choices=["off topic"]),
            result("corrected", text=["The better answer."]), result("why", text=["It never says who came."]),
            result("clarity", rating=None),
        ]},
    ]}  # fmt: skip
    path = tmp_path / "export.json"
    path.write_text(json.dumps([pair, one]))
    _labels(path, store, run)
    assert _said(store) == [
        ("q0", "ann@example.org", "preference", "left", "y", "x"),
        ("q1", "4", "rating", "4", "x", "clarity"),
        ("q1", "4", "tag", "off topic", "x"),
        ("q1", "4", "correction", "The better answer.", "x"),
        ("q1", "4", "note", "It never says who came.", "x"),
    ]


FLAT = {
    "id": "q0", "model_a": "x", "model_b": "y", "best.responses": ["x", "y"],
    "best.responses.users": ["u1", "u2"], "best.responses.status": ["submitted", "draft"],
    "best.suggestion": 1,
}  # fmt: skip
NESTED = {
    "id": "1f", "fields": {"id": "q0", "model_a": "x", "model_b": "y"}, "suggestions": {},
    "responses": {"order": [{"value": [{"value": "y", "rank": 2}, {"value": "x", "rank": 1}],
                             "user_id": "u1"}]},
}  # fmt: skip


@pytest.mark.parametrize("record", [FLAT, NESTED], ids=["flat", "nested"])
def test_argilla_exports_are_read(tmp_path: Path, store: Path, run: int, record: dict[str, Any]) -> None:
    _labels(_file(tmp_path, [record]), store, run)
    assert _said(store) == [("q0", "u1", "preference", "left", "x", "y")]


def test_users_thumbs_and_corrections_are_about_the_only_candidate(
    tmp_path: Path, store: Path, run: int
) -> None:
    records = [{"query": "Question 0?", "thumbs": "👎", "user": "u1", "correction": "Better."},
               {"query": "Question 1?", "thumbs": True, "user": "u2", "label": "sports"}]  # fmt: skip
    _labels(_file(tmp_path, records), store, run)
    assert _said(store) == [("q0", "u1", "thumbs", "down", "x"), ("q0", "u1", "correction", "Better.", "x"),
                            ("q1", "u2", "thumbs", "up", "x")]  # fmt: skip
    with pytest.raises(BadInput, match=r"said.jsonl:1: thumbs: found 'meh', expected up or down"):
        _labels(_file(tmp_path, [{"id": "q0", "user": "u", "thumbs": "meh"}]), store, run)


# What a file leaves open is not guessed


def _csv(folder: Path, text: str) -> Path:
    path = folder / "said.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize("ranked", [["y", "x"], ["x", "y"], [{"value": "x"}, {"value": "y"}], ["tie", "x"]])
def test_a_ranking_without_ranks_is_refused(
    tmp_path: Path, store: Path, run: int, ranked: list[object]
) -> None:
    """Argilla's Python package exports it so, in the order of the question's options."""
    flat = {"id": "q0", "model_a": "x", "model_b": "y", "best.responses": [ranked]}
    nested = {"fields": {"id": "q0", "model_a": "x", "model_b": "y"},
              "responses": {"best": [{"value": ranked, "user_id": "u1"}]}}  # fmt: skip
    for record in (flat, nested):
        with pytest.raises(BadInput, match=r"said.jsonl:1: best: lists 2 answers without their ranks"):
            _labels(_file(tmp_path, [record]), store, run)
    assert _said(store) == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([{"value": "y", "rank": 1}, {"value": "x", "rank": 2}], ("preference", "right")),
        ([{"value": "y", "rank": 2}, {"value": "x", "rank": 2}], ("preference", "tie")),
        (["y"], ("preference", "right")),
        ("better left", ("preference", "left")),
        (1, ("preference", "right")),
        ("fine", ("thumbs", "up")),
    ],
)
def test_values_name_winners_in_annotation_tools_too(
    tmp_path: Path, store: Path, run: int, value: object, said: tuple[str, str]
) -> None:
    data = {"id": "q0", "model_a": "x", "model_b": "y"} | ({"model": "x"} if value == "fine" else {})
    argilla = {"fields": data, "responses": {"best": [{"value": value, "user_id": "ann"}]}}
    chosen = {"choices": [value]} if isinstance(value, str) else {"rating": value}
    studio = {"data": data, "annotations": [
        {"completed_by": "bob", "result": [{"from_name": "best", "value": chosen}]}]}  # fmt: skip
    words = {"better left": "a", "1": "model_b", "fine": "up"}
    for record in [argilla, studio][: 1 if isinstance(value, list) else 2]:
        _labels(_file(tmp_path, [record]), store, run, values=words)
    assert {row[2:4] for row in _said(store)} == {said}


def test_a_task_says_what_its_person_said_and_not_what_its_data_say(
    tmp_path: Path, store: Path, run: int
) -> None:
    data = {"question_id": "q0", "model_a": "x", "model_b": "y", "winner": "y", "note": "a judge's"}
    task = {"id": 7, "data": data, "annotations": [
        {"completed_by": "ann", "result": [{"from_name": "p", "value": {"selected": "left"}},
                                           {"from_name": "clarity", "value": {"rating": 4}}]}]}  # fmt: skip
    found = _labels(_file(tmp_path, [task]), store, run)
    assert _said(store) == [("q0", "ann", "preference", "left", "x", "y")]
    assert found.left_out == {"is about one of two answers, and does not say which": 1}


def test_an_empty_cell_gives_way_to_another_name_of_the_same(tmp_path: Path, store: Path, run: int) -> None:
    text = "id,question_id,model_a,model_b,annotator,user,winner,label\n,q0,x,y,,ann,,a\nq1,,x,y,bob,,b,\n"
    _labels(_csv(tmp_path, text), store, run)
    assert _said(store) == [("q0", "ann", "preference", "left", "x", "y"),
                            ("q1", "bob", "preference", "right", "x", "y")]  # fmt: skip
    failed = _csv(tmp_path, "id,model_a,model_b,annotator,winner,label\nq0,x,y,cat,,\n")
    assert _labels(failed, store, run).left_out == {"names no winner": 1}


def test_two_columns_that_say_different_things_are_refused(tmp_path: Path, store: Path, run: int) -> None:
    path = _csv(tmp_path, "id,model_a,model_b,annotator,winner,label\nq0,x,y,ann,a,a\nq1,x,y,ann,a,b\n")
    with pytest.raises(BadInput) as refused:
        _labels(path, store, run)
    assert "said.csv:3: winner and label say different things" in str(refused.value)
    assert refused.value.hint == "Name the one that is meant: --field winner=winner, or winner=label."
    _labels(path, store, run, fields={"winner": "label"})
    assert [row[3] for row in _said(store)] == ["left", "right"]


@pytest.mark.parametrize(
    ("declared", "outcomes"),
    [
        ({"0": "a"}, {0: "win", 1: "loss"}),
        ({"0": "b"}, {0: "loss", 1: "win"}),
        ({"0": "model_a"}, {0: "win", 1: "loss"}),
        ({"0": "tie"}, {0: "tie", 1: "win", 2: "loss"}),
        ({"-1": "b", "0": "tie"}, {-1: "loss", 0: "tie", 1: "win"}),
        ({"-1": "a", "0": "tie"}, {-1: "win", 0: "tie", 1: "loss"}),
        ({"0": "a", "1": "b", "2": "tie"}, {0: "win", 1: "loss", 2: "tie"}),
    ],
)
def test_one_number_that_is_declared_tells_the_other(
    tmp_path: Path, store: Path, declared: dict[str, str], outcomes: dict[int, str]
) -> None:
    path = _file(tmp_path, [_pair(str(number), number, judge="gpt") for number in outcomes])
    _verdicts(path, store, values=declared)
    assert list(_outcomes(store).values()) == list(outcomes.values())


@pytest.mark.parametrize(
    ("key", "values", "declared", "found"),
    [
        ("winner", [1, 0], {}, 0),
        ("label", [1, 0], {}, 0),
        ("preference", [1, 0], {}, 0),  # AlpacaFarm's 0 is a tie, and it goes to 2
        ("winner", [0, 1], {"0": "x"}, 1),
        ("winner", [0, 2], {"0": "a"}, 2),
    ],
)
def test_numbers_that_can_mean_either_are_refused(
    tmp_path: Path, store: Path, key: str, values: list[int], declared: dict[str, str], found: int
) -> None:
    records = [
        {"id": str(value), "model_a": "x", "model_b": "y", key: value, "judge": "gpt"} for value in values
    ]
    with pytest.raises(BadInput, match=rf"winner: found {found}, which is no winner(.|\n)*--value {found}=a"):
        _verdicts(_file(tmp_path, records), store, values=declared)


def test_an_id_stands_for_one_question(tmp_path: Path, store: Path, run: int) -> None:
    rows = [_pair("1", "a", query=query, judge="gpt") for query in ("Why?", "why? ", "How?")]
    with pytest.raises(BadInput, match=r"said.jsonl:3: id: 1 stands for another question in a line before"):
        _verdicts(_file(tmp_path, rows), store)
    late = [_pair("1", "a", judge="gpt"), _pair("1", "b", judge="man", query="Why?")]
    _verdicts(_file(tmp_path, late), store)
    assert (
        database.connect(store).execute("SELECT query FROM example WHERE example = '1'").fetchone()[0]
        == "Why?"
    )
    labels = [_pair(f"q{place}", "a", query=query, annotator="ann")
              for place, query in enumerate(("Answer this: question 0?", "Another?", ""))]  # fmt: skip
    found = _labels(_file(tmp_path, labels), store, run)
    assert found.left_out == {"the run's example of this id has another question": 1}
    assert [row[0] for row in _said(store)] == ["q0", "q2"]


def test_an_answer_that_two_models_gave_does_not_place_a_label(tmp_path: Path, store: Path) -> None:
    same = _pair("1", "tie", query="Why?", response_a="Because.", response_b="because. ", judge="gpt")
    run = _verdicts(_file(tmp_path, [same]), store)
    one = {"id": "1", "response": "Because.", "annotator": "ann", "rating": 4}
    two = {"id": "1", "response_a": "because.", "response_b": "Because.", "annotator": "ann", "winner": "a"}
    found = _labels(_file(tmp_path, [one, two, one | {"model": "y"}]), store, run)
    assert found.left_out == {"several models gave this answer: name the model": 2}
    assert _said(store) == [("1", "ann", "rating", "4", "y", "overall")]


def test_the_last_of_one_persons_labels_on_the_same_counts(tmp_path: Path, store: Path, run: int) -> None:
    said = [_pair("q0", winner, annotator="ann") for winner in ("a", "b", "a")]
    turned = {"id": "q0", "model_a": "y", "model_b": "x", "winner": "tie", "annotator": "bob"}
    rated = [{"id": "q0", "model": "x", "annotator": "ann", "rating": score} for score in (2, 3)]
    tags = [{"id": "q0", "model": "x", "annotator": "ann", "tag": tag} for tag in ("vague", "rude", "vague")]
    path = _file(tmp_path, [*said, _pair("q0", "a", annotator="bob"), turned, *rated, *tags])
    found = _labels(path, store, run)
    assert found.left_out == {"superseded by a later line of the same person on the same": 5}
    assert [row[1:4] for row in _said(store)] == [
        ("ann", "preference", "left"), ("bob", "preference", "tie"), ("ann", "rating", "3"),
        ("ann", "tag", "rude"), ("ann", "tag", "vague"),
    ]  # fmt: skip
    assert _labels(path, store, run).people == {}


@pytest.mark.parametrize(
    ("models", "winner", "declared"),
    [(("b", "a"), "a", "model_b"), (("2", "1"), 1, "model_b"), (("tie", "y"), "tie", "tie"),
     (("x", "model_a"), "model_a", "model_b")],
)  # fmt: skip
def test_a_model_s_name_that_means_another_side_as_well_is_refused(
    tmp_path: Path, store: Path, models: tuple[str, str], winner: object, declared: str
) -> None:
    row = {"id": "1", "model_a": models[0], "model_b": models[1], "winner": winner, "judge": "gpt"}
    with pytest.raises(BadInput, match=rf"which is a model's name(.|\n)*--value {winner}=model_a"):
        _verdicts(_file(tmp_path, [row]), store)
    if declared == "model_b" and models[1] != "model_a":
        _verdicts(_file(tmp_path, [row]), store, values={str(winner): declared})
        assert list(_outcomes(store).values()) == ["loss"]


def test_names_are_read_without_the_spaces_around_them(tmp_path: Path, store: Path, run: int) -> None:
    _labels(_csv(tmp_path, "id, model_a, model_b, annotator, winner\n q0 , x, y , ann , x \n"), store, run)
    assert _said(store) == [("q0", "ann", "preference", "left", "x", "y")]
