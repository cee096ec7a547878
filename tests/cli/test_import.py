"""`assay import` and `assay export` as a person types them."""

import json
from pathlib import Path

import pytest

from tests.formats import files
from tui.cli.main import command


def test_an_imported_run_is_in_the_history_and_goes_out_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(tmp_path / "store")
    source = str(files.mt_bench(tmp_path / "mt_bench"))
    assert command(["import", "mt-bench", source, "--name", "published", "--json", "--store", store]) == 0
    assert json.loads(capsys.readouterr().out) == {"id": 1}
    assert command(["show", "published", "--json", "--store", store]) == 0
    shown = json.loads(capsys.readouterr().out)
    values = {
        (row["model"], row["measure" if "measure" in row else "metric"]): row for row in shown["scores"]
    }
    row = values["vicuna-13b", "judge:gpt-4"]
    assert (row["value"], row["n"], row["missing"]) == (5.5, 3, 1)
    assert command(["export", "mt-bench", "published", str(tmp_path / "out"), "--store", store]) == 0
    assert (tmp_path / "out" / "model_judgment" / "gpt-4_single.jsonl").is_file()


def test_a_file_that_is_not_of_that_kind_is_bad_input(tmp_path: Path) -> None:
    from engine.errors import BadInput

    wrong = tmp_path / "wrong.json"
    wrong.write_text("[1, 2]")
    with pytest.raises(BadInput, match=r"wrong\.json"):
        command(["import", "alpaca-eval", str(wrong), "--store", str(tmp_path / "store")])
