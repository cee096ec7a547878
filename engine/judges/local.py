"""A judging model that runs on this machine, with the probabilities of its answers."""

import itertools
import re
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from math import exp
from typing import Any, TypeVar

from engine.data.example import Example
from engine.judges.asking import (
    RE_ASKS,
    Answered,
    JudgmentCache,
    Messages,
    Question,
    judgment_key,
    may_be_repaired,
    no_reply,
    repaired,
)
from engine.models.likelihood import BUDGET, Text, likelihoods, window_nll
from engine.models.local import LocalBase, LocalModel
from engine.models.model import Response, Settings
from engine.plan import plan
from engine.servers.wire import Reply

T = TypeVar("T")

FIRST = 8  # questions by which it is seen whether the model's written answers can be read
READ_AHEAD = 64  # questions under way together: enough to fill the slots of a large card
# Where the deciding part of an answer begins, in the forms that judges answer in.
_DECIDES = re.compile(r'(?:"?(?:winner|score)"?\s*:\s*"?|\[\s*RESULT\s*\][\s:*(]*|\[\[)', re.IGNORECASE)
# An answer that is nothing but the verdict, for a winner and for a score.
_SHORTEST = ('{{"winner": "{}"}}', '{{"score": {}}}')


@dataclass(slots=True)
class _Asked:
    """One prompt in progress, with all questions that it answers."""

    key: str
    questions: list[Question[Any]]
    example: Example

    @property
    def first(self) -> Question[Any]:
        return self.questions[0]


