"""lm-eval's results in this program's terms, from its Python API and from its files.

Scores are keyed "metric,filter" there, standard errors "metric_stderr,filter"; a standard error can be the
text "N/A". Samples are one line for each document and filter; what its files hold of them is turned into
text on the way: arguments into tables, log-likelihoods and places of choices into strings.
"""

import hashlib
import json
import math
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Found = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BenchmarkScore:
    """One metric of one task: lm-eval's "acc,none" is the metric "acc" after the filter "none".

    `task` is a single task or a group. `n` is how many documents counted, 0 where a file does not tell.
    Equal `task_hash`es mean that two runs asked the same documents in the same way.
    """

    task: str
    metric: str
    filter: str
    value: float | None
    stderr: float | None
    n: int
    version: str
    shots: int | None
    higher_is_better: bool
    task_hash: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class BenchmarkSample:
    """One metric of one document, with the hashes that pair it with the same document of another run.

    `likelihoods` are the log-likelihoods of the document's choices, in nats, and `correct` the place of the
    right one: both or neither is known, see `_decided`.
    """

    task: str
    metric: str
    filter: str
    doc_id: int
    doc_hash: str
    prompt_hash: str
    target_hash: str
    value: float
    question: str
    target: str
    answer: str
    likelihoods: tuple[float, ...] | None = None
    correct: int | None = None


@dataclass(frozen=True, slots=True)
class TaskResult:
    """A finished task of a plan: its scores, and those of its members where it is a group.

    `members` are the tasks of each group in it; `identity` hashes all that decides the scores.
    """

    task: str
    scores: tuple[BenchmarkScore, ...]
    samples: tuple[BenchmarkSample, ...]
    task_hash: str
    seconds: float
    identity: str = ""
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KnownTask:
    """A task that need not run: a result with this identity is stored."""

    task: str
    identity: str


def scores_of(found: Found, hashes: Mapping[str, str]) -> Iterator[BenchmarkScore]:
    """The scores in lm-eval's results, 0.4 and later, those of tasks and those of groups."""
    members = members_of(found)
    for task, values in (_table(found, "results") | _table(found, "groups")).items():
        for key, value in values.items():
            metric, comma, filter_name = key.partition(",")
            if not comma or metric.endswith("_stderr"):
                continue
            shown = number(value)
            yield BenchmarkScore(
                task=task,
                metric=metric,
                filter=filter_name,
                value=shown,
                stderr=number(values.get(f"{metric}_stderr,{filter_name}")),
                n=_count(found, task, members),
                version=_version(_table(found, "versions").get(task)),
                shots=_shots(found, task),
                # None: a group whose members disagree.
                higher_is_better=(_table(found, "higher_is_better").get(task) or {}).get(metric) is not False,
                task_hash=task_hash(task, hashes, members),
                reason=None if shown is not None else f"lm-eval gives {value!r:.40}, which is not a number",
            )


def members_of(found: Found) -> dict[str, tuple[str, ...]]:
    """The members of each group; files of older versions have empty entries for single tasks, left out."""
    table = _table(found, "group_subtasks")
    return {group: tuple(map(str, names)) for group, names in table.items() if names}


def leaves(task: str, members: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The single tasks in a task or group."""
    if task not in members:
        return (task,)
    inner = {name: own for name, own in members.items() if name != task}
    return tuple(dict.fromkeys(leaf for member in members[task] for leaf in leaves(member, inner)))


def task_hash(task: str, hashes: Mapping[str, str], members: Mapping[str, Sequence[str]]) -> str | None:
    """lm-eval's own hash of a task's documents, prompts and targets; a group's is a hash of its members'."""
    if task not in members:
        return hashes.get(task)
    # In the order of their names: lm-eval keeps the tasks of a tag in a set.
    own = [hashes.get(leaf) for leaf in sorted(leaves(task, members))]
    known = [item for item in own if item is not None]
    return _hash("".join(known)) if known and len(known) == len(own) else None


def hash_of_lines(lines: Iterable[Found]) -> str:
    """A task's hash as lm-eval's `EvaluationTracker` computes it."""
    return _hash("".join(f"{line['doc_hash']}{line['prompt_hash']}{line['target_hash']}" for line in lines))


def samples_of(task: str, lines: Iterable[Found]) -> Iterator[BenchmarkSample]:
    """The samples in lm-eval's lines: a line for each document and filter, with all its metrics."""
    for line in lines:
        choices = _choices(line)
        likelihoods, correct = _decided(line, choices)
        for metric in line["metrics"]:
            value = number(line.get(metric))
            # Corpus metrics such as BLEU keep a pair of texts for each document, not a number.
            if value is not None:
                yield BenchmarkSample(
                    task=task,
                    metric=metric,
                    filter=line["filter"],
                    doc_id=int(line["doc_id"]),
                    doc_hash=line["doc_hash"],
                    prompt_hash=line["prompt_hash"],
                    target_hash=line["target_hash"],
                    value=value,
                    question=str(arguments(line)[0][0]),
                    target=_target(line["target"], choices),
                    answer=_answer(line["filtered_resps"], choices),
                    likelihoods=likelihoods,
                    correct=correct,
                )


def arguments(line: Found) -> list[Sequence[Any]]:
    """The model's requests for a document: a list in memory, tables "gen_args_0" … in a file."""
    given = line["arguments"]
    if isinstance(given, Mapping):
        return [list(entry.values()) if isinstance(entry, Mapping) else [entry] for entry in given.values()]
    return list(given)


def hash_text(value: Any) -> str:
    """lm-eval's hash of a document, prompt or target."""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, default=str, ensure_ascii=False)
    return _hash(text)


