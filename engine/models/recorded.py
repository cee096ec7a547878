"""A model's outputs from elsewhere, read from a file."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from engine.data.calls import with_calls
from engine.data.example import Example, normalise
from engine.data.reading import read_records
from engine.errors import BadInput
from engine.models.model import Response, Settings, missing
from engine.plan.plan import Model

WAY_OUT = (
    'Each line is {"id": …, "response": "…"} or {"query": "…", "response": "…"}; '
    'for a conversation, "turns": ["…", "…"] instead of "response". MT-Bench\'s model answers and '
    "AlpacaEval's model outputs are read as they are."
)
# The line, and the answers there: one for each turn. None is an answer known to be missing.
Recorded = tuple[int, tuple[str, ...] | None]


class RecordedModel:
    """Recorded outputs: one `response` per `id` or `query`, ids first, queries compared after normalisation.

    A `response` of null is a known missing answer; `tool_calls` beside it are the calls of OpenAI's API.
    `turns` are the answers to an example of several turns. FastChat's model answers (`question_id`,
    `choices`) and AlpacaEval's model outputs (`instruction`, `output`) are read too. Raises BadInput naming
    file and line.
    """

    def __init__(self, model: Model) -> None:
        assert model.outputs is not None
        self.name = model.name
        self._file = model.outputs
        self._by_id: dict[str, Recorded] = {}
        self._by_query: dict[str, Recorded] = {}
        self._notes: list[str] = []
        self._lines = 0
        for line, record in read_records(self._file):
            self._add(line, record)

    @property
    def fingerprint(self) -> str:
        """The hash of the file's content."""
        with self._file.open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest()

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "recorded",
            "outputs": str(self._file),
            "answers": self._lines,
            "fingerprint": self.fingerprint,
            "notes": list(self._notes),
        }

    def generate(self, examples: Sequence[Example], settings: Settings) -> Iterator[list[Response]]:
        """All recorded answers at once; an example that the file does not answer gets the reason."""
        used: set[int] = set()
        responses = []
        for example in examples:
            found = self._by_id.get(example.id) or self._by_query.get(normalise(example.query))
            if found:
                used.add(found[0])
            responses.append(self._response(example, found))
        if unused := self._lines - len(used):
            self._notes = [f"{unused} of {self._lines} recorded answers belong to no example asked for"]
        yield responses

    def load(self) -> None:
        """Nothing is ever running: the answers are recorded."""

    def close(self) -> None:
        """Nothing is held open."""

    def _response(self, example: Example, found: Recorded | None) -> Response:
        if found is None:
            return missing(example, f"{self._file.name} has no answer for this example's id or query")
        line, answers = found
        place = f"{self._file.name}:{line}"
        if answers is None:
            return missing(example, f"{place}: the recorded response is null")
        asked = max(1, len(example.turns))
        if len(answers) != asked:
            return missing(
                example, f"{place}: {len(answers)} recorded answers to a conversation of {asked} turns"
            )
        turns = answers if asked > 1 else ()
        return Response(example.id, answers[-1], None, None, None, None, turns=turns)

    def _add(self, line: int, record: dict[str, Any]) -> None:
        place = f"{self._file}:{line}"
        record = _in_own_form(record)
        answers = _answers(record, place)
        identity, query = record.get("id"), record.get("query")
        if identity is None and not isinstance(query, str):
            raise BadInput(f"{place}: has neither `id` nor `query`.", WAY_OUT)
        self._lines += 1
        if identity is not None:
            self._put(self._by_id, str(identity), (line, answers), f"the id {str(identity)!r}")
        elif isinstance(query, str):
            self._put(self._by_query, normalise(query), (line, answers), "the same query")

    def _put(self, answers: dict[str, Recorded], key: str, answer: Recorded, what: str) -> None:
        if key in answers:
            raise BadInput(
                f"{self._file}:{answer[0]}: {what} was answered on line {answers[key][0]} already.",
                "Keep one answer for each example.",
            )
        answers[key] = answer


def _in_own_form(record: dict[str, Any]) -> dict[str, Any]:
    """The record under this form's keys, where it is FastChat's (the first choice) or AlpacaEval's."""
    if "question_id" in record and "choices" in record:
        choices = record["choices"]
        first = choices[0] if isinstance(choices, list) and choices else None
        return {
            "id": record["question_id"],
            "turns": first.get("turns", ()) if isinstance(first, dict) else (),
        }
    if "instruction" in record and "output" in record and "response" not in record:
        return {"id": record.get("id"), "query": record["instruction"], "response": record["output"]}
    return record


def _answers(record: dict[str, Any], place: str) -> tuple[str, ...] | None:
    turns = record.get("turns")
    if isinstance(turns, list) and turns and all(isinstance(turn, str) for turn in turns):
        return tuple(turns)
    if turns is not None:
        raise BadInput(f"{place}: its `turns` are not a list of texts.", WAY_OUT)
    if "response" not in record:
        raise BadInput(f"{place}: has no `response`.", WAY_OUT)
    text = record["response"]
    if text is not None and not isinstance(text, str):
        raise BadInput(f"{place}: its `response` is not a text.", WAY_OUT)
    text = with_calls(text, record)
    return None if text is None else (text,)
