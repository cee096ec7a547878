"""Test questions that a model writes: from documents or topics, or as variants of questions that exist.

Each becomes a proposal that says how it came about, unless it has no answer, is not what was asked for, or
asks what another question does. The model's answers are cached as they come: what was interrupted goes on
where it stood, and the same order again pays for nothing twice.
"""

import re
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from engine.data.example import SYNTHETIC, Example, normalise
from engine.data.examples import read_examples
from engine.data.reading import read_records
from engine.data.split import order_of
from engine.data.textfile import read_text, text_lines
from engine.data.words import words
from engine.errors import BadInput
from engine.judges.answers import objects_with, said
from engine.judges.asking import (
    Answered,
    Asker,
    JudgmentCache,
    Messages,
    Question,
    ServerAsker,
    added,
    judgment_key,
)
from engine.judges.questions import sendable
from engine.metrics.language import detect
from engine.metrics.safety import kinds, masked
from engine.plan.errors import bad_plan, validation_problems
from engine.plan.rubric import find_rubric
from engine.servers.wire import Reply
from engine.traffic.drift import shifts_from_traffic
from engine.traffic.periods import QuestionShift
from engine.traffic.proposals import examples_for, keep_new, newest_weeks, of_family
from store.read.history import Connection
from store.records import EvalProposal

if TYPE_CHECKING:
    from engine.plan.plan import Judge

