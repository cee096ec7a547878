"""--quiet, --verbose and --debug: with every command, before or after its name."""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Assay

Write = Callable[..., Path]


def test_a_quiet_run_tells_the_verdict_and_the_alerts_alone(
    assay: Assay, plan: Write, tmp_path: Path
) -> None:
    file = plan()
    for words in (["--quiet", "run", file], ["run", file, "--quiet"]):
        done = assay(*words, "--store", tmp_path / "store")
        assert done.err == "" and done.out.startswith("run "), done.err
        assert "Changes that matter" not in done.out
    loud = assay("run", file, "--store", tmp_path / "store")
    assert "generate: 100%" in loud.err and "Changes that matter" in loud.out


def test_a_quiet_command_leaves_remarks_out_but_not_errors(
    assay: Assay, history_store: Path, tmp_path: Path
) -> None:
    store = ("--store", history_store)
    assert "older runs" in assay("runs", "--limit", "1", *store).err
    assert assay("runs", "--limit", "1", "--quiet", *store).err == ""
    assert "there is no run 99" in assay("show", "99", "--quiet", *store).err
    report = ("report", "2", "--format", "md", "--out", tmp_path / "report.md")
    assert assay(*report, "--quiet", *store).err == "" and (tmp_path / "report.md").exists()


@pytest.mark.parametrize("option", ["-v", "--verbose"])
def test_a_verbose_command_tells_its_store_and_its_time(
    assay: Assay, history_store: Path, option: str
) -> None:
    for words in ([option, "runs"], ["runs", option]):
        done = assay(*words, "--store", history_store)
        assert f"store {history_store}" in done.err and re.search(r"took \d+\.\d", done.err)
        assert done.out == assay("runs", "--store", history_store).out


def test_watching_verbosely_tells_every_event(assay: Assay, own_store: Path) -> None:
    with sqlite3.connect(own_store / "assay.db") as connection:
        connection.execute("UPDATE run SET status = 'paused' WHERE id = 3")
    short = assay("watch", "3", "--store", own_store).err
    long = assay("watch", "3", "--verbose", "--store", own_store).err
    assert "info: " in long and "info: " not in short


def test_after_two_dashes_such_a_word_is_an_argument(assay: Assay, history_store: Path) -> None:
    done = assay("show", "--store", history_store, "--", "--quiet")
    assert done.code == 2 and "there is no run '--quiet'" in done.err
