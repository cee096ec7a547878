"""Calls of tools: in the text of a model, in data, and in the answers of servers.

The forms are those that models are trained on and vLLM's tool parsers read. A text is read only, never run.
"""

import ast
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NotRequired, TypedDict

from engine.data.cells import Malformed, decode_cell, decoded
from engine.data.reading import finite, type_name

Tools = Sequence[Mapping[str, Any]]
Arguments = dict[str, Any]


class ToolCall(TypedDict):
    """A call of a function. An expected call may have `allowed` values instead of `arguments`.

    `allowed` lists for each parameter the values that are right, and "" where it may be left out.
    """

    name: str
    arguments: NotRequired[Arguments]
    allowed: NotRequired[dict[str, list[Any]]]


@dataclass(frozen=True, slots=True)
class FoundCalls:
    """The calls in a text, in order; `problem` says why one of them cannot be read; then none counts."""

    calls: tuple[ToolCall, ...] = ()
    problem: str | None = None


_LONGEST = 100_000  # characters of a list of calls in Python's form
_TAIL = 40  # characters in which an end token is looked for
_END = re.compile(r"(?:</s>|<\|[a-z_]{1,30}\|>)\Z")
_OPENING = re.compile(
    r"(?<![`'\"“])(?:"
    r"(?P<tagged><tool_call>|<\|tool_call\|>|<function=)|(?P<glaive><functioncall>)|(?P<mistral>\[TOOL_CALLS\])"
    r"|(?P<kimi><\|tool_call_begin\|>)|(?P<deepseek><｜tool▁call▁begin｜>)|(?P<dsml><｜DSML｜invoke\s)"
    r"|(?P<gemma>(?:<start_function_call>|<\|tool_call>)\s*call:)"
    r"|(?P<harmony>(?<!\w)to=functions\.)|(?P<bare><\|python_(?:tag|start)\|>))"
)
_TAG = re.compile(r"<tool_call>\s*(?=<function=)|(?:<tool_call>|<\|tool_call\|>)|<function=([^>\n]+)>")
_PARAMETER = re.compile(r"<parameter=([^>\n]+)>\n?(.*?)\n?(?:</parameter>|(?=<parameter=)|\Z)", re.DOTALL)
_MISTRAL = re.compile(r"\s*([^\s\[{]+)\s*(?:\[CALL_ID\][^\[{]*)?(?:\[ARGS\])?\s*(?=\{)")
_DEEPSEEK = re.compile(
    r"<｜tool▁call▁begin｜>\s*(?:function\s*<｜tool▁sep｜>\s*([^\n{]+?)\s*```json|([^<\n]+?)\s*<｜tool▁sep｜>)"
)
_KIMI = re.compile(
    r"<\|tool_call_begin\|>\s*(?:functions\.)?([^\s<:]+)(?::\d+)?\s*<\|tool_call_argument_begin\|>"
)
_GLM = re.compile(r"\s*((?!(?:null|true|false)\b)[A-Za-z_][\w.\-]*)\s*(?=<arg_key>|</tool_call>)")
_GLM_PARAMETER = re.compile(
    r"<arg_key>([^<]*)</arg_key>\s*<arg_value>((?:(?!<arg_key>).)*?)</arg_value>", re.DOTALL
)
_INVOKE = re.compile(r'<｜DSML｜invoke\s+name="([^"]+)"\s*>(.*?)(?:</｜DSML｜invoke>|\Z)', re.DOTALL)
_DSML = re.compile(
    r'<｜DSML｜parameter\s+name="([^"]+)"\s+string="(true|false)"\s*>((?:(?!<｜DSML｜).)*)</｜DSML｜parameter>',
    re.DOTALL,
)
_GEMMA = re.compile(r"(?:<start_function_call>|<\|tool_call>)\s*call:\s*([^\s{]+)\s*")
_GEMMA_TEXT = re.compile(r'(?:<escape>(.*?)<escape>|<\|"\|>(.*?)<\|"\|>)', re.DOTALL)
_GEMMA_KEY = re.compile(r"([{,]\s*)([A-Za-z_][\w.\-]*)\s*:")
_HARMONY = re.compile(r"(?<!\w)to=functions\.([^\s<]+)[^{]{0,100}?<\|message\|>\s*")
_FENCED = re.compile(r"```(?:json|tool_call|tool_code)?[ \t]*\n(.*?)\n?```", re.DOTALL)
_LIKE_CALL = re.compile(r"""\[?\s*\{\s*"(?:type|name|function|arguments|parameters)"\s*:""")
_ARGUMENTS = re.compile(r'"(?:arguments|parameters)"\s*:')
_PYTHONIC = re.compile(r"\[\s*[A-Za-z_][\w.]*\(")
_QUOTED_ARGUMENTS = re.compile(r"""["']arguments["']\s*:\s*'(\{.*\})'\s*\}\s*$""", re.DOTALL)
_NAME = re.compile(r"""["']name["']\s*:\s*["']([^"']+)["']""")


