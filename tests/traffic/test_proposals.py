"""What people said of production's answers becomes proposals, and a decision the eval set's next version."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.data.example import eval_set_version
from engine.data.examples import read_examples
from engine.data.split import splits
from engine.errors import BadInput
from engine.traffic import events, proposals
from engine.traffic.periods import UncoveredCluster
from store import database
from store.errors import StoreError
from store.read import history
from store.read.datasets import test_uses as uses_of
from store.read.traffic import proposal as proposal_of
from store.read.traffic import proposals as stored
from store.traffic import add
from tests.engine.runs import carry_out as carried_out
from tests.engine.runs import lines, queue, recorded_plan

NOW = 1_780_000_000.0
EVAL = [
    {"id": "refund", "query": "How long does a refund for a returned lamp take?", "reference": "Three days."},
    {"id": "address", "query": "Can I change the delivery address of my order?", "reference": "Soon."},
    {"id": "invoice", "query": "Where do I find the invoice of my last order?", "reference": "Online."},
]  # fmt: skip


class Traffic:
    """A store, and what people asked and said in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        database.prepare(folder / "store")
        self.connection = history.attach(database.connect(folder / "store"))
        self.eval = lines(folder / "eval.jsonl", EVAL)
        self._salt = b"0" * 32

    def said(self, asked: str | list[dict[str, Any]], response: str = "No idea.", **more: Any) -> str:
        """An event with what was said of it; its id."""
        about = {"prompt": asked} if isinstance(asked, str) else {"messages": asked}
        time = more.pop("time", NOW)
        raw = {**about, "response": response, "model": "shipped", "time": time, **more}
        event, feedback = events.read(raw, source="test", salt=self._salt, received=NOW)
        assert event is not None
        add(self.connection, [event], [feedback] if feedback else [])
        return event.id

    def propose(self, **more: Any) -> proposals.Proposed:
        return proposals.propose(self.connection, self.eval, **more)

    def decide(self, decision: proposals.Decision, *numbers: int, **more: Any) -> proposals.Decisions:
        return proposals.decide(self.connection, numbers, decision, "mira", **more)


@pytest.fixture
def traffic(tmp_path: Path) -> Iterator[Traffic]:
    made = Traffic(tmp_path)
    yield made
    made.connection.close()


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


# What is proposed


def test_a_correction_becomes_a_reference_and_a_thumbs_down_a_question(traffic: Traffic) -> None:
    traffic.said("Do you ship lamps to Norway by boat?", "No.", correction="Yes, within nine days.")
    traffic.said("Why is the kettle loud at night?", "It is not.", thumbs="down", comment="rude")
    traffic.said("Is the blue chair still sold?", "Yes.", thumbs="up")
    corrected, disliked = traffic.propose().new
    assert (corrected.origin, corrected.reference, corrected.rejected) == (
        "correction", "Yes, within nine days.", "No.",
    )  # fmt: skip
    assert (disliked.origin, disliked.reference, disliked.why) == ("thumbs", None, "thumbs down: rude")
    assert disliked.messages == [{"role": "user", "content": "Why is the kettle loud at night?"}]


def test_what_more_people_liked_is_not_proposed_and_a_repeated_answer_is_no_correction(
    traffic: Traffic,
) -> None:
    event = traffic.said("Why is the kettle loud at night?", id="a", thumbs="down", user="ann")
    for user in ("bo", "cy"):
        raw = {"event_id": event, "thumbs": "up", "user": user, "time": NOW}
        add(traffic.connection, [], [events.feedback(raw, salt=b"0" * 32, received=NOW)])
    traffic.said("Is the blue chair still sold?", "Yes.", correction=" yes. ")
    assert traffic.propose().new == ()


@pytest.mark.parametrize("first", [{"thumbs": "up"}, {"comment": "hm"}])
@pytest.mark.parametrize(
    ("then", "origin"),
    [
        ([{"correction": "It is not loud."}], "correction"),
        ([{"thumbs": "down"}, {"thumbs": "down"}], "thumbs"),
    ],
)
def test_all_that_people_said_of_an_answer_counts_whoever_spoke_first(
    traffic: Traffic, first: dict[str, str], then: list[dict[str, str]], origin: str
) -> None:
    event = traffic.said("Why is the kettle loud at night?", id="a")
    for user, said in enumerate([first, *then]):
        raw = {"event_id": event, **said, "user": str(user), "time": NOW + user}
        add(traffic.connection, [], [events.feedback(raw, salt=b"0" * 32, received=NOW)])
    assert [each.origin for each in traffic.propose().new] == [origin]


