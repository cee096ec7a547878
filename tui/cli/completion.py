"""What the scripts of `assay completion` ask for when a person presses the tab key.

A key is answered with the standard library alone. The commands and their options are known from a file in
the user's cache, which is written anew when a command's file has changed.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from enum import EnumType
from pathlib import Path
from typing import Any, get_args

Tree = dict[str, Any]


def main(shell: str, line: str) -> int:
    """Prints what may follow a command line; an error says nothing, since a person is typing."""
    with suppress(Exception):
        for value, told in candidates(line):
            sys.stdout.write(_written(shell, line, value, told) + "\n")
    return 0


def _written(shell: str, line: str, value: str, told: str) -> str:
    if shell == "bash":
        # bash takes a word to begin after its last break.
        word = _words(line)[-1]
        return value[max(word.rfind(":"), word.rfind("=")) + 1 :]
    if shell == "zsh":
        return value.replace("\\", "\\\\").replace(":", "\\:") + (f":{told}" if told else "")
    return f"{value}\t{told}" if told else value


def _words(line: str) -> list[str]:
    """The words of a line up to its end, of which the last is being typed."""
    import shlex

    for closing_quote in ("", '"', "'"):
        with suppress(ValueError):
            words = shlex.split(line + closing_quote)
            return words if words and line[-1:] not in (" ", "\t") else [*words, ""]
    return [""]


def candidates(line: str) -> Iterator[tuple[str, str]]:
    """What the last word of a line can become, each with what it is."""
    *before, word = _words(line)
    node, place, wanted, store = tree(), 0, None, None
    for each in before[1:]:
        if wanted is not None:
            store = each if wanted["name"] == "--store" else store
            wanted = None
        elif each.startswith("-"):
            wanted = next((one for one in node["options"] if each in one["names"] and one["takes"]), None)
        elif each in node["commands"]:
            node, place = node["commands"][each], 0
        elif node["commands"]:  # no command of ours
            return
        else:
            place += 1
    name, equals, part = word.partition("=")
    if wanted is None and word.startswith("-") and equals:
        wanted = next((one for one in node["options"] if name in one["names"]), None)
        found = _values(wanted, part, store) if wanted else ()
        yield from ((f"{name}={value}", told) for value, told in found)
    elif wanted is not None:
        yield from _values(wanted, word, store)
    elif word.startswith("-"):
        for one in node["options"]:
            yield from ((name, one["help"]) for name in one["names"] if name.startswith(word))
    elif node["commands"]:
        yield from ((name, one["help"]) for name, one in node["commands"].items() if name.startswith(word))
    elif node["arguments"]:
        last = node["arguments"][min(place, len(node["arguments"]) - 1)]
        if place < len(node["arguments"]) or last["many"]:
            yield from _values(last, word, store)


def _values(asked: Tree, word: str, store: str | None) -> Iterator[tuple[str, str]]:
    kind = asked["kind"]
    if asked["choices"]:
        found: Iterable[tuple[str, str]] = ((choice, "") for choice in asked["choices"])
    elif kind in ("file", "plan"):
        found = _files(word, ".toml" if kind == "plan" else "")
    else:
        found = _stored(kind, store)
    # A control character would end a line of the answer.
    yield from (
        (value, told) for value, told in found if value.startswith(word) and f"{value}{told}".isprintable()
    )


def _files(word: str, suffix: str) -> Iterator[tuple[str, str]]:
    """The folders and files that a path may go on to."""
    above, _, name = word.rpartition("/")
    shown = f"{above}/" if "/" in word else ""
    with suppress(OSError):
        for entry in sorted(Path(shown).expanduser().iterdir(), key=lambda entry: entry.name):
            if entry.name.startswith(name) and (name or not entry.name.startswith(".")):
                if entry.is_dir():
                    yield f"{shown}{entry.name}/", ""
                elif entry.name.endswith(suffix):
                    yield shown + entry.name, ""


def _stored(kind: str, store: str | None) -> Iterator[tuple[str, str]]:
    from store.database import FILE, locate
    from store.read.names import names

    if kind == "metrics":
        yield from ((name, "") for name in tree()["metrics"])
    elif kind == "references":
        yield from (("accepted", "the run that was accepted"), ("best", "the best run so far"))
        yield from _stored("runs", store)
    elif kind:
        yield from names(locate(store, Path.cwd()) / FILE, kind)


# The commands


def tree() -> Tree:
    """The commands with their options and arguments."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    stamp = [[source.name, source.stat().st_mtime_ns] for source in sources]
    file = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "assay" / "commands.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        known: Tree = json.loads(file.read_text(encoding="utf-8"))
        if known["stamp"] == stamp:
            return known
    from engine.data.textfile import write_text
    from engine.errors import BadInput

    made = {**_built(), "stamp": stamp}
    with suppress(OSError, BadInput):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(made))
    return made


def _built() -> Tree:
    from engine.plan.metrics import REGISTRY
    from tui.cli.main import build

    return {**_node(build()), "metrics": sorted(REGISTRY)}


def _node(command: Any) -> Tree:
    parts = [_part(one) for one in command.params if not getattr(one, "hidden", False)]
    anywhere = [
        {"name": name, "names": [name], "takes": False, "kind": "", "choices": [], "help": told}
        for name, told in (
            ("--help", "show the help"),
            ("--quiet", "only results and errors"),
            ("--verbose", "more than usual"),
            ("--debug", "the traceback of an error"),
        )
    ]
    options = [one for one in parts if one["option"]]
    own = {name for one in options for name in one["names"]}
    return {
        "help": (command.get_short_help_str() or "").rstrip("."),
        "options": [*options, *(one for one in anywhere if one["name"] not in own)],
        "arguments": [one for one in parts if not one["option"]],
        "commands": {
            name: _node(one) for name, one in getattr(command, "commands", {}).items() if not one.hidden
        },
    }


_KINDS = {
    "RUN": "runs",
    "PLAN": "plan",
    "MEASURE": "measures",
    "accepted|best|RUN": "references",
    "DIR": "file",
    "FILE": "file",
    "FOLDER": "file",
}
_BY_OPTION = {"--metric": "metrics", "--metrics": "metrics", "--candidate": "models", "--baseline": "models"}


def _part(one: Any) -> Tree:
    is_option = one.param_type_name == "option"
    metavar = (one.metavar or "").strip("[]")
    kind = _BY_OPTION.get(one.opts[0]) or _KINDS.get(metavar, "" if is_option else "file")
    return {
        "option": is_option,
        "name": one.opts[0],
        "names": [*one.opts, *one.secondary_opts],
        "takes": is_option and not one.is_flag,
        "many": one.nargs != 1,
        "kind": kind,
        "choices": _choices(one.type_descriptor.annotation),
        "help": " ".join((getattr(one, "help", None) or "").split()),
    }


def _choices(annotation: Any) -> list[str]:
    """The values of an enumeration, or of a list of them."""
    kinds = [annotation, *get_args(annotation)]
    return [str(each) for kind in kinds if isinstance(kind, EnumType) for each in list[Any](kind)]
