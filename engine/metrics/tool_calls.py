"""Tool calls: whether a response makes the calls that are right, and with arguments that its tools take.

Calls with one right set of arguments must have exactly these. Calls with BFCL's possible answers follow its
AST checker for Python (ShishirPatil/gorilla, bfcl_eval/eval_checker/ast_eval/ast_checker.py): values of the
parameter's type, whole numbers for floats too, texts without case and the marks `,./-_*^`, lists in order.
It differs in three ways. Parallel calls are matched as well as they can be: BFCL takes the first that fits,
and may then find none for the next. Names of functions are compared as they are, since models are given them
so: BFCL turns "." into "_" for some. A call that is begun and cannot be read is no abstention, since nothing
was answered: BFCL counts it as one.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.data.calls import ToolCall, find_calls, schema_of
from engine.data.example import Example
from engine.data.schemas import TooSlow, compile_schema, fault_of
from engine.errors import BadInput
from engine.metrics.json_values import TooDeep
from engine.metrics.metric import Score, combine_f1, fraction, missing, no_text
from engine.models.model import Response

UNKNOWN = "the example does not say which calls are right"
NONE_DUE = "no call is right here"
DUE = "a call is right here"
NO_CALL = "the response makes no call"
NO_TOOLS = "the example names no tools"
NO_ARGUMENTS = "neither the right calls nor the response's have arguments"
_REASON = 200
_CALLS = ("calls",)
_IGNORED = re.compile(r"[ ,./\-_*^]")  # in BFCL's texts
_TYPES = {
    "string": str, "integer": int, "number": float, "boolean": bool, "array": list, "object": dict,
}  # fmt: skip


class ToolCalls:
    """Whether calls are made exactly where they are expected, and their functions, arguments and schema."""

    measures = (
        fraction("tool_made", "responses with a call, of those where one is right", "rule", needs=_CALLS),
        fraction("tool_abstained", "responses without, of those where none is right", "rule", needs=_CALLS),
        fraction(
            "tool_function",
            "responses that call the right functions, each as often as it is right",
            "rule",
            needs=_CALLS,
        ),
        fraction(
            "tool_match",
            "responses whose calls are all right, with their arguments, and no others",
            "BFCL's AST rules where values are listed, else equal JSON",
            needs=_CALLS,
            verdict=True,
        ),
        fraction(
            "tool_argument_f1",
            "F1 of arguments: the right ones among those given and those wanted",
            "rule",
            needs=_CALLS,
            combine=combine_f1,
        ),
        fraction(
            "tool_valid",
            "responses whose calls are valid under the schemas of their tools, of those with a call",
            "JSON Schema, by jsonschema",
            needs=["tools"],
        ),
    )

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None:
            return missing(self.measures, no_text(response))
        found = find_calls(response.text, example.tools)
        valid = _valid(example, found.calls, found.problem)
        *others, _ = self.measures
        if not example.calls:
            reason = NONE_DUE if example.calls is not None else UNKNOWN
            scores = missing(others, reason)
            if example.calls is not None:
                made = found.problem or ", ".join(call["name"] for call in found.calls)
                scores[1] = Score("tool_abstained", float(not made), made[:_REASON] or None)
            return [*scores, valid]
        said = found.problem or (None if found.calls else NO_CALL)
        try:
            right, given, wanted, whole = _compared(example, found.calls)
        except RecursionError:
            return [*missing(others, str(TooDeep())), valid]
        named = sorted(call["name"] for call in found.calls) == sorted(call["name"] for call in example.calls)
        wrong = said or _difference(example.calls, found.calls, named)
        f1 = 2 * right / (given + wanted) if given + wanted else None
        return [
            Score("tool_made", float(bool(found.calls)), said),
            Score("tool_abstained", None, DUE),
            Score("tool_function", float(named), None if named else wrong),
            Score("tool_match", float(whole), None if whole else wrong),
            Score(
                "tool_argument_f1",
                f1,
                NO_ARGUMENTS if f1 is None else None if f1 == 1 else wrong,
                (float(right), float(given), float(wanted)),
            ),
            valid,
        ]


def _difference(due: Sequence[ToolCall], made: Sequence[ToolCall], named: bool) -> str:
    names = [", ".join(call["name"] for call in calls) for calls in (due, made)]
    said = "the arguments differ" if named else f"expected {names[0]}, called {names[1]}"
    return said[:_REASON]


def _valid(example: Example, calls: Sequence[ToolCall], problem: str | None) -> Score:
    """Whether all calls are of the example's tools, with arguments that their schemas allow."""
    if not calls and problem is None:
        return Score("tool_valid", None, NO_CALL)
    if not example.tools:
        return Score("tool_valid", None, NO_TOOLS)
    tools = {tool["function"]["name"]: tool for tool in example.tools}
    try:
        for call in calls:
            if problem is None:
                problem = _fault(call, tools.get(call["name"]))
    except (BadInput, TooSlow) as error:
        return Score("tool_valid", None, str(error))
    except RecursionError:
        return Score("tool_valid", None, str(TooDeep()))
    return Score("tool_valid", float(problem is None), problem and problem[:_REASON])


