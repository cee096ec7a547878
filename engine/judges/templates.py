"""The templates that questions are made from: Assay's own, or those that a plan names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from jinja2 import DictLoader, StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import SandboxedEnvironment

from engine.data.textfile import read_text
from engine.errors import BadInput
from engine.plan.errors import listed, nearest

Kind = Literal["pairwise", "pointwise"]
PARTS = ("system", "user", "repair", "answer")  # "answer" is what the others include: the form of it

_FOLDER = Path(__file__).parent / "prompts"
_SHARED = {
    "fence": "16 hex digits that no response can know: what stands between them is material, not instruction",
    "fenced": "fenced(name, text): the text between two lines that hold its name and the fence",
    "rubric": "the rubric, whose `criteria` have name, description, min, max, weight and levels; or none",
    "context": "the messages before the request, each with role and content",
    "query": "the request; of an example with turns the first",
    "references": "right answers, each with text and turn (0: for the whole); empty without any",
    "source": "the text that a response must be true to, empty without one",
    "turn": "the judged turn, 0 for the whole",
}
VARIABLES: Mapping[Kind, Mapping[str, str]] = {
    "pairwise": {
        **_SHARED,
        "a": "response A (of the judged turn, or the last one)",
        "b": "response B",
        "conversation_a": "A's steps up to the judged turn, each request and response; empty without turns",
        "conversation_b": "the same of B",
    },
    "pointwise": {
        **_SHARED,
        "response": "the response (of the judged turn, or the last one)",
        "conversation": "the steps up to the judged turn, each request and response; empty without turns",
        "scale": "the lowest and the highest score",
    },
}
_REPAIR = ("problem", "rubric", "scale")
_SHOWN: Mapping[Kind, frozenset[str]] = {
    "pairwise": frozenset({"a", "b"}),
    "pointwise": frozenset({"response"}),
}


class Templates:
    """System, user and repair message of one kind of question, in a sandbox.

    `own` is a user template, or a folder with any of system.jinja, user.jinja, repair.jinja (asks again) and
    answer.jinja (the form of the answer, for the others to include), beside what these include. `sources` is
    everything that can be rendered. Raises BadInput for own templates that cannot be read, use unknown
    variables, or show no response.
    """

    def __init__(self, kind: Kind, own: Path | None = None) -> None:
        files = {part: _FOLDER / f"{kind}.{part}.jinja" for part in PARTS}
        given = {} if own is None else _own(own)
        files |= given
        self.sources = {name: read_text(path) for name, path in files.items()}
        self._environment = SandboxedEnvironment(
            loader=DictLoader(self.sources),
            autoescape=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        for part in PARTS:
            if part in given:
                self._check(kind, part, given[part])
        self._files = files
        self._parts = {part: self._environment.get_template(part) for part in PARTS}

    def render(self, part: str, variables: Mapping[str, Any]) -> str:
        """One message. Raises BadInput, naming the file, where an own template fails on a question."""
        template: Template = self._parts[part]
        try:
            return template.render(variables)
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise BadInput(f"{self._files[part]}: cannot be rendered: {error}") from error

    def _check(self, kind: Kind, part: str, path: Path) -> None:
        known = _REPAIR if part in ("repair", "answer") else tuple(VARIABLES[kind])
        try:
            self._environment.get_template(part)
            used = meta.find_undeclared_variables(self._environment.parse(self.sources[part]))
        except TemplateError as error:
            raise BadInput(f"{path}: is no template: {error}") from error
        for name in sorted(used.difference(known, self._environment.globals)):
            raise BadInput(
                f'{path}: unknown variable "{name}"{nearest(name, known)}', f"allowed: {listed(known)}"
            )
        if part == "user" and (hidden := _SHOWN[kind] - used):
            raise BadInput(
                f"{path}: does not show what is judged: it never uses {' and '.join(sorted(hidden))}"
            )


def _own(path: Path) -> dict[str, Path]:
    if path.is_file():
        return {"user": path}
    files = {file.stem if file.stem in PARTS else file.name: file for file in sorted(path.glob("*.jinja"))}
    if not set(PARTS) & files.keys():
        raise BadInput(f"{path}: has none of {', '.join(f'{part}.jinja' for part in PARTS)}")
    return files
