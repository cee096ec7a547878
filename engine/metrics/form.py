"""The form of a response: whether it is the JSON that was asked for, and how long it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.answers import NotJson, TooDeep, unfenced, whole_json
from engine.metrics.measures import fraction
from engine.metrics.metric import NO_TOKENS, Measure, Score, missing, no_text
from engine.metrics.schema import compile_schema, read_schema
from engine.metrics.text import words
from engine.models.model import Response

NO_SCHEMA = "neither the example nor the plan gives a schema"
_REASON_LIMIT = 300


class FormatCompliance:
    """1 where the whole response is JSON that its schema allows, else 0 with what is wrong as the reason.

    Settings: `schema`, a file (or the schema itself) for the examples that bring none of their own, and
    `fence`. A Markdown fence around the JSON is a fault unless `fence` is true, since a program that reads
    the response would stumble over it; prose beside the JSON always is one.
    """

    measures = (
        fraction(
            "format_compliance",
            "responses that are JSON, whole and alone, and valid under the schema",
            "JSON Schema, by jsonschema",
            needs=["schema"],
        ),
        fraction("json_parse", "responses that are JSON, whole and alone, whatever it says", "RFC 8259"),
    )

    def __init__(self, schema: str | Path | Mapping[str, Any] | None = None, fence: bool = False) -> None:
        if not isinstance(fence, bool):
            raise BadInput(f"metrics.format.fence: expected true or false, found {fence!r}.")
        self._fence = fence
        self._default = _default_validator(schema)

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None:
            return missing(self.measures, no_text(response))
        try:
            value = self._parsed(response.text)
        except TooDeep as error:
            return missing(self.measures, str(error))
        except NotJson as error:
            fault = str(error)
            return [self._compliance(example, None, fault), Score("json_parse", 0.0, fault)]
        return [self._compliance(example, value), Score("json_parse", 1.0)]

    def _parsed(self, text: str) -> Any:
        inner = unfenced(text)
        if inner is not None and not self._fence:
            raise NotJson(
                "a Markdown fence stands around the JSON (fence = true under [metrics] format allows it)"
            )
        return whole_json(text if inner is None else inner)

    def _compliance(self, example: Example, value: Any, fault: str | None = None) -> Score:
        try:
            validator = (
                self._default
                if example.schema is None
                else compile_schema(example.schema, f"the schema of example {example.id}")
            )
            if validator is None:
                return Score("format_compliance", None, NO_SCHEMA)
            if fault is None:
                worst = best_match(validator.iter_errors(value))
                fault = None if worst is None else f"at {worst.json_path}: {worst.message}"[:_REASON_LIMIT]
        except BadInput as error:
            return Score("format_compliance", None, error.message)
        except RecursionError:
            return Score("format_compliance", None, str(TooDeep()))
        return Score("format_compliance", float(fault is None), fault)


class Length:
    """How long a response is; neither long nor short is better."""

    measures = (
        Measure(
            name="response_words",
            direction="none",
            low=0.0,
            high=None,
            unit="words",
            needs=frozenset(),
            version="1",
            source="white space; characters where a script has no word spaces",
            meaning="words of the response",
        ),
        Measure(
            name="response_tokens",
            direction="none",
            low=0.0,
            high=None,
            unit="tokens",
            needs=frozenset({"tokens"}),
            version="1",
            source="the model's own tokenizer",
            meaning="tokens generated for the response, without padding",
        ),
    )

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None:
            return missing(self.measures, no_text(response))
        if response.tokens_out is None:
            tokens = Score("response_tokens", None, NO_TOKENS)
        else:
            tokens = Score("response_tokens", float(response.tokens_out))
        return [Score("response_words", float(len(words(response.text)))), tokens]


def _default_validator(schema: str | Path | Mapping[str, Any] | None) -> Validator | None:
    if schema is None:
        return None
    if isinstance(schema, Mapping):
        return compile_schema(dict(schema), "metrics.format.schema")
    if isinstance(schema, str | Path):
        return read_schema(Path(schema))
    raise BadInput(f"metrics.format.schema: expected a file's path or a table, found {schema!r}.")