# Marks of these forms that are special tokens.
_MARK = re.compile(
    r"</?tool_call>|<\|/?tool_call\|>|<\|tool_call>|<tool_call\|>|<functioncall>|<(?:start|end)_function_call>"
    r"|<\|python_(?:tag|start|end)\|>|</?arg_(?:key|value)>|\[(?:TOOL_CALLS|CALL_ID|ARGS)\]|｜DSML｜"
    r"|<｜tool▁(?:calls?▁(?:begin|end)|sep)｜>|<\|tool_call(?:s_section)?_(?:argument_)?(?:begin|end)\|>"
    r'|<escape>|<\|"\|>|<\|(?:channel|constrain|message)\|>'
)


def is_mark(token: str) -> bool:
    """Whether a special token is part of a call's form, so that texts have to keep it."""
    return _MARK.fullmatch(token) is not None


def find_calls(text: str, tools: Tools = ()) -> FoundCalls:
    """The calls in a model's text: those of the form whose mark comes first, or the whole text.

    Read are Hermes and Qwen (`<tool_call>`), Qwen3-Coder's XML, whose values take the types of the `tools`,
    GLM, Granite, Llama (`<|python_tag|>`, JSON alone, several by `;`), Python's form in brackets, Mistral
    (`[TOOL_CALLS]`), DeepSeek V3 to V4, Kimi, Gemma, gpt-oss and glaive. The last call may lack its closing
    mark. As in vLLM, one call that cannot be read voids all of a text.
    """
    try:
        opening = _OPENING.search(text)
        read = _READERS[opening.lastgroup or ""] if opening else _alone
        calls = tuple(read(text[opening.start() :] if opening else text, tools))
        json.dumps(calls, ensure_ascii=False).encode()  # half of a character is a ValueError
        return FoundCalls(calls, "a call begins and is cut off" if opening and not calls else None)
    except Malformed as error:
        return FoundCalls((), error.message)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        said = "is nested too deeply" if isinstance(error, RecursionError) else str(error)
        return FoundCalls((), f"the call cannot be read: {said}"[:200])


def _tagged(text: str, tools: Tools) -> Iterator[ToolCall]:
    place = 0
    while tag := _TAG.search(text, place):
        place = tag.end()
        if tag[1] is not None:
            end = _until(text, place, "</function>", "<tool_call>")
            yield _of_xml(tag[1].strip(), text[place:end], _PARAMETER, tools)
            place = end
        elif named := _GLM.match(text, place):
            end = _until(text, place, "</tool_call>")
            yield _of_xml(named[1], text[named.end() : end], _GLM_PARAMETER, tools)
            place = end
        elif not text.startswith("<function=", place):
            value, place = _json_at(text, place)
            if text[place:].lstrip()[:1] not in ("", "<"):
                raise Malformed("the call is not JSON: text follows it within its mark")
            yield from _of_json(value)


def _until(text: str, place: int, *marks: str) -> int:
    """Where the first of the marks is, else the text's end."""
    return min((found for mark in marks if (found := text.find(mark, place)) >= 0), default=len(text))


def _of_xml(name: str, body: str, parameters: re.Pattern[str], tools: Tools) -> ToolCall:
    if body.lstrip().startswith("{"):  # Llama's form of user functions
        return _checked(name, _json_at(body, 0)[0])
    properties = _properties(name, tools)
    arguments = {
        match[1]: _cast(match[2], properties.get(match[1], {}).get("type"))
        for match in parameters.finditer(body)
    }
    return ToolCall(name=name, arguments=arguments)


def _properties(name: str, tools: Tools) -> dict[str, Any]:
    tool = next((tool for tool in tools if tool["function"]["name"] == name), None)
    properties = (schema_of(tool) or {}).get("properties") if tool else None
    found = properties if isinstance(properties, dict) else {}
    return {key: part for key, part in found.items() if isinstance(part, dict)}


def _cast(text: str, kind: object) -> Any:
    """A text as a value of its parameter's type; unchanged if it is not one, or if the type is unknown."""
    if kind in (None, "string"):
        return text
    if kind == "boolean" and text.strip().lower() in ("true", "false"):
        return text.strip().lower() == "true"
    try:
        value, end = _json_at(text, 0)
    except (ValueError, RecursionError):
        return text
    return text if text[end:].strip() or isinstance(value, str) else value


