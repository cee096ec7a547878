"""Query time on a long history, and the time of a paired bootstrap over many measures.

    python -m bench.history [--full] [--store DIR]

The store holds 10,000 runs and two runs of 10,000 examples with 10 scores a response; with --full, 1,000,000
responses with 10 scores each. What counts is the time until the rows are in this process, the processor's,
which neighbours on the machine do not lengthen. Statistics are measured apart from it.
"""

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from engine.stats.intervals import bootstrap_sums
from store import database
from store.read import evidence, history, runs, trends

BUDGET_MS = 100
BOOTSTRAP_BUDGET_S = 2.0
RUNS = 10_000
EXAMPLES = 10_000
MEASURES = [f"measure_{place}" for place in range(10)]
ROUNDS = 5


def build(folder: Path, responses: int) -> None:
    """A store of RUNS runs, the last of which share so many responses, EXAMPLES each."""
    database.prepare(folder)
    with closing(database.connect(folder)) as connection:
        for pragma in ("synchronous=OFF", "foreign_keys=OFF", "wal_autocheckpoint=20000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        _insert(connection, "run", _runs())
        _insert(connection, "model", _models())
        _insert(connection, "metric", _metrics())
        _insert(connection, "modelscore", _model_scores())
        _insert(connection, "judge", _judges())
        _insert(connection, "winrate", _win_rates())
        _insert(connection, "example", _examples())
        connection.execute("COMMIT")
        for model in range(2 * RUNS, 2 * RUNS - responses // EXAMPLES, -1):
            connection.execute("BEGIN")
            _insert(connection, "response", _responses(model))
            _insert(connection, "score", _scores(model))
            if model % 2 == 0:
                run = model // 2
                _insert(
                    connection,
                    "runexample",
                    ({"run_id": run, "position": at, "example_id": at + 1} for at in range(EXAMPLES)),
                )
            connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _insert(connection: sqlite3.Connection, table: str, rows: Iterator[dict[str, Any]]) -> None:
    first = next(rows)
    names = ", ".join(f'"{name}"' for name in first)
    sql = f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(first))})"
    connection.execute(sql, tuple(first.values()))
    connection.executemany(sql, (tuple(row.values()) for row in rows))


def _runs() -> Iterator[dict[str, Any]]:
    for run in range(1, RUNS + 1):
        yield {
            **{"id": run, "name": f"nightly-{run % 20}", "status": "finished", "created": 1e9 + 60.0 * run},
            **{"started": 1e9 + 60.0 * run, "finished": 1e9 + 60.0 * run + 30, "passed": 1, "plan": ""},
            **{"plan_hash": f"{run:064x}", "plan_folder": "/", "plan_file": "plan.toml", "eval_set": "v"},
            **{"seed": 0, "options": '{"limit": null}'},
        }


