"""Stores of earlier schemas are brought up to date with nothing lost."""

import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from store import database, migrations


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store as the first schema made it, with one judged pair in it."""
    folder = tmp_path / "store"
    folder.mkdir()
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    engine = create_engine(f"sqlite:///{folder / database.FILE}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    connection = sqlite3.connect(folder / database.FILE)
    connection.executescript(
        """
        INSERT INTO run (id, name, status, created, plan, plan_hash, plan_folder, plan_file, seed)
            VALUES (1, 'first', 'finished', 1.0, '', 'h', '', 'p.toml', 0);
        INSERT INTO model (id, run_id, name, role, kind, position)
            VALUES (1, 1, 'base', 'baseline', 'local', 0), (2, 1, 'lora', 'candidate', 'local', 1);
        INSERT INTO example (id, eval_set, example, position, query) VALUES (1, 'e', 'a', 0, 'q');
        INSERT INTO judge (id, run_id, name, kind, is_language_model, prompt_hash)
            VALUES (1, 1, 'gpt', 'pairwise', 1, 'x');
        INSERT INTO judgment (id, judge_id, candidate_id, baseline_id, example_id, "order", winner, reasoning,
            raw, attempts, cached, created)
            VALUES (7, 1, 2, 1, 1, 'candidate_first', 'candidate', 'why', '{}', 1, 0, 2.0);
        INSERT INTO verdict VALUES (1, 2, 1, 1, 'win', 1, NULL);
        INSERT INTO winrate VALUES (1, 2, 1, 1, 0, 0, 0, 1.0, 0.2, 1.0, 0.5, 0.9, NULL);
        """
    )
    connection.commit()
    connection.close()
    return folder


def test_an_older_store_keeps_its_judgments_verdicts_and_win_rates(old: Path) -> None:
    database.prepare(old)
    assert database.schema_of(old) == database.SCHEMA
    connection = database.connect(old)
    judgment = connection.execute("SELECT * FROM judgment").fetchone()
    assert (judgment["id"], judgment["winner"], judgment["reasoning"], judgment["turn"]) == (
        7,
        "candidate",
        "why",
        0,
    )
    verdict = connection.execute("SELECT * FROM verdict").fetchone()
    assert (verdict["outcome"], verdict["consistent"], verdict["turn"]) == ("win", 1, 0)
    rate = connection.execute("SELECT * FROM winrate").fetchone()
    assert (rate["wins"], rate["win_rate"], rate["length_controlled"], rate["turn"]) == (1, 1.0, 0.9, 0)
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_the_store_as_it_was_is_kept_beside_the_upgraded_one(old: Path) -> None:
    writer = database.connect(old)  # what it has written is still in the write-ahead log
    writer.execute("UPDATE run SET name = 'renamed'")
    database.prepare(old)
    kept = sqlite3.connect(old / f"{database.FILE}.before-{database.SCHEMA}")
    assert kept.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
    assert kept.execute("SELECT name FROM run").fetchone() == ("renamed",)
    assert kept.execute("SELECT count(*) FROM judgment").fetchone() == (1,)