Kind = Literal["documents", "topics", "harder", "edge", "adversarial"]
DOCUMENTS = (".txt", ".md", ".jsonl")
TEMPERATURE = 0.7
MAX_TOKENS = 700  # of one answer
CACHE = "syntheses"  # in the store's folder of caches
_PASSAGE = 1_500  # characters, of whole paragraphs
_LEAST_PASSAGE = 80  # a shorter one, such as a heading, is no passage
_LONGEST_QUESTION, _LONGEST_ANSWER = 20_000, 20_000  # characters
_TEXT_KEYS = ("text", "content", "page_content", "passage", "document", "body")
_SHORT, _LONG = 4, 100  # words: of a very short question, and of long context
_NO_ANSWER = re.compile(
    r"(n/?a|null|unknown|no answer|\.{3}|…|the right answer.*"
    r"|(it is |this is )?not (stated|mentioned|given|specified|provided|answered|available).*"
    r"|i (do not|don['’]t) know.*|the (passage|text|document) (does not|doesn['’]t) .*)\.?",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class SourceText:
    """What a question is written from: a passage, a topic or a question with its answer, and its place."""

    place: str
    text: str
    answer: str = ""
    system: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a rubric, which prompts are to break."""

    rubric: str
    name: str
    description: str


@dataclass(frozen=True, slots=True)
class SyntheticOrder:
    """What a model is to write: so many questions of a kind. The seed decides which sources come first, and
    the model's own choices.
    """

    kind: Kind
    count: int
    seed: int = 0
    sources: tuple[Path, ...] = ()
    rule: Rule | None = None


@dataclass(frozen=True, slots=True)
class Synthesized:
    """What came of an order: how many answers were asked for and came out of the cache, the new proposals,
    what was left out by reason, what was spent on answers that were not cached (tokens and US dollars, None
    where the server does not tell them or the price is not known), and how the new questions differ from
    those of production, if there are any.
    """

    asked: int
    cached: int
    usable: int
    new: tuple[EvalProposal, ...]
    left_out: Mapping[str, int]
    tokens_in: int | None
    tokens_out: int | None
    cost: float | None
    shifts: tuple[QuestionShift, ...]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One question that is to be written; `place` is its own in the order, from 0."""

    place: int
    kind: Kind
    source: SourceText
    way: str
    number: int  # of its source and way, from 1
    rule: Rule | None


def synthesize(
    connection: Connection,
    folder: Path,
    eval_set: Path,
    model: "Judge",
    order: SyntheticOrder,
    *,
    train: Path | None = None,
    fields: Mapping[str, str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Synthesized:
    """Has a model write questions, and stores those that can be used as proposals for an eval set.

    The eval set need not exist: the first version then holds what is accepted. `folder` is the store's.
    Raises BadInput for sources that cannot be read, CannotRun where the model cannot be reached.
    """
    place = eval_set.resolve()
    # Before anything is paid for.
    if not place.parent.is_dir():
        raise BadInput(f"{eval_set.parent}: no such folder", "the eval set's next version is written there")
    if train is not None and not train.exists():
        raise BadInput(f"{train}: no such file", "--train names the training data")
    examples = examples_for(connection, place, fields)
    sources = _sources(order, place, examples, fields)
    wanted = list(_wanted(order, sources))
    asker = _asker(model.model_copy(update={"seed": order.seed}), folder / "cache")
    left_out: Counter[str] = Counter()
    spent = _Spent()
    usable: list[tuple[_Wanted, dict[str, str], str]] = []
    with closing(asker.ask(map(_question, wanted))) as answers:
        for done, answered in enumerate(answers, 1):
            spent.add(answered)
            about, texts = answered.question.about, _written(answered.reply)
            if answered.failure is not None or texts is None:
                left_out[answered.failure or _unreadable(answered.reply)] += 1
            elif reason := _unusable(about, texts):
                left_out[reason] += 1
            else:
                usable.append((about, texts, answered.question.key))
            if progress:
                progress(done)
    # In the order in which they were asked for, however the answers came in: of copies the first stays.
    usable.sort(key=lambda each: each[0].place)
    model_facts = asker.describe()
    found = [_made(each, texts, key, order.seed, model_facts) for each, texts, key in usable]
    known = {each.event_id for each in of_family(connection, place)}
    new: dict[str, EvalProposal] = {}
    for each in found:
        if each.event_id in known:
            left_out["proposed before"] += 1
        elif each.event_id in new:
            left_out["another proposal asks it"] += 1
        else:
            new[each.event_id] = each
    kept = keep_new(
        connection, place, examples, [*new.values()], train=train, fields=fields, limit=order.count
    )
    for reason, count in kept.left_out.items():
        left_out[reason] += count
    return Synthesized(
        asked=len(wanted),
        cached=spent.cached,
        usable=len(usable),
        new=kept.new,
        left_out=dict(left_out),
        tokens_in=spent.tokens_in,
        tokens_out=spent.tokens_out,
        cost=spent.cost,
        shifts=tuple(_against_production(connection, kept.new)),
    )


def _against_production(connection: Connection, new: Sequence[EvalProposal]) -> list[QuestionShift]:
    weeks = newest_weeks(connection) if new else None
    if weeks is None:
        return []
    written = [
        Example(each.event_id, str(each.messages[-1]["content"]), tuple(each.messages)) for each in new
    ]
    return shifts_from_traffic(connection, *weeks, written)


@dataclass(slots=True)
class _Spent:
    """What the answers so far took that did not come out of the cache."""

    cached: int = 0
    tokens_in: int | None = 0
    tokens_out: int | None = 0
    cost: float | None = 0.0

    def add(self, answered: Answered[_Wanted]) -> None:
        if answered.cached:
            self.cached += 1
            return
        reply = answered.reply
        self.cost = added(self.cost, reply.cost)
        if answered.failure is None or reply.text or reply.refused:  # else no answer came
            self.tokens_in = added(self.tokens_in, reply.tokens_in)
            self.tokens_out = added(self.tokens_out, reply.tokens_out)


# The model


def model_of(name: str, server: str | None, key_variable: str | None = None) -> "Judge":
    """The model that writes: on a server under its name there, else a folder or a hub id on this machine.

    Raises BadInput for an address or a variable that is none.
    """
    from engine.plan.plan import Judge

    settings: dict[str, Any] = {"name": name, "temperature": TEMPERATURE, "max_tokens": MAX_TOKENS}
    if server is None:
        return Judge.model_construct(**settings, local=name, answer="written")
    raw = settings | {"server": server, "model": name, "api_key_env": key_variable}
    try:
        return Judge.model_validate(raw)
    except ValidationError as error:
        raise bad_plan("the model", validation_problems(raw, error)) from None


def _asker(model: "Judge", caches: Path) -> Asker:
    answers = JudgmentCache(caches / CACHE)
    if model.local is None:
        return ServerAsker(model, answers, patient=False, who="model")
    # Torch and transformers come with it.
    from engine.judges.local import LocalAsker

    return LocalAsker(model, answers)


# Sources


def rule_of(rubric: str, name: str) -> Rule:
    """A rule of a rubric, which is a built-in one's name or a file. Raises BadInput where there is none."""
    found = find_rubric(Path(rubric) if rubric.endswith(".toml") else rubric)
    names = [each.name for each in found.criteria]
    if name not in names:
        raise BadInput(f"--rule {name}: {rubric} has no such rule", f"its rules: {', '.join(names)}")
    (rule,) = (each for each in found.criteria if each.name == name)
    return Rule(Path(rubric).name, name, rule.description)


def _sources(
    order: SyntheticOrder, place: Path, examples: Sequence[Example], fields: Mapping[str, str] | None
) -> list[SourceText]:
    """What questions are written from, by the seed. Raises BadInput where there is nothing."""
    if order.kind == "documents":
        found = [passage for path in _documents(order.sources) for passage in passages(path)]
        lacking = "holds no passage", f"a passage has at least {_LEAST_PASSAGE} characters"
    elif order.kind == "topics":
        found = [topic for path in order.sources for topic in _topics(path)]
        lacking = "holds no topic", "write one topic a line"
    else:
        rows = [(path, read_examples(path, fields)) for path in order.sources] or [(place, list(examples))]
        found = [source for path, own in rows for source in map(_variant_of(path), own)]
        lacking = "there is no example to make variants of", "name a file of examples before --out"
    if not order.sources and order.kind in ("documents", "topics"):
        raise BadInput(f"--kind {order.kind} needs a source", "name files before --out")
    if not found:
        named = ", ".join(map(str, order.sources))
        raise BadInput(f"{named}: {lacking[0]}" if named else lacking[0], lacking[1])
    return sorted(found, key=lambda each: (order_of(f"{each.place}\0{each.text}", order.seed), each.place))


def _documents(paths: Iterable[Path]) -> Iterator[Path]:
    """The files, and those of folders, by name."""
    for path in paths:
        if path.is_dir():
            files = (file for file in path.rglob("*") if file.is_file())
            yield from sorted(file for file in files if file.suffix.lower() in DOCUMENTS)
        elif path.exists() and path.suffix.lower() not in DOCUMENTS:
            raise BadInput(f"{path}: is no document that can be read", f"allowed: {', '.join(DOCUMENTS)}")
        else:
            yield path


def passages(path: Path) -> Iterator[SourceText]:
    """The passages of a document: whole paragraphs together, up to about 1,500 characters, or the texts of
    its records. Raises BadInput naming file and line for a record without a text.
    """
    if path.suffix.lower() != ".jsonl":
        for line, text in _chunks(_paragraphs(1, read_text(path))):
            yield SourceText(f"{path.name}:{line}", text)
        return
    for line, record in read_records(path):
        texts = [record[key] for key in _TEXT_KEYS if isinstance(record.get(key), str)]
        if not texts:
            raise BadInput(
                f"{path}:{line}: has no text among its keys: {', '.join(record) or 'none'}",
                f"a document's text is under one of {', '.join(_TEXT_KEYS)}",
            )
        for number, (_, part) in enumerate(_chunks(_paragraphs(1, texts[0])), 1):
            yield SourceText(f"{path.name}:{line}" + (f" part {number}" if number > 1 else ""), part)


def _paragraphs(line: int, text: str) -> Iterator[tuple[int, str]]:
    """Paragraphs, each with the line that it begins in; one that is too long is cut at the ends of words."""
    for match in re.finditer(r"\S(?:.|\n(?!\s*\n))*", text):
        start = line + text.count("\n", 0, match.start())
        left = match.group().rstrip()
        while len(left) > _PASSAGE:
            cut = left.rfind(" ", _PASSAGE // 2, _PASSAGE)
            cut = _PASSAGE if cut < 0 else cut
            yield start, left[:cut]
            start, left = start + left.count("\n", 0, cut), left[cut:].lstrip()
        yield start, left


def _chunks(paragraphs: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    own: list[str] = []
    start = size = 0
    for line, text in paragraphs:
        if size > _LEAST_PASSAGE and size + len(text) > _PASSAGE:
            yield start, "\n\n".join(own)
            own, size = [], 0
        if not own:
            start = line
        own.append(text)
        size += len(text) + 2
    if size > _LEAST_PASSAGE:
        yield start, "\n\n".join(own)


def _topics(path: Path) -> Iterator[SourceText]:
    for line, text in text_lines(path):
        if topic := text.strip():
            yield SourceText(f"{path.name}:{line}", topic[:_PASSAGE])


def _variant_of(path: Path) -> Callable[[Example], SourceText]:
    def source(example: Example) -> SourceText:
        system = tuple(turn for turn in example.messages if turn["role"] == "system")
        answer = next(iter(example.references), example.label or "")
        return SourceText(f"{path.name}#{example.id}", example.query[:_LONGEST_QUESTION], answer, system)

    return source


# Asking


@cache
def _prompts() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("synthesis.toml").read_text("utf-8"))


def _wanted(order: SyntheticOrder, sources: Sequence[SourceText]) -> Iterator[_Wanted]:
    """Every source in every way before any is asked twice, neighbouring sources in different ways."""
    ways = list(_prompts()[order.kind]["ways"])
    for place in range(order.count):
        turn, own = divmod(place, len(sources))
        number, _ = divmod(turn, len(ways))
        way = ways[(turn + own) % len(ways)]
        yield _Wanted(place, order.kind, sources[own], way, number + 1, order.rule)


def _prompt(wanted: _Wanted, text: str, answer: str) -> str:
    own = _prompts()[wanted.kind]
    asked = Template(own["ask"]).substitute(
        text=text,
        answer=answer or "(none is known)",
        asked=own["ways"][wanted.way],
        rule=wanted.rule.description if wanted.rule else "",
    )
    again = Template(_prompts()["again"]).substitute(number=wanted.number) if wanted.number > 1 else ""
    return sendable(asked + again).strip()


def _messages(wanted: _Wanted) -> Messages:
    return [
        {"role": "system", "content": _prompts()["system"].strip()},
        {"role": "user", "content": _prompt(wanted, wanted.source.text, wanted.source.answer)},
    ]


def _question(wanted: _Wanted) -> Question[_Wanted]:
    messages = _messages(wanted)

    def problem(reply: Reply) -> str | None:
        return None if _written(reply) else _unreadable(reply)

    def repair(answer: str, problem: str, last: bool) -> Messages:
        if last:
            return messages
        asked = Template(_prompts()["repair"]).substitute(problem=problem).strip()
        said_before = {"role": "assistant", "content": sendable(answer)}
        return [*messages, said_before, {"role": "user", "content": asked}]

    return Question(
        about=wanted,
        key=judgment_key(SYNTHETIC, messages),
        messages=messages,
        response_format=_form(wanted.kind),
        problem=problem,
        repair=repair,
    )


def _form(kind: Kind) -> dict[str, Any]:
    names = ["question", "answer", *(["quote"] if kind == "documents" else [])]
    schema = {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": names,
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "question", "strict": True, "schema": schema}}


def _written(reply: Reply) -> dict[str, str] | None:
    """The texts of the first object with a question in an answer."""
    for found in objects_with("question", said(reply.text))[0]:
        texts = {name: _text(found.get(name)) for name in ("question", "answer", "quote")}
        if texts["question"]:
            return texts
    return None


def _text(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value.strip() if isinstance(value, str) else ""


def _unreadable(reply: Reply) -> str:
    if reply.refused is not None:
        return "the model refused"
    cut = " before it was cut off" if reply.finish_reason == "length" else ""
    return f"the answer holds no JSON object with a question{cut}"


# What can be used


def _unusable(wanted: _Wanted, texts: Mapping[str, str]) -> str | None:
    question, answer = texts["question"], texts["answer"]
    if len(question) > _LONGEST_QUESTION or len(answer) > _LONGEST_ANSWER:
        return f"longer than {_LONGEST_QUESTION:,} characters"
    if not words(question):
        return "the question has no words"
    if not answer or _NO_ANSWER.fullmatch(answer):
        return "it has no answer"
    if wanted.kind == "documents":
        quote = normalise(texts["quote"]).strip(" \"'“”.…")
        if not words(quote):
            return "no words of the passage prove its answer"
        if quote not in normalise(wanted.source.text):
            return "the words that should prove its answer are not in the passage"
    elif normalise(question) == normalise(wanted.source.text):
        return "it repeats its source"
    if wanted.way == "very short" and len(words(question)) > _SHORT:
        return f"not as asked: more than {_SHORT} words"
    if wanted.way == "long context" and len(words(question)) <= _LONG:
        return f"not as asked: {_LONG} words or fewer"
    if wanted.way == "other language":
        languages = detect(question), detect(wanted.source.text)
        if all(languages) and languages[0] == languages[1]:
            return "not as asked: in the language of its source"
    return None


def _made(
    wanted: _Wanted, texts: Mapping[str, str], key: str, seed: int, model: Mapping[str, Any]
) -> EvalProposal:
    question, answer = texts["question"], texts["answer"]
    content = "\0".join((wanted.kind, wanted.source.place, normalise(question), normalise(answer)))
    personal = {kind for text in (question, answer, texts["quote"]) for kind in kinds(text)}
    about: dict[str, Any] = {
        "kind": wanted.kind,
        "way": wanted.way,
        "source": masked(wanted.source.place),
        "model": model["model"],
        "server": model["server"],
        "fingerprint": model.get("fingerprint"),
        "seed": seed,
        "temperature": None if "temperature" in model["rejected"] else TEMPERATURE,
        "prompt": _prompt(wanted, "[source]", "[its answer]"),
        "prompt_hash": key[:16],
        "quote": masked(texts["quote"]) if wanted.kind == "documents" else None,
        "rubric": wanted.rule and wanted.rule.rubric,
        "rule": wanted.rule and wanted.rule.name,
    }
    return EvalProposal(
        event_id=f"synthetic-{blake2b(content.encode('utf-8', 'replace'), digest_size=6).hexdigest()}",
        eval_set="",
        origin=SYNTHETIC,
        why=_why(wanted),
        messages=[*wanted.source.system, {"role": "user", "content": masked(question)}],
        reference=masked(answer),
        personal=sorted(personal) or None,
        created=time.time(),
        synthetic={name: value for name, value in about.items() if value is not None},
    )


def _why(wanted: _Wanted) -> str:
    way, place = wanted.way.replace("_", " "), masked(wanted.source.place)
    if wanted.kind in ("documents", "topics"):
        return f"written from {place}: {way}"
    if wanted.rule is not None:
        return f"tempts an answer to break the rule {wanted.rule.name}, after {place}: {way}"
    return f"{'harder than' if wanted.kind == 'harder' else 'edge case of'} {place}: {way}"
