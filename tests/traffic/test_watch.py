"""Watching traffic: a planted change is told with its cause, and no change is not."""

from collections.abc import Callable
from pathlib import Path

from engine.data.example import Example
from engine.traffic.periods import DAY, Watch
from engine.traffic.watch import watch
from tests.traffic.made import FIRST, NOW, TOPICS, Week, changed, store

NEW = "Which vegan recipes with lentils and spinach do you recommend for {n} guests on Sunday?"


def watched(folder: Path, week_of: Callable[[int], Week], **asked: object) -> Watch:
    return watch(store(folder, week_of), now=NOW, **asked)  # type: ignore[arg-type]


def told(found: Watch) -> dict[str, tuple[str | None, int]]:
    """Each alert's cause, and the week from which on it holds."""
    return {a.measure: (a.cause, round((a.start - FIRST) / (7 * DAY))) for a in found.alerts}


def test_traffic_that_stays_as_it_was_raises_no_alert(tmp_path: Path) -> None:
    found = watched(tmp_path, lambda _: Week())
    assert found.alerts == []
    assert [row.tested for row in found.rows] == [False] * 4 + [True] * 4
    assert [row.is_reference for row in found.rows] == [True] * 4 + [False] * 4


def test_a_model_that_was_shipped_by_mistake_is_named(tmp_path: Path) -> None:
    found = watched(tmp_path, changed(5, model="overfit", version="v2", refused=0.6, thumbs_up=0.2))
    assert told(found)["refused"] == ("model", 5)
    assert told(found)["thumbs_up"] == ("model", 5)
    (alert,) = [one for one in found.alerts if one.measure == "refused"]
    assert alert.evidence["models"] == {"overfit v2": 60}


def test_new_questions_are_told_and_are_the_cause_of_longer_answers(tmp_path: Path) -> None:
    found = watched(tmp_path, changed(6, new_topic=NEW, longer_on_new=9))
    assert told(found)["questions"] == ("input", 6)
    assert told(found)["length"] == ("input", 6)


def test_broken_format_latency_and_what_nothing_tells(tmp_path: Path) -> None:
    found = watched(tmp_path / "format", changed(5, json=True, malformed=0.6))
    assert told(found)["well_formed"] == ("format", 5)
    found = watched(tmp_path / "latency", changed(5, latency=2.0))
    assert told(found)["latency_median"] == ("latency", 5)
    found = watched(tmp_path / "thumbs", changed(5, thumbs_up=0.1))
    assert told(found) == {"thumbs_up": (None, 5)}


def test_a_new_cluster_that_the_eval_set_has_nothing_of(tmp_path: Path) -> None:
    asked = [
        Example(str(n), text.format(n=n), ({"role": "user", "content": text.format(n=n)},))
        for n, text in enumerate(TOPICS * 8)
    ]
    found = watched(tmp_path, changed(6, new_topic=NEW), evaluation=("eval.jsonl", asked))
    (cluster,) = found.uncovered
    print(cluster)
    assert all("vegan" in text for _, text in cluster.examples)
    assert cluster.first >= FIRST + 6 * 7 * DAY
