"""The app's colours. Blue and orange stay apart for every kind of colour blindness; red and green do not.

A sign or a word always says the same, so that nothing rests on colour. A person's own themes stand in files
beside the settings, themes/NAME.toml. They name what differs from the app's theme that they are based on:

    base = "light"       # dark where it is left out
    good = "#006d5b"
    brand = "bold #7a1fa2"
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from textual.theme import Theme

from engine.errors import BadInput

DARK = Theme(
    name="assay-dark",
    primary="#6cb2ff",
    foreground="#d8dee9",
    background="#11151c",
    surface="#11151c",
    panel="#1b222d",
    variables={
        "brand": "bold #6cb2ff",
        "heading": "#8fa1b8",
        "key": "bold #6cb2ff",
        "muted": "#8792a3",
        "good": "#6cb2ff",
        "bad": "#ff9f43",
        "warn": "#e5c07b",
        "rule": "#2a3341",
        "block-cursor-background": "#2b4a73",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-blurred-background": "#232c3a",
    },
)

LIGHT = Theme(
    name="assay-light",
    dark=False,
    primary="#0b57a4",
    foreground="#1d242e",
    background="#ffffff",
    surface="#ffffff",
    panel="#e9edf2",
    variables={
        "brand": "bold #0b57a4",
        "heading": "#45566b",
        "key": "bold #0b57a4",
        "muted": "#596575",
        "good": "#0b57a4",
        "bad": "#a84300",
        "warn": "#7a5c00",
        "rule": "#c3ccd6",
        "block-cursor-background": "#0b57a4",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-blurred-background": "#d5e3f3",
    },
)

# The terminal's own sixteen colours, on its own background: legible wherever its own text is.
TERMINAL = Theme(
    name="assay-terminal",
    ansi=True,
    primary="ansi_default",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    variables={
        "ansi-background": "ansi_default",
        "ansi-foreground": "ansi_default",
        "brand": "bold",
        "heading": "bold",
        "key": "bold",
        "muted": "ansi_default",
        "good": "bold ansi_cyan",
        "bad": "bold ansi_red",
        "warn": "ansi_magenta",
        "rule": "ansi_default",
        "block-cursor-background": "ansi_blue",
        "block-cursor-foreground": "ansi_bright_white",
        "block-cursor-blurred-background": "ansi_default",
    },
)

THEMES = {"dark": DARK, "light": LIGHT, "terminal": TERMINAL}


def fitting(environment: Mapping[str, str]) -> str:
    """The theme for a terminal of which only its environment is known: its own colours where it has few."""
    if environment.get("COLORTERM") in ("truecolor", "24bit") or "256color" in environment.get("TERM", ""):
        return "dark"
    return "terminal"


GROUNDS = ("primary", "foreground", "background", "surface", "panel")
# Those that take a colour alone, and no style.
PLAIN = (*GROUNDS, *(name for name in DARK.variables if name == "rule" or name.startswith("block-cursor")))
COLOURS = (*GROUNDS, *DARK.variables)
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
_RGB = re.compile(r"#[0-9a-fA-F]{6}")
_ANSI = re.compile(r"ansi_(default|(bright_)?(black|red|green|yellow|blue|magenta|cyan|white))")
_STYLES = ("bold", "italic", "underline")


def read_theme(table: Mapping[str, Any], file: Path) -> Theme:
    """A person's own theme from the table of its file, whose name it has.

    Raises BadInput with the file and all that is wrong in it.
    """
    base = table.get("base", "dark")
    problems = [*_wrong_name(file.stem), *_wrong(table, ansi=base == "terminal")]
    if not isinstance(base, str) or base not in THEMES:
        problems.append(f"base: there is no theme {base!r} of the app's; they are {', '.join(THEMES)}")
    if problems:
        raise BadInput("\n".join(f"{file}: {problem}" for problem in problems))
    chosen = {name: value for name, value in table.items() if name != "base"}
    own = THEMES[base]
    grounds = {name: value for name, value in chosen.items() if name in GROUNDS}
    variables = {name: value for name, value in chosen.items() if name not in GROUNDS}
    return replace(own, name=f"assay-{file.stem}", **grounds, variables={**own.variables, **variables})


def _wrong_name(name: str) -> Iterator[str]:
    if name in THEMES:
        yield f"the app has a theme {name} of its own; name the file otherwise"
    elif not _NAME.fullmatch(name):
        yield "a theme's file is named in a-z, 0-9, - and _, and begins with a letter"


def _wrong(table: Mapping[str, Any], *, ansi: bool) -> Iterator[str]:
    """What is wrong with the colours; `ansi`: they are the terminal's own."""
    form, as_written = (_ANSI, "ansi_blue") if ansi else (_RGB, "#rrggbb")
    for name, value in table.items():
        if name == "base":
            continue
        if name not in COLOURS:
            yield f'there is no colour "{name}"{nearest(name, COLOURS)}'
            continue
        *styles, colour = value.split() if isinstance(value, str) and value.strip() else [""]
        if not form.fullmatch(colour):
            yield f"{name} is {value!r}; a colour is written {as_written} in a theme of this base"
        elif name in PLAIN and styles:
            yield f"{name} is {value!r}; it takes a colour alone"
        elif wrong := [style for style in styles if style not in _STYLES]:
            yield f'{name}: there is no style "{wrong[0]}"{nearest(wrong[0], _STYLES)}'


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is meant, as the end of a message; "" where none is near."""
    found = get_close_matches(name, list(known), 1, 0.5)
    return f'; did you mean "{found[0]}"?' if found else ""
