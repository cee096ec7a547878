"""Comparisons of runs made before there were rulings are ruled on when their store is opened.

The migration has the rule of its own version written out. Here it is held against the live one; when that
changes, the values that this test expects are to be written out too.
"""

import random
import sqlite3
import tomllib
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from engine.compare.comparison import Comparison
from engine.gates.measures import ruled
from engine.metrics.metric import Measure
from engine.plan.plan import Gates
from store import database, migrations

Row = dict[str, Any]
PLANS = {
    1: "",
    2: "[gates]\nmax_benchmark_drop = 0.02\nmax_metric_drop = 0.1\nmax_perplexity_rise = 0.3\n",
    3: '[gates.metrics]\nrougeL = 0.1\n"perplexity:wiki" = { max = 0.2 }\nresponse_tokens = 0.5\n',
}
# By measure: direction, the ends of its range, and its kind.
MEASURES: dict[str, tuple[str, float | None, float | None, str]] = {
    "rougeL": ("higher", 0.0, 1.0, "metric"),
    "exact_match": ("higher", 0.0, 1.0, "metric"),
    "judge:grader": ("higher", 1.0, 10.0, "metric"),
    "perplexity": ("lower", 1.0, None, "metric"),
    "perplexity:wiki": ("lower", 1.0, None, "corpus"),
    "bits_per_byte:wiki": ("lower", 0.0, None, "corpus"),
    "bits_per_byte": ("lower", 0.0, None, "metric"),
    "refusal": ("none", 0.0, 1.0, "metric"),
    "refused_harmless": ("lower", 0.0, 1.0, "metric"),
    "response_tokens": ("none", 0.0, None, "metric"),
    "response_words": ("none", 0.0, None, "metric"),
    "latency_s": ("lower", 0.0, None, "metric"),
    "arithmetic · acc": ("higher", None, None, "benchmark"),
    "stories · perplexity": ("lower", None, None, "benchmark"),
}
COLUMNS = ["candidate_value", "baseline_value", "delta", "low", "high", "p", "n", "smallest_detectable"]


def drawn(rng: random.Random, measure: str) -> Row:
    """A comparison as a run may have stored it: clear, close, of few, at the floor, untested or missing."""
    direction, low, high, kind = MEASURES[measure]
    least, width = low or 0.0, 1.0 if high is None else high - (low or 0.0)
    scale = 20.0 if measure == "stories · perplexity" else width
    baseline = least + scale * rng.choice((0.0, 0.5, 0.9))
    delta = scale * rng.choice((0.0, -0.01, 0.02, -0.06, -0.2, 0.1))
    half = scale * rng.choice((0.005, 0.03, 0.2))
    row: Row = {"measure": measure, "direction": direction, "kind": kind, "reason": None}
    values = (baseline + delta, baseline, delta, delta - half, delta + half, rng.random() ** 6)
    row |= dict(zip(COLUMNS, (*values, rng.choice((5, 8, 200)), 2.8 * half / 1.96), strict=True))
    fate = rng.random()
    if fate < 0.1:
        row |= dict.fromkeys(("delta", "low", "high", "p", "smallest_detectable"), None) | {"reason": "other"}
    elif fate < 0.2:
        row |= dict.fromkeys(("low", "high", "p", "smallest_detectable"), None)
    return row


