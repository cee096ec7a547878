"""The app's colours. Blue and orange stay apart for every kind of colour blindness; red and green do not.

A sign or a word always says the same, so that nothing rests on colour.
"""

from collections.abc import Mapping

from textual.theme import Theme

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
