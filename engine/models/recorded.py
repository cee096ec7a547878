"""A model's outputs from elsewhere: read from a file, or out of an earlier run."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from engine.data.calls import with_calls
from engine.data.example import Example, normalise, whole_question
from engine.data.reading import read_records
from engine.data.versions import example_of
from engine.errors import BadInput
from engine.models.model import GENERATION, Response, Settings, missing
from engine.plan.plan import Model
from store import people
from store.errors import StoreError
from store.read import evidence, history
from store.read.runs import ACCEPTED
from store.session import opened

WAY_OUT = (
    'Each line is {"id": …, "response": "…"} or {"query": "…", "response": "…"}; '
    'for a conversation, "turns": ["…", "…"] instead of "response"; for several samples of an answer, '
    '"responses": ["…", "…"], or a line each. MT-Bench\'s model answers, AlpacaEval\'s model outputs and '
    "lm-eval's logged samples are read as they are."
)
# The line, and one answer there: one text for each turn. None is an answer known to be missing.
Recorded = tuple[int, tuple[str, ...] | None]
LISTS = ("responses", "samples", "resps")  # the last is lm-eval's, a list for each request


class RecordedModel:
    """Recorded outputs: a `response` per `id` or `query`, ids first, queries compared after normalisation.

    A `response` of null is a known missing answer; `tool_calls` beside it are the calls of OpenAI's API.
    `turns` are the answers to an example of several turns. Where the run takes several `samples`, they are
    the rows of one id or query in their order, or the list of one row. FastChat's model answers
    (`question_id`, `choices`), AlpacaEval's model outputs (`instruction`, `output`) and lm-eval's logged
    samples (`doc_id`, `resps`) are read too. Raises BadInput naming file and line.
    """

    def __init__(self, model: Model, samples: int = 1) -> None:
        assert model.outputs is not None
        self.name = model.name
        self._file = model.outputs
        self._samples = samples
        self._several: str | None = None  # the first place where an answer has a second sample
        self._by_id: dict[str, list[Recorded]] = {}
        self._by_query: dict[str, list[Recorded]] = {}
        self._notes: list[str] = []
        self._lines = 0
        for line, record in read_records(self._file):
            self._add(line, record)
        if samples == 1 and self._several:
            raise BadInput(
                self._several,
                f"Keep one answer for each example, or set samples = {self.most} under [generation].",
            )

    @property
    def most(self) -> int:
        """How many samples of one answer there are."""
        return max(map(len, [*self._by_id.values(), *self._by_query.values()]), default=0)

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
            used.update(line for line, _ in found or ())
            responses.append(self._response(example, found))
        if unused := self._lines - len(used):
            self._notes = [f"{unused} of {self._lines} recorded answers belong to no example asked for"]
        if (most := self.most) > self._samples:
            self._notes.append(
                f"{self._file.name} has up to {most} samples of an answer; {self._samples} count"
            )
        yield responses

    def load(self) -> None:
        """Nothing is ever running: the answers are recorded."""

    def close(self) -> None:
        """Nothing is held open."""

    def _response(self, example: Example, found: list[Recorded] | None) -> Response:
        if not found:
            return missing(example, f"{self._file.name} has no answer for this example's id or query")
        if example.sample >= len(found):
            return missing(example, f"{self._file.name} has only {len(found)} of {self._samples} samples")
        line, answers = found[example.sample]
        place = f"{self._file.name}:{line}"
        if answers is None:
            return missing(example, f"{place}: the recorded response is null")
        questions = max(1, len(example.turns))
        if len(answers) != questions:
            return missing(
                example, f"{place}: {len(answers)} recorded answers to a conversation of {questions} turns"
            )
        turns = answers if questions > 1 else ()
        return Response(example.id, answers[-1], None, None, None, None, turns=turns, sample=example.sample)

    def _add(self, line: int, record: dict[str, Any]) -> None:
        place = f"{self._file}:{line}"
        record = _in_own_form(record)
        found = [(line, answers) for answers in _samples(record, place)]
        identity, query = record.get("id"), record.get("query")
        if identity is None and not isinstance(query, str):
            raise BadInput(f"{place}: has neither `id` nor `query`.", WAY_OUT)
        if identity is not None:
            self._put(self._by_id, str(identity), found, f"the id {str(identity)!r}", "filter" in record)
        elif isinstance(query, str):
            self._put(self._by_query, normalise(query), found, "the same query")

    def _put(
        self,
        known: dict[str, list[Recorded]],
        key: str,
        new: list[Recorded],
        what: str,
        filtered: bool = False,
    ) -> None:
        """`filtered`: lm-eval writes the same answers once for each of its filters."""
        before = known.setdefault(key, [])
        if filtered and [answer for _, answer in before] == [answer for _, answer in new]:
            return
        self._lines += 1
        before += new
        if len(before) > 1 and self._several is None:
            told = f"{len(new)} answers" if new[1:] else f"{what} was answered on line {before[0][0]} already"
            self._several = f"{self._file}:{new[0][0]}: {told}."


class RunAnswers:
    """The answers of an earlier run's model, to examples that ask the same there (see `whole_question`).

    `plan` is the name of the run of id `before`, which means a run before itself: "accepted" is the newest
    accepted one of that name. Raises BadInput where there is no such model.
    """

    def __init__(self, model: Model, store: Path, plan: str, before: int | None, samples: int = 1) -> None:
        self.name = model.name
        self._samples = samples
        try:
            with opened(store) as connection:
                run_id, named = _run_of(connection, model, plan, before)
                rows = [row for row in history.models(connection, run_id) if not row.is_cut]
                chosen = [row for row in rows if row.name == named or (not named and row.role == "candidate")]
                if len(chosen) != 1:
                    told = f"no answers of a model {named!r}" if named else f"{len(chosen)} candidates"
                    names = ", ".join(row.name for row in rows)
                    raise BadInput(f"run {run_id} has {told}", f"name one in `model`: {names}")
                answers = evidence.answers(connection, chosen[0].id)
                examples = evidence.contents(connection, answers)
        except StoreError as error:
            raise BadInput(error.message, error.hint) from error
        self.label = f"run {run_id}"
        generation = (chosen[0].details or {}).get(GENERATION) or {}
        self._apart = generation.get("reasoning") == "strip"
        self._facts = {"run": run_id, "model": chosen[0].name, "answers": len(answers)}
        asked = {place: example_of(row) for place, row in examples.items()}
        self._found = {asked[place].id: (whole_question(asked[place]), answers[place]) for place in answers}

    @property
    def fingerprint(self) -> str:
        """The hash of the answers."""
        said = {name: [[row.text, row.turns] for row in rows] for name, (_, rows) in self._found.items()}
        return hashlib.sha256(json.dumps([self._facts, said], sort_keys=True).encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """`reasoning_apart`: the run has taken traces off the answers already."""
        apart = {"reasoning_apart": self._apart, "fingerprint": self.fingerprint}
        return {"kind": "recorded", **self._facts, **apart}

    def generate(self, examples: Sequence[Example], settings: Settings) -> Iterator[list[Response]]:
        """All answers at once; an example that the run did not ask in the same way gets the reason."""
        yield [self._response(example) for example in examples]

    def load(self) -> None:
        """Nothing is ever running: the answers are recorded."""

    def close(self) -> None:
        """Nothing is held open."""

    def _response(self, example: Example) -> Response:
        known, answers = self._found.get(example.id, (None, []))
        if known is None:
            return missing(example, f"{self.label} has no answer to this example")
        if known != whole_question(example):
            return missing(example, f"{self.label} asked something else under this id")
        if example.sample >= len(answers):
            return missing(example, f"{self.label} has only {len(answers)} of {self._samples} samples")
        row = answers[example.sample]
        if row.text is None:
            return missing(example, f"{self.label}: {row.reason or 'no answer'}")
        return Response(
            example.id, row.text, None, None, row.finish_reason, None, reason=row.reason,
            turns=tuple(row.turns or ()), thinking=row.thinking, sample=example.sample,
        )  # fmt: skip


def _run_of(
    connection: history.Connection, model: Model, plan: str, before: int | None
) -> tuple[int, str | None]:
    """The run that a model's `run` means, and the name of its model, where one is named."""
    if model.run != ACCEPTED:
        return history.find_run(connection, str(model.run), before=before), model.model
    mark = people.accepted(connection, plan, before=before)
    if mark is None:
        raise BadInput(f"no run of {plan} is accepted yet", "`assay accept RUN` accepts one")
    return mark.run_id, model.model or mark.value or None


