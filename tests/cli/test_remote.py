"""`assay pull` and `assay push` against a real sshd, over links that break, and against machines that lie."""

import hashlib
import io
import json
import os
import random
import resource
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from engine.errors import BadInput
from engine.run.remote import destination
from store import database, people
from store.read import history
from store.transfer.merge import movable
from tests.cli import box
from tests.cli.conftest import Assay

needs_sshd = pytest.mark.skipif(box.SSHD is None, reason="there is no sshd: apt-get install openssh-server")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[box.Box]:
    with box.running(tmp_path_factory.mktemp("machine") / "box") as running:
        yield running


@pytest.fixture
def moved(assay: Assay, machine: box.Box, monkeypatch: pytest.MonkeyPatch) -> Assay:
    """A pull or push between the test's store and that machine."""
    monkeypatch.setenv("ASSAY_SSH", machine.ssh())
    return lambda *words: assay(*words, "--assay", box.ASSAY)


@pytest.fixture
def theirs(own_store: Path) -> Path:
    """Run 1 and 2 are over, with a log; run 3 is running; long random texts make run 2 a large one."""
    (own_store / "logs").mkdir()
    (own_store / "logs/run-2.log").write_text("loading weights\n")
    draw = random.Random(7)
    with closing(database.connect(own_store)) as connection:
        for (key,) in connection.execute(
            "SELECT p.rowid FROM response p JOIN model m ON m.id = p.model_id WHERE m.run_id = 2"
        ).fetchall():
            connection.execute(
                "UPDATE response SET text = ? WHERE rowid = ?", (draw.randbytes(12_000).hex(), key)
            )
    return own_store


def between(word: str, theirs: Path, ours: Path) -> list[str | Path]:
    """Their runs to us: pulled by us, or pushed by them."""
    there, here = (theirs, ours) if word == "pull" else (ours, theirs)
    return [word, f"box:{there}", "--store", here]


def answers(store: Path, run: int) -> list[tuple[str, str, str]]:
    with closing(database.connect(store)) as connection:
        return [
            tuple(row)
            for row in connection.execute(
                "SELECT m.name, e.example, p.text FROM response p JOIN model m ON m.id = p.model_id "
                "JOIN example e ON e.id = p.example_id WHERE m.run_id = ? ORDER BY 1, 2",
                (run,),
            )
        ]


def held_against(store: Path, run: int, other: int) -> None:
    """The run's first candidate was compared with the other run's, whose benchmark scores it reused."""
    first = "(SELECT min(id) FROM model WHERE run_id = ? AND role = 'candidate')"
    with closing(database.connect(store)) as connection:
        connection.execute(
            "INSERT INTO comparison (candidate_id, baseline_id, kind, measure, direction, delta, n, "
            f"standing, family, family_size) VALUES ({first}, {first}, 'metric', 'held', 'higher', 0.1, 12, "
            "'not tested', 'checked', 0)",
            (run, other),
        )
        connection.execute(
            "UPDATE benchmarkscore SET reused_from = ? WHERE model_id IN "
            "(SELECT id FROM model WHERE run_id = ?)",
            (other, run),
        )


@needs_sshd
@pytest.mark.parametrize("word", ["pull", "push"])
def test_finished_runs_arrive_whole_with_their_numbers_and_logs_and_only_once(
    word: str, moved: Assay, theirs: Path, tmp_path: Path
) -> None:
    ours = tmp_path / "our store; $(touch gone) 'x'"
    arguments = between(word, theirs, ours)
    first = moved(*arguments)
    assert first.code == 0, first.err
    assert "2 runs added to" in first.out and ": 1, 2\n" in first.out and "1 not finished" in first.out
    for run in (1, 2):
        assert answers(ours, run) == answers(theirs, run) != []
    assert (ours / "logs/run-2.log").read_text() == "loading weights\n"
    with closing(history.attach(database.connect(ours))) as connection:
        assert history.run(connection, 2).log == "logs/run-2.log"
        assert history.run(connection, 1).log is None
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    again = moved(*arguments, "--json")
    assert json.loads(again.out) == {
        "joined": {}, "known": 2, "unfinished": 1, "deleted": 0, "bytes": 0, "traffic": 0, "behind": []
    }  # fmt: skip
    assert not (ours / "incoming").exists() and not (tmp_path / "gone").exists()


