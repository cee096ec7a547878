"""Shared parts of the Jinja templates of HTML and Markdown; every printed value goes through a text gate."""

import re
from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from store.records.alert import kind_of
from tui.text.gate import printable
from tui.text.output import interval, iso, number


def environment(autoescape: bool, finalize: Callable[[Any], Any]) -> Environment:
    """Templates whose every printed value goes through `finalize`."""
    made = Environment(
        loader=PackageLoader("tui.report"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=finalize,
    )
    made.filters.update(
        number=number, signed=lambda value: number(value, sign=True), time=iso, probability=probability
    )
    made.globals["interval"] = interval
    made.globals["kind_of"] = kind_of
    return made


def probability(p: float | None) -> str:
    """A p-value; one that three decimals would show as 0 is no 0."""
    return "< 0.001" if p is not None and p < 0.001 else number(p)


def shown(value: Any) -> Any:
    """Texts with their control characters visible; anything else as it is."""
    return printable(value) if type(value) is str else value


_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~!&]|:(?=//))")


def inert_markdown(value: Any) -> Any:
    """Data in Markdown as text of one line: no markup, mention, link, entity or table cell comes of it."""
    # Markup is a str of another type: what the reports themselves have made safe.
    if type(value) is not str:
        return value
    # A backslash does not stop the mention of a person; a space of no width does.
    return _MARKDOWN.sub(r"\\\1", printable(value.replace("\n", "⏎"))).replace("@", "@&#8203;")