def test_shadow_answers_were_shown_to_nobody_and_propose_nothing(traffic: Traffic) -> None:
    traffic.said("Why is the kettle loud at night?", shadow=True, thumbs="down")
    assert traffic.propose().new == ()


def test_personal_data_is_masked_in_every_text_and_its_kinds_are_told(traffic: Traffic) -> None:
    asked = [
        {"role": "system", "content": "The customer is ann@example.org."},
        {"role": "user", "content": "My card 4111 1111 1111 1111 was charged twice for one sofa, why?"},
    ]
    traffic.said(
        asked,
        "Write to bo@example.org.",
        correction="Write to cy@example.org.",
        comment="call +44 20 7946 0958",
    )
    (found,) = traffic.propose().new
    told = json.dumps([found.messages, found.reference, found.rejected, found.why])
    assert "@" not in told and "4111" not in told and "7946" not in told
    assert found.personal == ["card number", "email", "phone"]


def test_what_the_eval_set_the_training_data_or_another_proposal_asks_is_left_out(traffic: Traffic) -> None:
    train = lines(
        traffic.folder / "train.jsonl",
        [{"query": "Does the oak table come with a matching bench?", "reference": "No."}],
    )
    traffic.said("how long does a refund for a returned LAMP take", thumbs="down")
    traffic.said("Does the oak table come with a matching bench?", thumbs="down")
    traffic.said("Why does my kettle hum so loudly every single night?", thumbs="down")
    traffic.said("Why does my kettle hum so loudly every single nite?", thumbs="down")
    found = traffic.propose(train=train)
    assert [each.messages[0]["content"][:20] for each in found.new] == ["Why does my kettle h"]
    assert "1 more ask the same" in found.new[0].why
    assert found.left_out == {
        "another proposal asks it": 1, "the eval set asks it already": 1, "the training data hold it": 1,
    }  # fmt: skip
    assert traffic.propose(train=train).new == ()


def test_what_was_decided_is_not_proposed_again_in_other_words_nor_for_a_later_version(
    traffic: Traffic,
) -> None:
    traffic.said("Why does my kettle hum so loudly every single night?", thumbs="down")
    (found,) = traffic.propose().new
    traffic.decide("rejected", found.id)
    traffic.said("Why does my kettle hum so loudly every single nite?", thumbs="down")
    assert traffic.propose().left_out == {"another proposal asks it": 1}
    later = traffic.folder / "eval-v2.jsonl"
    later.write_bytes(traffic.eval.read_bytes())
    assert proposals.propose(traffic.connection, later).new == ()


def test_a_correction_that_comes_later_joins_its_open_proposal(traffic: Traffic) -> None:
    event = traffic.said("Why is the kettle loud at night?", thumbs="down", user="ann")
    (first,) = traffic.propose().new
    raw = {"event_id": event, "correction": "Descale it.", "user": "ann", "time": NOW + 5}
    add(traffic.connection, [], [events.feedback(raw, salt=b"0" * 32, received=NOW + 5)])
    found = traffic.propose()
    assert found.new == () and [each.id for each in found.corrected] == [first.id]
    assert proposal_of(traffic.connection, first.id).reference == "Descale it."


def test_a_cluster_that_the_eval_set_lacks_proposes_its_most_typical_questions(traffic: Traffic) -> None:
    asked = [
        "Can I pay with bitcoin?",
        "Which crypto wallets do you take?",
        "Is ether fine?",
        "Any dogecoin?",
    ]
    typical = [(traffic.said(text), text) for text in asked]
    ids = [event_id for event_id, _ in typical]
    cluster = UncoveredCluster("bitcoin · crypto", 41, 0.1, 3.0, NOW, typical, ids)
    found = traffic.propose(clusters=[cluster]).new
    assert [each.messages[0]["content"] for each in found] == asked[:3]
    assert found[0].why.startswith("one of 41 questions about bitcoin · crypto")


def test_uncovered_clusters_are_looked_for_as_the_monitor_does(traffic: Traffic) -> None:
    for number in range(30):
        traffic.said(f"How long does a refund for lamp number {number} take to come back?")
        traffic.said(f"Which bitcoin wallet do you take for crypto payment {number}, please?")
    found = traffic.propose().new
    assert {each.origin for each in found} == {"cluster"}
    assert any("bitcoin" in each.messages[0]["content"] and "bitcoin" in each.why for each in found)
    assert traffic.propose(origins=("thumbs",)).new == ()


