"""Files that people keep appear whole, together, or not at all."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.data.textfile import write_text, writing
from engine.errors import BadInput

LIMIT = 1 << 16  # bytes of a file: more fails as on a full disk, in the middle of it


@pytest.fixture
def small_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def content(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_several_files_appear_together_and_one_of_an_earlier_export_goes(tmp_path: Path) -> None:
    (tmp_path / "gone.jsonl").write_text("old")
    with writing(tmp_path) as parts:
        parts.open(tmp_path / "a.jsonl").write("a \ud800")
        parts.open(tmp_path / "deep/b.jsonl").write("b")
        assert parts.path(tmp_path / "deep/b.jsonl").read_text() == "b", "it can be read before it is there"
        parts.remove(tmp_path / "gone.jsonl")
        assert not (tmp_path / "a.jsonl").exists() and (tmp_path / "gone.jsonl").exists()
    assert content(tmp_path) == {"a.jsonl": "a \\ud800", "deep/b.jsonl": "b"}


@pytest.mark.usefixtures("small_files")
def test_a_disk_that_fills_up_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"old {name}")
    before = content(tmp_path)
    too_large = pytest.raises(BadInput, match=f"{tmp_path} cannot be written: File too large")
    with too_large, writing(tmp_path) as parts:
        parts.open(tmp_path / "a").write("new")
        parts.open(tmp_path / "b").write("x" * 2 * LIMIT)
    assert content(tmp_path) == before


def test_whatever_ends_an_export_in_the_middle_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt), writing(tmp_path) as parts:
        parts.open(tmp_path / "a").write("new")
        raise KeyboardInterrupt
    assert content(tmp_path) == {"a": "old"}


def test_what_must_be_new_writes_over_nothing_also_when_another_was_faster(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("theirs")
    with pytest.raises(BadInput, match="there exists already\n  name another"):
        write_text(tmp_path / "there", "mine", "name another", new=True)
    with pytest.raises(BadInput, match="late exists already"), writing(tmp_path, new=True) as parts:
        parts.open(tmp_path / "first").write("mine")
        parts.open(tmp_path / "late").write("mine")
        (tmp_path / "late").write_text("theirs")
    assert content(tmp_path) == {"there": "theirs", "late": "theirs"}


def test_a_link_that_was_named_is_followed_and_one_in_a_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "through the link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "through the link"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640
    with writing(tmp_path) as parts:
        parts.open(tmp_path / "link").write("a file of its own")
    assert not (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "through the link"


def test_a_pipe_and_a_full_device_take_what_comes(tmp_path: Path) -> None:
    reading, writes = os.pipe()
    write_text(Path(f"/dev/fd/{writes}"), "on its way")
    os.close(writes)
    assert os.read(reading, 100) == b"on its way"
    os.close(reading)
    with pytest.raises(BadInput, match="/dev/full cannot be written: No space left on device"):
        write_text(Path("/dev/full"), "x")


def test_a_folder_in_a_file_s_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(BadInput, match="a cannot be written: Is a directory"):
        write_text(tmp_path / "a", "x")
