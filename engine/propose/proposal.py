"""A proposed plan: its parts, which a person may leave out or rename, and its TOML.

It needs only the standard library, so the app can hold one; `engine.propose.propose` makes it from a folder.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from engine.plan.toml import toml

Kind = Literal["baseline", "candidate", "examples", "train", "metric", "judge", "benchmark", "gate"]
MODELS = ("baseline", "candidate")
ONE_OF = ("examples", "train")  # a plan has one of each at most
_TELLING = ("adapter", "system", "path", "outputs", "examples", "train", "schema", "include")
_LACKING = {
    "examples": "examples: a file with one query per record (JSONL, JSON, CSV or Parquet)",
    "baseline": "a baseline: a model's folder (config.json with weights), or answers made elsewhere",
    "candidate": "a candidate: an adapter's folder (adapter_config.json), a checkpoint, or recorded answers",
}


@dataclass(frozen=True, slots=True)
class ProposalItem:
    """One part of the plan: `table` is its content, with paths as in a plan; `why` is a remark."""

    key: str
    kind: Kind
    name: str
    table: Mapping[str, Any]
    on: bool = True
    why: str = ""

    @property
    def where(self) -> str:
        """The one thing of its table that tells it from others: a path, a limit."""
        if self.kind == "gate":
            return str(self.table[self.name])
        return str(next((self.table[key] for key in _TELLING if key in self.table), ""))

    @property
    def what(self) -> str:
        """Its path and reason, in one line."""
        return " · ".join(filter(None, (self.where, self.why)))


@dataclass(frozen=True, slots=True)
class Proposal:
    """A plan in parts. `fitting` has the metrics, judge and gates that fit each of the examples it may use.

    `assumed` lists guesses that nothing in the folder confirms, `left_out` unusable findings. `samples` is
    the number of answers to an example in what is recorded.
    """

    folder: str
    name: str
    items: tuple[ProposalItem, ...]
    fitting: Mapping[str, tuple[ProposalItem, ...]]
    assumed: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    samples: int = 1

    def chosen(self, *kinds: str) -> list[ProposalItem]:
        """The parts of these kinds that are to be in the plan."""
        return [item for item in self.items if item.on and item.kind in kinds]

    @property
    def lacking(self) -> list[str]:
        """The required parts that this plan lacks."""
        return [words for kind, words in _LACKING.items() if not self.chosen(kind)]

    def toggled(self, key: str) -> "Proposal":
        """With one part included or excluded; other examples also change the parts that depend on them."""
        turned = next(item for item in self.items if item.key == key)
        alone = not turned.on and turned.kind in ONE_OF
        items = tuple(
            replace(item, on=not item.on)
            if item.key == key
            else replace(item, on=False)
            if alone and item.kind == turned.kind
            else item
            for item in self.items
        )
        if turned.kind == "examples" and not turned.on:
            fixed = [item for item in items if item.kind not in ("metric", "judge", "gate")]
            items = (*fixed, *self.fitting[key])
        return replace(self, items=items)

    def renamed(self, key: str, name: str) -> "Proposal":
        """With another name for a model. Raises ValueError for one that no plan takes."""
        if not name.strip() or not name.isprintable() or len(name) > 200:
            raise ValueError("a name is one line of at most 200 characters")
        if any(item.name == name and item.key != key for item in self.items if item.kind in MODELS):
            raise ValueError(f"another model is called {name}")
        items = (replace(item, name=name) if item.key == key else item for item in self.items)
        return replace(self, items=tuple(items))

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "lacking": self.lacking}


def from_json(table: Mapping[str, Any]) -> Proposal:
    """The proposal that `as_json` wrote."""
    return Proposal(
        table["folder"],
        table["name"],
        tuple(ProposalItem(**item) for item in table["items"]),
        {key: tuple(ProposalItem(**item) for item in items) for key, items in table["fitting"].items()},
        tuple(table["assumed"]),
        tuple(table["left_out"]),
        table["samples"],
    )


MOST_COMMENTED = 8
_SERVED = """\
# [[judges]]                        # a language model that grades, on any server that speaks OpenAI's API
# name = "gpt"
# kind = "pairwise"
# server = "https://api.openai.com/v1"
# model = "gpt-4o"
# api_key_env = "OPENAI_API_KEY"    # the name of the variable, never the key
"""
_NO_BENCHMARKS = """\
# [benchmarks]                      # lm-evaluation-harness: what did the fine-tune forget?
# tasks = ["arc_easy", "hellaswag"]
# limit = 200
# apply_chat_template = true        # where the model has one; lm-eval's own default is false
"""


def plan_text(proposal: Proposal) -> str:
    """The plan's file. What it says beyond comments is what `proposal.chosen` has."""
    return "\n".join(
        [
            *_head(proposal),
            *_data(proposal),
            *_models(proposal),
            *_generation(proposal),
            *_metrics(proposal),
            *_judges(proposal),
            *_benchmarks(proposal),
            *_gates(proposal),
        ]
    )


