"""Files as people have them: packed, in shards, in other encodings, torn; and the commands on them."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from engine.data.example import Example
from engine.data.examples import Account, data_rows
from engine.data.leakage import find_leaks
from engine.data.preview import preview
from engine.data.reading import read_records
from engine.data.textfile import Unpacking
from engine.errors import BadInput
from tui.cli.main import command

LINES = '{"query": "eins"}\n{"query": "zwei ü"}\n'


def zstd(text: str) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(text.encode())
    return bytes(sink.getvalue())


def name_of(value: str | bytes) -> str:
    """A test is named after its file: packed content holds the time at which it was packed."""
    return value if isinstance(value, str) else "packed"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.jsonl", LINES.encode()),
        ("mark.jsonl", b"\xef\xbb\xbf" + LINES.encode()),
        ("windows.jsonl", LINES.replace("\n", "\r\n").encode()),
        ("wide.jsonl", LINES.encode("utf-16")),
        ("packed.jsonl.gz", gzip.compress(LINES.encode())),
        ("packed.jsonl.zst", zstd(LINES)),
        ("wide.jsonl.gz", gzip.compress(LINES.encode("utf-16"))),
        ("unnamed.gz", gzip.compress(LINES.encode())),
        ("table.csv.gz", gzip.compress("query\neins\nzwei ü\n".encode())),
        ("mac.jsonl", LINES.replace("\n", "\r").encode()),
        ("mac.jsonl.gz", gzip.compress(LINES.replace("\n", "\r").encode())),
        ("mac.jsonl.zst", zstd(LINES.replace("\n", "\r"))),
        ("mac_wide.jsonl", LINES.replace("\n", "\r").encode("utf-16")),
        ("mac.csv", "query\reins\rzwei ü".encode()),
        ("mac_mark.csv", "query\reins\rzwei ü\r".encode("utf-8-sig")),
        ("wide.csv", "query;x\neins;1\nzwei ü;2\n".encode("utf-16")),
        ("excel.csv", b"\xef\xbb\xbf" + "sep=;\r\nquery;x\r\neins;1,5\r\nzwei ü;a,b,c\r\n".encode()),
        ("excel_tab.csv", "sep=\t\nquery\tx\neins\t1;2;3\nzwei ü\t2".encode()),
        ("excel_written.csv", b"sep=\\t\nquery\tx\neins\t1\nzwei \xc3\xbc\t2"),
        ("excel_quoted.csv", '"sep=|"\nquery|x\neins|a,b\nzwei ü|2'.encode()),
        ("excel_wide.csv", "SEP=,\rquery,x\reins,1\rzwei ü,2".encode("utf-16")),
    ],
    ids=name_of,
)
def test_the_same_rows_however_they_are_packed(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert [row.query for row in data_rows(tmp_path / name)] == ["eins", "zwei ü"]


def test_lines_after_excels_own_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("sep=;\nquery;answer\na;b\nc;d;e\n")
    with pytest.raises(BadInput, match=r"x\.csv:4: has 3 cells"):
        list(data_rows(path))
    path.write_text("sep=;\nquery;query\na;b\n")
    with pytest.raises(BadInput, match=r"x\.csv:2: column 'query' appears twice"):
        list(data_rows(path))


def test_line_ends_of_old_macintosh_files_are_counted_and_kept_in_cells(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b'query,answer\r"two\rlines",b\rc,d')
    assert [(row.query, row.line) for row in data_rows(path)] == [("two\nlines", 2), ("c", 4)]
    path.write_bytes((b'query\r"' + b"x" * 200_000 + b'"\r') * 1 + b"last\r")
    assert [len(row.query) for row in data_rows(path)] == [200_000, 4]


def test_a_carriage_return_inside_a_file_with_other_line_ends_ends_no_line(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"query": "a\rb"}\n{"query": "c"}\r\n')
    assert [(row.query, row.line) for row in data_rows(path)] == [("a\rb", 1), ("c", 2)]


def test_other_encodings_are_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("query\nfine\n“quoted” – 5 €\n".encode("cp1252"))
    with pytest.raises(BadInput, match=r"x\.csv:3: is not UTF-8 text") as error:
        list(data_rows(path))
    assert "iconv -f CP1252 -t UTF-8 IN > OUT" in str(error.value)


def test_a_spreadsheet_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "eval.xlsx").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(BadInput, match=r"eval\.xlsx: is a zip archive, as spreadsheets are") as error:
        list(data_rows(tmp_path / "eval.xlsx"))
    assert "save the sheet as CSV" in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("torn.jsonl.gz", gzip.compress(LINES.encode() * 50)[:-12]),
        ("torn.jsonl.zst", zstd(LINES * 50)[:-6]),
    ],
    ids=name_of,
)
def test_a_torn_archive_is_an_error_and_no_shorter_file(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    for account in (None, Account()):
        with pytest.raises(BadInput, match=name):
            list(data_rows(tmp_path / name, account=account))


BOMB = ('{"query": "' + "a" * 8192 + '"}\n') * 1024


def write_bomb(path: Path) -> Path:
    """A small file that unfolds to 8 MiB and more."""
    rows = pyarrow.table({"query": ["a" * 1024] * 8192})
    lines = "query\n" + ("a" * 8192 + "\n") * 1024 if ".csv" in path.name else BOMB
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines.encode("utf-16" if "wide" in path.name else "utf-8")))
    elif path.suffix == ".zst":
        path.write_bytes(zstd(BOMB))
    elif path.suffix == ".arrow":
        packed = pyarrow.ipc.IpcWriteOptions(compression="zstd")
        with pyarrow.ipc.new_stream(path, rows.schema, options=packed) as stream:
            stream.write_table(rows)
    else:
        pyarrow.parquet.write_table(rows, path, use_dictionary="same" in path.name, compression="zstd")
    assert path.stat().st_size < 30_000
    return path


@pytest.mark.parametrize(
    "name",
    ["a.jsonl.gz", "wide.jsonl.gz", "a.csv.gz", "a.jsonl.zst", "a.parquet", "same.parquet", "a.arrow"],
)
def test_a_small_file_that_unfolds_to_a_large_one_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.data.textfile.UNPACKED_BYTES", 4 << 20)
    path = write_bomb(tmp_path / name)
    for account in (None, Account()):
        with pytest.raises(BadInput, match=rf"{name}: unpacks to more than 4 MiB") as error:
            list(data_rows(path, account=account))
    assert "set $ASSAY_UNPACKED_MB to the MiB that it may take" in str(error.value)
    monkeypatch.setenv("ASSAY_UNPACKED_MB", "20")
    assert list(read_records(path))
    monkeypatch.setenv("ASSAY_UNPACKED_MB", "much")
    with pytest.raises(BadInput, match=r"\$ASSAY_UNPACKED_MB: found 'much'; allowed: a whole number"):
        list(read_records(path))


def test_what_data_unfold_to_by_right_is_far_below_the_limit(tmp_path: Path) -> None:
    """1.5 MB may become 256 MiB, 30 MB 3 GB."""
    for size, limit in ((1_500_000, 256 << 20), (30_000_000, 3_000_000_000)):
        with (tmp_path / "x.gz").open("wb") as file:
            file.truncate(size)
        Unpacking(tmp_path / "x.gz").add(limit)
        with pytest.raises(BadInput):
            Unpacking(tmp_path / "x.gz").add(limit + 1)


def test_errors_in_a_shard_name_the_shard_and_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(LINES)
    (tmp_path / "b.jsonl").write_text('{"query": "drei"}\n{"query": "vi')
    with pytest.raises(BadInput, match=r"b\.jsonl:2: is not JSON"):
        list(data_rows(tmp_path))
    account = Account()
    rows = list(data_rows(tmp_path, account=account))
    assert [(row.query, row.line) for row in rows] == [("eins", 1), ("zwei ü", 2), ("drei", 3)]
    assert (account.read, len(account.skipped)) == (3, 1)


def test_a_line_of_many_megabytes_is_read_and_searched(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"text": "some other words " * 600_000 + "the needle is in here somewhere"}))
    needle = "the needle is in here somewhere"
    evaluation = [Example("a", needle, ({"role": "user", "content": needle},))]
    [leak] = find_leaks(data_rows(path), evaluation)
    assert leak.tier == "ngram"


def test_split_writes_its_files_and_says_what_was_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "d.jsonl"
    data.write_text(LINES + "{broken\n")
    with pytest.raises(BadInput, match=r"d\.jsonl:3"):
        command(["split", str(data)])
    assert command(["split", str(data), "--skip-bad", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert "d.jsonl:3: is not JSON" in said.err and "2 rows read, 1 left out" in said.err
    assert said.out.split()[:3] == ["split", "examples", "share"]
    assert (tmp_path / "out" / "manifest.json").exists()
    assert command(["split", str(data), "--skip-bad", "--out", str(tmp_path / "out")]) == 0


def test_leakage_prints_json_with_tiers_and_totals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "eval.jsonl").write_text('{"id": "a", "query": "How do I reset my password?"}\n')
    (tmp_path / "train.jsonl").write_text('{"query": "how do i reset my pasword", "answer": "x"}\n')
    assert command(["leakage", str(tmp_path / "train.jsonl"), str(tmp_path / "eval.jsonl"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(leak["id"], leak["tier"], leak["train_line"]) for leak in report["leaks"]] == [("a", "near", 1)]
    assert report["totals"]["tiers"]["near"] == 1


def test_coverage_reports_and_draws_a_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluation, log = tmp_path / "eval.jsonl", tmp_path / "log.jsonl"
    evaluation.write_text("".join(json.dumps({"query": f"refund of order {n}"}) + "\n" for n in range(30)))
    asked = [f"locked account {n}" for n in range(60)] + [f"refund of order {n}" for n in range(60)]
    log.write_text("".join(json.dumps({"text": text}) + "\n" for text in asked))
    drawn = tmp_path / "new.jsonl"
    arguments = ["coverage", str(evaluation), "--log", str(log), "--sample", "20", "--out", str(drawn)]
    assert command(arguments) == 0
    said = capsys.readouterr().out
    assert (
        "What production asks and the eval set lacks" in said and "can show a change of 26.2 points" in said
    )
    assert len(drawn.read_text().splitlines()) == 20
    with pytest.raises(BadInput, match="exists already"):
        command(arguments)
    assert command(["coverage", str(evaluation), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.split("\n\n")[-1])["sizes"] == {"eval": 30}


def test_only_what_is_asked_for_is_imported() -> None:
    program = (
        "import sys, engine.data.leakage, engine.data.partition, engine.data.coverage, engine.data.meaning;"
        "print([name for name in ('torch', 'transformers', 'sklearn', 'scipy') if name in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"


def test_a_file_in_another_encoding_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes('{"query": "Größe?", "reference": "fünf"}\n'.encode("cp1252"))
    with pytest.raises(BadInput, match="is not UTF-8 text") as refused:
        preview(tmp_path / "a.jsonl")
    assert "iconv -f CP1252" in str(refused.value.hint)
