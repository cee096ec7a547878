"""Evaluation examples that stand in the training data word for word, after normalisation."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from engine.data.example import Example, normalise
from engine.data.leak import (
    DISTINCTIVE_LENGTH,
    EXCERPT_LENGTH,
    Field,
    Leak,
    answers,
    question_key,
    training_text,
    turns_of,
)


class Identical:
    """The evaluation set by normalised question and by normalised reference, and what was found so far."""

    def __init__(self, evaluation: Sequence[Example]) -> None:
        self._examples = evaluation
        self._questions: defaultdict[str, list[int]] = defaultdict(list)
        self._answers: defaultdict[str, list[int]] = defaultdict(list)
        for number, example in enumerate(evaluation):
            self._questions[question_key(example)].append(number)
            for answer in {normalise(reference) for reference in example.references} - {""}:
                self._answers[answer].append(number)
        self._by_question: dict[int, Leak] = {}
        # By answer: line, what was found, and the training example and its question that it answered there.
        self._by_answer: dict[str, tuple[int, str, str, str]] = {}
        self._stock = {
            answer for answer, numbers in self._answers.items() if self._several_questions(numbers)
        }

    def _several_questions(self, numbers: Sequence[int]) -> bool:
        return len({question_key(self._examples[number]) for number in numbers}) > 1

    def look_up(self, rows: Sequence[Example]) -> None:
        """Compares some training rows."""
        for row in rows:
            self._look_up(row)

    def _look_up(self, row: Example) -> None:
        asked_keys, answer_keys = _user_turns(row), _answers(row)
        asked = {number: text for key, text in asked_keys.items() for number in self._questions.get(key, ())}
        answered = {key: text for key, text in answer_keys.items() if key in self._answers}
        both = {number for key in answered for number in self._answers[key]} & asked.keys()
        for number, text in asked.items():
            self._keep(number, "both" if number in both else "query", row, text)
        for key, text in answered.items():
            self._keep_answer(key, row, text)

    def _keep(self, number: int, field: Field, row: Example, text: str) -> None:
        kept = self._by_question.get(number)
        if kept is None or (field == "both" and kept.field == "query"):
            whole = training_text(row, text[:EXCERPT_LENGTH])
            self._by_question[number] = _leak(self._examples[number], row.line, field, text, whole)

    def _keep_answer(self, key: str, row: Example, text: str) -> None:
        if key in self._stock or len(key) < DISTINCTIVE_LENGTH:
            return
        question = normalise(row.query)
        if key not in self._by_answer:
            excerpt = text[:EXCERPT_LENGTH]
            self._by_answer[key] = row.line, excerpt, training_text(row, excerpt), question
        *_, first_question = self._by_answer[key]
        if first_question != question:
            self._stock.add(key)
            del self._by_answer[key]

    def leaks(self) -> Iterator[tuple[int, Leak]]:
        """What was found, with the example's place in the evaluation set."""
        for number in range(len(self._examples)):
            if leak := self._leak(number):
                yield number, leak

    def _leak(self, number: int) -> Leak | None:
        example = self._examples[number]
        if number in self._by_question:
            return self._by_question[number]
        found = [
            self._by_answer[key] for ref in example.references if (key := normalise(ref)) in self._by_answer
        ]
        if not found:
            return None
        line, text, whole, _ = min(found)
        return _leak(example, line, "reference", text, whole)


def _leak(example: Example, line: int, field: Field, text: str, whole: str) -> Leak:
    return Leak(example.id, "identical", 1.0, line, field, text[:EXCERPT_LENGTH], whole)


def _user_turns(row: Example) -> dict[str, str]:
    """Each of the user's turns, alone and with those before it, as key and text."""
    texts = turns_of(row, "user")
    if len(texts) == 1:
        key = normalise(texts[0])
        return {key: texts[0]} if key else {}
    keys = [normalise(text) for text in texts]
    found = {"\0".join(keys[: end + 1]): text for end, text in enumerate(texts)}
    return {key: text for key, text in {**found, **dict(zip(keys, texts, strict=True))}.items() if key}


def _answers(row: Example) -> dict[str, str]:
    return {key: text for text in answers(row) if (key := normalise(text))}