def written(folder: Path, seed: int) -> dict[int, list[Row]]:
    """A store of schema 0003 with a run for each plan; its comparisons, run by run."""
    folder.mkdir()
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    engine = create_engine(f"sqlite:///{folder / database.FILE}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
    engine.dispose()
    rng, found = random.Random(seed), {}
    store = sqlite3.connect(folder / database.FILE)
    for run, plan in PLANS.items():
        store.execute(
            "INSERT INTO run (id, name, status, created, plan, plan_hash, plan_folder, plan_file, seed) "
            "VALUES (?, 'r', 'finished', 1.0, ?, 'h', '', 'p.toml', 0)",
            (run, plan),
        )
        for place, role in enumerate(("baseline", "baseline", "candidate", "candidate")):
            store.execute(
                "INSERT INTO model (id, run_id, name, role, kind, position) VALUES (?, ?, ?, ?, 'local', ?)",
                (10 * run + place, run, f"m{place}", role, place),
            )
        for place, (name, (direction, low, high, kind)) in enumerate(MEASURES.items()):
            if kind != "benchmark":
                store.execute(
                    "INSERT INTO metric (run_id, measure, position, direction, low, high, unit, version, "
                    "source, meaning) VALUES (?, ?, ?, ?, ?, ?, '', '1', 's', 'm')",
                    (run, name, place, direction, low, high),
                )
        found[run] = [
            {"candidate": candidate, "baseline": baseline} | drawn(rng, measure)
            for candidate in (2, 3)
            for baseline in (0, 1)
            for measure in MEASURES
            if rng.random() < 0.8
        ]
        names = ("measure", "direction", "kind", "reason", *COLUMNS)
        store.executemany(
            f"INSERT INTO comparison (candidate_id, baseline_id, {', '.join(names)}) "
            f"VALUES (?, ?, {', '.join('?' * len(names))})",
            [
                (10 * run + row["candidate"], 10 * run + row["baseline"], *(row[name] for name in names))
                for row in found[run]
            ],
        )
    store.commit()
    store.close()
    return found


def live(rows: list[Row], plan: str) -> list[Comparison]:
    made = [
        Comparison(**(row | {side: f"m{row[side]}" for side in ("candidate", "baseline")})) for row in rows
    ]
    measures = {
        name: Measure(name, direction, low, high, "", frozenset(), "1", "s", "m")  # type: ignore[arg-type]
        for name, (direction, low, high, kind) in MEASURES.items()
        if kind != "benchmark"
    }
    gates = Gates.model_validate(tomllib.loads(plan).get("gates", {}))
    metrics = [item for item in made if item.kind != "benchmark"]
    benchmarks = [item for item in made if item.kind == "benchmark"]
    first, second = ruled(metrics, benchmarks, gates, measures)
    return [*first, *second]


@pytest.mark.parametrize("seed", range(8))
def test_the_rulings_of_an_older_store_are_those_of_the_live_rule(tmp_path: Path, seed: int) -> None:
    """But for the step of "no worse", which the migration looks at with the one of the difference itself."""
    runs = written(tmp_path / "store", seed)
    database.prepare(tmp_path / "store")
    connection = database.connect(tmp_path / "store")
    for run, rows in runs.items():
        for item in live(rows, PLANS[run]):
            key = (10 * run + int(item.candidate[1:]), 10 * run + int(item.baseline[1:]), item.measure)
            stored = connection.execute(
                "SELECT * FROM comparison WHERE candidate_id = ? AND baseline_id = ? AND measure = ?", key
            ).fetchone()
            assert item.ruling is not None
            expected_row = item.ruling.stored()
            if {item.ruling.standing, stored["standing"]} <= {"no worse", "inconclusive"}:
                for name in ("standing", "low_corrected", "high_corrected"):
                    del expected_row[name]
            for name, value in expected_row.items():
                expected = pytest.approx(value, abs=1e-12) if isinstance(value, float) else value
                assert stored[name] == expected, (run, key, name)


def test_an_interval_without_width_of_an_older_version_keeps_nothing(tmp_path: Path) -> None:
    """Older versions wrote one where no example differed, however few there were."""
    written(tmp_path / "store", 0)
    store = sqlite3.connect(tmp_path / "store" / database.FILE)
    store.execute("UPDATE comparison SET delta = 0, low = 0, high = 0, p = 1, n = 9, baseline_value = 0.5")
    store.commit()
    store.close()
    database.prepare(tmp_path / "store")
    connection = database.connect(tmp_path / "store")
    said = {row["standing"] for row in connection.execute("SELECT standing FROM comparison")}
    assert said == {"inconclusive"}


def test_slices_keep_the_family_that_their_p_values_were_corrected_for(tmp_path: Path) -> None:
    written(tmp_path / "store", 0)
    store = sqlite3.connect(tmp_path / "store" / database.FILE)
    cases = [
        ("worse", "higher", -0.2, -0.3, -0.1, 0.01),
        ("better", "lower", -0.2, -0.3, -0.1, 0.01),
        ("less", "none", -0.2, -0.3, -0.1, 0.01),
        ("inconclusive", "higher", -0.2, -0.3, -0.1, 0.2),
        ("inconclusive", "higher", -0.2, -0.5, 0.1, 0.04),
        ("not tested", "higher", -0.2, None, None, None),
        ("missing", "higher", None, None, None, None),
    ]
    store.executemany(
        "INSERT INTO slicecomparison (candidate_id, baseline_id, measure, slice, direction, delta, low, "
        "high, p, n) VALUES (12, 10, 'rougeL', ?, ?, ?, ?, ?, ?, 50)",
        [(f"{place}", *values) for place, (_, *values) in enumerate(cases)],
    )
    store.commit()
    store.close()
    database.prepare(tmp_path / "store")
    found = (
        database.connect(tmp_path / "store")
        .execute("SELECT standing, family FROM slicecomparison ORDER BY slice")
        .fetchall()
    )
    assert [row["standing"] for row in found] == [case[0] for case in cases]
    assert {row["family"] for row in found} == {"slices of one measure"}
