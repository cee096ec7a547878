import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from store.database import connect
from tests.cli.conftest import ASSAY, Assay
from tui.cli.main import guarded

HEAVY = ("torch", "transformers", "pandas", "datasets", "lm_eval")


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["runs"], ["show", "2"], ["show", "2", "--json"], ["report", "2", "--format", "html"]],
    ids=" ".join,
)
def test_reading_commands_load_no_model_library(arguments: list[str], history_store: Path) -> None:
    heavy = HEAVY if "report" in arguments else (*HEAVY, "textual")  # reports have the screens' pictures
    code = (
        "import sys, json\n"
        "from tui.cli.main import command, guarded\n"
        f"code = guarded(lambda: command({[*arguments]!r}))\n"
        f"print(json.dumps([code, [name for name in {heavy!r} if name in sys.modules]]), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "ASSAY_STORE": str(history_store)},
    )
    assert json.loads(done.stderr.splitlines()[-1]) == [0, []]


def test_typer_is_loaded_only_for_arguments() -> None:
    code = "import sys, tui.cli.main; print('typer' in sys.modules, 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["shwo", "1"], "Did you mean 'show'?"),
        (["show"], "Missing argument 'RUN'"),
        (["runs", "--limit", "none"], "integer"),
        (["show", "99"], "there is no run 99"),
        (["show", "never"], "there is no run 'never'"),
        (["resume", "1"], "nothing to resume"),
        (["pause", "1"], "nothing to pause"),
        (["cancel", "2"], "nothing to cancel"),
        (["check", "absent.toml"], "absent.toml"),
        (["run", "absent.toml"], "absent.toml"),
        (["compare", "1", "1"], "compared with itself"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_message_and_exit_code_2(
    assay: Assay, history_store: Path, arguments: list[str], said: str
) -> None:
    done = assay("--store", history_store, *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err and "Traceback" not in done.err


def test_a_command_that_needs_a_store_says_where_none_is(assay: Assay, tmp_path: Path) -> None:
    done = assay("runs", "--store", tmp_path / "none")
    assert done.code == 2 and str(tmp_path / "none") in done.err
    assert not (tmp_path / "none").exists()


def test_a_file_that_is_no_store_is_a_message(assay: Assay, tmp_path: Path) -> None:
    (tmp_path / "assay.db").write_text("no database at all, but long enough to be looked at " * 20)
    done = assay("runs", "--store", tmp_path)
    assert done.code == 2 and "damaged" in done.err


def test_an_error_shows_control_characters_of_arguments_as_pictures(
    assay: Assay, history_store: Path
) -> None:
    done = assay("show", "\x1b]0;title\x07", "--store", history_store)
    assert done.code == 2 and "\x1b" not in done.err and "\x07" not in done.err


def test_an_error_that_names_a_text_as_long_as_its_file_is_cut(assay: Assay, tmp_path: Path) -> None:
    (tmp_path / "long.jsonl").write_text(json.dumps({"k" * 100_000: 1}))
    done = assay("preview", tmp_path / "long.jsonl")
    assert done.code == 2 and "no query found among its keys: kkk" in done.err and len(done.err) < 5_000


def test_the_store_may_stand_before_or_after_the_command(assay: Assay, history_store: Path) -> None:
    before = assay("--store", history_store, "runs", "--json")
    assert before.json == assay("runs", "--json", "--store", history_store).json


def test_a_reader_that_leaves_early_is_no_error(history_store: Path) -> None:
    words = " ".join(f"'{word}'" for word in [*ASSAY, "show", "2", "--json", "--store", str(history_store)])
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {words} | head -c 1"], capture_output=True, text=True, check=False
    )
    assert done.stderr == "" and done.returncode == 0


def test_a_store_that_lacks_a_table_is_a_message(assay: Assay, own_store: Path) -> None:
    connection = connect(own_store)
    connection.execute("DROP TABLE winrate")
    connection.close()
    done = assay("show", "1", "--store", own_store)
    assert done.code == 2 and "no such table: winrate" in done.err and str(own_store) in done.err


def test_the_unexpected_is_one_message_and_exit_code_3(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert guarded(lambda: 1 // 0) == 3
    told = capsys.readouterr()
    assert told.out == "" and "unexpected ZeroDivisionError" in told.err and "ASSAY_DEBUG" in told.err
    monkeypatch.setenv("ASSAY_DEBUG", "1")
    assert guarded(lambda: 1 // 0) == 3
    assert "Traceback" in capsys.readouterr().err


def test_cancel_ends_a_run_that_has_no_worker(assay: Assay, own_store: Path) -> None:
    connection = connect(own_store)
    connection.execute("UPDATE run SET status = 'paused' WHERE id = 3")
    connection.close()
    done = assay("cancel", "tickets-v3", "--store", own_store)
    assert (done.code, done.out) == (0, "run 3 is cancelled\n")
    assert assay("show", "3", "--json", "--store", own_store).json["run"]["status"] == "cancelled"