class LocalAsker:
    """Asks a chat model through transformers, many questions at a time; greedy by default.

    Where a question has `choices`, the probability of each at the place where the answer decides is worked
    out as well, so that a small model gives a graded and reproducible verdict (G-Eval, Liu et al. 2023).
    With `answer = "tokens"`, and where most of the first written answers cannot be read, the model writes
    nothing: its verdict is the likeliest choice. All answers come in one way, which a resumed run names.
    """

    is_language_model = True

    def __init__(self, spec: plan.Judge, cache: JudgmentCache | None) -> None:
        self._spec = spec
        self._cache = cache
        self._base = LocalBase(str(spec.local), dtype=spec.dtype, device=spec.device)
        model = plan.Model.model_construct(name=spec.name, role="baseline", path=str(spec.local))
        self._model: LocalModel = self._base.generator(model)
        self._by_tokens = spec.answer == "tokens"
        self._open = spec.answer is None and spec.format == "chat"

    def describe(self) -> dict[str, Any]:
        """The inputs that decide the answers: the model's path, content hash, dtype and settings."""
        return {
            "model": str(self._spec.local),
            "server": None,
            "fingerprint": self._model.fingerprint,
            "settings": self._settings(),
            "rejected": [],
            "note": "a language model on this machine",
        }

    def ask(self, questions: Iterable[Question[T]]) -> Generator[Answered[T], None, None]:
        """Answers as they finish, of a bounded number of questions at a time."""
        source = iter(questions)
        if self._open and (first := list(itertools.islice(source, FIRST))):
            written = list(self._answered(first))
            self._open = False
            unread = sum(answer.failure is not None for answer in written)
            # What was known already counts as well, and is scored as the others are: all in one way.
            self._by_tokens = 2 * unread > len(written) and all(map(_shortest, first))
            yield from self._answered(first) if self._by_tokens else written
        while portion := list(itertools.islice(source, READ_AHEAD)):
            yield from self._answered(portion)

    def _answered(self, portion: Sequence[Question[T]]) -> Generator[Answered[T], None, None]:
        """The answers out of the cache, then those of the model."""
        waiting: dict[str, _Asked] = {}
        for question in portion:
            key = self._key(question)
            known = self._cache.get(key) if self._cache else None
            if known is not None and question.problem(known) is None:
                yield Answered(question, known, None, cached=True)
            elif key in waiting:
                waiting[key].questions.append(question)
            else:
                waiting[key] = _Asked(key, [question], self._example(key, question.messages))
        asked = list(waiting.values())
        yield from self._scored(asked) if self._by_tokens else self._answers(asked)

    def _scored(self, asked: Sequence[_Asked]) -> Generator[Answered[Any], None, None]:
        """The likeliest choice of each question, without a written answer."""
        forms = [_shortest(item.first) for item in asked]
        drafts = [
            (item, Reply(form.format(item.first.choices[0]) if form else "", "stop", None, 0, None, 0.0))
            for item, form in zip(asked, forms, strict=True)
        ]
        for (item, draft), form, choices in zip(drafts, forms, self._weigh(drafts), strict=True):
            said = form.format(max(choices, key=choices.__getitem__)) if choices else ""
            reply = replace(draft, text=said, model=str(self._spec.local), choices=choices)
            failure = None if choices else "the tokens of its verdict could not be scored"
            yield from self._give(item, reply, failure)

    def _answers(self, asked: Sequence[_Asked]) -> Generator[Answered[Any], None, None]:
        """Everything asked once, and what could not be read up to RE_ASKS times more."""
        before: dict[str, Reply] = {}
        for again in range(1 + RE_ASKS):
            unread: list[_Asked] = []
            for batch in self._generate(asked):
                readable = []
                for item, answer, failure in batch:
                    reply = repaired(before[item.key], answer) if again else answer
                    problem = failure or item.first.problem(reply)
                    if problem is None:
                        readable.append((item, reply))
                    elif failure is None and again < RE_ASKS and may_be_repaired(reply):
                        messages = item.first.repair(reply.text, problem, again + 1 == RE_ASKS)
                        unread.append(replace(item, example=self._example(item.key, messages)))
                        before[item.key] = reply
                    else:
                        yield from self._give(item, reply, problem)
                yield from self._weighed(readable)
            asked = unread

    def _generate(
        self, asked: Sequence[_Asked]
    ) -> Generator[list[tuple[_Asked, Reply, str | None]], None, None]:
        by_id = {item.example.id: item for item in asked}
        settings = Settings(
            max_new_tokens=self._spec.max_tokens, temperature=self._spec.temperature, seed=self._spec.seed
        )
        if not by_id:
            return
        for batch in self._model.generate([item.example for item in asked], settings):
            yield [(by_id[response.example_id], self._reply(response), response.reason) for response in batch]

    def _reply(self, response: Response) -> Reply:
        if response.text is None:
            return no_reply(attempts=1)
        return Reply(
            text=response.text,
            finish_reason=response.finish_reason,
            tokens_in=response.tokens_in,
            tokens_out=response.tokens_out,
            model=str(self._spec.local),
            latency_s=response.latency_s or 0.0,
        )

    def _weighed(self, readable: Sequence[tuple[_Asked, Reply]]) -> Generator[Answered[Any], None, None]:
        """Gives answers that could be read, with the probabilities of what they could have said instead."""
        for (item, reply), choices in zip(readable, self._weigh(readable), strict=True):
            yield from self._give(item, replace(reply, choices=choices), None)

    def _weigh(self, readable: Sequence[tuple[_Asked, Reply]]) -> list[dict[str, float] | None]:
        """The probabilities of the choices of each, where they are known."""
        continuations: list[Text] = []
        places: list[tuple[int, str]] = []
        for place, (item, reply) in enumerate(readable):
            for choice, text in self._continuations(item, reply):
                continuations.append(text)
                places.append((place, choice))
        nlls: dict[int, dict[str, float]] = {}
        with self._model.active() as model:
            for index, nll in likelihoods(
                lambda windows: window_nll(model, windows),
                continuations,
                self._base.context,
                BUDGET,
                self._model.note_halved,
            ):
                place, choice = places[index]
                if nll is not None:
                    nlls.setdefault(place, {})[choice] = nll[0]
        return [
            _normalised(nlls.get(place, {}), item.first.choices) for place, (item, _) in enumerate(readable)
        ]

    def _continuations(self, item: _Asked, reply: Reply) -> list[tuple[str, Text]]:
        """The prompt, the answer up to where it decides, and each thing that it could go on with."""
        found = list(_DECIDES.finditer(reply.text))
        if not item.first.choices or not found:
            return []
        before, after = reply.text[: found[-1].end()], reply.text[found[-1].end() :]
        # With what follows the value, so that 1 is not taken for the beginning of 10.
        end = re.match(r"[\w.+-]*(\W?)", after)
        tail = end[1] if end else ""
        prompt = self._model.prompt(item.example)
        written = [self._ids(f"{before}{choice}{tail}") for choice in item.first.choices]
        shared = _shared(written)
        return [
            (
                choice,
                Text(item.key, prompt + ids, predicted=len(ids) - shared, bytes=0),
            )
            for choice, ids in zip(item.first.choices, written, strict=True)
            if len(ids) > shared
        ]

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._model.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _give(self, item: _Asked, reply: Reply, failure: str | None) -> Generator[Answered[Any], None, None]:
        if failure is None and self._cache is not None:
            self._cache.put(item.key, reply)
        for index, question in enumerate(item.questions):
            yield Answered(question, reply, failure, cached=index > 0)

    def _example(self, key: str, messages: Messages) -> Example:
        """The question as the model is asked it; one without a chat template reads it as plain text."""
        query = messages[-1]["content"]
        if not self._model.tokenizer.chat_template:
            query = "\n\n".join(message["content"] for message in messages)
        return Example(key, query, tuple(messages))

    def _key(self, question: Question[Any]) -> str:
        return judgment_key(self._model.fingerprint, self._settings(), question.choices, question.key)

    def _settings(self) -> dict[str, Any]:
        spec = self._spec
        return {
            "temperature": spec.temperature, "seed": spec.seed, "max_tokens": spec.max_tokens,
            "dtype": self._base.dtype, **({"answer": "tokens"} if self._by_tokens else {}),
        }  # fmt: skip


def _shortest(question: Question[Any]) -> str:
    """The form of an answer that is nothing but the verdict; "" where the question has no single one."""
    for form in _SHORTEST if question.choices else ():
        if question.problem(Reply(form.format(question.choices[0]), "stop", None, 0, None, 0.0)) is None:
            return form
    return ""


def _shared(written: Sequence[list[int]]) -> int:
    """How many tokens all begin with."""
    shortest = min(map(len, written))
    first = written[0]
    return next((at for at in range(shortest) if any(ids[at] != first[at] for ids in written[1:])), shortest)


def _normalised(nlls: dict[str, float], choices: Sequence[str]) -> dict[str, float] | None:
    """Probabilities among the choices; None where not all of them could be weighed."""
    if not choices or set(nlls) != set(choices):
        return None
    least = min(nlls.values())
    weights = {choice: exp(least - nlls[choice]) for choice in choices}
    total = sum(weights.values())
    return {choice: weight / total for choice, weight in weights.items()}
