"""`assay traffic`: logs in, looked at, forgotten."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Assay

HOSTILE = "\x1b[31mred \u202e [bold]x[/]"
ROWS = [
    {"id": "r1", "time": "2026-03-01T12:00:00+02:00", "model": "m", "prompt": HOSTILE, "response": HOSTILE,
     "user": "bob", "session": "s", "thumbs": "down", "comment": HOSTILE, "variant": "B"},
    {"id": "r2", "time": 1_772_359_260, "model": "m", "prompt": "hello", "response": "hi", "user": "amy"},
]  # fmt: skip


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASSAY_STORE", str(tmp_path / "store"))
    file = tmp_path / "log.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS) + '{"broken\n')
    return file


def test_an_import_tells_what_it_did_and_what_it_left_out(assay: Assay, log: Path) -> None:
    first = assay("traffic", "import", log)
    assert first.code == 0
    assert "3 rows read as native" not in first.out
    assert "2 rows read as native\n2 new events, 0 known already, 0 with more\n" in first.out
    assert first.out.endswith("1 row left out\n")
    assert f"left out: {log}:3: is not JSON" in first.err and "\x1b" not in first.err
    again = assay("traffic", "import", log, "--json").json
    assert again["events"] == {"new": 0, "known": 2, "updated": 0}
    assert again["unreadable"] == len(again["reasons"]) == 1


def test_events_are_listed_newest_first_and_shown_whole(assay: Assay, log: Path) -> None:
    assay("traffic", "import", log)
    listed = assay("traffic", "list")
    lines = listed.out.splitlines()
    assert [line.split()[1:3] for line in lines[1:]] == [["2026-03-01", "10:01"], ["2026-03-01", "10:00"]]
    (event,) = assay("traffic", "list", "--thumbs", "down", "--json").json["events"]
    shown = assay("traffic", "show", event["id"][:8])
    assert assay("traffic", "show", "r1").out == shown.out
    for said in (listed.out, shown.out):
        assert "\x1b" not in said
        assert "\u202e" not in said
        assert "␛[31mred ‹U+202E› [bol" in said
    assert "thumbs down" in shown.out
    assert "bob" not in shown.out


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--user", "bob"], 1),
        (["--user", "nobody"], 0),
        (["--session", "s"], 1),
        (["--variant", "B"], 1),
        (["--variant", ""], 1),
        (["--model", "m"], 2),
        (["--since", "2026-03-02"], 0),
        (["--before", "2026-03-01T10:01:00Z"], 1),
    ],
)
def test_a_list_can_be_of_some(assay: Assay, log: Path, options: list[str], found: int) -> None:
    assay("traffic", "import", log)
    assert assay("traffic", "list", *options, "--json").json["total"] == found


def test_a_user_is_forgotten_by_the_id_of_the_logs_or_its_hash(assay: Assay, log: Path) -> None:
    assay("traffic", "import", log)
    refused = assay("traffic", "forget", "--user", "bob")
    assert (refused.code, "needs a confirmation" in refused.err) == (2, True)
    assert "1 event" in assay("traffic", "forget", "--user", "bob", "--yes").out
    (event,) = assay("traffic", "list", "--json").json["events"]
    assert "1 event" in assay("traffic", "forget", "--user", event["user"], "--yes").out
    assert (
        assay("traffic", "forget", "--user", "bob").out == "there is no such traffic; nothing was deleted\n"
    )
    assert "`assay traffic import FILE`" in assay("traffic", "list").out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["import", "nope.jsonl"], "nope.jsonl: no such file"),
        (["import", "{log}", "--format", "x"], "--format x: is no format"),
        (["import", "{log}", "--map", "prompt"], "--map prompt: must be FIELD=COLUMN"),
        (["import", "{log}", "--map", "nope=a"], "FIELD is one of id, trace, within, time"),
        (["list", "--since", "soon"], "--since soon: is no day or time"),
        (["list", "--thumbs", "sideways"], "must be up or down"),
        (["show", "e-zz"], "no event has the id 'e-zz'"),
        (["show", "e-"], "several events have the id 'e-'"),
        (["forget"], "it is not clear what to forget"),
        (["forget", "--user", "bob", "--before", "2026-01-01"], "give one of them"),
    ],
)
def test_a_mistake_is_told_in_words(assay: Assay, log: Path, arguments: list[str], says: str) -> None:
    assay("traffic", "import", log)
    ran = assay("traffic", *(str(log) if each == "{log}" else each for each in arguments))
    assert ran.code == 2
    assert says in ran.err
