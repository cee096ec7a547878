"""A run leaves in another tool's form and comes back as the same numbers."""

import json
from pathlib import Path

import pytest

from engine.errors import BadInput
from engine.formats.export import export_run
from engine.formats.importing import import_run
from store import database
from store.read import history
from store.transfer.export import RunContent, run_content
from tests.formats import files


def _content(store: Path, run: int) -> RunContent:
    return run_content(history.attach(database.connect(store)), run)


def _rates(store: Path, run: int) -> list[tuple[object, ...]]:
    connection = database.connect(store)
    return [
        tuple(row)
        for row in connection.execute(
            "SELECT c.name, w.turn, w.wins, w.losses, w.ties, w.failed, w.win_rate, w.length_controlled"
            " FROM winrate w JOIN model c ON c.id = w.candidate_id WHERE c.run_id = ? ORDER BY 1, 2",
            (run,),
        )
    ]


def _scores(store: Path, run: int) -> list[tuple[object, ...]]:
    connection = database.connect(store)
    return [
        tuple(row)
        for row in connection.execute(
            "SELECT m.name, s.value, s.n, s.missing FROM modelscore s JOIN model m ON m.id = s.model_id"
            " WHERE m.run_id = ? ORDER BY 1",
            (run,),
        )
    ]


def test_mt_bench_files_round_trip(tmp_path: Path) -> None:
    store = tmp_path / "store"
    first = import_run("mt-bench", files.mt_bench(tmp_path / "published"), store)
    export_run("mt-bench", _content(store, first), tmp_path / "exported")
    second = import_run("mt-bench", tmp_path / "exported", store)
    assert _rates(store, first) == _rates(store, second) != []
    assert _scores(store, first) == _scores(store, second) != []


def test_mt_bench_judgments_have_the_fields_that_fastchat_reads(tmp_path: Path) -> None:
    store = tmp_path / "store"
    run = import_run("mt-bench", files.mt_bench(tmp_path / "published"), store)
    export_run("mt-bench", _content(store, run), tmp_path / "exported")
    judgments = tmp_path / "exported" / "model_judgment"
    single = [json.loads(line) for line in (judgments / "gpt-4_single.jsonl").read_text().splitlines()]
    assert {row["score"] for row in single} == {8, 5.5, 3, -1, 9, 2, 7}
    (pair_file,) = judgments.glob("*_pair.jsonl")
    pairs = [json.loads(line) for line in pair_file.read_text().splitlines()]
    games = {(row["question_id"], row["turn"]): (row["g1_winner"], row["g2_winner"]) for row in pairs}
    assert games == files.WINNERS
    # FastChat's show_result.py: only what both games say is won or lost; failed pairs are left out.
    valid = [game for game in games.values() if "error" not in game]
    won, lost = (sum(game == (side, side) for game in valid) for side in ("model_1", "model_2"))
    rates = {row[1]: row for row in _rates(store, run)}
    assert rates[0][6] == pytest.approx((won + (len(valid) - won - lost) / 2) / len(valid))


def test_alpaca_eval_files_round_trip(tmp_path: Path) -> None:
    store = tmp_path / "store"
    preferences = [1.0, 2.0, 1.83, 1.5, None, 1.2]
    first = import_run("alpaca-eval", files.alpaca_eval(tmp_path / "annotations.json", preferences), store)
    written = export_run("alpaca-eval", _content(store, first), tmp_path / "exported")
    annotations = next(path for path in written if path.name == "annotations.json")
    assert [row["preference"] for row in json.loads(annotations.read_text())] == pytest.approx(
        preferences, nan_ok=True
    )
    # AlpacaEval's own win rate: the mean of preference - 1 over the rows that have one.
    valid = [float(row["preference"]) - 1 for row in json.loads(annotations.read_text()) if row["preference"]]
    assert _rates(store, first)[0][6] == pytest.approx(sum(valid) / len(valid))
    second = import_run("alpaca-eval", tmp_path / "exported", store)
    assert _rates(store, first) == _rates(store, second) != []


def test_names_of_models_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    path = files.alpaca_eval(tmp_path / "annotations.json", [2.0])
    path.write_text(path.read_text().replace("my-model", "../../evil\\u001b[31m"))
    store = tmp_path / "store"
    run = import_run("alpaca-eval", path, store)
    folder = tmp_path / "exported"
    for written in export_run("alpaca-eval", _content(store, run), folder):
        assert written.resolve().is_relative_to(folder.resolve())
        assert "\x1b" not in str(written)


def test_an_unknown_kind_and_a_run_without_answers_are_refused(tmp_path: Path) -> None:
    store = tmp_path / "store"
    run = import_run("alpaca-eval", files.alpaca_eval(tmp_path / "annotations.json", [2.0]), store)
    with pytest.raises(BadInput, match="known kinds: mt-bench, alpaca-eval"):
        export_run("excel", _content(store, run), tmp_path)
    content = _content(store, run)
    content.responses.clear()
    with pytest.raises(BadInput, match="no answers"):
        export_run("mt-bench", content, tmp_path)
