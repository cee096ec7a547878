"""Kinds of columns that several tables have."""

from typing import Any

from sqlalchemy import JSON, Column
from sqlmodel import Field


def json() -> Any:
    return Field(default=None, sa_column=Column(JSON, nullable=True))


def run() -> Any:
    return Field(foreign_key="run.id", ondelete="CASCADE", index=True)
