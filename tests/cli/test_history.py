"""Lists, trends, marks, hand-over and the doctor, from the command line."""

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from store import database
from tests.cli.conftest import Assay
from tests.tui.history import HOSTILE


def ids(assay: Assay, store: Path, *arguments: str) -> list[str]:
    return [row["id"] for row in assay("runs", "--json", "--store", store, *arguments).json]


def test_runs_are_filtered_by_what_they_are(assay: Assay, own_store: Path) -> None:
    assert assay("tag", "1", "release", "v1", "--store", own_store).out == "run 1: release, v1\n"
    assert ids(assay, own_store, "--tag", "release") == ["1"]
    assert ids(assay, own_store, "--tag", "release", "--tag", "other") == []
    assert ids(assay, own_store, "--model", "overfit") == ["2"]
    assert ids(assay, own_store, "--status", "running") == ["3"]
    assert ids(assay, own_store, "--name", "tickets-v1", "--eval-set", "5be1", "--judge", "reference") == [
        "1"
    ]
    assert ids(assay, own_store, "--limit", "1") == ["3"]
    wrong = assay("runs", "--status", "broken", "--store", own_store)
    assert wrong.code == 2 and "a run is one of queued, running" in wrong.err
    table = assay("runs", "--store", own_store).out
    assert "tags" in table and "release, v1" in table
    assert assay("runs", "--tag", "none", "--store", own_store).out == "no run matches\n"


def test_tags_and_notes_are_listed_and_taken_off(assay: Assay, own_store: Path) -> None:
    assay("tag", "1", "release", "v1", "--store", own_store)
    assert assay("tag", "1", "--remove", "v1", "--json", "--store", own_store).json == {
        "id": "1",
        "tags": ["release"],
    }
    assert "has no tag 'v1'" in assay("tag", "1", "--remove", "v1", "--store", own_store).err
    assert assay("tag", "1", "two words", "--store", own_store).code == 2
    assay("note", "1", f"learning rate halved {HOSTILE}", "--store", own_store)
    said = assay("note", "1", "--store", own_store)
    assert "learning rate halved" in said.out and "\x1b" not in said.out
    assert assay("note", "1", " ", "--store", own_store).code == 2
    assert "the tag release is undone" in assay("undo", "1", "--store", own_store).out


def test_deleted_runs_are_hidden_brought_back_and_removed_only_after_a_yes(
    assay: Assay, own_store: Path
) -> None:
    assert assay("delete", "1", "tickets-v2", "--store", own_store).code == 0
    assert ids(assay, own_store) == ["3"]
    assert ids(assay, own_store, "--deleted") == ["2", "1"]
    assert assay("show", "1", "--store", own_store).code == 0
    assert assay("restore", "2", "--store", own_store).out == "run 2 is restored\n"
    refused = assay("delete", "3", "--store", own_store)
    assert refused.code == 2 and "is running" in refused.err
    unasked = assay("delete", "--purge", "--store", own_store)
    assert unasked.code == 2 and "assay delete --purge --yes" in unasked.err
    assert ids(assay, own_store, "--deleted") == ["1"]
    assert "removed for good: run 1" in assay("delete", "--purge", "--yes", "--store", own_store).out
    assert assay("show", "1", "--store", own_store).code == 2
    assert ids(assay, own_store) == ["3", "2"]
    assert "nothing to remove" in assay("delete", "--purge", "--yes", "--store", own_store).out
    assert assay("delete", "--store", own_store).code == assay("restore", "--store", own_store).code == 2


