"""Values set on the command line in place of the plan's: `--set generation.temperature=0.7`."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from engine.errors import BadInput
from engine.plan.errors import nearest

_INDEX = re.compile(r"\[(\d+)\]")
_BROKEN = ('"', "'", "[", "{")  # what begins with one of these is meant as more than a bare word


def override(text: str, settings: Sequence[str], file: str) -> str:
    """A plan's text with these KEY=VALUE set; comments and everything else stay.

    A key is dotted, with a list's entry by its index or its name: `models[0].path`, `models.base.path`. A
    value is TOML; a bare word is a string. Raises BadInput that names the key, never the value, which may be
    a secret.
    """
    if not settings:
        return text
    try:
        wanted, written = tomllib.loads(text), tomlkit.parse(text)
    except (tomllib.TOMLDecodeError, TOMLKitError, RecursionError) as error:
        raise BadInput(f"{file}: is not TOML: {error}") from error
    for setting in settings:
        key, equals, value = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            raise BadInput(f"--set {key or setting}: must be KEY=VALUE", "as in generation.temperature=0.7")
        path, found = _path(key), _value(key, value)
        _put(wanted, path, key, found)
        _put(written, path, key, found)
    edited = tomlkit.dumps(written)
    if tomllib.loads(edited) != wanted:
        raise BadInput(f"{file}: cannot be overridden as it is written", "change the file itself")
    return edited


def _path(key: str) -> list[str]:
    """The parts of a dotted key, which may be quoted as in TOML."""
    dotted = _INDEX.sub(r".\1", key)
    try:
        table: Any = tomllib.loads(f"{dotted} = 0")
    except (tomllib.TOMLDecodeError, RecursionError):
        table = None
    parts: list[str] = []
    while isinstance(table, dict) and len(table) == 1:
        ((part, table),) = table.items()
        parts.append(part)
    if table != 0 or "\n" in key:
        raise BadInput(f"--set {key}: is not a dotted key", 'as in models.base.path, or models."v1.0".path')
    return parts


def _value(key: str, text: str) -> Any:
    try:
        found = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        if text.lstrip().startswith(_BROKEN):
            raise BadInput(
                f"--set {key}: its value is not TOML", "as in 0.7, true, word, [1, 2], { max = 0.1 }"
            ) from error
        return text
    if found.keys() != {"value"}:
        raise BadInput(f"--set {key}: sets more than one key", "give --set once for each")
    return found["value"]


def _put(table: Any, path: Sequence[str], key: str, value: Any) -> None:
    """Sets a value in nested tables and lists; tables that are not there are made."""
    above: list[str] = []
    for part in path[:-1]:
        if isinstance(table, list):
            table = table[_entry(table, part, above, key)]
        elif isinstance(table, Mapping):
            if part not in table:
                table[part] = {}  # type: ignore[index]  # of dict, or of tomlkit's table
            table = table[part]
        else:
            raise _no_table(above, key)
        above.append(part)
    last = path[-1]
    if isinstance(table, list):
        table[_entry(table, last, above, key)] = value
    elif isinstance(table, Mapping):
        table[last] = value  # type: ignore[index]
    else:
        raise _no_table(above, key)


def _no_table(above: Sequence[str], key: str) -> BadInput:
    return BadInput(f"--set {key}: {'.'.join(above)} is one value, without keys of its own")


def _entry(entries: Sequence[Any], part: str, above: Sequence[str], key: str) -> int:
    """The place of a list's entry, by its name or its index."""
    names = [entry.get("name") if isinstance(entry, Mapping) else None for entry in entries]
    if part in names:
        return names.index(part)
    if part.isdecimal() and int(part) < len(entries):
        return int(part)
    known = [name for name in names if isinstance(name, str)]
    has = f"has {', '.join(known)}" if known else f"has {len(entries)} entries, the first is [0]"
    raise BadInput(f"--set {key}: {'.'.join(above)} has no {part}{nearest(part, known)}", f"it {has}")
