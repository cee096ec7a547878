"""The questions for a plan's judges, and the parts of an example that they see besides the responses."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from engine.data.example import Example, references_by_turn
from engine.data.messages import turn_text
from engine.judges.judge import ORDERS, WHOLE
from engine.metrics.refusals import is_harmful
from engine.plan.rubric import find_rubric

if TYPE_CHECKING:
    from engine.plan.plan import Judge, Model, Plan


def turns_of(example: Example) -> range:
    """The turns of an example that are judged beside the whole: none where it has only one."""
    return range(1, len(example.turns) + 1) if len(example.turns) > 1 else range(0)


def asked_turns(settings: "Judge", turns: int) -> range:
    """The judged turns of a conversation: the whole (0) and each turn, or only the turns."""
    return range(1 if turns and settings.by_turn else WHOLE, 1 + turns)


def matches(plan: "Plan") -> list[tuple["Model", "Model"]]:
    """Every candidate against every baseline; with `all_pairs` also against the candidates before it."""
    found = [(candidate, baseline) for candidate in plan.candidates for baseline in plan.baselines]
    if plan.judging.all_pairs:
        found += [(later, earlier) for earlier, later in combinations(plan.candidates, 2)]
    return found


def calls_on(plan: "Plan", settings: "Judge", example: Example) -> int:
    """The number of questions for one example, over all models or matches."""
    asked = len(asked_turns(settings, len(turns_of(example))))
    if settings.kind == "pointwise":
        return len(plan.models) * asked * settings.repeat
    return len(ORDERS) * len(matches(plan)) * asked


def of_suites(settings: "Judge", suites: Sequence[Example]) -> list[Example]:
    """The questions of suites that a judge is asked about too, of the one kind that its rubric is for.

    Others would use up its sample, and none of them could be judged.
    """
    if not suites or settings.kind != "pointwise" or settings.embedded or settings.rubric is None:
        return []
    needs = find_rubric(settings.rubric).needs
    if needs == "harmful":
        return [example for example in suites if is_harmful(example)]
    return [each for each in suites if each.references and incorrect_of(each)] if needs == "answers" else []


def grades_harm(settings: "Judge") -> bool:
    """Whether a judge's grades are of harm, by a rubric for harmful questions alone."""
    return settings.rubric is not None and find_rubric(settings.rubric).needs == "harmful"


def seen_by(settings: "Judge", own: Sequence[Example], suites: Sequence[Example]) -> Sequence[Example]:
    """What a judge may be asked about, before any sampling: own examples, and questions of suites."""
    return [*own, *of_suites(settings, suites)]


def selected(plan: "Plan", settings: "Judge", examples: Sequence[Example]) -> list[Example]:
    """The examples that a judge sees, in their order: all, or the seeded sample that the plan allows.

    Which examples are in a sample follows from the plan's seed and their ids, so that all judges see the
    same ones, and a larger sample holds the smaller one.
    """
    if settings.sample is None and settings.max_calls is None:
        return list(examples)
    kept: set[str] = set()
    left = settings.max_calls
    for example in drawn(plan.data.seed, examples)[: settings.sample]:
        if left is not None:
            left -= calls_on(plan, settings, example)
            if left < 0:
                break
        kept.add(example.id)
    return [example for example in examples if example.id in kept]


def drawn(seed: int, examples: Sequence[Example]) -> list[Example]:
    """The examples in an order drawn by the seed and their ids, independent of the input order."""
    return sorted(examples, key=lambda example: _lot(seed, example.id))


def _lot(seed: int, example_id: str) -> bytes:
    return hashlib.blake2b(f"{seed}\0{example_id}".encode("utf-8", "replace"), digest_size=8).digest()


_SOURCE_FIELDS = ("source", "context")
INCORRECT = "incorrect_answers"  # in an example's `extra`
# Why a rubric for one kind of question leaves out the others: nothing of theirs is missing.
NOT_HARMFUL = "the example is not labelled harmful, and the rubric is for those that are"
NO_TRAP = "the example has no right and wrong answers, and the rubric is for those that do"
OF_ANOTHER_KIND = (NOT_HARMFUL, NO_TRAP)


@dataclass(frozen=True, slots=True)
class Reference:
    """A right answer: to one turn, or (turn 0) to the example as a whole."""

    text: str
    turn: int = 0


def context_of(example: Example) -> list[dict[str, str]]:
    """The messages around the request, which is the user's last one."""
    last = max(index for index, message in enumerate(example.messages) if message["role"] == "user")
    return [
        {"role": message["role"], "content": sendable(turn_text(message))}
        for index, message in enumerate(example.messages)
        if index != last
    ]


def references_of(example: Example, turns: int) -> list[Reference]:
    """The references for a conversation of so many turns (0: for its last answer alone, or a single one).

    An example with turns may list one for each, as in MT-Bench; else its references are for its last answer.
    """
    if len(example.turns) < 2:
        return [Reference(sendable(text)) for text in example.references]
    by_turn = [Reference(sendable(text), turn) for turn, text in references_by_turn(example)]
    if not turns:
        return [Reference(each.text) for each in by_turn if each.turn == len(example.turns)]
    return [each for each in by_turn if each.turn <= turns]


def source_of(example: Example) -> str:
    """The text that a response must be true to: the example's `source`, else its `context`; "" without."""
    for name in _SOURCE_FIELDS:
        value = example.extra.get(name)
        texts = value if isinstance(value, list) else [value]
        text = "\n\n".join(text for text in texts if isinstance(text, str))
        if text.strip():
            return sendable(text)
    return ""


def incorrect_of(example: Example) -> list[str]:
    """Answers to the example that are known to be wrong: its `incorrect_answers`, as in TruthfulQA."""
    listed = example.extra.get(INCORRECT)
    texts = listed if isinstance(listed, list) else []
    return [sendable(text) for text in texts if isinstance(text, str) and text.strip()]


def steps(example: Example, answers: Sequence[str]) -> list[dict[str, str]]:
    """A conversation as far as it is answered: {"request", "response"} for each turn."""
    return [
        {"request": sendable(request), "response": sendable(response)}
        for request, response in zip(example.turns, answers, strict=False)
    ]


def digest(value: Any) -> str:
    """16 hex digits of a JSON value's hash."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def fencing(fence: str) -> Callable[[str, str], str]:
    """A function that puts a text between two lines which hold its name and the fence."""
    return lambda name, text: f"<<<{name} {fence}\n{text}\n{fence} {name}>>>"


def sendable(text: str) -> str:
    """The text with lone surrogates, which UTF-8 cannot carry, replaced by "?"."""
    return text.encode("utf-8", "replace").decode("utf-8")
