"""A person's own keys: read from the settings file, checked, and put in the place of the app's.

[keys]
"review.left" = "h"              # an action by its name; `assay keys` lists them
"review.right" = ["l", "right"]  # or several keys
"""

import string
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from textual.keys import Keys, _character_to_key, format_key

from engine.errors import BadInput
from tui.keys import REGISTRY, Action

# What most terminals send for another key: backspace, tab, enter, line feed.
AMBIGUOUS = {"ctrl+h": "backspace", "ctrl+i": "tab", "ctrl+m": "enter", "ctrl+j": "a line feed"}
_NAMED = frozenset(key.value for key in Keys) | frozenset(
    _character_to_key(character) for character in string.punctuation + " "
)
_SHARED = ("go", "app")  # alive on every screen


def read_keys(table: Any, file: str) -> dict[str, str]:
    """Keys by action, in Textual's names, joined by commas.

    Raises BadInput that names the file and every action, key and clash that is wrong, with what is near.
    """
    if not isinstance(table, dict):
        raise BadInput(f"{file}: [keys] is not a table of actions and their keys", 'write "app.quit" = "Q"')
    problems: list[str] = []
    chosen: dict[str, str] = {}
    for action, value in table.items():
        if action not in REGISTRY:
            problems.append(f'there is no action "{action}"{_nearest(action, REGISTRY)}')
            continue
        keys = [value] if isinstance(value, str) else value
        if not isinstance(keys, list) or not keys or not all(isinstance(key, str) and key for key in keys):
            problems.append(f'"{action}" takes a key or a list of keys')
            continue
        named = [_named(key) for key in keys]
        problems += [f'"{action}": {problem}' for problem in _key_problems(keys, named)]
        chosen[action] = ",".join(key for key in named if key is not None)
    problems += _clashes(chosen)
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise BadInput(f"{file}: these keys cannot be used:\n{lines}", "`assay keys` lists actions and keys")
    return chosen


def rebind(chosen: Mapping[str, str]) -> None:
    """Puts these keys in the place of the app's own; to be called before any screen is imported."""
    REGISTRY.update(registry_with(chosen))


def registry_with(chosen: Mapping[str, str]) -> dict[str, Action]:
    """Every action with the keys that it has then."""
    changed = {
        action: REGISTRY[action]._replace(keys=keys, shown=" ".join(map(format_key, keys.split(","))))
        for action, keys in chosen.items()
    }
    return {**REGISTRY, **changed}


def _named(key: str) -> str | None:
    """The key by Textual's name; None where there is no such key."""
    if len(key) == 1:
        return _character_to_key(key)
    if key in _NAMED:
        return key
    *modifiers, last = key.split("+")
    if not modifiers or not set(modifiers) <= {"ctrl", "alt", "shift"}:
        return None
    name = _named(last) if last else None
    return None if name is None else "+".join([*modifiers, name])


def _key_problems(keys: list[str], named: list[str | None]) -> Iterator[str]:
    for key, name in zip(keys, named, strict=True):
        if name is None:
            yield f'there is no key "{key}"{_nearest(key, _NAMED)}'
        elif name in AMBIGUOUS:
            yield f'"{key}" cannot be told from {AMBIGUOUS[name]} in most terminals'


def _clashes(chosen: Mapping[str, str]) -> Iterator[str]:
    """Keys that would mean two things on one screen."""
    after = {action: chosen.get(action, key.keys) for action, key in REGISTRY.items()}
    for action, keys in chosen.items():
        for other, others in after.items():
            if other == action or not _meet(action, other) or (other in chosen and other < action):
                continue
            for key in set(keys.split(",")) & set(others.split(",")):
                yield f'"{key}" would be both {action} and {other}'


def _meet(action: str, other: str) -> bool:
    """Whether two actions can be alive on the same screen, as far as their names tell."""
    one, two = action.split(".")[0], other.split(".")[0]
    return one == two or one in _SHARED or two in _SHARED


def _nearest(name: str, known: Mapping[str, Any] | frozenset[str]) -> str:
    found = get_close_matches(name, known, 1, 0.5)
    return f'; did you mean "{found[0]}"?' if found else ""


def template() -> str:
    """A settings file with every action and its key, all commented out."""
    lines = ["# assay's settings. Take the # off a line to change it.", "", '# theme = "dark"', "", "[keys]"]
    for action, key in REGISTRY.items():
        keys = key.keys.split(",")
        value = f'"{keys[0]}"' if len(keys) == 1 else str(keys).replace("'", '"')
        lines.append(f'# "{action}" = {value}  # {key.help}')
    return "\n".join(lines) + "\n"
