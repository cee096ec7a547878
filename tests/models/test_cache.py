"""Answers kept between runs: whose they are, what they cost, what is kept of them, and how they go."""

import sqlite3
import time
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from engine.models.fingerprint import ResponseCache, response_key
from engine.models.local import LocalBase, LocalModel
from engine.models.model import Response, Settings
from engine.plan.plan import Model
from engine.run import launch
from engine.run.execute import execute
from store.cache import kept, prune
from store.database import connect
from store.read import history
from store.read.answers import AnswerCount, answer_counts
from store.write import Recorder
from tests.models.tiny import ask, make_model
from tui.sections.gather import gather

SETTINGS = Settings(max_new_tokens=6)
QUESTIONS = [ask(f"the cat {number}") for number in range(3)]
DAY = 86_400.0


def opened(path: Path, cache: ResponseCache, **more: Any) -> LocalModel:
    model = Model(name="m", role="candidate", path=str(path), device="cpu", **more)
    return LocalBase(str(path), dtype=model.dtype, device="cpu").generator(model, cache)


def cached(model: LocalModel, settings: Settings = SETTINGS) -> set[bool]:
    return {r.cached for batch in model.generate(QUESTIONS, settings) for r in batch}


def test_the_same_content_in_two_folders_shares_its_answers(tmp_path: Path) -> None:
    here, there = make_model(tmp_path / "here", seed=1), make_model(tmp_path / "there", seed=1)
    with ResponseCache(tmp_path / "cache") as cache:
        assert cached(opened(here, cache)) == {False}
        assert cached(opened(there, cache)) == {True}


