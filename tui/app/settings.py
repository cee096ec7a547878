"""What a person set for the app: in a file, in the environment, on the command line; the later the stronger.

The file is `$ASSAY_CONFIG`, else `~/.config/assay/config.toml`:

    theme = "light"      # dark, light, or terminal: the terminal's own colours
    ascii = true         # nothing but ASCII on the screen
    mouse = true         # start with mouse reporting on; M toggles it

    [keys]
    "app.quit" = "Q"
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from engine.errors import BadInput

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
    if environment.get("ASSAY_ASCII") or not _has_unicode():
        found = found._replace(ascii=True)
    if annotator := environment.get("ASSAY_ANNOTATOR", "").strip():
        found = found._replace(annotator=annotator)
    if (theme := given.pop("theme", None)) is not None:
        found = found._replace(theme=_theme(theme, "--theme"))
    return found._replace(**{name: value for name, value in given.items() if value})


def _has_unicode() -> bool:
    return (sys.stdout.encoding or "").replace("-", "").lower() == "utf8"


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
    from tui.app.keymap import read_keys

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
