"""Files as people have them: packed, in shards, in other encodings, torn; and the commands on them."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest

from engine.data.example import Example
from engine.data.examples import Account, data_rows
from engine.data.leakage import find_leaks
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
    ],
    ids=name_of,
)
def test_the_same_rows_however_they_are_packed(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert [row.query for row in data_rows(tmp_path / name)] == ["eins", "zwei ü"]


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
        "What production asks and the eval set lacks" in said and "can show a change of 18.1 points" in said
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