def _head(proposal: Proposal) -> list[str]:
    lines = ["# Written by Assay for the models and data that it found. Paths are relative to this file."]
    lines += [f"# Assumed: {shown(words)}" for words in proposal.assumed]
    lines += ["", f"name = {toml(proposal.name)}"]
    if not proposal.chosen("judge"):
        lines.append("judges = []                         # without this line, the embedded judge is used")
    return [*lines, ""]


def _data(proposal: Proposal) -> list[str]:
    lines = ["[data]"]
    for kind in ("examples", "train"):
        items = [item for item in proposal.items if item.kind == kind]
        lines += [_commented(line, item) for item in items if item.on for line in _pairs(item.table)]
        others = [item for item in items if not item.on][:MOST_COMMENTED]
        lines += [f"# {_commented(line, item)}" for item in others for line in _pairs(item.table)]
    return [*lines, ""]


def _models(proposal: Proposal) -> list[str]:
    lines = ["# Every candidate is compared with every baseline.", ""]
    items = [item for item in proposal.items if item.kind in ("baseline", "candidate")]
    spared = 0
    for item in items:
        block = ["[[models]]", *_pairs({"name": item.name, "role": item.kind, **item.table})]
        block[0] = _commented(block[0], item)
        if item.on:
            lines += [*block, ""]
        elif (spared := spared + 1) <= MOST_COMMENTED:
            lines += [*(f"# {line}" for line in block), ""]
    return lines


def _generation(proposal: Proposal) -> list[str]:
    lines = ["[generation]", "max_new_tokens = 256", "temperature = 0.0                   # greedy"]
    models = proposal.chosen(*MODELS)
    if proposal.samples > 1 and any("outputs" in item.table for item in models):
        if any("outputs" not in item.table for item in models):
            lines[-1] = "temperature = 0.7                   # so that the samples of an answer differ"
        samples = f"samples = {proposal.samples}"
        lines.append(f"{samples:<35} # answers to each example, as many as are recorded")
    return [*lines, ""]


def _metrics(proposal: Proposal) -> list[str]:
    items = [item for item in proposal.items if item.kind == "metric"]
    lines = ["[metrics]                           # `assay metrics` lists them all"]
    lines.append(f"use = {toml([item.name for item in items if item.on])}")
    lines += [f"{item.name} = {toml(item.table)}" for item in items if item.on and item.table]
    if spare := [item.name for item in items if not item.on]:
        lines.append(f"# These fit as well: {', '.join(spare)}")
    return [*lines, ""]


def _judges(proposal: Proposal) -> list[str]:
    lines: list[str] = []
    for item in proposal.chosen("judge"):
        lines += ["[[judges]]", *_pairs({"name": item.name, **item.table})]
        lines[-1] = _commented(lines[-1], item)
        lines.append("")
    return [*lines, _SERVED]


def _benchmarks(proposal: Proposal) -> list[str]:
    items = proposal.chosen("benchmark")
    if not items:
        return [_NO_BENCHMARKS]
    return ["[benchmarks]", *(line for item in items for line in _pairs(item.table)), ""]


def _gates(proposal: Proposal) -> list[str]:
    items = [item for item in proposal.items if item.kind == "gate"]
    lines = [_commented(line, item) for item in items if item.on for line in _pairs(item.table)]
    lines += [f"# {_commented(line, item)}" for item in items if not item.on for line in _pairs(item.table)]
    return ["[gates]                             # limits that fail a candidate, as shares", *lines, ""]


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {toml(value)}" for key, value in table.items()]


def _commented(line: str, item: ProposalItem) -> str:
    return f"{line:<35} # {shown(item.why)}" if item.why else line


def shown(text: str) -> str:
    """A text for a comment: one line, nothing in it that a terminal would act on."""
    return text if text.isprintable() else ascii(text)[1:-1]
