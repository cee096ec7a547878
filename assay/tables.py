"""Tables of results: lists of dictionaries that pandas, Arrow and notebooks take; and errors in one class."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from engine.errors import AssayError, BadInput
from store.errors import StoreError

_ROWS = 50  # of a table in a notebook
_CHARACTERS = 300  # of a cell there


@contextmanager
def in_one_class() -> Iterator[None]:
    """What is wrong with a store is an AssayError, too."""
    try:
        yield
    except StoreError as error:
        raise BadInput(error.message, error.hint) from None


class ResultTable(list[dict[str, Any]]):
    """Rows as dictionaries; a missing value is None. In a notebook it shows as a table."""

    @property
    def columns(self) -> list[str]:
        """The names of all rows' values, in the order in which they first come."""
        return list(dict.fromkeys(name for row in self for name in row))

    def to_pandas(self) -> Any:
        """The rows as a pandas DataFrame. Raises AssayError where pandas is not installed."""
        try:
            import pandas
        except ImportError:
            raise AssayError("pandas is not installed", "pip install pandas") from None
        return pandas.DataFrame(self._by_column())

    def to_arrow(self) -> Any:
        """The rows as an Arrow table; lists, tables and columns of several types become JSON.

        Raises AssayError where pyarrow is not installed.
        """
        try:
            import pyarrow
        except ImportError:
            raise AssayError("pyarrow is not installed", "pip install pyarrow") from None
        columns = self._by_column()
        return pyarrow.table({name: _array(pyarrow, values) for name, values in columns.items()})

    def _by_column(self) -> dict[str, list[Any]]:
        return {_whole(name): [_whole(row.get(name)) for row in self] for name in self.columns}

    def _repr_html_(self) -> str:
        return table_html(self)


def _whole(value: Any) -> Any:
    """A text with its lone surrogates, which pandas and Arrow refuse, as escapes."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _array(pyarrow: Any, values: list[Any]) -> Any:
    if not any(isinstance(value, dict | list | tuple) for value in values):
        try:
            return pyarrow.array(values)
        except (pyarrow.ArrowException, OverflowError):
            pass
    texts = [None if value is None else json.dumps(value, default=str) for value in values]
    return pyarrow.array(texts, pyarrow.string())


def table_html(rows: Iterable[dict[str, Any]], caption: str = "") -> str:
    """The rows as an HTML table, at most 50 of them; every text escaped, with nothing hidden in it."""
    found = ResultTable(rows)
    head = "".join(f"<th>{_shown(name)}</th>" for name in found.columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{_shown(row.get(name))}</td>' for name in found.columns)}</tr>"
        for row in found[:_ROWS]
    )
    titled = f"<caption>{_shown(caption)}</caption>" if caption else ""
    more = f"<p>and {len(found) - _ROWS:,} more rows</p>" if len(found) > _ROWS else ""
    return f"<table>{titled}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _shown(value: Any) -> str:
    from tui.text.gate import MISSING, number, printable

    if value is None:
        return MISSING
    if isinstance(value, float):
        return escape(number(value))
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    cut = text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}…"
    return escape(printable(cut)).replace("\n", "<br>")


def paragraph_html(text: str) -> str:
    """One paragraph, escaped."""
    return f"<p>{_shown(text)}</p>"
