"""The tables, made from the records: one SQLModel class for each of them."""

from types import new_class
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from store.records import RECORDS, Record
from store.records.columns import INDEXED, ZERO, Stored, columns, table_name

_TYPES = {"int": Integer, "float": Float, "str": String, "bool": Boolean}


def _column(column: Stored) -> Column[Any]:
    refers = column.refers
    keys = [ForeignKey(f"{refers.table}.id", ondelete=refers.on_delete)] if refers else []
    return Column(
        column.name,
        # None is NULL, not the JSON text "null".
        _TYPES[column.kind]() if column.kind != "json" else JSON(none_as_null=True),
        *keys,
        primary_key=column.is_key,
        nullable=column.nullable,
        index=INDEXED in column.hints or None,
        server_default=text("0") if ZERO in column.hints else None,
    )


def _model(record: type[Record]) -> type[SQLModel]:
    stored = columns(record)
    arguments: list[Any] = [Index(name, *names) for name, names in record.INDEXES.items()]
    if record.UNIQUE:
        arguments.append(UniqueConstraint(*record.UNIQUE))
    if not record.NUMBERED and not any(column.name == "id" for column in stored):
        arguments.append({"sqlite_with_rowid": False})
    namespace: dict[str, Any] = {
        "__module__": __name__,
        "__doc__": record.__doc__,
        "__tablename__": table_name(record),
        "__table_args__": tuple(arguments),
        "__annotations__": {column.name: Any for column in stored},
        **{column.name: Field(default=None, sa_column=_column(column)) for column in stored},
    }
    return new_class(record.__name__, (SQLModel,), {"table": True}, lambda names: names.update(namespace))


MODELS = {record: _model(record) for record in RECORDS}


def table_of(record: type[Record]) -> Table:
    """The table that holds a record's rows."""
    found: Table = MODELS[record].__table__  # type: ignore[attr-defined]  # SQLModel adds it, unknown to its type
    return found
