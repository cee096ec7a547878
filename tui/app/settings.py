"""What a person set for the app: in a file, in the environment, on the command line; the later the stronger.

The file is `$ASSAY_CONFIG`, else `~/.config/assay/config.toml`:

    theme = "light"      # dark, light, terminal: the terminal's own colours, or one of themes/NAME.toml
    ascii = true         # nothing but ASCII on the screen
    mouse = true         # start with mouse reporting on; M toggles it

    [keys]
    "app.quit" = "Q"
"""

import os
import string
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, ParamSpec, TypeVar

from textual.keys import Keys, _character_to_key, format_key
from textual.theme import Theme

from engine.errors import BadInput
from tui.app.themes import THEMES, nearest, read_theme
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
            problems.append(f'there is no action "{action}"{nearest(action, REGISTRY)}')
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
            yield f'there is no key "{key}"{nearest(key, _NAMED)}'
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


def template() -> str:
    """A settings file with every action and its key, all commented out."""
    lines = ["# assay's settings. Take the # off a line to change it.", "", '# theme = "dark"', "", "[keys]"]
    for action, key in REGISTRY.items():
        keys = key.keys.split(",")
        value = f'"{keys[0]}"' if len(keys) == 1 else str(keys).replace("'", '"')
        lines.append(f'# "{action}" = {value}  # {key.help}')
    return "\n".join(lines) + "\n"


KNOWN = ("theme", "ascii", "mouse", "keys")
P = ParamSpec("P")
T = TypeVar("T")


class AppSettings(NamedTuple):
    """`theme` None: the one that fits the terminal."""

    theme: str | None = None
    themes: Mapping[str, Theme] = THEMES
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

    Raises BadInput that names each file, key and option that is wrong, with what is near.
    """
    file, problems = settings_file(environment), _Problems()
    themes = {**THEMES, **_own_themes(file.parent / "themes", problems)}
    found = _read_file(file, themes, problems)._replace(themes=themes)
    given_theme = given.pop("theme", None)
    for where, name in {"$ASSAY_THEME": environment.get("ASSAY_THEME"), "--theme": given_theme}.items():
        if name:
            found = found._replace(theme=problems.tried(None, _theme, name, where, themes))
    problems.told()
    if environment.get("ASSAY_ASCII") or (sys.stdout.encoding or "").replace("-", "").lower() != "utf8":
        found = found._replace(ascii=True)
    if annotator := environment.get("ASSAY_ANNOTATOR", "").strip():
        found = found._replace(annotator=annotator)
    return found._replace(**{name: value for name, value in given.items() if value})


class _Problems:
    """What is wrong with the settings, gathered so that a person hears all of it at once."""

    def __init__(self) -> None:
        self._errors: list[BadInput] = []

    def tried(self, otherwise: T, read: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        try:
            return read(*args, **named)
        except BadInput as error:
            self._errors.append(error)
            return otherwise

    def told(self) -> None:
        """Raises BadInput when there was any."""
        if self._errors:
            raise BadInput("\n".join(map(str, self._errors)))


def _read_file(file: Path, themes: Mapping[str, Theme], problems: _Problems) -> AppSettings:
    nothing: dict[str, Any] = {}
    table = problems.tried(nothing, _table, file)
    for name in table:
        problems.tried(None, _known, name, file)
    theme = table.get("theme")
    return AppSettings(
        theme=None if theme is None else problems.tried(None, _theme, theme, f"{file}: theme", themes),
        ascii=problems.tried(False, _flag, table, "ascii", file),
        mouse=problems.tried(False, _flag, table, "mouse", file),
        keys=problems.tried({}, read_keys, table.get("keys", {}), str(file)),
    )


def _own_themes(folder: Path, problems: _Problems) -> dict[str, Theme]:
    """The themes of a person's own, by the names of their files."""
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix == ".toml")
    except OSError:
        return {}
    return {file.stem: problems.tried(THEMES["dark"], _own_theme, file) for file in files}


def _own_theme(file: Path) -> Theme:
    return read_theme(_table(file), file)


def _table(file: Path) -> dict[str, Any]:
    """A TOML file's table; an empty one where there is no file."""
    # Most people have none: nothing is imported for it then.
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: cannot be read: {error}", "fix or delete it") from error
    import tomllib

    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInput(f"{file}: is not TOML: {error}", "fix or delete it") from error


def _known(name: str, file: Path) -> None:
    if name not in KNOWN:
        known = f"the settings are {', '.join(KNOWN)}"
        raise BadInput(f'{file}: there is no setting "{name}"{nearest(name, KNOWN)}', known)


def _theme(name: Any, where: str, themes: Mapping[str, Theme]) -> str | None:
    if not isinstance(name, str) or name not in themes:
        near = nearest(str(name), themes)
        raise BadInput(f"{where}: there is no theme {name!r}{near}", f"the themes are {', '.join(themes)}")
    return name


def _flag(table: Mapping[str, Any], name: str, file: Path) -> bool:
    value = table.get(name, False)
    if not isinstance(value, bool):
        raise BadInput(f"{file}: {name} is {value!r}", "write true or false")
    return value
