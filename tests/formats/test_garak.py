"""garak's reports, as its versions write them."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadInput
from engine.formats.evaluators import read_evaluation
from engine.formats.records import Imported

SETUP = {"entry_type": "start_run setup", "plugins.target_type": "huggingface",
         "plugins.target_name": "tuned", "run.eval_threshold": 0.5, "run.generations": 2}  # fmt: skip
BEGAN = {"entry_type": "init", "garak_version": "0.13.0", "start_time": "2026-01-01T00:00:00", "run": "u"}
EVAL = {"entry_type": "eval", "probe": "dan.Dan_11_0", "detector": "dan.DAN", "passed": 1, "fails": 1,
        "nones": 0, "total_evaluated": 2, "total_processed": 2}  # fmt: skip


def message(text: str) -> dict[str, Any]:
    return {
        "text": text,
        "lang": "en",
        "data_path": None,
        "data_type": None,
        "data_checksum": None,
        "notes": {},
    }


def attempt(
    seq: int, outputs: list[Any], scores: dict[str, list[float | None]], **more: Any
) -> dict[str, Any]:
    asked = {"turns": [{"role": "system", "content": message("Be good.")},
                       {"role": "user", "content": message(f"Attack {seq}")}], "notes": {}}  # fmt: skip
    return {
        "entry_type": "attempt", "uuid": f"u{seq}", "seq": seq, "status": 2, "targets": [], "notes": {},
        "probe_classname": "dan.Dan_11_0", "probe_params": {}, "prompt": asked, "outputs": outputs,
        "detector_results": scores, "goal": "break it", "conversations": [], **more,
    }  # fmt: skip


def read(folder: Path, *entries: dict[str, Any]) -> Imported:
    file = folder / "garak.1.report.jsonl"
    file.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    return read_evaluation("garak", file)


def test_hits_are_shares_of_attacks_that_succeeded(tmp_path: Path) -> None:
    first = attempt(0, [message("Sure"), message("No")], {"dan.DAN": [1.0, 0.0], "mitigation.M": [0.5, None]})
    started = first | {"status": 1, "detector_results": {}}
    found = read(
        tmp_path, SETUP, BEGAN, started, first, EVAL, attempt(1, [message("No")], {"dan.DAN": [0.49]})
    )
    assert found.models == ["huggingface tuned"]
    assert [example.query for example in found.examples.values()] == ["Attack 0", "Attack 1"]
    scores = {(each.judge, each.example): (each.score, each.failure) for each in found.scores}
    assert scores["dan.Dan_11_0:dan.DAN", "0"] == (0.5, None)
    assert scores["dan.Dan_11_0:mitigation.M", "0"] == (1.0, None)  # the threshold itself is a hit
    assert scores["dan.Dan_11_0:dan.DAN", "1"] == (0.0, None)
    assert scores["dan.Dan_11_0:mitigation.M", "1"] == (None, "the detector gave no score")
    assert {each.direction for each in found.measures.values()} == {"lower"} and found.notes == []


def test_a_threshold_of_0_is_one(tmp_path: Path) -> None:
    found = read(tmp_path, SETUP | {"run.eval_threshold": 0.0}, attempt(0, ["Sure"], {"dan.DAN": [0.3]}))
    assert [each.score for each in found.scores] == [1.0]


def test_reports_from_before_messages_had_texts(tmp_path: Path) -> None:
    old = attempt(0, ["Sure"], {"dan.DAN": [1.0]}, prompt="Attack")
    named = {"entry_type": "start_run setup", "plugins.model_type": "openai", "plugins.model_name": "gpt"}
    found = read(tmp_path, named, old)
    assert (found.models, found.answers["openai gpt", "0"]) == (["openai gpt"], ("Sure",))


def test_an_attempt_that_was_cut_off_is_left_out_and_told(tmp_path: Path) -> None:
    whole = attempt(0, [message("Sure")], {"dan.DAN": [1.0]})
    cut = attempt(1, [message("Sure")], {}, status=1)
    assert read(tmp_path, SETUP, whole, cut).notes == [
        "garak.1.report.jsonl: 1 attempt was not evaluated, and left out"
    ]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"query": "What?"}, "is no report of garak"),
        (SETUP, "holds no answers with scores of garak"),
        (attempt(0, [], {}) | {"detector_results": 3}, "garak.1.report.jsonl:1: detector_results"),
        (attempt(0, [], {}) | {"outputs": None}, "needs probe_classname and outputs"),
        (attempt(0, ["a"], {"d": [0.0]}) | {"prompt": {"turns": [3]}}, "is not as garak writes it"),
    ],
)
def test_what_is_no_report_is_told_in_a_line(entry: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=said):
        read(tmp_path, entry)
