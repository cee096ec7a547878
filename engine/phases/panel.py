"""Several judges on the same pairs: what they say together, and how far they agree."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np

from engine.phases.combined import Part, by_place, majority, part, record_combined
from engine.phases.judging import match_name
from engine.phases.work import Work
from engine.stats.agreement import Agreement, cohen_kappa, krippendorff_alpha, raw_agreement
from engine.stats.correlation import spearman
from engine.stats.intervals import SHARE, bootstrap_interval
from engine.stats.winrate import POINTS, Outcome
from store import tables

NAME = "panel"


def panel(work: Work, names: Sequence[str]) -> int | None:
    """Writes the verdicts of the named judges of pairs together, by majority; the panel's id.

    None where the plan wants no panel, or there are fewer than two judges.
    """
    if work.plan.judging.panel is False or len(names) < 2:
        return None
    parts = [part(work, name) for name in names]
    verdicts: dict[Any, dict[str, Any]] = {}
    for place, said in by_place(parts).items():
        outcomes: list[Outcome] = ["failed" if row is None else row["outcome"] for row in said]
        outcome = majority(outcomes)
        counted = {each for each in outcomes if each != "failed"}
        verdicts[place] = {
            "outcome": outcome,
            "consistent": len(counted) == 1 if counted else None,
            "reason": "every judge failed" if outcome == "failed" else None,
        }
    judge_id = record_combined(
        work, NAME, parts, verdicts, f"the majority of {len(parts)} judges; a tie without one"
    )
    work.recorder.put(
        tables.Audit, [{"judge_id": judge_id, **row} for row in [*_agreement(parts), *_means(work, parts)]]
    )
    return judge_id


def agreement_of_raters(work: Work) -> None:
    """How far the raters of single responses agree, two at a time, over all that both rated."""
    rows = [
        row
        for row in work.recorder.rows(tables.Judge, run_id=work.recorder.run_id)
        if row["kind"] == "pointwise"
    ]
    scores = {
        row["id"]: {
            (rating["model_id"], rating["example_id"], rating["turn"]): rating["score"]
            for rating in work.recorder.rows(tables.Rating, judge_id=row["id"])
        }
        for row in rows
    }
    for one, other in combinations(rows, 2):
        places = sorted(scores[one["id"]].keys() & scores[other["id"]].keys())
        first, second = ([scores[row["id"]][place] for place in places] for row in (one, other))
        found = spearman(first, second)
        work.recorder.put(
            tables.Audit, [{"judge_id": one["id"], **_figure("spearman", f"with {other['name']}", found)}]
        )


def _agreement(parts: Sequence[Part]) -> list[dict[str, Any]]:
    table = by_place(parts)
    said = [[_counted(row) for row in column] for column in zip(*table.values(), strict=True)]
    figures = []
    for one, other in combinations(range(len(parts)), 2):
        subject = f"{parts[one].name} and {parts[other].name}"
        figures.append(_figure("raw_agreement", subject, raw_agreement(said[one], said[other])))
        figures.append(_figure("cohen_kappa", subject, cohen_kappa(said[one], said[other])))
    figures.append(_figure("krippendorff_alpha", "all judges", krippendorff_alpha(said)))
    return figures


def _counted(row: dict[str, Any] | None) -> str | None:
    return None if row is None or row["outcome"] == "failed" else str(row["outcome"])


def _figure(measure: str, subject: str, found: Agreement) -> dict[str, Any]:
    return {"measure": measure, "subject": subject, **asdict(found)}


def _means(work: Work, parts: Sequence[Part]) -> list[dict[str, Any]]:
    """The win rate that counts every judge's verdict by itself, beside the majority's."""
    names = {place: name for name, place in work.model_ids.items()}
    by_match: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for (candidate, baseline, _, turn), said in by_place(parts).items():
        points = [POINTS[row["outcome"]] for row in said if row is not None and row["outcome"] in POINTS]
        if points and turn == 0:
            by_match.setdefault((candidate, baseline), []).append((sum(points) / len(points), 1.0))
    figures = []
    for (candidate, baseline), means in by_match.items():
        found = bootstrap_interval(
            np.array(means), lambda sums: sums[..., 0] / sums[..., 1], work.plan.data.seed, ends=SHARE
        )
        subject = match_name(names[candidate], names[baseline])
        figures.append({"measure": "mean_win_rate", "subject": subject, "reason": None, **asdict(found)})
    return figures
