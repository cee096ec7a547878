"""What a shell is given: the man page, made of the commands' help, and the scripts that complete words."""

from collections.abc import Iterator
from typing import Any

_BASH = """\
_assay() {
    local IFS=$'\\n' line
    COMPREPLY=()
    while read -r line; do
        COMPREPLY+=("$(printf '%q' "$line")")
    done < <(_ASSAY_COMPLETE=bash assay "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == */ ]] && compopt -o nospace
    return 0
}
complete -o default -F _assay assay
"""
_ZSH = """\
#compdef assay
_assay() {
    local -a found
    found=("${(@f)$(_ASSAY_COMPLETE=zsh assay "${(j: :)words[1,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then _describe assay found; else _files; fi
}
compdef _assay assay
"""
_FISH = """\
complete -c assay -f -a '(env _ASSAY_COMPLETE=fish assay (commandline -cp | string collect) 2>/dev/null)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

_FILES = (
    (".assay/", "the store that is used by default: that of the folder, or of the nearest one above it"),
    (".assay/logs/run-N.log", "what the worker of run N said"),
)
_ENVIRONMENT = (
    ("ASSAY_STORE", "the store's folder, where --store is not given"),
    ("ASSAY_ANNOTATOR", "the name that reviews and labels are stored under"),
    ("ASSAY_DEBUG", "as --debug"),
    ("NO_COLOR, CI, TERM=dumb", "no colours, and progress as whole lines"),
)


def manual(group: Any, version: str) -> str:
    """The page in man(7)'s macros, from the group of all commands."""
    return "\n".join(_page(group, version)) + "\n"


def _page(group: Any, version: str) -> Iterator[str]:
    yield f'.TH ASSAY 1 "" "assay {version}" "User Commands"'
    yield ".SH NAME"
    yield f"assay \\- {_roff(group.help.splitlines()[0].split('?')[0])}?"
    yield ".SH SYNOPSIS"
    yield ".B assay"
    yield "[\\fIOPTIONS\\fR] [\\fICOMMAND\\fR [\\fIARGS\\fR]]"
    yield ".SH DESCRIPTION"
    yield from _text(group.help)
    yield ".SH OPTIONS"
    yield from _parameters(group)
    yield ".SH COMMANDS"
    for words, command in commands(group):
        yield f".SS {_roff(' '.join((*words, *_arguments(command))))}"
        yield from _text(command.help or "")
        yield from _parameters(command)
    yield ".SH EXIT STATUS"
    yield from _text(group.epilog)
    for title, rows in (("ENVIRONMENT", _ENVIRONMENT), ("FILES", _FILES)):
        yield f".SH {title}"
        for name, told in rows:
            yield from (".TP", f".B {_roff(name)}", _roff(told))


def commands(group: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with its words, in the order of the help."""
    for name, command in group.commands.items():
        if getattr(command, "commands", None):
            yield from commands(command, (*above, name))
        elif not command.hidden:
            yield (*above, name), command


def _arguments(command: Any) -> list[str]:
    found = (one for one in command.params if one.param_type_name == "argument")
    return [one.metavar or one.name.upper() for one in found]


def _parameters(command: Any) -> Iterator[str]:
    for one in command.params:
        if told := getattr(one, "help", None):
            is_option = one.param_type_name == "option"
            names = ", ".join((*one.opts, *one.secondary_opts)) if is_option else one.metavar or one.name
            value = f" {one.metavar or 'VALUE'}" if is_option and not one.is_flag else ""
            yield from (".TP", f".B {_roff(names + value)}", _roff(" ".join(told.split())))


def _text(text: str) -> Iterator[str]:
    for number, part in enumerate(text.split("\n\n")):
        yield from ([".PP"] if number else [])
        yield _roff(" ".join(part.split()))


def _roff(text: str) -> str:
    """Text as roff has it, in ASCII: no macro, no escape, hyphens that can be copied."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    plain = "".join(letter if letter.isascii() else f"\\[u{ord(letter):04X}]" for letter in plain)
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain
