"""How a record says what its columns are: hints in annotations, and the one reader of them.

A column's type follows from its annotation: int, float, str and bool are themselves, a Literal is text, and
everything else (lists, mappings, dataclasses) is JSON. `X | None` may be NULL.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache as _cache
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def cached(function: F) -> F:
    """`functools.cache` with the function's own types."""
    return _cache(function)  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Refers:
    """A column that holds the id of a row of another table.

    `owned`: the row belongs to that one, and to its run. `on_delete` is SQLite's word for what then happens.
    """

    table: str
    on_delete: str | None = None

    @property
    def owned(self) -> bool:
        return self.on_delete is not None


@dataclass(frozen=True, slots=True)
class Mentions:
    """A column that holds the id of a row that may be gone, or in another store."""

    table: str


@dataclass(frozen=True, slots=True)
class Hint:
    """Something else about a column."""

    name: str


KEY = Hint("key")
INDEXED = Hint("indexed")
HERE = Hint("here")  # means something on the machine of the run alone, so it stays out of other stores
PARSED = Hint("parsed")  # JSON that the class itself makes a typed value of
ZERO = Hint("zero")  # the table itself fills in 0: the column is younger than its table

Id = Annotated[int, KEY]  # 0 until the store has given one
OfRun = Annotated[int, Refers("run", "CASCADE"), INDEXED]


class Record:
    """What all records have. A record's table is called like it, in lower case and without "Stored"."""

    __slots__ = ()

    UNIQUE: ClassVar[Sequence[str]] = ()  # columns that say together which row it is, beside the key
    INDEXES: ClassVar[Mapping[str, Sequence[str]]] = {}
    NUMBERED: ClassVar[bool] = False  # SQLite numbers the rows though their key is another


R = TypeVar("R", bound=Record)


Kind = Literal["int", "float", "str", "bool", "json"]
_KINDS: Mapping[Any, Kind] = {int: "int", float: "float", str: "str", bool: "bool"}


@dataclass(frozen=True, slots=True)
class Stored:
    """One column of a record's table."""

    name: str
    kind: Kind
    nullable: bool
    hints: tuple[Any, ...]

    @property
    def is_key(self) -> bool:
        return KEY in self.hints

    @property
    def refers(self) -> Refers | None:
        return next((hint for hint in self.hints if isinstance(hint, Refers)), None)

    @property
    def mentions(self) -> Mentions | None:
        return next((hint for hint in self.hints if isinstance(hint, Mentions)), None)


def table_name(record: type[Record]) -> str:
    return record.__name__.removeprefix("Stored").lower()


@cached
def columns(shape: type) -> tuple[Stored, ...]:
    """The columns of a record, or of a shape that has its fields; those of the key first.

    SQLite 3.40 takes a table without row numbers for damaged where its key does not come first.
    """
    hints = get_type_hints(shape, include_extras=True)
    found = (_stored(field.name, hints[field.name]) for field in fields(shape))
    return tuple(sorted(found, key=lambda column: not column.is_key))


@cached
def keys(record: type[Record]) -> tuple[str, ...]:
    """The columns of the primary key."""
    return tuple(column.name for column in columns(record) if column.is_key)


def _stored(name: str, annotation: Any) -> Stored:
    found, hints = _bare(annotation)
    inner = _without_none(found)
    kind = _KINDS.get(str if get_origin(inner) is Literal else inner, "json")
    return Stored(name, kind, inner is not found, hints)


def _bare(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    if get_origin(annotation) is Annotated:
        inner, *hints = get_args(annotation)
        return inner, tuple(hints)
    return annotation, ()


def _without_none(annotation: Any) -> Any:
    """The annotation, of `X | None` X alone."""
    if get_origin(annotation) in (Union, UnionType):
        rest = [each for each in get_args(annotation) if each is not NoneType]
        if len(rest) < len(get_args(annotation)):
            return rest[0] if len(rest) == 1 else Union[tuple(rest)]  # noqa: UP007  made at run time
    return annotation


Read = Callable[[Any], Any]


@cached
def _plan(shape: type, names: tuple[str, ...]) -> tuple[tuple[str, int, Read | None], ...]:
    """For each field its name, the first column of that name, and what makes its value of the column's."""
    return tuple((name, names.index(name), read) for name, read in _readers(shape))


@cached
def _readers(shape: type) -> tuple[tuple[str, Read | None], ...]:
    hints = get_type_hints(shape, include_extras=True)
    return tuple(
        (column.name, _reader(column, _without_none(_bare(hints[column.name])[0])))
        for column in columns(shape)
    )


def _reader(column: Stored, annotation: Any) -> Read | None:
    if column.kind == "bool":
        return lambda value: None if value is None else bool(value)
    if column.kind == "json":
        make = None if PARSED in column.hints else _maker(annotation)
        if make is None:
            return lambda value: None if value is None else json.loads(value)
        return lambda value: None if value is None else make(json.loads(value))
    return None


@cached
def _maker(annotation: Any) -> Read | None:
    """What makes a typed value of parsed JSON; None where the parsed value is it already."""
    found = _without_none(annotation)
    origin, inner = get_origin(found), get_args(found)
    if is_dataclass(found) and isinstance(found, type):
        return lambda value: typed(found, value)
    if origin not in (list, tuple, dict):
        return None
    each = _maker(inner[-1] if origin is dict else inner[0])
    if each is None:
        return tuple if origin is tuple else None
    if origin is dict:
        return lambda value: {key: each(item) for key, item in value.items()}
    return lambda value: origin(each(item) for item in value)


def typed(shape: type[T], value: Mapping[str, Any]) -> T:
    """A dataclass from parsed JSON: unknown keys are left out, missing ones have the defaults."""
    values = {}
    for name, read in _makers(shape):
        if name in value:
            given = value[name]
            values[name] = given if read is None or given is None else read(given)
    return shape(**values)


@cached
def _makers(shape: type) -> tuple[tuple[str, Read | None], ...]:
    hints = get_type_hints(shape, include_extras=True)
    return tuple((field.name, _maker(_bare(hints[field.name])[0])) for field in fields(shape))


def converter(shape: type[T], names: Sequence[str]) -> Callable[[Sequence[Any]], T]:
    """What makes a `shape` of a row whose columns have these names; of two alike the first counts."""
    plan = _plan(shape, tuple(names))

    def convert(row: Sequence[Any]) -> T:
        return shape(**{name: row[at] if read is None else read(row[at]) for name, at, read in plan})

    return convert


def to_json(value: Any) -> str:
    """JSON of what a JSON column holds; a dataclass is its fields that have a value."""
    return json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        found = {field.name: getattr(value, field.name) for field in fields(value)}
        return {name: each for name, each in found.items() if each is not None}
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")


def values_of(record: Record) -> dict[str, Any]:
    """The record's columns by name; an id that the store has yet to give is left out."""
    names = _names(type(record))
    found = {name: getattr(record, name) for name in names}
    if found.get("id") == 0:
        del found["id"]
    return found


@cached
def _names(record: type[Record]) -> tuple[str, ...]:
    return tuple(column.name for column in columns(record))
