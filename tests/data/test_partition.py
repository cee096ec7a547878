"""Splitting a file: whole files with a manifest, and nothing moves when it is done again."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.examples import Account
from engine.data.partition import Options, Partition, partition, write
from engine.data.split import SPLITS, Member, assign
from engine.data.versions import MANIFEST, read_manifest
from engine.errors import BadInput

HALVES = (0.5, 0.2, 0.3)


def written(path: Path, records: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


def queries(folder: Path, name: str) -> set[str]:
    return {json.loads(line)["query"] for line in (folder / f"{name}.jsonl").read_text("utf-8").splitlines()}


def test_every_row_is_written_once_as_it_stood_and_the_manifest_says_how(tmp_path: Path) -> None:
    rows = [{"query": f"question {n}", "answer": "ü", "other": [n]} for n in range(300)]
    source = written(tmp_path / "d.jsonl", rows)
    made = partition(source, Options(seed=3))
    manifest = write(made, tmp_path / "out")
    lines = [
        line for name in SPLITS for line in (tmp_path / "out" / f"{name}.jsonl").read_text().splitlines()
    ]
    assert sorted(lines) == sorted(source.read_text().splitlines())
    found = read_manifest(tmp_path / "out")
    assert (found["seed"], found["ratios"], found["version"]) == (3, [0.8, 0.1, 0.1], manifest.version)
    assert sum(found["counts"].values()) == 300
    assert found["files"].keys() == set(SPLITS)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {MANIFEST, *(f"{n}.jsonl" for n in SPLITS)}


def test_a_grown_file_moves_nothing_even_where_a_copy_would(tmp_path: Path) -> None:
    old = [{"id": f"row {n}", "query": f"question {n}"} for n in range(400)]
    source = written(tmp_path / "d.jsonl", old)
    write(partition(source, Options(HALVES)), tmp_path / "out")
    before = {name: queries(tmp_path / "out", name) for name in SPLITS}
    copies = [{"id": f"copy {n}", "query": f"Question  {n}"} for n in range(400)]
    written(source, [*copies, *reversed(old), {"id": "new", "query": "new"}])
    write(partition(source, Options(HALVES), earlier=tmp_path / "out"), tmp_path / "out")
    after = {name: queries(tmp_path / "out", name) for name in SPLITS}
    for name in SPLITS:
        assert before[name] <= after[name]
        assert {f"Question  {query.split()[1]}" for query in before[name]} <= after[name]


def test_an_earlier_split_made_otherwise_or_edited_is_refused(tmp_path: Path) -> None:
    source = written(tmp_path / "d.jsonl", [{"query": f"question {n}"} for n in range(50)])
    out = tmp_path / "out"
    write(partition(source, Options()), out)
    with pytest.raises(BadInput, match="with seed 0 exists already, now one with seed 1"):
        partition(source, Options(seed=1), earlier=out)
    with (out / "train.jsonl").open("a") as file:
        file.write('{"query": "smuggled in"}\n')
    with pytest.raises(BadInput, match=r"train\.jsonl: is not what manifest\.json says"):
        partition(source, Options(), earlier=out)


def test_a_folder_with_another_split_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(
        partition(written(tmp_path / "d.jsonl", [{"query": f"question {n}"} for n in range(50)]), Options()),
        out,
    )
    other = written(tmp_path / "other.jsonl", [{"query": f"something else {n}"} for n in range(50)])
    with pytest.raises(BadInput, match="holds a split of other data"):
        partition(other, Options(), earlier=out)
    with pytest.raises(BadInput, match=r"ratios \[0\.8, 0\.1, 0\.1\] exists already, now one without ratios"):
        write(partition(other, Options(folds=3)), out)
    assert len(queries(out, "train")) + len(queries(out, "validation")) + len(queries(out, "test")) == 50


def test_files_that_are_no_earlier_split_are_not_overwritten(tmp_path: Path) -> None:
    source = written(tmp_path / "d.jsonl", [{"query": "a"}])
    written(tmp_path / "train.jsonl", [{"precious": True}])
    with pytest.raises(BadInput, match="exists already"):
        write(partition(source, Options()), tmp_path)
    assert "precious" in (tmp_path / "train.jsonl").read_text()


def test_near_duplicates_stay_in_one_split(tmp_path: Path) -> None:
    base = [
        f"please tell me number {n} of the list that has name list{n} and colour {n * 7}" for n in range(80)
    ]
    rows = [{"query": text} for text in base] + [{"query": text.replace("please ", "")} for text in base]
    made = partition(written(tmp_path / "d.jsonl", rows), Options(HALVES, near=True))
    assert list(made.places[:80]) == list(made.places[80:])


def test_stratified_categories_have_the_ratios_and_keep_earlier_places(tmp_path: Path) -> None:
    rows = [{"query": f"question {n}", "category": "rare" if n % 20 == 0 else "common"} for n in range(400)]
    source = written(tmp_path / "d.jsonl", rows)
    options = Options(HALVES, stratify=True)
    made = partition(source, options)
    assert made.by_category == {
        "common": {"train": 190, "validation": 76, "test": 114},
        "rare": {"train": 10, "validation": 4, "test": 6},
    }
    write(made, tmp_path / "out")
    written(source, [*rows, *({"query": f"more {n}", "category": "rare"} for n in range(20))])
    grown = partition(source, options, earlier=tmp_path / "out")
    assert list(grown.places[:400]) == list(made.places)
    assert grown.by_category["rare"] == {"train": 20, "validation": 8, "test": 12}


def test_folds_hold_every_row_once_in_about_equal_parts(tmp_path: Path) -> None:
    source = written(tmp_path / "d.jsonl", [{"query": f"question {n}"} for n in range(1000)])
    made = partition(source, Options(folds=5))
    manifest = write(made, tmp_path / "out")
    assert manifest.ratios is None and list(manifest.counts) == [f"fold-{n}" for n in range(1, 6)]
    assert sum(manifest.counts.values()) == 1000 and min(manifest.counts.values()) > 150


def test_more_test_than_train_after_grouping_is_refused(tmp_path: Path) -> None:
    def grouped(seed: int) -> Partition:
        rows = [{"query": f"question {n}", "thread": "one"} for n in range(20)]
        return partition(written(tmp_path / "d.jsonl", rows), Options(seed=seed, group="thread"))

    refused = []
    for seed in range(40):
        try:
            grouped(seed)
        except BadInput as error:
            refused.append(str(error))
    assert 0 < len(refused) < 40
    assert all("after grouping, test has 20 rows and train 0: the 1 groups" in text for text in refused)


def test_a_group_column_that_no_row_has_is_refused(tmp_path: Path) -> None:
    source = written(tmp_path / "d.jsonl", [{"query": "a"}])
    with pytest.raises(BadInput, match='no row has the column "thread"'):
        partition(source, Options(group="thread"))


def test_bad_rows_are_named_or_left_out_one_by_one(tmp_path: Path) -> None:
    source = tmp_path / "d.jsonl"
    lines = [
        b'{"id": "a", "query": "one"}',
        b'{"id": "b"}',
        b'{"id": "a", "query": "two"}',
        b"{\xff}",
        b'{"qu',
    ]
    source.write_bytes(b"\n".join(lines))
    with pytest.raises(BadInput, match=r"d\.jsonl:2: no query found"):
        partition(source, Options())
    account = Account()
    made = partition(source, Options(), account=account)
    assert (account.read, len(made.places), made.lines) == (1, 1, [1])
    assert [reason.split(": ")[0].rsplit(":", 1)[1] for reason in account.skipped] == ["2", "3", "4", "5"]
    write(made, tmp_path / "out")
    written_lines = [(tmp_path / "out" / f"{name}.jsonl").read_text() for name in SPLITS]
    assert "".join(written_lines) == '{"id": "a", "query": "one"}\n'


def test_packed_shards_and_lists_are_split_like_one_file(tmp_path: Path) -> None:
    rows = [{"query": f"question {n}"} for n in range(100)]
    plain = partition(written(tmp_path / "d.jsonl", rows), Options())
    shards = tmp_path / "shards"
    shards.mkdir()
    for number, part in enumerate((rows[:60], rows[60:])):
        text = "".join(json.dumps(row) + "\n" for row in part)
        (shards / f"part-{number}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    packed = partition(shards, Options())
    assert list(packed.places) == list(plain.places)
    assert write(packed, tmp_path / "b").files == write(plain, tmp_path / "a").files
    listed = tmp_path / "list.jsonl"
    listed.write_text(json.dumps(rows, indent=1))
    assert write(partition(listed, Options()), tmp_path / "c").files == write(plain, tmp_path / "a").files


members = st.builds(Member, st.integers(0, 2**64 - 1), st.integers(0, 8), st.sampled_from(["a", "b", None]))


@given(st.lists(members, max_size=40), st.booleans())
def test_no_question_straddles_however_it_is_split(rows: list[Member], stratify: bool) -> None:
    for ratios in (HALVES, (1.0,) * 4):
        places = assign(rows, ratios, stratify=stratify)
        by_question: dict[int, set[int]] = {}
        for row, place in zip(rows, places, strict=True):
            by_question.setdefault(row.question, set()).add(place)
        assert all(len(found) == 1 for found in by_question.values())


@given(st.lists(members, max_size=30), st.lists(members, max_size=30), st.booleans())
def test_what_was_split_before_stays(old: list[Member], new: list[Member], stratify: bool) -> None:
    before = assign(old, HALVES, stratify=stratify)
    earlier = {
        key: place for row, place in zip(old, before, strict=True) for key in (row.identity, row.question)
    }
    assert assign([*old, *new], HALVES, earlier=earlier, stratify=stratify)[: len(old)] == before


@given(st.lists(members, max_size=30), st.booleans())
def test_order_decides_nothing(rows: list[Member], stratify: bool) -> None:
    shuffled = sorted(rows, key=lambda row: (row.question, row.identity, row.category or ""))
    first = dict(zip(rows, assign(rows, HALVES, stratify=stratify), strict=True))
    assert first == dict(zip(shuffled, assign(shuffled, HALVES, stratify=stratify), strict=True))