def test_a_trend_is_a_plot_a_table_and_json(assay: Assay, history_store: Path) -> None:
    shown = assay("trend", "rougeL", "--store", history_store).out
    assert "rougeL, higher is better" in shown and "●" in shown and "tickets-v1" in shown
    plain = assay("trend", "rougeL", "--ascii", "--store", history_store).out
    assert plain.isascii()
    values = assay("trend", "rougeL", "--json", "--model", "overfit", "--store", history_store).json
    assert values["direction"] == "higher"
    (point,) = values["points"]
    assert point["run_id"] == "2" and point["not_joined"] is None
    assert point["conditions"]["the eval set"] == "5be1c07a9d42"
    several = assay("trend", "win rate", "--store", history_store)
    assert several.code == 2 and "win rate over base (reference)" in several.err
    assert "no run has a measure 'nothing'" in assay("trend", "nothing", "--store", history_store).err


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_runs_are_exported_with_everything_that_was_said(
    assay: Assay, history_store: Path, tmp_path: Path, form: str
) -> None:
    folder = tmp_path / "out"
    done = assay("export", "runs", "1", "2", folder, "--format", form, "--store", history_store)
    assert done.code == 0
    found = {path.stem: read(path) for path in folder.iterdir()}
    assert {"runs", "responses", "scores", "verdicts", "comparisons", "alerts"} <= found.keys()
    assert [row["run"] for row in found["runs"]] == [1, 2]
    assert {(row["run"], row["model"], row["example"]) for row in found["responses"]} >= {
        (1, "good", "t-001"),
        (2, "overfit", "t-012"),
    }
    missing = [row for row in found["scores"] if row["value"] is None]
    assert missing and all(row["reason"] for row in missing)
    for path in folder.iterdir():
        assert b"\x1b[31m" not in path.read_bytes() or form == "parquet"


def read(path: Path) -> list[dict[str, object]]:
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pylist()  # type: ignore[no-any-return]
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def test_an_export_of_another_format_or_kind_is_refused(
    assay: Assay, history_store: Path, tmp_path: Path
) -> None:
    wrong = assay("export", "runs", "1", tmp_path, "--format", "xml", "--store", history_store)
    assert wrong.code == 2 and "jsonl and parquet" in wrong.err
    several = assay("export", "mt-bench", "1", "2", tmp_path, "--store", history_store)
    assert several.code == 2 and "takes one run" in several.err


def test_another_stores_runs_join_once(assay: Assay, history_store: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    first = assay("import", "store", history_store, "--store", mine)
    assert "2 runs added to this store: 1, 2" in first.out and "1 not finished there" in first.out
    again = assay("import", "store", history_store, "--json", "--store", mine).json
    assert again == {"joined": {}, "known": 2, "unfinished": 1, "deleted": 0}
    assert assay("show", "2", "--json", "--store", mine).json["scores"] != []


def test_the_doctor_says_what_is_wrong_and_its_exit_code_too(assay: Assay, own_store: Path) -> None:
    own_store.chmod(0o700)
    (own_store / database.FILE).chmod(0o600)
    healthy = assay("doctor", "--store", own_store)
    assert healthy.code == 0 and "every page can be read" in healthy.out
    (own_store / "run-9.lock").touch()
    sick = assay("doctor", "--store", own_store)
    assert sick.code == 1 and "run-9.lock" in sick.out and "--repair" in sick.out
    mended = assay("doctor", "--repair", "--json", "--store", own_store)
    assert mended.code == 0 and mended.json["healthy"] is True and len(mended.json["done"]) == 2
    assert not (own_store / "run-9.lock").exists()
    assert assay("doctor", "--store", own_store / "none").code == 2


@pytest.fixture
def read_only(history_store: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the store on a disk that cannot be written, or in a folder that may not be."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() == 0:
        mount = ["mount", "-t", "tmpfs", "tmpfs", str(place)]
        if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
            pytest.skip("this machine lets nobody mount")
        shutil.copytree(history_store, place / "store")
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        yield place / "store"
        subprocess.run(["umount", str(place)], check=True)
    else:
        shutil.copytree(history_store, place / "store")
        (place / "store").chmod(stat.S_IRUSR | stat.S_IXUSR)
        yield place / "store"
        (place / "store").chmod(stat.S_IRWXU)


def test_a_store_on_a_read_only_disk_can_be_read_and_says_that_it_is(assay: Assay, read_only: Path) -> None:
    assert ids(assay, read_only) == ["3", "2", "1"]
    assert assay("show", "2", "--json", "--store", read_only).json["scores"] != []
    assert assay("trend", "rougeL", "--json", "--store", read_only).code == 0
    refused = assay("tag", "1", "release", "--store", read_only)
    assert refused.code == 2 and "can only be read here: nothing in it was changed" in refused.err
    examined = assay("doctor", "--store", read_only)
    assert examined.code == 1 and "it can only be read here" in examined.out
    assert assay("import", "store", read_only, "--store", read_only.parents[1] / "mine").code == 0
