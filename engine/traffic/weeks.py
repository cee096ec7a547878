"""Weekly runs: answers of a week, a random sample or the worst, as a run of recorded answers for judges and
people.

The examples' ids are those of the events, so that whatever is said of an example is said of its event.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.data.textfile import writing
from engine.errors import BadInput
from engine.plan.plan import Judge, read_plan
from engine.propose.proposal import toml
from engine.run import launch
from engine.traffic.forgetting import WEEKS
from engine.traffic.periods import DAY, start_of
from store.read import traffic
from store.read.history import Connection
from store.read.weeks import weeks, worst
from store.records import TrafficEvent, TrafficWeek
from store.traffic import keep_week

WEEK = 7  # days
RANDOM, WORST = PURPOSES = ("random", "worst")
UNNAMED = "production"  # what answers without a variant are called
CORRECTIONS = "corrections"  # what people's corrections are called, which stand beside the answers


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A week's run: `n` answers; `is_new` where it was stored now, and its worker is not yet started."""

    run_id: int
    start: float
    variant: str
    purpose: str
    n: int
    is_new: bool


def last_week(connection: Connection, variant: str, now: float) -> float:
    """The last week with traffic of a variant that is over. Raises BadInput where there is none."""
    before = start_of(now, WEEK)
    newest = next(traffic.events(connection, before=before, variant=variant, newest=True, limit=1), None)
    if newest is None:
        whose = f" of the variant {variant!r}" if variant else ""
        raise BadInput(
            f"no week that is over has traffic{whose}", "`assay traffic import FILE` brings logs in"
        )
    return start_of(newest.time, WEEK)


