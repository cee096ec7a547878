"""The JSON in a response: found, validated against a schema, compared field by field."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from jsonschema.protocols import Validator

from engine.data.example import Example
from engine.data.schemas import TooSlow, compile_schema, fault_of
from engine.errors import BadInput
from engine.metrics.metric import Score, fraction, gap, missing, no_text
from engine.metrics.text import normalise_answer
from engine.models.model import Response

EMPTY = "the response is empty"
AROUND = ("strict", "fenced", "anywhere")
NO_JSON = "no JSON in the response"
_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL | re.IGNORECASE)
_OPENING = re.compile(r"[{\[]")
_CITATION = re.compile(r"\[\d+\]")
_ATTEMPTS = 20
NO_OBJECT = "no reference of the example is a JSON object"
NOT_AN_OBJECT = "the response is not a JSON object"
_TOLERANCE = 1e-9
_SHOWN = 200
_ABSENT = object()


class JsonNotFound(ValueError):
    """A text without the expected JSON, and the reason."""


class TooDeep(JsonNotFound):
    """Brackets nested too deeply to parse: it is unknown whether the text is JSON."""

    def __init__(self) -> None:
        super().__init__("nested too deeply to be checked")


def unfenced(text: str) -> str | None:
    """The content of a Markdown fence that is the whole text, else None."""
    fenced = _FENCE.fullmatch(text.strip())
    return fenced.group(1) if fenced else None


def whole_json(text: str) -> Any:
    """The JSON value that a text is, whole and alone. Raises JsonNotFound; NaN and infinities are no JSON."""
    if not text.strip():
        raise JsonNotFound(f"not JSON: {EMPTY}")
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise TooDeep from error
    except ValueError as error:
        raise JsonNotFound(f"not JSON: {error}") from error


def read_json(text: str, around: str = "strict", lists: bool = True) -> Any:
    """The JSON value in a text: with nothing `around` it ("strict"), in a fence ("fenced"), or "anywhere".

    `lists` as of `find_json`. Raises JsonNotFound.
    """
    if around == "anywhere":
        return find_json(text, lists)
    inner = unfenced(text)
    if inner is not None and around == "strict":
        raise JsonNotFound('the JSON is in a Markdown fence (around = "fenced" allows one)')
    return whole_json(text if inner is None else inner)


def check_around(value: object, where: str) -> str:
    """The setting that says what may stand around JSON. Raises BadInput."""
    if value not in AROUND:
        raise BadInput(f"{where}: found {value!r}; allowed: {', '.join(AROUND)}")
    return str(value)


def find_json(text: str, lists: bool = True) -> Any:
    """The JSON value in a response that may say more: the whole, else a fence's, else one in its prose.

    In prose that is the first object, or with `lists` the first object or list of objects, else the longest
    value; "[1]" cites a source there.
    Raises JsonNotFound. Tolerant on purpose: it serves measures of what was found; `format` judges the rest.
    """
    if not text.strip():
        raise JsonNotFound(EMPTY)
    fence = _FENCE.search(text)
    for candidate in (text, fence.group(1) if fence else ""):
        try:
            return whole_json(candidate)
        except JsonNotFound:
            continue
    longest, value = 0, None
    for start, end, found in _in_prose(text):
        if isinstance(found, dict) or (lists and found and all(isinstance(item, dict) for item in found)):
            return found
        if end - start > longest and not _CITATION.fullmatch(text, start, end):
            longest, value = end - start, found
    if not longest:
        raise JsonNotFound(NO_JSON)
    return value


def _in_prose(text: str) -> Iterator[tuple[int, int, Any]]:
    """The objects and lists in a text, each with its start and end."""
    place = failed = 0
    while failed < _ATTEMPTS and (opening := _OPENING.search(text, place)):
        try:
            value, place = _DECODER.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            failed, place = failed + 1, opening.end()
        else:
            yield opening.start(), place, value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def flat(value: Any) -> dict[str, Any]:
    """The leaves of JSON by path, such as "address.city" or "tags[0]"; an empty list or object is a leaf."""
    leaves: dict[str, Any] = {}
    waiting = [("", value)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, dict) and item:
            waiting += [(f"{path}.{key}" if path else key, inner) for key, inner in item.items()]
        elif isinstance(item, list) and item:
            waiting += [(f"{path}[{place}]", inner) for place, inner in enumerate(item)]
        else:
            leaves[path] = item
    return leaves


def same(first: Any, second: Any) -> bool:
    """Whether two leaves say the same: numbers by value, texts after SQuAD's normalisation."""
    if isinstance(first, str) and isinstance(second, str):
        return normalise_answer(first) == normalise_answer(second)
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, int | float) and isinstance(second, int | float):
        return first == second or _close(first, second)
    return type(first) is type(second) and first == second


def _close(first: float, second: float) -> bool:
    try:
        return math.isclose(first, second, rel_tol=_TOLERANCE)
    except OverflowError:  # an integer of hundreds of digits
        return False


