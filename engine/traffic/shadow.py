"""A shadow candidate: its answers to what people asked, which nobody saw, beside those that they saw.

They become an ordinary run of two recorded models over the same questions, so that judges, Review and
agreement work on it as on any other. The examples' ids are those of the events that people saw.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.data.textfile import writing
from engine.errors import BadInput
from engine.plan.plan import Judge, read_plan
from engine.plan.toml import toml
from engine.run import launch
from engine.traffic.forgetting import WEEKS
from engine.traffic.weeks import asked, json_lines, judge_tables, model_name
from store.read.history import Connection
from store.read.query import select
from store.records import TrafficEvent

QUESTIONS = 200  # of a run: what judges and people can look at


@dataclass(frozen=True, slots=True)
class ShadowRun:
    """The run of `pairs` of answers; `is_new` where it was stored now, and its worker is not yet started.

    `left_out` counts shadow answers without a pair, by reason.
    """

    run_id: int
    pairs: int
    left_out: Mapping[str, int]
    is_new: bool


def pairwise_judges(plan: Path) -> list[Judge]:
    """The judges of a plan, for pairs of answers. Raises BadInput where it names none."""
    judges = [judge for judge in read_plan(plan).judges if not judge.embedded]
    if not judges:
        raise BadInput(f"{plan}: names no judge", "[[judges]] of a plan name them; docs/judging.md")
    return judges


def shadow_run(
    connection: Connection,
    store: Path,
    first: str,
    second: str,
    *,
    judges: Sequence[Judge] = (),
    since: float | None = None,
    before: float | None = None,
    n: int = QUESTIONS,
) -> ShadowRun:
    """The run that holds the shadow answers of `second` against what people saw of `first`.

    Both are variants or models. Each question counts once; which are drawn is told by a hash of them, and the
    same ones give the run that there is. Raises BadInput where there is no pair.
    """
    drawn, left_out = _pairs(connection, first, second, since, before, n)
    if not drawn:
        told = "; ".join(f"{count:,}: {reason}" for reason, count in left_out.items())
        raise BadInput(
            f"no shadow answer of {second} is to a question that {first} answered"
            + (f" ({told})" if told else ""),
            "the same messages are sent to both, and the answer that nobody sees has shadow = true",
        )
    plan = _written(store, first, second, drawn, judges)
    known = connection.execute(
        "SELECT max(id) FROM run WHERE plan_folder = ? AND deleted IS NULL", (str(plan.parent),)
    ).fetchone()[0]
    run_id = known or launch.create(plan, store, allow_empty=True)
    return ShadowRun(run_id, len(drawn), dict(left_out), known is None)


Pair = tuple[TrafficEvent, TrafficEvent]  # what people saw, and the shadow answer

_OF = "coalesce(variant, model) = ?1 AND (?2 IS NULL OR time >= ?2) AND (?3 IS NULL OR time < ?3)"


def _pairs(
    connection: Connection, first: str, second: str, since: float | None, before: float | None, n: int
) -> tuple[list[Pair], Counter[str]]:
    """One pair for each of so many questions: the shadow answer, and that to the same request, else the one
    nearest in time.
    """
    left_out: Counter[str] = Counter()
    found: list[Pair] = []
    questions = [
        row[0]
        for row in connection.execute(
            f"SELECT DISTINCT question FROM trafficevent WHERE shadow AND {_OF}", (second, since, before)
        )
    ]
    for question in sorted(questions, key=lambda text: hashlib.sha256(text.encode()).digest()):
        if len(found) == n:
            break
        shadows = _answers(connection, second, question, since, before, shadow=True)
        shown = _answers(connection, first, question, None, None, shadow=False)
        if not shown:
            left_out[f"people saw no answer of {first} to the question"] += 1
        elif not asked(shown[0]):
            left_out["it holds no turn of a user"] += 1
        else:
            pairs = ((one, other) for one in shown for other in shadows)
            found.append(min(pairs, key=_distance))
    return found, left_out


def _answers(
    connection: Connection,
    name: str,
    question: str,
    since: float | None,
    before: float | None,
    *,
    shadow: bool,
) -> list[TrafficEvent]:
    """Of what people saw, answers with a text alone."""
    return select(
        connection,
        TrafficEvent,
        f"SELECT * FROM trafficevent WHERE question = ?4 AND shadow = ?5 AND (?5 OR response IS NOT NULL) "
        f"AND {_OF} ORDER BY time, id LIMIT 50",
        name,
        since,
        before,
        question,
        shadow,
    )


def _distance(pair: Pair) -> tuple[bool, float, str, str]:
    one, other = pair
    same = one.trace is not None and one.trace == other.trace
    return not same, abs(one.time - other.time), one.id, other.id


def _written(store: Path, first: str, second: str, drawn: Sequence[Pair], judges: Sequence[Judge]) -> Path:
    """Writes examples, answers and the plan into a folder of the store; returns the plan's file."""
    models = [(first, "baseline", "first"), (second, "candidate", "second")]
    lines = [f"name = {toml(f'{model_name(second)} in the shadow of {model_name(first)}')}"]
    lines += [] if judges else ["judges = []"]
    lines += ["[data]", 'examples = "examples.jsonl"']
    for name, role, file in models:
        lines += ["[[models]]", f"name = {toml(model_name(name))}"]
        lines += [f'role = "{role}"', f'outputs = "{file}.jsonl"']
    lines += ["[metrics]", 'use = ["length", "refusals"]', *judge_tables(judges)]
    files: dict[str, list[dict[str, Any]]] = {
        "examples": [{"id": shown.id, "messages": asked(shown)} for shown, _ in drawn],
        "first": [{"id": shown.id, "response": shown.response} for shown, _ in drawn],
        "second": [{"id": shown.id, "response": made.response} for shown, made in drawn],
    }
    texts = {f"{name}.jsonl": json_lines(rows) for name, rows in files.items()} | {
        "plan.toml": "\n".join(lines)
    }
    digest = hashlib.sha256("\0".join(texts.values()).encode()).hexdigest()[:12]
    folder = store.absolute() / WEEKS / f"shadow-{digest}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with writing(folder / "plan.toml") as parts:
        for name, text in texts.items():
            parts.open(folder / name).write(text)
    return folder / "plan.toml"