def number(value: Any) -> float | None:
    """The value as a finite number; lm-eval writes "N/A" for a standard error that it does not have."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


def _table(found: Found, key: str) -> dict[str, Any]:
    table = found.get(key)
    return dict(table) if isinstance(table, Mapping) else {}


def _version(value: Any) -> str:
    return "" if value in (None, "N/A") else str(value)


def _shots(found: Found, task: str) -> int | None:
    shots = _table(found, "n-shot").get(task)
    if shots is None:
        shots = _table(_table(found, "configs"), task).get("num_fewshot", 0)
    return int(shots) if isinstance(shots, int | float) else None


def _count(found: Found, task: str, members: Mapping[str, tuple[str, ...]]) -> int:
    """How many documents a task, or all tasks of a group, asked."""
    counts, results = _table(found, "n-samples"), _table(found, "results")
    total = 0
    for leaf in leaves(task, members):
        own = counts.get(leaf)
        shown = own.get("effective") if isinstance(own, Mapping) else results.get(leaf, {}).get("sample_len")
        total += shown if isinstance(shown, int) else 0
    return total


def _choices(line: Found) -> list[tuple[str, float]]:
    """The continuations of a document with their log-likelihoods; none where the model wrote its answer."""
    responses, asked = line["filtered_resps"], arguments(line)
    pairs = isinstance(responses, Sequence) and all(
        isinstance(response, tuple | list) and len(response) == 2 for response in responses
    )
    if not pairs or len(responses) < 2 or len(responses) != len(asked):
        return []
    likelihoods = [number(response[0]) for response in responses]
    return [
        (str(given[1]).strip(), -math.inf if likelihood is None else likelihood)
        for given, likelihood in zip(asked, likelihoods, strict=True)
    ]


_ACCURACY = "acc"
_MUTUAL = "acc_mutual_info"  # for which each choice is asked twice, with its question and without


def _decided(
    line: Found, choices: Sequence[tuple[str, float]]
) -> tuple[tuple[float, ...] | None, int | None]:
    """The log-likelihoods of a document's choices, and the place of the right one; None where not known.

    They count only where the likeliest choice is right exactly when lm-eval's own `acc` says so: tasks with
    several right choices, or another rule for the answer, have none.
    """
    likelihoods = tuple(likelihood for _, likelihood in choices)
    accuracy = number(line.get(_ACCURACY))
    if not likelihoods or not all(map(math.isfinite, likelihoods)) or _MUTUAL in line["metrics"]:
        return None, None
    target, texts = line["target"], [text for text, _ in choices]
    correct = int(target) if str(target).isdecimal() else None
    if correct is None and texts.count(str(target).strip()) == 1:
        correct = texts.index(str(target).strip())
    if correct is None or correct >= len(likelihoods):
        return None, None
    agreed = accuracy == float(likelihoods.index(max(likelihoods)) == correct)
    return (likelihoods, correct) if agreed else (None, None)


def _target(target: Any, choices: Sequence[tuple[str, float]]) -> str:
    """The right answer's text; tasks with choices keep its place among them."""
    place = int(target) if str(target).isdecimal() else None
    if place is not None and place < len(choices):
        return choices[place][0]
    return str(target)


def _answer(responses: Any, choices: Sequence[tuple[str, float]]) -> str:
    """The model's text, or the choice that it found likeliest."""
    if choices:
        return max(choices, key=lambda choice: choice[1])[0]
    return str(responses[0] if isinstance(responses, list) and responses else responses)


# In what a run keeps of a model: the flags of the lm_eval command that asks the same.
ASKED = "benchmarks_asked"
NO_COMMAND = "no_command"  # why there are none
EXAMPLES = "few-shot examples"
LIMIT = "limit"
LONGEST = "longest text"  # in tokens, where the plan allows less than the model reads


def asked_as(details: Mapping[str, Any] | None) -> dict[str, str]:
    """How a model's benchmarks were asked, as far as its run or lm-eval's files tell: by name, in words."""
    known = details or {}
    if flags := known.get(ASKED):
        limit, applied, longest = (flags.get(name) for name in ("limit", "apply_chat_template", LONGEST))
        instruction, turns = None, bool(applied)
    elif facts := known.get("lm_eval"):
        limit = (facts.get("config") or {}).get("limit")
        if "fewshot_as_multiturn" not in facts:
            return {LIMIT: _limit(limit)}
        applied, turns = facts.get("chat_template_sha") is not None, bool(facts["fewshot_as_multiturn"])
        instruction, longest = facts.get("system_instruction"), None
    else:
        return {}
    found = {
        "chat template": "applied" if applied else "not applied",
        "system instruction": instruction or "none",
        LIMIT: _limit(limit),
        LONGEST: "none" if longest is None else f"{longest} tokens",
    }
    # Without a template all is one text, whatever was asked for.
    return found | ({EXAMPLES: "as turns" if turns else "in one turn"} if applied else {})


def _limit(limit: Any) -> str:
    return f"{limit:g}" if isinstance(limit, int | float) and limit else "none"


def command(details: Mapping[str, Any] | None) -> str:
    """The lm_eval command that gives the same numbers; "" where none does."""
    flags = (details or {}).get(ASKED) or {}
    return shlex.join(["lm_eval", "run", *flags["command"]]) if flags.get("command") else ""