def test_the_nearest_example_is_told_with_its_similarity(traffic: Traffic) -> None:
    traffic.said("Can the delivery address still be changed at noon?", thumbs="down")
    traffic.said("Wer liefert sonntags?", thumbs="down")
    near, far = sorted(traffic.propose().new, key=lambda each: each.similarity is None)
    assert near.nearest == "address" and near.similarity is not None and 0.3 < near.similarity < 1
    assert far.nearest is None


def test_the_limit_keeps_those_that_teach_most_and_says_how_many_wait(traffic: Traffic) -> None:
    traffic.said("Is the blue chair still sold anywhere?", thumbs="down")
    traffic.said("Do you ship lamps to Norway by boat?", "No.", correction="Yes.")
    found = traffic.propose(limit=1)
    assert [each.origin for each in found.new] == ["correction"]
    assert [count for reason, count in found.left_out.items() if "limit" in reason] == [1]
    assert [each.origin for each in traffic.propose(limit=1).new] == ["thumbs"]


def test_the_time_and_the_origin_choose(traffic: Traffic) -> None:
    traffic.said("Is the blue chair still sold anywhere?", thumbs="down", time=NOW - 100)
    traffic.said("Do you ship lamps to Norway by boat?", correction="Yes.", time=NOW - 50)
    assert traffic.propose(since=NOW - 20).new == () and traffic.propose(before=NOW - 200).new == ()
    assert [each.origin for each in traffic.propose(origins=("thumbs",)).new] == ["thumbs"]


def test_a_file_that_is_not_there_is_told(traffic: Traffic) -> None:
    with pytest.raises(BadInput, match="no such file"):
        proposals.propose(traffic.connection, traffic.folder / "none.jsonl")


# Deciding


@pytest.fixture
def open_ones(traffic: Traffic) -> list[int]:
    traffic.said("Do you ship lamps to Norway by boat?", "No.", id="norway", correction="Yes, in nine days.")
    traffic.said("Why is the kettle so loud at night?", "It is not.", id="kettle", thumbs="down")
    traffic.said("Is the blue chair still sold anywhere?", "Yes.", id="chair", correction="It is sold out.")
    return [each.id for each in traffic.propose().new]


def test_accepting_writes_the_next_version_beside_the_eval_set_which_stays(
    traffic: Traffic, open_ones: list[int]
) -> None:
    before = traffic.eval.read_bytes()
    (file,) = traffic.decide("accepted", open_ones[0]).files
    assert file.file == traffic.folder / "eval-v2.jsonl" and (file.examples, file.added) == (4, 1)
    assert traffic.eval.read_bytes() == before
    examples = read_examples(traffic.folder / "eval-v2.jsonl")
    assert file.version == eval_set_version(examples)
    assert examples[:3] == read_examples(traffic.eval)
    assert examples[3].query == "Do you ship lamps to Norway by boat?"
    assert examples[3].references == ("Yes, in nine days.",)
    (file,) = traffic.decide("accepted", *open_ones[1:]).files
    assert (file.file, file.examples, file.added) == (traffic.folder / "eval-v2.jsonl", 6, 3)


def test_rejected_and_trained_on_are_in_no_eval_set(traffic: Traffic, open_ones: list[int]) -> None:
    assert traffic.decide("rejected", open_ones[0]).files == ()
    assert traffic.decide("training", open_ones[1]).files == ()
    assert not (traffic.folder / "eval-v2.jsonl").exists()


def test_undo_takes_the_last_decision_back_with_its_examples(traffic: Traffic, open_ones: list[int]) -> None:
    traffic.decide("accepted", open_ones[0])
    traffic.decide("accepted", open_ones[1])
    undone = proposals.undo(traffic.connection, "mira")
    assert [each.id for each in undone.proposals] == [open_ones[1]]
    assert len(read(traffic.folder / "eval-v2.jsonl")) == 4
    proposals.undo(traffic.connection, "mira")
    assert not (traffic.folder / "eval-v2.jsonl").exists()
    assert all(each.decision is None for each in stored(traffic.connection))
    with pytest.raises(BadInput, match="nothing to undo"):
        proposals.undo(traffic.connection, "mira")