def day(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d")


def scoring_judges(plan: Path) -> list[Judge]:
    """The judges of a plan, for a week's answers. Raises BadInput for ones that compare two answers."""
    judges = list(read_plan(plan).judges)
    for judge in judges:
        if judge.kind != "pointwise":
            raise BadInput(
                f"{plan}: the judge {judge.name!r} compares pairs; a week has one answer to a question",
                'name a plan whose judges have kind = "pointwise"',
            )
    return judges


def review(
    connection: Connection,
    store: Path,
    start: float,
    variant: str,
    purpose: str,
    *,
    now: float,
    n: int = 50,
    judges: Sequence[Judge] = (),
) -> Reviewed:
    """The run of a week's answers: the one there is, or one stored as queued.

    `variant` "" means answers without one. Which answers are random is told by a hash of the events' ids, so
    that the same events give the same sample. The worst answers of a week that is not over are drawn anew
    each day. Raises BadInput where there is nothing to draw, and for a random sample of such a week.
    """
    end = start + WEEK * DAY
    of = (start, variant, purpose)
    known = next((row for row in weeks(connection) if (row.start, row.variant, row.purpose) == of), None)
    if known is not None and (purpose == RANDOM or known.made >= end or now < min(end, known.made + DAY)):
        return Reviewed(known.run_id, *of, known.n, is_new=False)
    if purpose == RANDOM and now < end:
        raise BadInput(
            f"the week of {day(start)} is not over: what is drawn now is no sample of it",
            f"draw it from {day(end)} on; --worst shows the worst answers so far",
        )
    drawn = _drawn(connection, start, variant, purpose, n)
    if not drawn:
        whose = f" of the variant {variant!r}" if variant else ""
        what = "no answer to be seen" if purpose == RANDOM else "no complaint, refusal or cut answer"
        raise BadInput(f"the week of {day(start)} has {what}{whose}", "`assay monitor` lists the weeks")
    plan = _written(connection, store, of, drawn, judges)
    run_id = launch.create(plan, store, allow_empty=True)
    week = TrafficWeek(start=start, variant=variant, purpose=purpose, run_id=run_id, n=len(drawn))
    keep_week(connection, week)
    return Reviewed(run_id, *of, len(drawn), is_new=True)


def _drawn(connection: Connection, start: float, variant: str, purpose: str, n: int) -> list[TrafficEvent]:
    end = start + WEEK * DAY
    weights = worst(connection, start, end, variant) if purpose == WORST else None
    chances: list[tuple[int, bytes, TrafficEvent]] = []
    for event in traffic.events(connection, since=start, before=end, variant=variant, shadow=False):
        weight = 0 if weights is None else weights.get(event.id, -1)
        if weight < 0 or event.response is None or not asked(event):
            continue
        chances.append((-weight, hashlib.sha256(f"{start:.0f} {event.id}".encode()).digest(), event))
        if len(chances) > 4 * n + 1_000:  # flat memory, whatever a week holds
            chances = sorted(chances, key=_rank)[:n]
    return [event for _, _, event in sorted(chances, key=_rank)[:n]]


def _rank(drawn: tuple[int, bytes, TrafficEvent]) -> tuple[int, bytes]:
    return drawn[:2]


def asked(event: TrafficEvent) -> list[dict[str, Any]]:
    """The question: what was said up to the user's last turn."""
    places = [at for at, turn in enumerate(event.messages) if turn["role"] == "user"]
    return event.messages[: places[-1] + 1] if places else []


def _written(
    connection: Connection,
    store: Path,
    of: tuple[float, str, str],
    drawn: Sequence[TrafficEvent],
    judges: Sequence[Judge],
) -> Path:
    """Writes the examples, the answers and the plan into a folder of the store; returns the plan's file.

    The answers are compared with people's corrections, which most of them have none of. They are no
    references: only answers that somebody complained of would have one for a judge to see.
    """
    start, variant, purpose = of
    own = f"-{hashlib.sha256(variant.encode()).hexdigest()[:8]}" if variant else ""
    folder = store.absolute() / WEEKS / f"{day(start)}{own}-{purpose}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    said = traffic.feedback(connection, [event.id for event in drawn])
    right = {each.event_id: each.correction for each in said if each.correction}
    files: dict[str, list[dict[str, Any]]] = {
        "examples": [{"id": event.id, "messages": asked(event)} for event in drawn],
        "answers": [{"id": event.id, "response": event.response} for event in drawn],
        CORRECTIONS: [{"id": event.id, "response": right.get(event.id)} for event in drawn],
    }
    plan = "\n".join(_plan(start, variant, purpose, judges))
    with writing(folder / "plan.toml") as parts:
        for name, rows in files.items():
            parts.open(folder / f"{name}.jsonl").write(json_lines(rows))
        parts.open(folder / "plan.toml").write(plan)
    return folder / "plan.toml"


def _plan(start: float, variant: str, purpose: str, judges: Sequence[Judge]) -> Iterator[str]:
    yield f"name = {toml(f'week of {day(start)}, {purpose}')}"
    if not judges:
        yield "judges = []"
    yield '\n[data]\nexamples = "examples.jsonl"\n'
    name = model_name(variant)
    name = UNNAMED if name == CORRECTIONS else name
    for model, role, file in ((CORRECTIONS, "baseline", CORRECTIONS), (name, "candidate", "answers")):
        yield f'[[models]]\nname = {toml(model)}\nrole = "{role}"\noutputs = "{file}.jsonl"\n'
    yield '[metrics]\nuse = ["length", "refusals"]\n'
    yield from judge_tables(judges)


def model_name(variant: str) -> str:
    """What a run calls the answers of a variant."""
    return variant if variant.strip() and variant.isprintable() and len(variant) <= 200 else UNNAMED


def judge_tables(judges: Sequence[Judge]) -> Iterator[str]:
    """The judges as a plan names them."""
    for judge in judges:
        yield "[[judges]]"
        for key, value in judge.model_dump(mode="json", exclude_unset=True).items():
            yield f"{key} = {toml(value)}"
        yield ""


def json_lines(rows: Sequence[dict[str, Any]]) -> str:
    """One JSON object a line."""
    return "".join(f"{json.dumps(row)}\n" for row in rows)
