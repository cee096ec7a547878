"""Questions that a model writes become proposals that say how; what cannot be used is counted by reason."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.data.example import is_synthetic
from engine.data.examples import read_examples
from engine.errors import BadInput, CannotRun
from engine.traffic import proposals, synthesis
from engine.traffic.synthesis import Synthesized, SyntheticOrder
from store import database
from store.read import history
from store.read.traffic import proposals as stored
from tests.engine.runs import lines
from tests.judges.scripted import Answer, JudgeServer, fault, says
from tests.traffic import made

MANUAL = """# Lamps

A lamp can be returned within thirty days, if it was never switched on.
Refunds reach the customer's bank after three working days.

# Shipping

Parcels to Norway go by boat and take nine days in summer, twelve in winter.
Whoever pays before noon has the parcel packed on the same day.
"""
PASSAGE = re.compile(r"<passage>\n(.*)\n</passage>", re.DOTALL)
REFUND = {"id": "refund", "query": "How long does the refund for a lamp take?", "reference": "Three days."}


class Workshop:
    """A store, a server that writes, and a manual that it writes from."""

    def __init__(self, folder: Path, server: JudgeServer) -> None:
        self.folder, self.server = folder, server
        self.store = folder / "store"
        database.prepare(self.store)
        self.connection = history.attach(database.connect(self.store))
        self.manual = folder / "manual.md"
        self.manual.write_text(MANUAL)
        self.eval = lines(folder / "eval.jsonl", [REFUND])

    def writes(self, write: Callable[[str, int], Mapping[str, Any] | str | Answer]) -> None:
        """The server answers with what is made of a prompt and its number."""

        def script(body: dict[str, Any], number: int) -> Answer:
            made = write(body["messages"][1]["content"], number)
            if isinstance(made, Answer):
                return made
            return says(made if isinstance(made, str) else f"Here it is: {json.dumps(made)}")

        self.server.script = script

    def order(self, kind: synthesis.Kind = "documents", count: int = 4, **more: Any) -> Synthesized:
        sources = more.pop("sources", (self.manual,) if kind == "documents" else ())
        order = SyntheticOrder(
            kind,
            count,
            sources=tuple(sources),
            seed=more.pop("seed", 0),
            **{name: more.pop(name) for name in ("rule",) if name in more},
        )
        writer = synthesis.model_of("writer", self.server.url)
        out = more.pop("out", self.eval)
        return synthesis.synthesize(self.connection, self.store, out, writer, order, **more)


@pytest.fixture
def workshop(tmp_path: Path, server: JudgeServer) -> Iterator[Workshop]:
    made = Workshop(tmp_path, server)
    yield made
    made.connection.close()


SUBJECTS = (
    *("kettle", "sofa", "mirror", "ladder", "hammer", "curtain"),
    *("bicycle", "teapot", "carpet", "wardrobe", "blanket", "lantern"),
)


def about(number: int, **more: Any) -> dict[str, Any]:
    """A question unlike those of other numbers."""
    subject = SUBJECTS[number]
    asked = f"May a {subject} that was sold in {1990 + number} still be exchanged by its {subject}-maker?"
    return {"question": asked, "answer": f"Yes, until {2000 + number}.", **more}


def quoted(prompt: str, number: int) -> dict[str, Any]:
    """A question about the passage of a prompt, with its first words as the proof."""
    found = PASSAGE.search(prompt)
    assert found
    return about(number, quote=" ".join(found[1].split()[:6]))


def test_each_question_says_what_it_was_written_from_and_by_whom(workshop: Workshop) -> None:
    workshop.writes(quoted)
    found = workshop.order(count=1, seed=3)
    (each,) = found.new
    assert (each.origin, each.reference) == ("synthetic", "Yes, until 2000.")
    about = each.synthetic or {}
    assert {name: about[name] for name in ("kind", "source", "model", "server", "seed", "temperature")} == {
        "kind": "documents", "source": "manual.md:1", "model": "writer", "server": workshop.server.url,
        "seed": 3, "temperature": 0.7,
    }  # fmt: skip
    assert "[source]" in about["prompt"] and "lamp" not in about["prompt"]
    assert about["quote"] in " ".join(MANUAL.split())
    (request,) = workshop.server.requests
    assert request["seed"] == 3 and "thirty days" in request["messages"][1]["content"]
    assert (found.asked, found.cached, found.tokens_in, found.tokens_out) == (1, 0, 100, 10)


def test_what_has_no_answer_or_no_proof_and_what_cannot_be_read_is_left_out_and_counted(
    workshop: Workshop,
) -> None:
    answers: list[Mapping[str, Any] | str | Answer] = [
        about(0, answer="", quote="A lamp can be returned"),
        about(1, answer="Not stated in the passage.", quote="A lamp can be returned"),
        about(2, quote="A sofa can be returned"),
        about(3, quote=","),
        about(4, quote="  a LAMP can be returned… "),
        fault(400, "no"),
    ]
    workshop.writes(lambda prompt, number: answers[number] if number < 6 else "I would rather sing.")
    found = workshop.order(count=7)
    assert found.left_out == {
        "it has no answer": 2,
        "the words that should prove its answer are not in the passage": 1,
        "no words of the passage prove its answer": 1,
        "400 no": 1,
        "the answer holds no JSON object with a question": 1,
    }
    assert len(found.new) == 1 and found.usable == 1


def test_what_the_set_the_training_data_or_another_proposal_asks_is_left_out(workshop: Workshop) -> None:
    train = lines(
        workshop.folder / "train.jsonl", [{"query": about(1)["question"], "response": about(1)["answer"]}]
    )
    asked = {"question": REFUND["query"].upper(), "answer": REFUND["reference"]}
    answers = [asked, about(1), about(2), about(2), about(3)]
    workshop.writes(lambda prompt, number: answers[number] | {"quote": PASSAGE.search(prompt)[1][:20]})
    found = workshop.order(count=5, train=train)
    # Which request is answered first is chance.
    assert sorted(each.reference for each in found.new) == ["Yes, until 2002.", "Yes, until 2003."]
    assert found.left_out == {
        "the eval set asks it already": 1,
        "the training data hold it": 1,
        "another proposal asks it": 1,
    }


def test_the_same_order_again_is_answered_from_the_cache_and_proposes_nothing_twice(
    workshop: Workshop,
) -> None:
    workshop.writes(quoted)
    assert len(workshop.order(count=4).new) == 4
    again = workshop.order(count=4)
    assert (again.cached, again.new, again.left_out) == (4, (), {"proposed before": 4})
    more = workshop.order(count=6)
    assert (more.cached, len(more.new), len(workshop.server.requests)) == (4, 2, 6)


def test_tokens_that_the_server_does_not_tell_are_not_known(workshop: Workshop) -> None:
    def untold(prompt: str, number: int) -> Answer:
        answer = says(json.dumps(quoted(prompt, number)))
        body = json.loads(answer.body)
        del body["usage"]
        return replace(answer, body=json.dumps(body).encode())

    workshop.writes(untold)
    found = workshop.order(count=1)
    assert (len(found.new), found.tokens_in, found.tokens_out) == (1, None, None)


def test_an_order_that_was_interrupted_goes_on_where_it_stood(workshop: Workshop) -> None:
    class Interrupted(Exception):
        pass

    def stop(done: int) -> None:
        if done == 3:
            raise Interrupted

    workshop.writes(quoted)
    with pytest.raises(Interrupted):
        workshop.order(count=6, progress=stop)
    assert stored(workshop.connection) == []
    found = workshop.order(count=6)
    assert found.cached >= 3 and len(found.new) == 6


def test_a_number_of_questions_beyond_the_ways_of_asking_asks_for_others(workshop: Workshop) -> None:
    workshop.writes(quoted)
    workshop.order(count=8)
    prompts = [request["messages"][1]["content"] for request in workshop.server.requests]
    assert len(set(prompts)) == 8
    assert sum("This is number 2 of its kind" in prompt for prompt in prompts) == 2


@pytest.mark.parametrize(
    ("way", "question", "reason"),
    [
        ("very short", "How long does it take then?", "not as asked: more than 4 words"),
        ("very short", "Refund when?", None),
        ("long context", "I bought a lamp. When is the refund?", "not as asked: 100 words or fewer"),
        ("other language", "How many days until the money for a lamp is back on my account?", 
         "not as asked: in the language of its source"),
        ("other language", "Wie viele Tage dauert die Erstattung des Kaufpreises für die Lampe?", None),
        ("negation", " how long does the refund for a LAMP take? ", "it repeats its source"),
    ],
)  # fmt: skip
def test_an_edge_case_is_checked_for_being_one(
    workshop: Workshop, way: str, question: str, reason: str | None
) -> None:
    workshop.writes(
        lambda prompt, number: {
            "question": question if synthesis._prompts()["edge"]["ways"][way] in prompt else "",
            "answer": "It takes a working week.",
        }
    )
    found = workshop.order("edge", 6)
    assert len(found.new) == (reason is None)
    if reason is None:
        assert found.new[0].why == f"edge case of eval.jsonl#refund: {way}"
    else:
        assert found.left_out[reason] == 1


def test_an_adversarial_prompt_names_the_rule_that_it_is_to_break(workshop: Workshop) -> None:
    workshop.writes(lambda prompt, number: about(number))
    rule = synthesis.rule_of("safety", "harmlessness")
    (found,) = workshop.order("adversarial", 1, rule=rule).new
    assert found.synthetic and (found.synthetic["rubric"], found.synthetic["rule"]) == (
        "safety", "harmlessness",
    )  # fmt: skip
    assert rule.description in workshop.server.requests[0]["messages"][1]["content"]
    with pytest.raises(BadInput, match="no such rule"):
        synthesis.rule_of("safety", "politeness")


def test_a_variant_keeps_the_system_message_of_its_source_and_masks_what_is_personal(
    workshop: Workshop,
) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "When is it open?"}]
    source = lines(workshop.folder / "own.jsonl", [{"id": "bo@example.org", "messages": messages}])
    workshop.writes(lambda prompt, number: about(0, answer="Ask ann@example.org."))
    (found,) = workshop.order("harder", 1, sources=[source]).new
    assert found.synthetic["source"] == "own.jsonl#[email]"
    assert found.messages[0] == messages[0] and found.reference == "Ask [email]."
    assert found.personal == ["email"]


def test_topics_are_lines_and_records_have_texts(workshop: Workshop) -> None:
    topics = workshop.folder / "topics.txt"
    topics.write_text("Refunds\n\nParcels to Norway\n")
    workshop.writes(lambda prompt, number: about(number))
    found = workshop.order("topics", 2, sources=[topics])
    assert {(each.synthetic or {})["source"] for each in found.new} == {"topics.txt:1", "topics.txt:3"}
    records = lines(workshop.folder / "kb.jsonl", [{"text": MANUAL}, {"title": "x"}])
    with pytest.raises(BadInput, match=r"kb.jsonl:2: has no text among its keys: title"):
        workshop.order(sources=[records])


def test_passages_are_whole_paragraphs_with_the_line_that_they_begin_in(tmp_path: Path) -> None:
    document = tmp_path / "long.txt"
    paragraphs = [f"Paragraph {number} says: " + "so it is " * 60 for number in range(4)]
    document.write_text("\n\n".join(paragraphs) + "\n\n" + "word " * 500)
    found = list(synthesis.passages(document))
    assert [each.place for each in found] == [f"long.txt:{line}" for line in (1, 5, 9, 9)]
    assert found[0].text == "\n\n".join(text.strip() for text in paragraphs[:2])
    assert max(len(each.text) for each in found) <= 1_500
    document.write_text("A heading\n\n" + "word " * 299)
    (tmp_path / "notes.md").mkdir()
    assert list(synthesis._documents([tmp_path])) == [document]
    (alone,) = synthesis.passages(document)  # a heading is none by itself
    assert alone.place == "long.txt:1" and alone.text.startswith("A heading\n\nword word")


@pytest.mark.parametrize(
    ("kind", "source", "told"),
    [
        ("documents", None, "needs a source"),
        ("documents", "none.md", "none.md: no such file"),
        ("documents", "table.pdf", "no document that can be read"),
        ("topics", "empty.txt", "holds no topic"),
        ("documents", "empty.txt", "holds no passage"),
    ],
)
def test_sources_that_are_none_are_named(
    workshop: Workshop, kind: synthesis.Kind, source: str | None, told: str
) -> None:
    for name in ("empty.txt", "table.pdf"):
        (workshop.folder / name).write_text("")
    with pytest.raises(BadInput, match=told):
        workshop.order(kind, sources=[workshop.folder / source] if source else [])


def test_what_could_not_be_used_afterwards_is_refused_before_anything_is_asked(workshop: Workshop) -> None:
    with pytest.raises(BadInput, match="no such folder"):
        workshop.order(out=workshop.folder / "none" / "eval.jsonl")
    with pytest.raises(BadInput, match=r"none\.jsonl: no such file"):
        workshop.order(train=workshop.folder / "none.jsonl")
    assert workshop.server.requests == []


def test_accepted_ones_begin_a_new_set_and_carry_how_they_came_about(workshop: Workshop) -> None:
    workshop.writes(quoted)
    new_set = workshop.folder / "tests.jsonl"
    found = workshop.order(count=3, out=new_set).new
    first, second, third = (each.id for each in found)
    edited = proposals.edit(workshop.connection, second, question="May I write to ann@example.org?")
    assert edited.messages[0]["content"] == "May I write to [email]?" and edited.synthetic
    assert edited.synthetic["edited"] is True
    decided = proposals.decide(workshop.connection, [first], "accepted", "mira")
    assert decided.files[0].told == "1 of them synthetic"
    decided = proposals.decide(workshop.connection, [second], "accepted", "mira")
    proposals.decide(workshop.connection, [third], "rejected", "mira")
    (file,) = decided.files
    assert file.file == workshop.folder / "tests-v1.jsonl" and file.synthetic == 2
    examples = read_examples(file.file)
    assert len(examples) == 2 and all(map(is_synthetic, examples))
    assert examples[0].extra["synthetic"]["source"] == "manual.md:1"
    assert proposals.undo(workshop.connection, "mira", [first, second]).files[0].file is None
    assert not file.file.exists()


def test_somebodys_own_question_is_not_rewritten(workshop: Workshop) -> None:
    workshop.writes(quoted)
    workshop.order(count=1)
    with pytest.raises(BadInput, match="the question is empty"):
        proposals.edit(workshop.connection, 1, question=" ")


@pytest.mark.parametrize(
    ("said", "is_one"),
    [
        *(({"kind": "edge"}, True), (True, True), ("yes", True), ("1.0", True), (1.0, True)),
        *(("false", False), ("0", False), (None, False)),
        *(("0.0", False), ("n", False), ("NaN", False)),  # as tables with gaps are written
    ],
)
def test_the_flag_is_a_table_or_any_word_but_a_no(tmp_path: Path, said: Any, is_one: bool) -> None:
    (example,) = read_examples(lines(tmp_path / "eval.jsonl", [{"query": "Why?", "synthetic": said}]))
    assert is_synthetic(example) == is_one


def test_new_questions_are_held_against_those_of_production(tmp_path: Path, server: JudgeServer) -> None:
    made.store(tmp_path / "store", lambda week: made.Week(events=60), weeks=2).close()
    workshop = Workshop(tmp_path, server)
    workshop.writes(quoted)
    found = workshop.order(count=12)
    topics = next(each for each in found.shifts if each.respect == "clusters")
    assert topics.n == 12 and topics.psi is not None and topics.chance is not None
    assert topics.psi > topics.chance
    workshop.connection.close()


def test_a_server_that_is_not_there_ends_the_order_and_names_it(workshop: Workshop) -> None:
    writer = synthesis.model_of("writer", "http://127.0.0.1:1/v1")
    order = SyntheticOrder("documents", 2, sources=(workshop.manual,))
    with pytest.raises(CannotRun, match="model writer"):
        synthesis.synthesize(workshop.connection, workshop.store, workshop.eval, writer, order)
    with pytest.raises(BadInput, match="server"):
        synthesis.model_of("writer", "no address")