def test_another_dtype_attention_or_quantisation_is_another_model(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ResponseCache(tmp_path / "cache") as cache:
        prints = [opened(base, cache).fingerprint, opened(base, cache, dtype="bfloat16").fingerprint]
        monkeypatch.setattr(LocalBase, "attention", "eager")
        prints.append(opened(base, cache).fingerprint)
    assert len(set(prints)) == len(prints)


def test_answers_one_by_one_are_kept_apart(base: Path, tmp_path: Path) -> None:
    with ResponseCache(tmp_path) as cache:
        assert cached(opened(base, cache)) == {False}
        assert cached(opened(base, cache), replace(SETTINGS, deterministic=True)) == {False}


OTHER = Settings(
    max_new_tokens=7, temperature=0.5, top_p=0.9, top_k=5, min_p=0.1, repetition_penalty=1.2, seed=3,
    stop=("the",), batch_size=2, slots=3, deterministic=True, overflow="truncate", delimiters=("<a>", "</a>"),
)  # fmt: skip
# How fast an answer comes, how a prompt is cut (the key holds its tokens), what is taken off afterwards.
NO_PART_OF_THE_TEXT = {"batch_size", "slots", "overflow", "delimiters"}
DRAWN = {"temperature", "top_p", "top_k", "min_p"}


@pytest.mark.parametrize("setting", [field.name for field in fields(Settings) if field.name != "seed"])
def test_every_setting_that_decides_the_text_has_answers_of_its_own(setting: str) -> None:
    drawn = setting in DRAWN - {"temperature"}
    plain = Settings(temperature=1.0 if drawn else 0.0)
    other = replace(plain, **{setting: getattr(OTHER, setting)})
    assert other != plain
    same = response_key("model", [1], plain, seed=1) == response_key("model", [1], other, seed=1)
    assert same == (setting in NO_PART_OF_THE_TEXT)


@pytest.mark.parametrize("setting", sorted(DRAWN - {"temperature"}))
def test_greedy_answers_are_shared_whatever_would_be_drawn_from(setting: str) -> None:
    other = replace(Settings(), **{setting: getattr(OTHER, setting)})
    assert response_key("model", [1], Settings(), 1) == response_key("model", [1], other, 2)


def test_other_delimiters_leave_other_special_tokens_in_the_text(base: Path, tmp_path: Path) -> None:
    with ResponseCache(tmp_path) as cache:
        special = opened(base, cache).tokenizer.all_special_tokens
        assert cached(opened(base, cache)) == {False}
        own = replace(SETTINGS, delimiters=(special[0], special[-1]))
        assert cached(opened(base, cache), own) == {False}


def fill(folder: Path, ages: list[float]) -> None:
    """A kind of answers stored that many days ago."""
    with ResponseCache(folder) as cache:
        for place in range(len(ages)):
            key = response_key("model", [place], SETTINGS)
            cache.put(key, Response(str(place), "an answer " * 20, 1, 2, "stop", 0.1))
    with closing(sqlite3.connect(folder / "cache.db")) as database, database:
        for place, age in enumerate(ages):
            database.execute(
                "UPDATE Cache SET store_time = ? WHERE rowid = ?", (time.time() - age * DAY, place + 1)
            )


def test_the_report_counts_entries_bytes_ages_and_hits(tmp_path: Path) -> None:
    fill(tmp_path / "responses", [40, 2])
    with ResponseCache(tmp_path / "responses") as cache:
        for tokens in ([0], [1], [7]):
            cache.get(response_key("model", tokens, SETTINGS))
    [found] = kept(tmp_path)
    assert (found.kind, found.entries, found.hits, found.misses) == ("responses", 2, 2, 1)
    assert found.oldest is not None and found.newest is not None
    assert round((found.newest - found.oldest) / DAY) == 38
    assert 200 < found.bytes < 2000


def test_old_answers_go_and_young_ones_stay(tmp_path: Path) -> None:
    fill(tmp_path / "responses", [40, 2, 50])
    fill(tmp_path / "judgments", [31])
    gone = prune(tmp_path, before=time.time() - 30 * DAY)
    assert {kind.kind: kind.entries for kind in gone} == {"responses": 2, "judgments": 1}
    with ResponseCache(tmp_path / "responses") as cache:
        left = [cache.get(response_key("model", [place], SETTINGS)) for place in range(3)]
    assert [answer is not None for answer in left] == [False, True, False]


def test_the_oldest_of_all_kinds_go_until_the_size_is_reached(tmp_path: Path) -> None:
    fill(tmp_path / "responses", [4, 2])
    fill(tmp_path / "judgments", [3, 1])
    total = sum(kind.bytes for kind in kept(tmp_path))
    prune(tmp_path, most=total // 2)
    assert {kind.kind: kind.entries for kind in kept(tmp_path)} == {"responses": 1, "judgments": 1}
    assert sum(kind.bytes for kind in kept(tmp_path)) <= total // 2


def test_a_store_that_kept_nothing_has_nothing_to_prune(tmp_path: Path) -> None:
    assert kept(tmp_path) == prune(tmp_path, most=0) == []


PLAN = """
name = "{name}"
[data]
examples = "eval.jsonl"
[[models]]
name = "base"
role = "baseline"
path = "{base}"
[[models]]
name = "prompted"
role = "candidate"
path = "{base}"
system = "{system}"
[generation]
max_new_tokens = 6
noise_floor = 2
[metrics]
use = ["exact_match"]
"""


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The bases whose weights were loaded."""
    found: list[str] = []
    own = LocalBase._load

    def load(base: LocalBase) -> Any:
        found.append(base.path)
        return own(base)

    monkeypatch.setattr(LocalBase, "_load", load)
    return found


def run(folder: Path, base: Path, name: str, *, system: str = "Be brief.", cache: bool = True) -> int:
    """Runs a plan of two models on three examples; returns the run's id."""
    (folder / "eval.jsonl").write_text(
        "".join(f'{{"id": "{n}", "query": "the cat {n}", "reference": "x"}}\n' for n in range(3))
    )
    plan = folder / f"{name}.toml"
    plan.write_text(PLAN.format(name=name, base=base, system=system))
    run_id = launch.create(plan, folder / "store", cache=cache)
    recorder = Recorder(folder / "store", run_id)
    try:
        execute(recorder, folder / "store", lambda: None)
    finally:
        recorder.close()
    return run_id


def told(folder: Path, run_id: int) -> list[AnswerCount]:
    with closing(history.attach(connect(folder / "store"))) as connection:
        return answer_counts(connection, run_id)


def without_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.phases.generate.wants_noise", lambda work, model: False)


def test_a_baseline_of_several_plans_is_generated_once(
    base: Path, tmp_path: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_noise(monkeypatch)

    def counted(rows: list[AnswerCount]) -> list[tuple[str, int, int]]:
        return [(row.model, row.answers, row.from_cache) for row in rows]

    assert counted(told(tmp_path, run(tmp_path, base, "first"))) == [("base", 3, 0), ("prompted", 3, 0)]
    second = run(tmp_path, base, "second", system="Be long.")
    assert counted(told(tmp_path, second)) == [("base", 3, 3), ("prompted", 3, 0)]
    loads.clear()
    assert {row.from_cache for row in told(tmp_path, run(tmp_path, base, "third"))} == {3}
    assert loads == []


def test_without_the_cache_nothing_is_taken_from_it_or_kept(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_noise(monkeypatch)
    run(tmp_path, base, "first")
    before = kept(tmp_path / "store/cache")
    assert {row.from_cache for row in told(tmp_path, run(tmp_path, base, "second", cache=False))} == {0}
    assert kept(tmp_path / "store/cache") == before


def test_a_run_measures_the_noise_floor_that_its_plan_asks_for(base: Path, tmp_path: Path) -> None:
    run_id = run(tmp_path, base, "first")
    with closing(history.attach(connect(tmp_path / "store"))) as connection:
        found = gather(connection, run_id)
    for model in found.overview.models:
        assert (model.details or {})["noise_floor"]["n"] == 2
        assert (model.details or {})["batching"] == "continuous"
    assert any(
        remark.startswith("noise floor of base 0.0% (0.0 to 84.2%, 2 answers)") for remark in found.remarks
    )