def _mistral(text: str, tools: Tools) -> Iterator[ToolCall]:
    place = 0
    while (place := text.find("[TOOL_CALLS]", place)) >= 0:
        place += len("[TOOL_CALLS]")
        if (named := _MISTRAL.match(text, place)) is not None:
            value, place = _json_at(text, named.end())
            yield _checked(named[1], value)
        else:
            value, place = _json_at(text, place)
            yield from _of_json(value)


def _named_json(form: re.Pattern[str]) -> Callable[[str, Tools], Iterator[ToolCall]]:
    """The reader of a form in which JSON follows a pattern that has the name."""

    def read(text: str, tools: Tools) -> Iterator[ToolCall]:
        place = 0
        while named := form.search(text, place):
            value, place = _json_at(text, named.end())
            yield _checked(next(name for name in named.groups() if name).strip(), value)

    return read


def _dsml(text: str, tools: Tools) -> Iterator[ToolCall]:
    for invoked in _INVOKE.finditer(text):
        arguments = {
            name: value if is_text == "true" else _json_at(value, 0)[0]
            for name, is_text, value in _DSML.findall(invoked[2])
        }
        yield ToolCall(name=invoked[1], arguments=arguments)


def _gemma(text: str, tools: Tools) -> Iterator[ToolCall]:
    texts: list[str] = []

    def keep(match: re.Match[str]) -> str:
        texts.append(match[1] if match[1] is not None else match[2])
        return f'"\\u0000{len(texts) - 1}"'

    plain = _GEMMA_KEY.sub(r'\1"\2":', _GEMMA_TEXT.sub(keep, text))
    place = 0
    while named := _GEMMA.search(plain, place):
        value, place = _json_at(plain, named.end())
        yield _checked(named[1], _with_texts(value, texts))


def _with_texts(value: Any, texts: list[str]) -> Any:
    if isinstance(value, dict):
        return {key: _with_texts(item, texts) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_texts(item, texts) for item in value]
    return texts[int(value[1:])] if isinstance(value, str) and value.startswith("\0") else value


def _glaive(text: str, tools: Tools) -> Iterator[ToolCall]:
    for part in text.split("<functioncall>")[1:]:
        for call in calls_of(part.replace("<|endoftext|>", "").strip(), "the call"):
            yield call["function"]


def _marked(text: str, tools: Tools) -> Iterator[ToolCall]:
    found = list(_alone(re.sub(r"<\|python_(?:tag|start|end)\|>", "", text), tools))
    if not found:
        raise Malformed("what follows the call's mark is neither JSON nor a call in Python's form")
    yield from found


def _alone(text: str, tools: Tools) -> Iterator[ToolCall]:
    """The calls of a text that is nothing else: JSON, several by `;`, or Python's form in brackets."""
    text = text.strip()
    while ended := _END.search(text, max(len(text) - _TAIL, 0)):
        text = text[: ended.start()].rstrip()
    if fenced := _FENCED.fullmatch(text):
        text = fenced[1].strip()
    if _PYTHONIC.match(text) and text.endswith("]"):
        yield from _pythonic(text)
    elif re.match(r"[A-Za-z_][\w.]*\(", text) and text.endswith(")") and "." in text.partition("(")[0]:
        yield from _pythonic(f"[{text}]")  # Llama's built-in tools: brave_search.call(query="…")
    elif _LIKE_CALL.match(text):
        yield from _listed(text)


def _listed(text: str) -> Iterator[ToolCall]:
    values, place = [], 0
    try:
        while place < len(text):
            value, place = _json_at(text, place)
            values += value if isinstance(value, list) else [value]
            place = len(text) - len(text[place:].lstrip("; \t\r\n"))
    except ValueError as error:
        if '"name"' in text and _ARGUMENTS.search(text):
            raise Malformed(f"the call is not JSON: {error}") from error
        return
    if values and all(_is_call(value) for value in values):
        for value in values:
            yield from _of_json(value)


def _is_call(value: Any) -> bool:
    function = _function(value)
    return isinstance(function, dict) and isinstance(function.get("name"), str) and len(function) > 1


def _function(item: Any) -> Any:
    """The name and arguments of a call in OpenAI's form, in {"function": name, …}, or in neither."""
    function = item.get("function", item) if isinstance(item, dict) else item
    function = {**item, "name": function} if isinstance(function, str) else function
    if not isinstance(function, dict):
        return function
    return {key: function[key] for key in ("name", "arguments", "parameters") if key in function}


