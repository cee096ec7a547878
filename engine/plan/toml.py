"""Values and plans as TOML has them: of a plan that was put together the text."""

import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def plan_text(tables: Mapping[str, Any]) -> str:
    """A plan's tables as a file has them. Raises ValueError for what TOML cannot hold."""
    plain = {key: value for key, value in tables.items() if not _is_table(value) and not _are_tables(value)}
    lines = _pairs(plain)
    for key, value in tables.items():
        if _is_table(value):
            lines += ["", f"[{_key(key)}]", *_pairs(value)]
        elif _are_tables(value):
            for table in value:
                lines += ["", f"[[{_key(key)}]]", *_pairs(table)]
    return "\n".join(lines).lstrip("\n") + "\n"


def toml(value: Any) -> str:
    """A value as TOML has it. Raises ValueError for one that it cannot hold."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{"".join(map(_escaped, value))}"'
    if isinstance(value, Mapping):
        return f"{{ {', '.join(_pairs(value))} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, int | float):
        return str(value)
    raise ValueError(f"a value of type {type(value).__name__} is no value of a plan")


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {toml(value)}" for key, value in table.items()]


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise ValueError(f"a key of type {type(key).__name__} is no key of a plan")
    return key if _BARE.fullmatch(key) else toml(key)


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _are_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_table, value))


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    return f"\\u{ord(character):04X}" if ord(character) < 1 << 16 else f"\\U{ord(character):08X}"
