"""Data sets of several files: `datasets` folders, copies of hub repositories, the hub itself."""

import json
import os
import re
from pathlib import Path

import pytest

from engine.data.examples import data_rows, read_examples
from engine.data.files import dataset_files
from engine.data.reading import read_records
from engine.data.versions import file_hash
from engine.errors import BadInput
from engine.plan.plan import parse_plan


def parquet(path: Path, queries: list[str]) -> None:
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table({"query": queries}), path)


def texts(path: Path) -> list[str]:
    return [row.query for row in data_rows(path)]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of a hub repository: splits as Parquet shards in `data`."""
    parquet(tmp_path / "clone/data/train-00000-of-00002.parquet", ["a", "b"])
    parquet(tmp_path / "clone/data/train-00001-of-00002.parquet", ["c"])
    parquet(tmp_path / "clone/data/test-00000-of-00001.parquet", ["d"])
    return tmp_path / "clone"


def test_a_split_of_a_folder_is_named_after_a_colon(clone: Path) -> None:
    assert texts(Path(f"{clone}:train")) == ["a", "b", "c"]
    assert [row.line for row in data_rows(Path(f"{clone}:train"))] == [1, 2, 3]
    assert texts(Path(f"{clone}:test")) == ["d"]
    assert file_hash(Path(f"{clone}:test")) != file_hash(Path(f"{clone}:train"))


def test_splits_are_never_mixed_silently(clone: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"several splits: test, train(.|\n)*clone:test"):
        texts(clone)
    with pytest.raises(BadInput, match=r"no split 'dev'(.|\n)*clone:train"):
        texts(Path(f"{clone}:dev"))
    for name in ("train", "validation", "test"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"query": name}) + "\n")
    with pytest.raises(BadInput, match="several splits"):
        texts(tmp_path)
    assert texts(Path(f"{tmp_path}:validation")) == ["validation"]


def test_a_plan_may_name_a_split_of_a_folder_or_of_the_hub(clone: Path) -> None:
    def examples(name: str) -> Path:
        models = [
            f'[[models]]\nname = "{role}"\nrole = "{role}"\npath = "a/b"\n'
            for role in ("candidate", "baseline")
        ]
        text = f'name = "p"\n[data]\nexamples = "{name}"\n{"".join(models)}'
        return parse_plan(text, clone.parent).data.examples

    assert [row.query for row in read_examples(examples("clone:test"))] == ["d"]
    assert str(examples("hf:owner/name:test")) == "hf:owner/name:test"
    with pytest.raises(BadInput, match="no such file"):
        examples("clone2:test")


def test_the_hub_out_of_reach_is_an_error_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing listens there: what a machine without a network sees, without waiting for a name server.
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        BadInput, match=r"cannot be reached(.|\n)*hf download --repo-type dataset no-one/nothing"
    ):
        texts(Path("hf:no-one/nothing:test"))
    with pytest.raises(BadInput, match="is not a data set's name"):
        texts(Path("hf:not a name"))


def test_what_datasets_has_at_hand_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "at-hand/questions"
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text('{"question": "a", "answer": "b"}\n')
    [row] = data_rows(Path("hf:at-hand/questions:test"))
    assert (row.query, row.references) == ("a", ("b",))


@pytest.mark.parametrize(
    ("link", "to", "said"),
    [
        ("b.jsonl", "../private.jsonl", "is a link out of its folder, to {outside}"),
        ("b.jsonl", "nowhere.jsonl", "is a broken link"),
        ("b.jsonl", "b.jsonl", "is a broken link"),
        ("data", "../elsewhere", "is a link out of its folder"),
    ],
)
def test_a_link_in_a_data_set_brings_in_no_other_file_and_hides_no_shard(
    tmp_path: Path, link: str, to: str, said: str
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    for file in (tmp_path / "private.jsonl", tmp_path / "elsewhere/c.jsonl"):
        file.write_text('{"query": "mine", "answer": "alone"}\n')
    if link != "data":
        (folder / "a.jsonl").write_text('{"query": "q", "answer": "a"}\n')
    (folder / link).symlink_to(to)
    with pytest.raises(BadInput, match=re.escape(said.format(outside=tmp_path / "private.jsonl"))):
        dataset_files(folder)


def test_links_within_a_data_set_and_within_the_hub_s_cache_are_followed(tmp_path: Path) -> None:
    snapshot = tmp_path / "datasets--o--n/snapshots/abc/data"
    (tmp_path / "datasets--o--n/blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (tmp_path / "datasets--o--n/blobs/1234").write_text('{"query": "q", "answer": "a"}\n')
    (snapshot / "train.jsonl").symlink_to("../../../blobs/1234")
    assert dataset_files(snapshot.parent) == [snapshot / "train.jsonl"]
    (tmp_path / "mine").symlink_to(snapshot)
    assert dataset_files(tmp_path / "mine") == [tmp_path / "mine/train.jsonl"], "the folder that was named"


def test_a_pipe_or_a_device_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    for place in (tmp_path / "pipe.jsonl", Path("/dev/zero")):
        with pytest.raises(BadInput, match="is a pipe or a device"):
            list(read_records(place))
