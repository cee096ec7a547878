"""What a person set for the app: in a file, in the environment, on the command line; the later the stronger.

The file is `$ASSAY_CONFIG`, else `~/.config/assay/config.toml`:

    theme = "light"      # dark, light, or terminal: the terminal's own colours
    ascii = true         # nothing but ASCII on the screen
    mouse = true         # start with mouse reporting on; M toggles it

    [keys]
    "app.quit" = "Q"
"""

import os
import string
import sys
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

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


KNOWN = ("theme", "ascii", "mouse", "keys")
THEMES = ("dark", "light", "terminal")


class AppSettings(NamedTuple):
    """`theme` None: the one that fits the terminal."""

    theme: str | None = None
    ascii: bool = False
    mouse: bool = False
    read_only: bool = False
    annotator: str = ""  # whose decisions Review records; "": the user's
    blind: bool = False  # whether Review opens with names, scores and verdicts hidden
    keys: Mapping[str, str] = MappingProxyType({})


def settings_file(environment: Mapping[str, str] = os.environ) -> Path:
    if chosen := environment.get("ASSAY_CONFIG"):
        return Path(chosen).expanduser()
    base = environment.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "assay" / "config.toml"


def read_settings(environment: Mapping[str, str] = os.environ, **given: Any) -> AppSettings:
    """The settings that hold; `given` are those of the command line, None where it says nothing.

    Raises BadInput that names the file and the key.
    """
    found = _read_file(settings_file(environment))
    if theme := environment.get("ASSAY_THEME"):
        found = found._replace(theme=_theme(theme, "$ASSAY_THEME"))
    if environment.get("ASSAY_ASCII") or (sys.stdout.encoding or "").replace("-", "").lower() != "utf8":
        found = found._replace(ascii=True)
    if annotator := environment.get("ASSAY_ANNOTATOR", "").strip():
        found = found._replace(annotator=annotator)
    if (theme := given.pop("theme", None)) is not None:
        found = found._replace(theme=_theme(theme, "--theme"))
    return found._replace(**{name: value for name, value in given.items() if value})


def _read_file(file: Path) -> AppSettings:
    # Most people have none: nothing is imported for it then.
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return AppSettings()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: cannot be read: {error}", "fix or delete it") from error
    import tomllib

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{file}: is not TOML: {error}") from error
    for name in table:
        if name not in KNOWN:
            raise BadInput(f'{file}: there is no setting "{name}"', f"the settings are {', '.join(KNOWN)}")
    pass

    theme = table.get("theme")
    return AppSettings(
        theme=None if theme is None else _theme(theme, f"{file}: theme"),
        ascii=_flag(table, "ascii", file),
        mouse=_flag(table, "mouse", file),
        keys=read_keys(table.get("keys", {}), str(file)),
    )


def _theme(name: Any, where: str) -> str:
    if name not in THEMES:
        raise BadInput(f"{where}: there is no theme {name!r}", f"the themes are {', '.join(THEMES)}")
    return str(name)


def _flag(table: Mapping[str, Any], name: str, file: Path) -> bool:
    value = table.get(name, False)
    if not isinstance(value, bool):
        raise BadInput(f"{file}: {name} is {value!r}", "write true or false")
    return value
