"""Judges that are made of other judges: their rows, and the verdicts that follow from their parts'."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.judges.material import digest
from engine.phases.work import Work
from engine.stats.winrate import Outcome
from store import tables

Place = tuple[int, int, int, int]  # candidate, baseline, example, turn


@dataclass(frozen=True, slots=True)
class Part:
    """A judge that speaks as a part of another: its row, and its verdicts by place."""

    row: dict[str, Any]
    verdicts: dict[Place, dict[str, Any]]

    @property
    def name(self) -> str:
        return str(self.row["name"])


def part(work: Work, name: str) -> Part:
    (row,) = work.recorder.rows(tables.Judge, run_id=work.recorder.run_id, name=name)
    return Part(row, verdicts_of(work, row["id"]))


def verdicts_of(work: Work, judge_id: int) -> dict[Place, dict[str, Any]]:
    return {
        (row["candidate_id"], row["baseline_id"], row["example_id"], row["turn"]): row
        for row in work.recorder.rows(tables.Verdict, judge_id=judge_id)
    }


def record_combined(
    work: Work, name: str, parts: Sequence[Part], verdicts: Mapping[Place, dict[str, Any]], note: str
) -> int:
    """Writes the combined judge anew, marks its parts as such, and returns its id.

    A part's own win rate is shown, but the plan's gates are about the whole.
    """
    found = work.recorder.rows(tables.Judge, run_id=work.recorder.run_id, name=name)
    names = [each.name for each in parts]
    with work.recorder.transaction() as transaction:
        if found:
            judge_id = int(found[0]["id"])
        else:
            judge_id = transaction.insert(
                tables.Judge,
                {
                    "run_id": work.recorder.run_id,
                    "name": name,
                    "kind": "pairwise",
                    "is_language_model": any(each.row["is_language_model"] for each in parts),
                    "prompt_hash": digest([each.row["prompt_hash"] for each in parts]),
                    "details": {
                        "kind": "pairwise", "model": " + ".join(names), "server": None, "settings": {},
                        "parts": names, "note": note,
                    },
                },
            )  # fmt: skip
        for each in parts:
            transaction.update(tables.Judge, each.row["id"], details={**each.row["details"], "part_of": name})
        transaction.clear(tables.Verdict, judge_id=judge_id)
        transaction.append(
            tables.Verdict,
            [
                {
                    "judge_id": judge_id,
                    "candidate_id": place[0],
                    "baseline_id": place[1],
                    "example_id": place[2],
                    "turn": place[3],
                    **verdict,
                }
                for place, verdict in verdicts.items()
            ],
        )
    return judge_id


def majority(outcomes: Sequence[Outcome]) -> Outcome:
    """What most judges say; a tie where no outcome has most votes, "failed" where nobody has one.

    A judge that failed has no vote.
    """
    votes = Counter(outcome for outcome in outcomes if outcome != "failed").most_common()
    if not votes:
        return "failed"
    if len(votes) > 1 and votes[0][1] == votes[1][1]:
        return "tie"
    return votes[0][0]


def by_place(parts: Sequence[Part]) -> dict[Place, list[dict[str, Any] | None]]:
    """Every place that a part has a verdict on, with all parts' verdicts in their order."""
    places: dict[Place, None] = {}
    for each in parts:
        places |= dict.fromkeys(each.verdicts)
    found: dict[Place, list[dict[str, Any] | None]] = defaultdict(list)
    for place in places:
        found[place] = [each.verdicts.get(place) for each in parts]
    return dict(found)