def _fault(call: ToolCall, tool: Mapping[str, Any] | None) -> str | None:
    """What is wrong with a call under the schema of its tool. Raises BadInput for a schema that is none."""
    if tool is None:
        return f"there is no tool {call['name']!r}"
    validator = compile_schema(schema_of(tool) or True, f"the schema of the tool {call['name']}")
    fault = fault_of(validator, call["arguments"])
    return fault and f"{call['name']} {fault}"


@dataclass(frozen=True, slots=True)
class _Pair:
    """A right call beside one that was made: arguments that are right, and those `wanted` of this one."""

    right: int
    wanted: int
    whole: bool


def _compared(example: Example, made: Sequence[ToolCall]) -> tuple[int, int, int, bool]:
    """Arguments that are right, given and wanted, and whether all calls are right, in their best matching."""
    from scipy.optimize import linear_sum_assignment

    due = example.calls or ()
    schemas = {tool["function"]["name"]: schema_of(tool) for tool in example.tools}
    pairs = [[_pair(call, one, schemas.get(call["name"])) for one in made] for call in due]
    # A whole match is worth more than any number of single arguments.
    most = 1 + sum(len(call["arguments"]) for call in made)
    worth = [[pair.right + most * pair.whole for pair in row] for row in pairs]
    rows, columns = linear_sum_assignment(np.array(worth, float).reshape(len(due), len(made)), maximize=True)
    matched = [pairs[row][column] for row, column in zip(rows, columns, strict=True)]
    left = [call for place, call in enumerate(due) if place not in set(rows)]
    wanted = sum(pair.wanted for pair in matched) + sum(len(_wanted(call)) for call in left)
    given = sum(len(call["arguments"]) for call in made)
    whole = len(made) == len(due) and all(pair.whole for pair in matched)
    return sum(pair.right for pair in matched), given, wanted, whole


def _wanted(call: ToolCall) -> set[str]:
    """The arguments that a call must have."""
    if "allowed" in call:
        return {name for name, values in call["allowed"].items() if "" not in values}
    return set(call["arguments"])


def _pair(due: ToolCall, made: ToolCall, schema: Mapping[str, Any] | None) -> _Pair:
    wanted, given = _wanted(due), made["arguments"]
    if due["name"] != made["name"]:
        return _Pair(0, len(wanted), whole=False)
    if "allowed" not in due:
        right = {
            name for name, value in given.items() if name in wanted and _equal(value, due["arguments"][name])
        }
        return _Pair(len(right), len(wanted), right == wanted == given.keys())
    parts = (schema or {}).get("properties")
    right = {
        name
        for name, value in given.items()
        if name in due["allowed"] and (parts is None or name in parts)
        and _is_allowed(value, due["allowed"][name], (parts or {}).get(name))
    }  # fmt: skip
    wanted |= set((schema or {}).get("required") or ())
    return _Pair(len(right), len(wanted | right), right == given.keys() and wanted <= right)


def _equal(first: Any, second: Any) -> bool:
    """Whether two values of JSON are the same: numbers by value, true is no number, keys in any order."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_equal(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_equal, first, second))
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    return bool(first == second)


def _is_allowed(value: Any, options: list[Any], part: Any) -> bool:
    """BFCL's rule for one argument: of the type of its part of the schema, and one of the options.

    A value of the options' own type counts too, where the schema says another: names of variables.
    """
    part = part if isinstance(part, dict) else {}
    wanted, own = _TYPES.get(str(part.get("type"))), _own_type(options)
    if wanted is float and type(value) is int:
        value = float(value)
    items = part.get("items") if wanted is list else None
    nested = _TYPES.get(str(items.get("type"))) if isinstance(items, dict) else None
    if type(value) is wanted:
        if isinstance(value, list) and nested is not None and not _are_of(value, options, nested):
            return False
        if own not in (None, wanted):
            return value in options
    elif type(value) is own:
        if wanted is not None:
            return value in options
    else:
        return False
    if isinstance(value, dict):
        return any(_is_allowed_object(value, option) for option in options if option != "")
    if isinstance(value, list) and (
        nested is dict or (nested is None and all(isinstance(i, dict) for i in value))
    ):
        return any(
            len(value) == len(option) and all(map(_is_allowed_object, value, option)) for option in options
        )
    if isinstance(value, list):
        return [_bare(item) for item in value] in [[_bare(item) for item in option] for option in options]
    if isinstance(value, str):
        return _bare(value) in [_bare(option) for option in options if isinstance(option, str)]
    return value in options


def _own_type(options: Sequence[Any]) -> type | None:
    return next((type(option) for option in options if option != ""), None)


def _are_of(items: list[Any], options: list[Any], nested: type) -> bool:
    """Whether each item has the type that the schema names, or the type of the items of one option."""
    return any(
        not isinstance(option, list) or all(type(item) in (nested, _own_type(option)) for item in items)
        for option in options
    )


def _is_allowed_object(value: Any, option: Any) -> bool:
    """BFCL's rule for an object: a value of those listed for each key, "" where it may be absent."""
    if not isinstance(value, dict) or not isinstance(option, dict):
        return False
    return all(
        isinstance(option.get(key), list) and _bare(item) in [_bare(one) for one in option[key]]
        for key, item in value.items()
    ) and all("" in values for key, values in option.items() if key not in value)


def _bare(value: Any) -> Any:
    """A text as BFCL compares it; any other value as it is."""
    return _IGNORED.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value