def wrong_fields(wanted: Any, given: Any) -> list[str]:
    """Paths of the wanted leaves that are absent or differ, sorted."""
    found = flat(given)
    wrong = [path for path, value in flat(wanted).items() if not same(value, found.get(path, _ABSENT))]
    return sorted(wrong)


class JsonFields:
    """Fields of the reference's JSON object that the response's has right, and whether that is all.

    Setting: `around`, what may stand around the response's JSON: "anywhere" by default, "fenced" or "strict".
    """

    def __init__(self, around: str = "anywhere") -> None:
        self._around = check_around(around, "metrics.json_fields.around")
        # 2: which of several values in prose counts.
        version = "2" if around == "anywhere" else f"1; {around}"
        self.measures = tuple(
            fraction(
                name, meaning, "rule", needs=["references"], version=version, verdict=name == "object_match"
            )
            for name, meaning in (
                ("field_accuracy", "fields of the reference that are right"),
                ("object_match", "responses with all fields right and no others"),
            )
        )

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None or not example.references:
            return missing(self.measures, gap(example, response))
        options = [value for text in example.references if isinstance(value := _json(text), dict) and value]
        if not options:
            return missing(self.measures, NO_OBJECT)
        given = _json(response.text, self._around)
        scored = [self._against(wanted, given) for wanted in options]
        return max(scored, key=lambda scores: [score.value or 0.0 for score in scores])

    def _against(self, wanted: Any, given: Any) -> list[Score]:
        total = len(flat(wanted))
        if not isinstance(given, dict):
            parts = (0.0, float(total))
            return [
                Score("field_accuracy", 0.0, NOT_AN_OBJECT, parts),
                Score("object_match", 0.0, NOT_AN_OBJECT),
            ]
        wrong = wrong_fields(wanted, given)
        more = flat(given).keys() - flat(wanted).keys()
        said = [f"wrong: {', '.join(wrong)}"] * bool(wrong) + [
            f"not asked for: {', '.join(sorted(more))}"
        ] * bool(more)
        reason = "; ".join(said)[:_SHOWN] or None
        parts = (float(total - len(wrong)), float(total))
        return [
            Score("field_accuracy", parts[0] / parts[1], reason, parts),
            Score("object_match", float(not said), reason),
        ]


def _json(text: str, around: str = "anywhere") -> Any:
    try:
        return read_json(text, around, lists=False)
    except JsonNotFound:
        return None


NO_SCHEMA = "neither the example nor the plan gives a schema"
_REASON_LIMIT = 300


class FormatCompliance:
    """1 where the whole response is JSON that its schema allows, else 0 with what is wrong as the reason.

    Settings: `schema`, a file (or the schema itself) for the examples without their own, and `around`, what
    may stand around the JSON: nothing ("strict", since a program that reads the response would stumble over
    it), a Markdown fence ("fenced"), or a fence and prose ("anywhere").
    """

    def __init__(self, schema: str | Path | Mapping[str, Any] | None = None, around: str = "strict") -> None:
        self._around = check_around(around, "metrics.format.around")
        where = {
            "strict": "whole and alone",
            "fenced": "alone or in a fence",
            "anywhere": "or have it in them",
        }
        version = {"strict": "1", "fenced": "1; fenced", "anywhere": "2; anywhere"}[around]
        self.measures = (
            fraction(
                "format_compliance",
                f"responses that are JSON, {where[around]}, and valid under the schema",
                "JSON Schema, by jsonschema",
                needs=["schema"],
                version=version,
                verdict=True,
            ),
            fraction(
                "json_parse",
                f"responses that are JSON, {where[around]}, whatever it says",
                "RFC 8259",
                version=version,
                verdict=True,
            ),
        )
        self._default = _default_validator(schema)

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None:
            return missing(self.measures, no_text(response))
        try:
            value = read_json(response.text, self._around)
        except TooDeep as error:
            return missing(self.measures, str(error))
        except JsonNotFound as error:
            fault = str(error)
            return [self._compliance(example, None, fault), Score("json_parse", 0.0, fault)]
        return [self._compliance(example, value), Score("json_parse", 1.0)]

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
                found = fault_of(validator, value)
                fault = found and found[:_REASON_LIMIT]
        except BadInput as error:
            return Score("format_compliance", None, error.message)
        except TooSlow as error:
            return Score("format_compliance", None, str(error))
        except RecursionError:
            return Score("format_compliance", None, str(TooDeep()))
        return Score("format_compliance", float(fault is None), fault)


def _default_validator(schema: str | Path | Mapping[str, Any] | None) -> Validator | None:
    if schema is None:
        return None
    if isinstance(schema, Mapping):
        return compile_schema(dict(schema), "metrics.format.schema")
    if isinstance(schema, str | Path):
        return read_schema(Path(schema))
    raise BadInput(f"metrics.format.schema: expected a file's path or a table, found {schema!r}.")


def read_schema(path: Path) -> Validator:
    """The validator for a schema file; BadInput when it can't be read or used."""
    try:
        schema = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BadInput(f"{path}: the schema can't be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: the schema is not JSON: {error}.") from error
    return compile_schema(schema, str(path))
