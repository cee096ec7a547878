"""From an answer and its example to a program and its tests, in the shapes of HumanEval and MBPP.

HumanEval: the query is the start of a module, beside it `test` (it defines `check`) and `entry_point`.
MBPP: the query is prose, with `test_list`, and what the tests need in `test_setup_code` or `test_imports`.
Anything else: `tests`, Python statements that use the names which the answer defines.
"""

import ast
import re
from typing import Any

from engine.data.example import Example

_FENCE = re.compile(
    r"^[ \t]*(`{3,}|~{3,})[ \t]*([^\s`]*)[^\n]*\n(.*?)(?:^[ \t]*\1|\Z)", re.MULTILINE | re.DOTALL
)
_PYTHON = {"", "python", "python3", "py", "py3", "ipython", "pycon"}


class NotPython(ValueError):
    """Code in another language, of which the message tells."""


def tests_of(example: Example) -> str | None:
    """The source of an example's tests, None when it has none."""
    extra = example.extra
    parts = example.tests or _texts(extra.get("test_list")) or _texts(extra.get("test"))
    if not parts:
        return None
    setup = [*_texts(extra.get("test_imports")), *_texts(extra.get("test_setup_code"))]
    source = "\n".join([*setup, *parts])
    entry = entry_point(example)
    if entry and re.search(r"^def check\(", source, re.MULTILINE) and f"\ncheck({entry})" not in source:
        source += f"\ncheck({entry})"
    return source


def program_of(example: Example, text: str) -> str:
    """The program that an answer makes: its code, after the query where that is the start of a module.

    An answer without the entry point goes on from where the query ends. Raises NotPython.
    """
    entry = entry_point(example)
    code = extract_code(text, {entry} if entry else _names(tests_of(example) or ""))
    start = example.extra.get("prompt", example.query)
    if not entry or not isinstance(start, str) or not defines(start, entry):
        return code
    return f"{start}\n{code}" if defines(code, entry) else start + code


def extract_code(text: str, wanted: set[str]) -> str:
    """The Python in an answer: of its fenced blocks the first that defines a wanted name, else the first.

    An answer without fences is code as a whole; a fence that never closes ends with the answer. Raises
    NotPython when all its blocks are in other languages.
    """
    blocks = [(match[2].lower(), match[3]) for match in _FENCE.finditer(text)]
    if not blocks:
        return text
    python = [code for language, code in blocks if language in _PYTHON]
    if not python:
        raise NotPython(f"the answer's code is {blocks[0][0][:30]}; only Python is executed")
    return next((code for code in python if any(defines(code, name) for name in wanted)), python[0])


def defines(code: str, name: str) -> bool:
    """Whether source text defines a name at its top level; the source need not be valid."""
    name = re.escape(name)
    return bool(re.search(rf"^(?:(?:async\s+)?def|class)\s+{name}\b|^{name}\s*[:=]", code, re.MULTILINE))


def language_of(example: Example) -> str:
    """The language that an example names, else "python"."""
    language = example.extra.get("language", "python")
    return "python" if str(language).lower() in _PYTHON else str(language)


def entry_point(example: Example) -> str | None:
    entry = example.extra.get("entry_point")
    return entry if isinstance(entry, str) and entry.isidentifier() else None


def _names(tests: str) -> set[str]:
    try:
        tree = ast.parse(tests)
    except (SyntaxError, ValueError):
        return set()
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,) if value.strip() else ()
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()