def _pythonic(text: str) -> Iterator[ToolCall]:
    if len(text) > _LONGEST:
        raise Malformed(f"the calls have more than {_LONGEST:,} characters")
    try:
        with warnings.catch_warnings():  # of escapes that Python does not know
            warnings.simplefilter("ignore")
            body = ast.parse(text, mode="eval").body
    except (SyntaxError, MemoryError) as error:
        raise Malformed("the calls are not in Python's form") from error
    for call in body.elts if isinstance(body, ast.List) else []:
        if not isinstance(call, ast.Call) or call.args or not all(word.arg for word in call.keywords):
            raise Malformed("the calls are not in Python's form: name(parameter=value)")
        name = ast.unparse(call.func)
        if not re.fullmatch(r"[A-Za-z_][\w.]*", name):
            raise Malformed("the calls are not in Python's form: name(parameter=value)")
        yield _checked(name, {str(word.arg): _literal(word.value) for word in call.keywords})


_CONSTANTS = {"true": True, "false": False, "null": None}


def _literal(node: ast.expr) -> Any:
    """A value written in Python or with JSON's constants; tuples are lists."""
    if isinstance(node, ast.Name) and node.id in _CONSTANTS:
        return _CONSTANTS[node.id]
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {str(_literal(key)): _literal(value) for key, value in pairs if key is not None}
    value = ast.literal_eval(node)
    if not isinstance(value, str | int | float | bool | None):
        raise Malformed("a value of the call has no JSON form")
    return finite(value) if isinstance(value, float) else value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


_DECODER = json.JSONDecoder(parse_float=finite, parse_constant=_refuse)


def _json_at(text: str, place: int) -> tuple[Any, int]:
    """The JSON value at a place and where it ends. Raises ValueError."""
    while place < len(text) and text[place].isspace():
        place += 1
    return _DECODER.raw_decode(text, place)


def _of_json(value: Any) -> Iterator[ToolCall]:
    for item in value if isinstance(value, list) else [value]:
        call = _function(item)
        given = call.get("arguments", call.get("parameters")) if isinstance(call, dict) else None
        if isinstance(given, str) and given.strip():
            call = {**call, "arguments": _DECODER.decode(given)}  # as strict as a program
        yield read_call(call, "the call")["function"]


def _checked(name: str, arguments: Any) -> ToolCall:
    found: ToolCall = read_call({"name": name, "arguments": arguments}, "the call")["function"]
    return found


_READERS: dict[str, Callable[[str, Tools], Iterator[ToolCall]]] = {
    "tagged": _tagged,
    "glaive": _glaive,
    "mistral": _mistral,
    "kimi": _named_json(_KIMI),
    "deepseek": _named_json(_DEEPSEEK),
    "dsml": _dsml,
    "gemma": _gemma,
    "harmony": _named_json(_HARMONY),
    "bare": _marked,
}


def written_calls(message: Mapping[str, Any]) -> str:
    """The calls beside the text of a server's message, in Hermes's form; "" without any.

    Arguments that are no JSON stay the text that they came as, and what is no call is written as it is:
    `find_calls` says what is wrong with them.
    """
    calls = message.get("tool_calls") or message.get("function_call") or ()
    return "\n".join(
        f"<tool_call>\n{json.dumps(_as_sent(call), ensure_ascii=False)}\n</tool_call>"
        for call in (calls if isinstance(calls, list) else [calls] if calls else [])
    )


def _as_sent(call: Any) -> Any:
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return call
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = _DECODER.decode(arguments)
        except (ValueError, RecursionError):
            arguments = function["arguments"]
    return {"name": function.get("name"), "arguments": arguments}


def with_calls(text: str | None, message: Mapping[str, Any]) -> str | None:
    """A message's text with its calls below it: None where it has neither."""
    return "\n".join(part for part in (text, written_calls(message)) if part) or text


def calls_of(content: Any, where: str) -> list[dict[str, Any]]:
    """The calls in a text of JSON or in a value; glaive's arguments may be JSON in single quotes."""
    if isinstance(content, str):
        try:
            content = decode_cell(content)
        except ValueError as error:
            # glaive writes the arguments as JSON in single quotes, whatever quotes are inside.
            quoted, name = _QUOTED_ARGUMENTS.search(content), _NAME.search(content)
            if quoted is None or name is None:
                raise Malformed(f"{where}: the call {error}") from error
            content = {"name": name[1], "arguments": quoted[1]}
    calls = content if isinstance(content, list) else [content]
    return [read_call(call, where) for call in calls]


