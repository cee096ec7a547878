"""Structured values in the cells of a table: JSON, or what pandas and NumPy print into a CSV file."""

import ast
import re
from collections.abc import Iterator
from typing import Any

from engine.data.reading import decode_json

LONGEST = 10_000_000  # characters of a cell
_DEEPEST = 50
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>[uU]?'(?:[^'\\]|\\.)*'|[uU]?"(?:[^"\\]|\\.)*")
    | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)
    | (?P<name>[A-Za-z_][\w.]*)
    | (?P<mark>[][(){},:=])
    )""",
    re.VERBOSE | re.DOTALL,
)
_NAMES: dict[str, Any] = {
    "True": True, "False": False, "None": None, "true": True, "false": False, "null": None, "nan": None,
    "NaN": None, "np.True_": True, "np.False_": False, "np.nan": None,
}  # fmt: skip
# NumPy 2 shows its scalars with their type: np.str_('a').
_WRAPPERS = re.compile(r"(np\.|numpy\.)?(array|str_|bool_|u?int\d*|float\d*)")
_CLOSING = {"[": "]", "(": ")", "{": "}"}


class Malformed(ValueError):
    """What is wrong with a record, without its file and line; `shapes` also lists the known shapes."""

    def __init__(self, message: str, shapes: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.shapes = shapes


def decode_cell(text: str) -> Any:
    """The value in a cell: JSON, a Python literal, or NumPy's print of an array, whose items have no commas.

    Nothing is evaluated. Raises ValueError for any other text, and for one that is too long or too deep.
    """
    if len(text) > LONGEST:
        raise ValueError(f"has more than {LONGEST:,} characters")
    try:
        return decode_json(text)
    except ValueError as error:
        try:
            return _Literal(text).whole()
        except (ValueError, SyntaxError, StopIteration):
            raise ValueError(f"is neither JSON nor a Python literal ({error})") from error


def listed(cell: str) -> Any:
    """The list or object that a cell holds, else the cell itself."""
    if not cell.lstrip().startswith(("[", "{", "(", "array(")):
        return cell
    try:
        return decode_cell(cell)
    except ValueError:
        return cell


def decoded(value: str, key: str) -> Any:
    """As `decode_cell`; raises Malformed that names the key."""
    try:
        return decode_cell(value)
    except ValueError as error:
        raise Malformed(f"{key}: {error}") from error


class _Literal:
    """One literal, read token by token."""

    def __init__(self, text: str) -> None:
        self._tokens = self._all(text)
        self._kind, self._token = "", ""
        self._next()

    def whole(self) -> Any:
        value = self._value(0)
        if self._kind != "end":
            raise ValueError("text after the value")
        return value

    @staticmethod
    def _all(text: str) -> Iterator[tuple[str, str]]:
        text, place = text.strip(), 0
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None or match.lastgroup is None:
                raise ValueError("unknown token")
            yield match.lastgroup, match[match.lastgroup]
            place = match.end()
        yield "end", ""

    def _next(self) -> None:
        self._kind, self._token = next(self._tokens)

    def _take(self, mark: str) -> bool:
        if self._kind == "mark" and self._token == mark:
            self._next()
            return True
        return False

    def _value(self, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        kind, token = self._kind, self._token
        self._next()
        if kind == "text":
            return ast.literal_eval(token.replace("\n", "\\n").replace("\r", "\\r"))
        if kind == "number":
            return ast.literal_eval(token.lstrip("+"))
        if kind == "name" and token in _NAMES:
            return _NAMES[token]
        if kind == "name" and _WRAPPERS.fullmatch(token) and self._take("("):
            return self._wrapped(depth)
        if kind == "mark" and token == "{":
            return self._object(depth)
        if kind == "mark" and token in ("[", "("):
            return self._items(_CLOSING[token], depth)
        raise ValueError("no value")

    def _wrapped(self, depth: int) -> Any:
        """The value in array([…], dtype=object) and the like."""
        value = self._value(depth + 1)
        while not self._take(")"):
            if self._kind == "end" or self._token in _CLOSING:
                raise ValueError("no array")
            self._next()
        return value

    def _items(self, closing: str, depth: int) -> list[Any]:
        items = []
        while not self._take(closing):
            items.append(self._value(depth + 1))
            self._take(",")
        return items

    def _object(self, depth: int) -> dict[str, Any] | list[Any]:
        found: dict[str, Any] = {}
        while not self._take("}"):
            key = self._value(depth + 1)
            if not self._take(":"):
                if found or not isinstance(key, str):
                    raise ValueError("no key")
                self._take(",")
                return [key, *self._items("}", depth)]  # a set of texts
            found[str(key)] = self._value(depth + 1)
            self._take(",")
        return found
