"""Evaluation examples that stand in the training data word for word, after normalisation."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from engine.data.leak import DISTINCTIVE_LENGTH, EXCERPT_LENGTH, Field, Leak, answers, question_key, questions
from engine.example import Example, normalise


class _Index:
    """The evaluation set by normalised question and by normalised reference, and what was found so far."""

    def __init__(self, evaluation: Sequence[Example]) -> None:
        self._examples = evaluation
        self._questions: defaultdict[str, list[int]] = defaultdict(list)
        self._answers: defaultdict[str, list[int]] = defaultdict(list)
        for number, example in enumerate(evaluation):
            self._questions[_conversation(example)].append(number)
            for answer in {normalise(reference) for reference in example.references} - {""}:
                self._answers[answer].append(number)
        self._by_question: dict[int, Leak] = {}
        # By answer: what was found, and the training question that it answered there.
        self._by_answer: dict[str, tuple[int, str, str]] = {}
        self._stock = {
            answer for answer, numbers in self._answers.items() if self._several_questions(numbers)
        }

    def _several_questions(self, numbers: Sequence[int]) -> bool:
        return len({_conversation(self._examples[number]) for number in numbers}) > 1

    def look_up(self, row: Example) -> None:
        questions, answers = _user_turns(row), _answers(row)
        asked = {number: text for key, text in questions.items() for number in self._questions.get(key, ())}
        answered = {key: text for key, text in answers.items() if key in self._answers}
        both = {number for key in answered for number in self._answers[key]} & asked.keys()
        for number, text in asked.items():
            self._keep(number, "both" if number in both else "query", row.line, text)
        for key, text in answered.items():
            self._keep_answer(key, row.line, text, normalise(row.query))

    def _keep(self, number: int, field: Field, line: int, text: str) -> None:
        kept = self._by_question.get(number)
        if kept is None or (field == "both" and kept.field == "query"):
            self._by_question[number] = _leak(self._examples[number], line, field, text)

    def _keep_answer(self, key: str, line: int, text: str, question: str) -> None:
        if key in self._stock or len(key) < DISTINCTIVE_LENGTH:
            return
        *_, first_question = self._by_answer.setdefault(key, (line, text[:EXCERPT_LENGTH], question))
        if first_question != question:
            self._stock.add(key)
            del self._by_answer[key]

    def leak(self, number: int) -> Leak | None:
        example = self._examples[number]
        if number in self._by_question:
            return self._by_question[number]
        found = [
            self._by_answer[key] for ref in example.references if (key := normalise(ref)) in self._by_answer
        ]
        if not found:
            return None
        line, text, _ = min(found)
        return _leak(example, line, "reference", text)


def _leak(example: Example, line: int, field: Field, text: str) -> Leak:
    return Leak(example.id, "identical", 1.0, line, field, text[:EXCERPT_LENGTH])


def _contents(example: Example, role: str) -> list[str]:
    return [turn["content"] for turn in example.messages if turn["role"] == role]


def _conversation(example: Example) -> str:
    """The user's turns as one key; for a single question, the question."""
    return "\0".join(normalise(text) for text in _contents(example, "user"))


def _user_turns(row: Example) -> dict[str, str]:
    """Each of the user's turns, alone and with those before it, as key and text."""
    texts = _contents(row, "user")
    keys = [normalise(text) for text in texts]
    found = {"\0".join(keys[: end + 1]): text for end, text in enumerate(texts)}
    return {key: text for key, text in {**found, **dict(zip(keys, texts, strict=True))}.items() if key}


def _answers(row: Example) -> dict[str, str]:
    texts = [*_contents(row, "assistant"), *row.references]
    return {key: text for text in texts if (key := normalise(text))}