def read_call(item: Any, where: str) -> dict[str, Any]:
    """One call as {"type", "function": {"name", "arguments"}}, and its "id" where it has one.

    Raises Malformed naming the place.
    """
    if not isinstance(item, dict):
        raise Malformed(f"{where}: found {type_name(item)}, where a call was expected")
    function, place = (item["function"], f"{where}.function") if "function" in item else (item, where)
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise Malformed(f'{place}: the call has no "name"')
    arguments = function.get("arguments", function.get("parameters"))
    if isinstance(arguments, str):
        arguments = decoded(arguments, f"{place}.arguments") if arguments.strip() else {}
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise Malformed(f"{place}.arguments: found {type_name(arguments)}, where an object was expected")
    call = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
    return {"id": item["id"], **call} if isinstance(item.get("id"), str) and item["id"] else call


def has_tools(value: Any) -> bool:
    """Whether a column holds tools, or something meant to be tools: objects or JSON."""
    if isinstance(value, str):
        return value.lstrip().startswith(("[", "{", '"[', '"{')) and value.strip() not in ("[]", "{}")
    if isinstance(value, list) and value:
        return all(isinstance(item, dict) or (isinstance(item, str) and has_tools(item)) for item in value)
    return isinstance(value, dict) and bool(value)


def read_tools(value: Any, key: str) -> tuple[dict[str, Any], ...]:
    """The tools as {"type": "function", "function": {"name", …}}, from a list, JSON, or a list of JSON texts.

    Raises Malformed for what is no JSON, a tool without a name, and parameters that are no JSON schema.
    """
    if isinstance(value, str):
        value = decoded(value, key)
    if isinstance(value, str):  # JSON in JSON
        value = decoded(value, key)
    items = value if isinstance(value, list) else [value]
    return tuple(_tool(item, f"{key}[{place}]") for place, item in enumerate(items))


def _tool(item: Any, where: str) -> dict[str, Any]:
    if isinstance(item, str):
        item = decoded(item, where)
    function = item.get("function", item) if isinstance(item, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise Malformed(
            f'{where}: a tool is {{"type": "function", "function": {{"name", "parameters"}}}}; found no name'
        )
    parameters = function.get("parameters")
    if isinstance(parameters, str) and parameters.strip():
        parameters = decoded(parameters, f"{where}.parameters")
        function = {**function, "parameters": parameters}
    if parameters not in (None, "") and not isinstance(parameters, dict):
        raise Malformed(
            f"{where}.parameters: found {type_name(parameters)}, where a JSON schema was expected"
        )
    outer = item if "function" in item else {}
    tool = {**outer, "type": "function", "function": function}
    schema = schema_of(tool)
    if schema and (problem := _schema_problem(json.dumps(schema, sort_keys=True))):
        raise Malformed(f"{where}.parameters: is not a valid JSON schema: {problem}")
    return tool


# Python's names of types, as tools made from signatures have them; None: anything.
_PYTHON_TYPES = {
    "str": "string", "int": "integer", "float": "number", "bool": "boolean", "list": "array", "set": "array",
    "tuple": "array", "dict": "object", "any": None, "optional": None, "union": None,
}  # fmt: skip
_JSON_TYPES = {"string", "integer", "number", "boolean", "array", "object", "null"}


def schema_of(tool: Mapping[str, Any]) -> dict[str, Any] | None:
    """The JSON schema of a tool's arguments, with JSON's names of types; None where it has none.

    xLAM's parameters, which are no schema but its properties, become one; types that JSON lacks are left out.
    """
    parameters = tool["function"].get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        return None
    found: dict[str, Any] = json.loads(json.dumps(parameters), object_hook=_with_json_types)
    if "properties" in found or not all(isinstance(part, dict) for part in found.values()):
        return found
    parts = {name: {**part} for name, part in found.items()}
    for part in parts.values():
        if part.get("type", "null") not in _JSON_TYPES:
            del part["type"]
    return {"type": "object", "properties": parts}


def _with_json_types(schema: dict[str, Any]) -> dict[str, Any]:
    named = schema.get("type")
    if not isinstance(named, str) or named in _JSON_TYPES:
        return schema
    kind = re.split(r"[,\[]", named)[0].strip().lower()  # "List[int]", "str, optional"
    kind = _PYTHON_TYPES.get(kind, named)
    rest = {key: value for key, value in schema.items() if key != "type"}
    return rest if kind is None else {**schema, "type": kind}


@lru_cache(maxsize=1024)
def _schema_problem(schema: str) -> str:
    from engine.data.schemas import schema_fault

    return schema_fault(json.loads(schema))