@needs_sshd
@pytest.mark.parametrize("word", ["pull", "push"])
def test_a_broken_link_loses_nothing_and_the_next_try_sends_the_rest(
    word: str, moved: Assay, machine: box.Box, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tmp_path / "ours"
    arguments = between(word, theirs, ours)
    monkeypatch.setenv("ASSAY_SSH", machine.cut(word, 500_000))
    broken = moved(*arguments)
    assert broken.code == 3 and "the link to box broke" in broken.err and "goes on from there" in broken.err
    assert answers(ours, 1) == answers(theirs, 1)  # what was whole is in already
    (part,) = (ours / "incoming").glob("*.part")
    arrived = part.stat().st_size
    monkeypatch.setenv("ASSAY_SSH", machine.ssh())
    found = moved(*arguments, "--json").json
    whole = moved(*arguments[:3], tmp_path / "anew", "--run", "2", "--json").json if word == "pull" else None
    assert found["joined"] == {"2": 2} and found["known"] == 1
    assert arrived > 100_000 and (whole is None or found["bytes"] == whole["bytes"] - arrived)
    assert answers(ours, 2) == answers(theirs, 2)


@needs_sshd
def test_a_part_that_changed_meanwhile_is_sent_anew(moved: Assay, theirs: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    with closing(history.attach(database.connect(theirs))) as connection:
        key = movable(connection)[1].key
    (ours / "incoming").mkdir(parents=True)
    (ours / "incoming" / f"{key}.part").write_bytes(b"x" * 1000)
    found = moved("pull", f"box:{theirs}", "--run", "2", "--store", ours, "--json").json
    assert found["joined"] == {"2": 2} and found["bytes"] % 512 == 0  # all blocks of the tar file
    (ours / "incoming").mkdir()  # as where the end came between the merge and the removal
    (ours / "incoming" / f"{key}.part").write_bytes(b"x" * 1000)
    assert moved("pull", f"box:{theirs}", "--run", "2", "--store", ours).code == 0
    assert not (ours / "incoming").exists()


@needs_sshd
def test_runs_that_are_named_come_alone_with_what_they_were_held_against(
    moved: Assay, theirs: Path, tmp_path: Path
) -> None:
    held_against(theirs, 2, 1)
    sides = (
        "SELECT a.run_id, b.run_id, (SELECT max(reused_from) FROM benchmarkscore) FROM comparison c "
        "JOIN model a ON a.id = c.candidate_id JOIN model b ON b.id = c.baseline_id WHERE c.measure = 'held'"
    )
    alone = moved("pull", f"box:{theirs}", "--run", "1", "--store", tmp_path / "ours", "--json").json
    assert alone["joined"] == {"1": 1}
    # Run 1 is there now, so of it only its name travels.
    second = moved("pull", f"box:{theirs}", "--run", "tickets-v2", "--store", tmp_path / "ours").out
    assert second == "1 run added to this store: 2\n"
    together = moved("pull", f"box:{theirs}", "--run", "2", "--store", tmp_path / "both", "--json").json
    assert together["joined"] == {"1": 1, "2": 2}
    for store in ("ours", "both"):
        with closing(database.connect(tmp_path / store)) as connection:
            assert [tuple(row) for row in connection.execute(sides)] == [(2, 1, 1)]
            assert [row[0] for row in connection.execute("SELECT deleted FROM run")] == [None, None]


@needs_sshd
@pytest.mark.parametrize("word", ["pull", "push"])
def test_a_run_that_finished_after_it_was_moved_is_told(
    word: str, moved: Assay, theirs: Path, tmp_path: Path
) -> None:
    ours = tmp_path / "ours"
    with closing(database.connect(theirs)) as connection:
        connection.execute("UPDATE run SET status = 'paused', finished = NULL WHERE id = 1")
    arguments = between(word, theirs, ours)
    assert moved(*arguments).code == 0
    with closing(database.connect(theirs)) as connection:
        connection.execute("UPDATE run SET status = 'finished' WHERE id = 1")
    said = moved(*arguments).out
    taker, origin = ("here", "there") if word == "pull" else ("there", "here")
    assert f"run 1 is {taker} as it was when it came, and has finished {origin} since" in said
    assert "`assay delete --purge`" in said


@needs_sshd
def test_a_number_that_is_taken_here_becomes_the_next(
    moved: Assay, theirs: Path, history_store: Path, tmp_path: Path
) -> None:
    ours = Path(shutil.copytree(history_store, tmp_path / "ours"))
    with closing(database.connect(ours)) as connection:
        connection.execute("UPDATE run SET name = 'mine'")  # other runs, for all that anybody can tell
    said = moved("pull", f"box:{theirs}", "--store", ours).out
    assert "2 runs added to this store: 4 (1 there), 5 (2 there)" in said


@needs_sshd
def test_runs_that_cannot_be_moved_are_told_with_the_way_out(
    moved: Assay, theirs: Path, tmp_path: Path
) -> None:
    with closing(history.attach(database.connect(theirs))) as connection:
        people.delete(connection, 1, "ann")
    for run, words in (
        ("3", "box: run 3 is running"),
        ("1", "box: run 1 is deleted"),
    ):
        said = moved("pull", f"box:{theirs}", "--run", run, "--store", tmp_path / "ours")
        assert said.code == 2 and words in said.err
    nothing = moved("pull", f"box:{tmp_path / 'none'}", "--store", tmp_path / "ours")
    assert nothing.code == 2 and "box: there is no store in" in nothing.err


@needs_sshd
def test_a_machine_without_assay_and_one_that_lets_nobody_in(
    assay: Assay, machine: box.Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_SSH", machine.ssh())
    missing = assay("pull", "box", "--assay", "~/no where/assay", "--store", tmp_path / "ours")
    assert missing.code == 2 and "box has no program '~/no where/assay'" in missing.err
    assert "--assay '~/venv/bin/assay'" in missing.err
    monkeypatch.setenv("ASSAY_SSH", machine.ssh("-o", "IdentityFile=/dev/null", "-l", "nobody-of-that-name"))
    stranger = assay("pull", "box", "--store", tmp_path / "ours")
    assert stranger.code == 3 and "ssh doesn't reach box" in stranger.err and "Permission" in stranger.err
    monkeypatch.setenv("ASSAY_SSH", "no-such-ssh -p 1")
    assert "no-such-ssh can't be started" in assay("pull", "box", "--store", tmp_path / "ours").err


def test_ssh_gives_up_on_a_machine_that_never_answers(
    assay: Assay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_SSH", "sh -c 'echo \"$@\" >&2; exit 255' ssh")  # it says its options
    assert "-o ConnectTimeout=20 1 assay" in assay("pull", "1", "--store", tmp_path / "ours").err


Fake = Callable[[str], None]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """A machine that answers whatever a program says."""

    def answering(program: str) -> None:
        file = tmp_path / "fake.py"
        file.write_text(program)
        monkeypatch.setenv("ASSAY_SSH", shlex.join([sys.executable, str(file)]))

    return answering


HELLO = f'assay-wire {{"wire": 1, "assay": "0.0.9", "store_schema": "{database.SCHEMA}"}}\n'


def sending(content: bytes, **changed: object) -> str:
    """A program that offers one run with this content."""
    offer = {"key": "a" * 64, "id": 1, "name": "n", "size": len(content)}
    offer |= {"sha256": hashlib.sha256(content).hexdigest()} | changed
    outline = {"runs": 1, "known": 0, "unfinished": 0, "deleted": 0, "traffic": 0}
    lines = f'{HELLO}outline {json.dumps(outline)}\noffer {json.dumps(offer)}\nfrom {{"offset": 0}}\n'
    return (
        f"import sys\nsys.stdout.buffer.write({lines.encode()!r} + {content!r})\nsys.stdout.flush()\n"
        "sys.stdin.read()\n"
    )


def packed(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


PROFILE = "box printed something before Assay's answer: 'Welcome to box!'"


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        (f"print('Welcome to box!\\n' + {HELLO!r})", 3, PROFILE),
        ("while True: print('y' * 10_000, end='')", 3, "printed something before"),
        ("print('assay-wire {\"wire\": \"one\"}')", 3, "sent something else than 'assay-wire'"),
        ("print('\\x1b]0;owned\\x07')", 3, "printed something before"),
        ("import sys; sys.stderr.write('\\x1b[31mred\\x1b[0m\\x07'); sys.exit(255)", 3, "doesn't reach box"),
        ("import sys; sys.exit(1)", 3, "box ended without an answer"),
        (f"print({HELLO!r}, end='', flush=True); input(); exit('no memory')", 3,
             "assay on box failed: no memory"),
        ("import sys; sys.stderr.write(\"assay: No such command 'remote'.\"); sys.exit(2)", 2,
         "the assay on box is older than pull and push"),
        (f"print({HELLO.replace(database.SCHEMA, '9999')!r})", 2, "upgrade assay here"),
        (f"print({HELLO.replace('1,', '2,')!r})", 2, "upgrade assay here"),
        (f"print({HELLO!r} + 'outline []', flush=True); open(0).read()", 3, "something else than 'outline'"),
        (f"print({HELLO!r} + 'failure {{}}', flush=True); open(0).read()", 3, "the link to box broke"),
        (f"print({HELLO!r}, end='')", 3, "the link to box broke"),
        (sending(b"x" * 100, sha256="0" * 64), 3, "run 1 of box arrived damaged"),
        (sending(b"x" * 100), 3, "run 1 of box can't be taken in"),
        (sending(b"x" * 100, size=1 << 60), 3, "are free here"),
        (sending(b"x" * 100, size=-1), 3, "something else than 'offer'"),
        (sending(b"x" * 100, key="../../../etc/x"), 3, "something else than 'offer'"),
        (sending(packed((tarfile.TarInfo("../escaped.log"), b"x"))), 3, "'../escaped.log', which is no part"),
        (sending(packed((tarfile.TarInfo("/etc/escaped"), b"x"))), 3, "which is no part of a run"),
        (sending(packed((link("logs/run-1.log", "/etc/passwd"), b""))), 3, "which is no part of a run"),
        (sending(packed((tarfile.TarInfo("assay.db"), b"no database at all" * 99))), 3, "can't be taken in"),
        (sending(packed((tarfile.TarInfo("logs/run-1.log"), b"x"))), 3, "there is no store"),
    ],
    ids=[
        "profile", "endless", "not a number", "escape codes", "red ssh", "silent", "failing", "older",
        "newer store", "newer wire", "another line", "empty failure", "short", "wrong hash", "no tar",
        "too large", "negative", "key as path", "path up", "path of root", "link", "no database",
        "no store",
    ],
)  # fmt: skip
def test_a_machine_that_lies_is_refused_in_words(
    program: str, code: int, words: str, fake: Fake, assay: Assay, tmp_path: Path
) -> None:
    fake(program)
    said = assay("pull", "box", "--store", tmp_path / "ours")
    assert (said.code, said.out) == (code, "") and words in said.err
    assert "\x1b" not in said.err and "\x07" not in said.err and "Traceback" not in said.err
    if database.exists(tmp_path / "ours"):
        with closing(database.connect(tmp_path / "ours")) as connection:
            assert connection.execute("SELECT count(*) FROM run").fetchone()[0] == 0
    assert not list(tmp_path.rglob("*escaped*"))


def test_an_endless_run_is_read_to_its_announced_end_only(fake: Fake, assay: Assay, tmp_path: Path) -> None:
    fake(sending(b"x" * 100) + "while True: sys.stdout.write('x' * 10_000)\n")
    assert "can't be taken in" in assay("pull", "box", "--store", tmp_path / "ours").err
    (part,) = (tmp_path / "ours/incoming").glob("*.part")
    assert part.stat().st_size == 100


def test_a_store_with_triggers_is_refused(fake: Fake, assay: Assay, own_store: Path, tmp_path: Path) -> None:
    with closing(database.connect(own_store)) as connection:
        connection.execute("CREATE TRIGGER t AFTER INSERT ON run BEGIN DELETE FROM run; END")
        connection.execute("PRAGMA journal_mode=DELETE")
    fake(sending(packed((tarfile.TarInfo("assay.db"), (own_store / database.FILE).read_bytes()))))
    said = assay("pull", "box", "--store", tmp_path / "ours")
    assert said.code == 3 and "holds triggers or views" in said.err


def test_an_older_store_there_is_told_and_taken(fake: Fake, assay: Assay, tmp_path: Path) -> None:
    nothing = 'outline {"runs": 0, "known": 0, "unfinished": 0, "deleted": 0, "traffic": 5}'
    fake(f"print({HELLO.replace(database.SCHEMA, '0003')!r} + {nothing!r}, flush=True); open(0).read()")
    said = assay("pull", "box", "--store", tmp_path / "ours")
    assert said.code == 0 and "box has assay 0.0.9 (schema 0003), here is " in said.err
    assert "5 events of production traffic" in said.out
    assert "upgrade assay on box" in assay("push", "box", "--store", tmp_path / "ours").err


@pytest.mark.parametrize(
    ("text", "host", "folder"),
    [
        ("box", "box", None),
        ("box:", "box", None),
        ("ann@box:work/a: b", "ann@box", "work/a: b"),
        ("box:~/work", "box", "~/work"),
        ("[fe80::1%eth0]:work", "fe80::1%eth0", "work"),
        ("ann@[::1]", "ann@::1", None),
        ("ssh://root@1.2.3.4:2200/data/my%20work", "ssh://root@1.2.3.4:2200", "/data/my work"),
    ],
)
def test_machines_are_named_as_for_ssh(text: str, host: str, folder: str | None) -> None:
    assert destination(text) == (host, folder)


@pytest.mark.parametrize(
    "text",
    ["", ":work", "-oProxyCommand=reboot", "ann@-oX", "ssh://-oX/work", "a b:work", "ssh:///work", "box\n:x"],
)
def test_what_is_no_machine_is_refused_before_ssh_sees_it(text: str) -> None:
    with pytest.raises(BadInput, match="names no machine"):
        destination(text)


def test_a_program_that_ssh_would_take_for_an_option_is_refused(
    fake: Fake, assay: Assay, tmp_path: Path
) -> None:
    fake("import pathlib\npathlib.Path('started').touch()\n")
    said = assay("pull", "box", "--assay", "-oProxyCommand=reboot", "--store", tmp_path / "ours")
    assert said.code == 2 and "names no program" in said.err and not Path("started").exists()


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(BadInput) as refused:
        destination("ssh://ann:geheim@box/work")
    assert "geheim" not in str(refused.value)


def test_where_nothing_can_be_kept_says_so(fake: Fake, assay: Assay, tmp_path: Path) -> None:
    database.prepare(tmp_path / "ours")
    (tmp_path / "ours/incoming").write_text("in the way")
    fake(sending(b"x" * 100))
    said = assay("pull", "box", "--store", tmp_path / "ours")
    assert said.code == 3 and "run 1 of box can't be kept in" in said.err


def test_a_full_temporary_folder_is_named(fake: Fake, assay: Assay, own_store: Path) -> None:
    lines = f'{HELLO}want {{"runs": null, "known": []}}\n'
    fake(f"import sys\nprint({lines!r}, end='', flush=True)\nsys.stdin.read()\n")
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, most))
    try:
        said = assay("push", "box", "--store", own_store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert said.code == 3 and "run 1 can't be packed in" in said.err and "$TMPDIR" in said.err


def test_the_other_side_prints_nothing_but_its_lines(own_store: Path) -> None:
    ran = subprocess.run(
        [box.ASSAY, "remote", "send"], input=b"", capture_output=True, check=False, timeout=120,
        env=os.environ | {"ASSAY_STORE": str(own_store)},
    )  # fmt: skip
    assert ran.returncode == 3 and ran.stdout.startswith(b"assay-wire {") and ran.stdout.count(b"\n") == 1
    assert ran.stderr == b""