def test_nobody_undoes_another_persons_decision_by_mistake(traffic: Traffic, open_ones: list[int]) -> None:
    traffic.decide("rejected", open_ones[0])
    with pytest.raises(BadInput, match="bo has decided of no proposal"):
        proposals.undo(traffic.connection, "bo")
    assert proposals.undo(traffic.connection, "bo", open_ones[:1]).proposals[0].decision is None


def test_what_is_decided_is_not_decided_again_and_nothing_happens_by_halves(
    traffic: Traffic, open_ones: list[int]
) -> None:
    traffic.decide("rejected", open_ones[0])
    with pytest.raises(BadInput, match="rejected already"):
        traffic.decide("accepted", open_ones[1], open_ones[0])
    with pytest.raises(StoreError, match="no proposal 999"):
        traffic.decide("accepted", open_ones[1], 999)
    assert proposal_of(traffic.connection, open_ones[1]).decision is None


def test_a_file_that_cannot_be_written_leaves_the_proposal_open(
    traffic: Traffic, open_ones: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise BadInput("eval-v2.jsonl cannot be written: No space left on device")

    monkeypatch.setattr(proposals, "write_text", refused)
    with pytest.raises(BadInput, match="No space"):
        traffic.decide("accepted", open_ones[0])
    assert proposal_of(traffic.connection, open_ones[0]).decision is None


def test_a_file_of_somebody_else_is_never_written_over(traffic: Traffic, open_ones: list[int]) -> None:
    theirs = lines(traffic.folder / "eval-v2.jsonl", [{"id": "x", "query": "My own?"}])
    before = theirs.read_bytes()
    (file,) = traffic.decide("accepted", open_ones[0]).files
    assert file.file == traffic.folder / "eval-v3.jsonl" and theirs.read_bytes() == before


def test_a_proposal_is_edited_while_it_is_open_and_without_personal_data(
    traffic: Traffic, open_ones: list[int]
) -> None:
    changed = proposals.edit(traffic.connection, open_ones[0], "Ask ann@example.org.\n")
    assert (changed.reference, changed.personal) == ("Ask [email].", ["email"])
    traffic.decide("accepted", open_ones[0])
    with pytest.raises(BadInput, match="is accepted"):
        proposals.edit(traffic.connection, open_ones[0], "Other")


def test_columns_of_the_files_own_are_kept_and_hostile_texts_come_back_as_they_were(
    traffic: Traffic,
) -> None:
    lines(traffic.eval, [{**each, "difficulty": 3} for each in EVAL])
    hostile = "Ignore it all\x1b[31m \u202e[b]{0}\\ud800 in this kettle question?"
    traffic.said(hostile, thumbs="down")
    (found,) = traffic.propose().new
    traffic.decide("accepted", found.id)
    rows = read(traffic.folder / "eval-v2.jsonl")
    assert [row.get("difficulty") for row in rows] == [3, 3, 3, None]
    assert rows[3]["messages"][0]["content"] == hostile and rows[3]["traffic_event"] == found.event_id


# The test lock


@pytest.fixture
def used(traffic: Traffic) -> str:
    """The version of an eval set whose test split a run used."""
    examples = [
        {"id": f"q{number}", "query": f"What is number {number} times {number} in words?", "reference": "x"}
        for number in range(30)
    ]
    answers = {name: {row["id"]: "x" for row in examples} for name in ("base", "tuned")}
    plan = recorded_plan(traffic.folder, examples, answers, '[metrics]\nuse = ["exact_match"]')
    plan.write_text(
        plan.read_text().replace("[data]", '[data]\nsplit = "test"\nratios = [0.4, 0.2, 0.4]\nseed = 5')
    )
    traffic.eval = traffic.folder / "examples.jsonl"
    carried_out(traffic.folder / "store", queue(traffic.folder / "store", plan)).close()
    return eval_set_version(read_examples(traffic.eval))


def _by_split(traffic: Traffic) -> dict[str, list[int]]:
    """Open proposals by the split that they would be in for that run."""
    for number in range(12):
        one, other = chr(97 + number) * 5, chr(110 + number) * 5
        traffic.said(f"Kettle model {one} hums, why {other}?", id=one, correction=f"Reason {other}.")
    found = traffic.propose().new
    base = read_examples(traffic.eval)
    added = [proposals._example(each) for each in found]
    places = splits([*base, *added], (0.4, 0.2, 0.4), 5)[len(base) :]
    plain = splits([*base, *added])[len(base) :]
    by: dict[str, list[int]] = {"test": [], "other": []}
    for each, place, other in zip(found, places, plain, strict=True):
        if place == "test":
            by["test"].append(each.id)
        elif other != "test":
            by["other"].append(each.id)
    return by


def test_no_accepted_example_gets_into_a_used_test_split_unless_that_is_said(
    traffic: Traffic, used: str
) -> None:
    by = _by_split(traffic)
    assert by["test"] and by["other"]
    with pytest.raises(BadInput, match=r"would be in the test split of examples.jsonl, which was used once"):
        traffic.decide("accepted", by["test"][0], by["other"][0])
    assert traffic.decide("accepted", by["other"][0]).files[0].added == 1
    assert traffic.decide("accepted", by["test"][0], into_test=True).files[0].added == 2


def test_the_next_version_takes_over_the_uses_of_its_test_split(traffic: Traffic, used: str) -> None:
    (file,) = traffic.decide("accepted", _by_split(traffic)["other"][0]).files
    assert file.version is not None and file.test_uses == 1
    (use,) = uses_of(traffic.connection, file.version, file.version)
    assert use.reason == "run of recorded" and use.split == "test"


def test_a_file_that_a_run_was_made_from_is_not_written_again(traffic: Traffic, used: str) -> None:
    by = _by_split(traffic)
    (first,) = traffic.decide("accepted", by["other"][0]).files
    assert first.file is not None
    traffic.connection.execute(
        "UPDATE run SET data_summary = json_set(data_summary, '$.examples_path', ?)", (str(first.file),)
    )
    before = first.file.read_bytes()
    (second,) = traffic.decide("accepted", by["other"][1], into_test=True).files
    assert second.file == traffic.folder / "examples-v3.jsonl" and first.file.read_bytes() == before


# Training pairs


def test_pairs_hold_what_is_accepted_for_training_and_nothing_of_the_eval_set(
    traffic: Traffic, open_ones: list[int]
) -> None:
    by_event = {each.event_id: each.id for each in stored(traffic.connection)}
    norway, chair = (by_event[events.event_id(name)] for name in ("norway", "chair"))
    traffic.decide("training", norway)
    traffic.decide("accepted", chair)
    (pair,) = proposals.pairs(traffic.connection, "dpo").records
    assert pair["prompt"] == [{"role": "user", "content": "Do you ship lamps to Norway by boat?"}]
    assert pair["chosen"] == [{"role": "assistant", "content": "Yes, in nine days."}]
    assert pair["rejected"] == [{"role": "assistant", "content": "No."}]
    (conversation,) = proposals.pairs(traffic.connection, "sft").records
    assert conversation["messages"] == [*pair["prompt"], *pair["chosen"]]
    assert len(proposals.pairs(traffic.connection, "sft", also_accepted=True).records) == 2


def test_there_is_nothing_to_train_on_without_a_correction(traffic: Traffic, open_ones: list[int]) -> None:
    kettle = next(each.id for each in stored(traffic.connection) if each.reference is None)
    with pytest.raises(BadInput, match="no correction to train on"):
        traffic.decide("training", kettle)


def test_what_another_process_stored_meanwhile_stands(
    traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two searches at once: what the first proposed, and a person decided, is not written over."""
    traffic.said("Why does my kettle hum so loudly every night?", thumbs="down")
    nearest = proposals._nearest

    def slowly(*found: Any) -> list[Any]:
        monkeypatch.setattr(proposals, "_nearest", nearest)
        (first,) = traffic.propose().new
        traffic.decide("rejected", first.id)
        return nearest(*found)

    monkeypatch.setattr(proposals, "_nearest", slowly)
    assert traffic.propose().new == ()
    assert [each.decision for each in stored(traffic.connection)] == ["rejected"]


def test_a_line_separator_in_a_text_makes_no_further_version(traffic: Traffic) -> None:
    for question in ("Why is the kettle\u2028loud at night?", "Do you ship lamps\u2028to Norway?"):
        traffic.said(question, correction="It depends.")
    names = [traffic.decide("accepted", each.id).files[0].file for each in traffic.propose().new]
    assert [name and name.name for name in names] == ["eval-v2.jsonl", "eval-v2.jsonl"]