def _models() -> Iterator[dict[str, Any]]:
    details = '{"path": "meta-llama/Llama-3.1-8B-Instruct", "tokenizer": "t", "kind": "local"}'
    for model in range(1, 2 * RUNS + 1):
        candidate = model % 2 == 0
        yield {
            **{"id": model, "run_id": (model + 1) // 2, "name": "lora" if candidate else "base"},
            **{"role": "candidate" if candidate else "baseline", "kind": "local", "position": int(candidate)},
            **{"fingerprint": "f", "details": details},
        }


def _metrics() -> Iterator[dict[str, Any]]:
    for run in range(1, RUNS + 1):
        for place, name in enumerate(MEASURES):
            yield {
                **{"run_id": run, "measure": name, "position": place, "direction": "higher", "unit": ""},
                **{"version": "1", "source": "", "meaning": ""},
            }


def _model_scores() -> Iterator[dict[str, Any]]:
    for model in range(1, 2 * RUNS + 1):
        for place, name in enumerate(MEASURES):
            value = (model * 37 + place * 11) % 100 / 100
            yield {
                **{"model_id": model, "measure": name, "value": value, "low": value - 0.01},
                **{"high": value + 0.01, "n": EXAMPLES, "missing": 0},
            }


def _judges() -> Iterator[dict[str, Any]]:
    for run in range(1, RUNS + 1):
        yield {
            **{"id": run, "run_id": run, "name": "gpt", "kind": "pairwise", "is_language_model": 1},
            **{"prompt_hash": "h", "details": '{"model": "gpt-4o"}'},
        }


def _win_rates() -> Iterator[dict[str, Any]]:
    for run in range(1, RUNS + 1):
        yield {
            **{"judge_id": run, "candidate_id": 2 * run, "baseline_id": 2 * run - 1, "turn": 0, "wins": 120},
            **{"losses": 60, "ties": 20, "failed": 0, "win_rate": 0.65, "low": 0.6, "high": 0.7},
        }


def _examples() -> Iterator[dict[str, Any]]:
    for place in range(EXAMPLES):
        yield {
            **{"id": place + 1, "eval_set": "v", "example": f"e{place:05}", "position": place},
            **{"query": f"Where is parcel {place}?", "references": '["It is on its way."]'},
        }


def _responses(model: int) -> Iterator[dict[str, Any]]:
    text = "The parcel left our house and should be with you within two working days."
    for example in range(1, EXAMPLES + 1):
        yield {
            **{"model_id": model, "example_id": example, "text": text, "tokens_out": 20},
            **{"cached": 0, "created": 0.0},
        }


def _scores(model: int) -> Iterator[dict[str, Any]]:
    for name in MEASURES:
        for example in range(1, EXAMPLES + 1):
            value = (example * 37 + model * 11) % 100 / 100
            yield {"model_id": model, "measure": name, "example_id": example, "value": value}


def best_ms(work: Callable[[], object]) -> tuple[float, float]:
    """The best of some rounds, in milliseconds of the processor and of the clock."""
    times = []
    for _ in range(ROUNDS):
        cpu, clock = time.process_time(), time.perf_counter()
        work()
        times.append((1000 * (time.process_time() - cpu), 1000 * (time.perf_counter() - clock)))
    return min(cpu for cpu, _ in times), min(clock for _, clock in times)


def queries(connection: history.Connection) -> dict[str, Callable[[], object]]:
    newest, before = RUNS, RUNS - 1
    tagged = runs.read_words("tag:release model:llama status:finished")
    return {
        "Runs page (100 of 10,000)": lambda: (runs.page(connection), runs.count(connection)),
        "Runs page in the middle": lambda: runs.page(connection, before=RUNS // 2),
        "Runs filter that finds nothing": lambda: runs.page(connection, words=tagged),
        "trend of a metric over all runs": lambda: trends.trend(connection, MEASURES[3]),
        "trend of a win rate over all runs": lambda: trends.trend(connection, "win rate over base (gpt)"),
        "all measures of the history": lambda: trends.measures(connection),
        "comparison of two 10,000-example runs": lambda: [
            (evidence.examples_by_name(connection, run), list(evidence.scores(connection, 2 * run)))
            for run in (before, newest)
        ],
    }


def bootstrap_seconds() -> float:
    """10,000 paired resamples of 10,000 pairs, 20 measures on the same draws."""
    parts = np.random.default_rng(0).random((10_000, 2 * 20))
    begun = time.perf_counter()
    bootstrap_sums(parts, seed=0, resamples=10_000)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="1,000,000 responses: about 1 GB of disk")
    parser.add_argument("--store", type=Path, help="build it here, and keep it")
    arguments = parser.parse_args()
    responses = 1_000_000 if arguments.full else 4 * EXAMPLES
    with tempfile.TemporaryDirectory() as place:
        folder = arguments.store or Path(place)
        if not database.exists(folder):
            begun = time.perf_counter()
            build(folder, responses)
            print(f"built in {time.perf_counter() - begun:.0f} s: {RUNS:,} runs, {responses:,} responses")
        size = (folder / database.FILE).stat().st_size
        print(f"{size / 1e9:.2f} GB, {len(MEASURES)} scores a response\n")
        with closing(history.attach(database.connect(folder))) as connection:
            for name, work in queries(connection).items():
                cpu, clock = best_ms(work)
                verdict = "ok" if cpu <= BUDGET_MS else "OVER"
                print(f"{name:42} {cpu:7.1f} ms  (clock {clock:7.1f}; budget {BUDGET_MS})  {verdict}")
    seconds = min(bootstrap_seconds() for _ in range(3))
    verdict = "ok" if seconds <= BOOTSTRAP_BUDGET_S else "OVER"
    name = "bootstrap, 20 measures of 10,000 pairs"
    print(f"\n{name:42} {seconds:7.2f} s   (budget {BOOTSTRAP_BUDGET_S})  {verdict}")


if __name__ == "__main__":
    main()
