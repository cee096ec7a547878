"""All errors of a plan in one message, with fixes; findings of preflight."""

import difflib
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from engine.errors import KEY_SHAPE, LEAST_SECRET, BadInput, is_secret

_SECRET_KEYS = {"apikey", "apitoken", "accesstoken", "hftoken", "secret", "password"}
_FOUND_LIMIT = 60
_NO_KEYS = (
    "a plan is stored with every run, so it must not hold a key; put the key in an environment "
    'variable and name that here: api_key_env = "MY_KEY"'
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One error: `where` is a key path such as "models[2].adaptor", `message` the error and its fix."""

    where: str
    message: str


def bad_plan(file: str, problems: Sequence[Problem]) -> BadInput:
    """All problems of one plan as one error, in which no key is repeated."""
    lines = [KEY_SHAPE.sub("…", f"{problem.where}: {problem.message}") for problem in problems]
    if len(lines) == 1:
        return BadInput(f"{file}: {lines[0]}")
    return BadInput("\n".join([f"{file}: {len(lines)} problems", *(f"  {line}" for line in lines)]))


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean "…"?)` when a known word is close, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f' (did you mean "{close[0]}"?)' if close else ""


def listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))


def found(value: Any) -> str:
    """A value as a person reads it in an error."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    return text if len(text) <= _FOUND_LIMIT else f"{text[:_FOUND_LIMIT]}…"


def key_path(raw: Any, location: Sequence[int | str]) -> str:
    """`("models", 2, "adapter")` as `models[2].adapter`, and the entry's own name where it has one."""
    path, label, value = "", "", raw
    for part in location:
        shown = f"[{part}]" if isinstance(part, int) else f".{_visible(part)}"
        path += shown if path else shown.removeprefix(".")
        value = _item(value, part)
        if isinstance(part, int) and isinstance(value, dict) and isinstance(value.get("name"), str):
            label = f' ("{_visible(value["name"])}")'
    return path + label


def _visible(text: str) -> str:
    """A key or name from the file, short and without what a terminal would act on."""
    short = text if len(text) <= _FOUND_LIMIT else f"{text[:_FOUND_LIMIT]}…"
    return short if short.isprintable() else ascii(short)


def _item(value: Any, part: int | str) -> Any:
    if isinstance(value, dict):
        return value.get(part)
    return value[part] if isinstance(value, list) and isinstance(part, int) and part < len(value) else None


def validation_problems(raw: Mapping[str, Any], error: ValidationError) -> list[Problem]:
    """The type errors; `unknown_keys` reports unknown keys, since it knows the nearest ones."""
    problems = []
    for item in error.errors(include_url=False):
        if item["type"] == "extra_forbidden":
            continue
        # Settings are a table of our own making: in the file they stand in [metrics] itself.
        where = key_path(raw, [part for part in item["loc"] if part != "settings"])
        if item["type"] == "missing":
            problems.append(Problem(where, "is missing"))
        elif item["type"] == "value_error":
            problems.append(Problem(where, str(item["ctx"]["error"])))
        else:
            allowed = item["msg"].removeprefix("Input should be ")
            hint = (
                nearest(item["input"], re.findall(r"'([^']+)'", allowed))
                if isinstance(item["input"], str)
                else ""
            )
            problems.append(Problem(where, f"found {found(item['input'])}; allowed: {allowed}{hint}"))
    return problems


def unknown_keys(raw: Mapping[str, Any], tables: Mapping[str, Collection[str]]) -> list[Problem]:
    """Keys that no table of a plan has, with the nearest one that the table has.

    `tables` maps a section's name ("" for the top) to its keys; a section may be one table or a list of them.
    """
    problems = []
    for section, keys in tables.items():
        for location, table in _tables_of(raw, section):
            for key in table:
                if key not in keys and not _is_secret_key(key):
                    where = key_path(raw, (*location, key))
                    problems.append(
                        Problem(where, f'unknown key "{_visible(key)}"{_advice(key, section, keys, tables)}')
                    )
    return problems


def _tables_of(raw: Mapping[str, Any], section: str) -> list[tuple[tuple[int | str, ...], Mapping[str, Any]]]:
    value = raw.get(section) if section else raw
    if isinstance(value, Mapping):
        return [((section,) if section else (), value)]
    if isinstance(value, list):
        return [((section, index), item) for index, item in enumerate(value) if isinstance(item, Mapping)]
    return []


def _advice(key: str, section: str, keys: Collection[str], tables: Mapping[str, Collection[str]]) -> str:
    if close := nearest(key, keys):
        return f"{close}; allowed: {listed(keys)}"
    elsewhere = [name for name, others in tables.items() if name and name != section and key in others]
    advice = f" (it belongs in [{elsewhere[0]}])" if elsewhere else ""
    return f"{advice}; allowed: {listed(keys)}"


def _is_secret_key(key: str) -> bool:
    return key.lower().replace("_", "").replace("-", "") in _SECRET_KEYS


def secrets(raw: Any, location: tuple[int | str, ...] = (), root: Any = None) -> list[Problem]:
    """Literal keys anywhere in the plan. It is stored whole with every run, so a key in it would be too."""
    root = raw if root is None else root
    if isinstance(raw, str):
        named = bool(location) and isinstance(location[-1], str) and _is_secret_key(location[-1])
        if not named and not is_secret(raw):
            return []
        return [Problem(key_path(root, location), _NO_KEYS)]
    items = raw.items() if isinstance(raw, Mapping) else enumerate(raw) if isinstance(raw, list) else ()
    return [problem for key, value in items for problem in secrets(value, (*location, key), root)]


def hidden_secrets(text: str, variables: Iterable[str]) -> list[Problem]:
    """Keys where `secrets` does not look, as in a comment: by their look, or held by these variables."""
    keys = [os.environ.get(variable, "").strip() for variable in variables]
    held = [key for key in keys if len(key) >= LEAST_SECRET]
    return [
        Problem(f"line {number}", _NO_KEYS)
        for number, line in enumerate(text.splitlines(), start=1)
        if is_secret(line) or any(key in line for key in held)
    ]


Level = Literal["error", "warning", "ok"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: its subject, its result, and the fix where something is wrong."""

    level: Level
    subject: str
    message: str
    hint: str = ""


def in_units(count: float) -> str:
    """A number of bytes in binary units: 812 MiB, 1.5 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if count >= 100 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def in_words(seconds: float) -> str:
    """A length of time: 48 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.{seconds < 10:d}f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