def _in_own_form(record: dict[str, Any]) -> dict[str, Any]:
    """The record under this form's keys, where it is FastChat's (the first choice) or AlpacaEval's."""
    if "question_id" in record and "choices" in record:
        choices = record["choices"]
        first = choices[0] if isinstance(choices, list) and choices else None
        return {
            "id": record["question_id"],
            "turns": first.get("turns", ()) if isinstance(first, dict) else (),
        }
    if "doc_id" in record and "resps" in record:
        return {"id": record["doc_id"], **record}
    if "instruction" in record and "output" in record and "response" not in record:
        return {"id": record.get("id"), "query": record["instruction"], "response": record["output"]}
    return record


def _samples(record: dict[str, Any], place: str) -> list[tuple[str, ...] | None]:
    """Every answer of a row: that of its `response` or `turns`, or one for each text of its list."""
    name = next((name for name in LISTS if name in record), None)
    if name is None or "response" in record:
        return [_answers(record, place)]
    return [None if text is None else (text,) for text in listed(record[name], name, place)]


def listed(texts: Any, name: str, place: str) -> list[str | None]:
    """The samples in a row's column of that name. Raises BadInput for anything but a list of texts."""
    if name == "resps" and isinstance(texts, list) and len(texts) == 1 and isinstance(texts[0], list):
        texts = texts[0]
    if (
        not isinstance(texts, list)
        or not texts
        or not all(text is None or isinstance(text, str) for text in texts)
    ):
        raise BadInput(f"{place}: its `{name}` are not a list of texts.", WAY_OUT)
    return texts


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
