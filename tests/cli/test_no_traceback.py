"""Whatever the arguments, files and streams: a message and an exit code, never a traceback."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import ASSAY, Assay
from tests.timers import add_crontab
from tui.cli.main import build

# What works long or waits for others where its store can be one.
LONG = {("collect",), ("demo",)}
# What makes a command end that would wait otherwise.
ENDS = {("collect",): ("--no-token", "--port", "0"), ("queue", "work"): ("--once",)}


def leaves(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(sorted(leaves(build())))
EVERY = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)


def line(words: tuple[str, ...], value: str) -> list[str]:
    """The command line with a value in place of each thing that the command needs."""
    required = [found for found in COMMANDS[words].params if found.required]
    given = [[value] if found.param_type_name == "argument" else [found.opts[0], value] for found in required]
    return [*words, *(word for one in given for word in one)]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    add_crontab(tmp_path, monkeypatch)
    monkeypatch.setenv("ASSAY_SSH", "false")  # no other machine answers


def is_told(assay: Assay, arguments: list[str]) -> int:
    """Holds a command to a message without a traceback or controls; its exit code."""
    done = assay(*arguments)
    assert done.code in (0, 1, 2, 3), arguments
    for text in (done.out, done.err):
        assert "Traceback" not in text and "unexpected" not in text, (arguments, text)
        assert "\x1b" not in text and "\u202e" not in text
    if done.code in (2, 3):
        assert done.err.startswith("assay: ") or "cannot run" in done.out, (arguments, done.err)
    return done.code


AWFUL: dict[str, Callable[[Path], str]] = {
    "nothing": lambda _: "",
    "no such run, file or folder": lambda _: "gone/gone.toml",
    "a number too large": lambda _: "9" * 40,
    "escapes and bidi": lambda _: "\x1b[31mred\u202e\r\n",
    "half a surrogate": lambda _: "\udcff",
    "as long as a path may not be": lambda _: "x" * 5_000,
    "a binary file": lambda folder: str(folder / "binary"),
    "a folder": lambda folder: str(folder),
    "a device": lambda _: "/dev/null",
}


NEEDY = [words for words, found in COMMANDS.items() if any(each.required for each in found.params)]


@pytest.mark.parametrize("words", NEEDY, ids=" ".join)
def test_awful_arguments_are_a_message(
    assay: Assay, own_store: Path, words: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 20)
    codes = {
        name: is_told(assay, [*line(words, awful(tmp_path)), "--store", str(own_store)])
        for name, awful in AWFUL.items()
    }
    assert len(codes) == len(AWFUL) and 2 in codes.values(), "nothing was refused"


def text_in_place(folder: Path) -> str:
    (folder / "assay.db").write_bytes(bytes(range(256)) * 200)
    return str(folder)


STORES: dict[str, Callable[[Path], str]] = {
    "none": lambda folder: str(folder / "none"),
    "a damaged one": text_in_place,
    "a file": lambda folder: str(folder / "file"),
    "a folder that cannot be made": lambda _: "/proc/none/store",
    "a name too long": lambda _: "x" * 5_000,
}
OF_A_STORE = [
    words for words, found in COMMANDS.items() if any("--store" in each.opts for each in found.params)
]


# What asks nothing of the database.
UNREAD = {("plan-size",), ("schedule", "list"), ("suite", "list")}


def test_the_sweeps_leave_no_command_out() -> None:
    for words in (("collect",), ("demo",), ("queue", "work"), ("pull",), ("push",)):
        assert words in OF_A_STORE
    assert {("pull",), ("push",)} <= set(NEEDY)


@pytest.mark.parametrize("words", OF_A_STORE, ids=" ".join)
def test_an_awful_store_is_a_message(assay: Assay, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "file").write_text("text")
    codes = {
        name: is_told(assay, [*line(words, "1"), *ENDS.get(words, ()), "--store", store(tmp_path)])
        for name, store in STORES.items()
        if words not in LONG or name != "none"
    }
    refused = {codes[name] for name in STORES if name != "none"}
    assert words in UNREAD or refused <= {1, 2, 3}, "a store that cannot be was taken for one"


@EVERY
def test_an_option_or_command_that_is_mistyped_is_guessed(assay: Assay, words: tuple[str, ...]) -> None:
    names = [found.opts[-1] for found in COMMANDS[words].params]
    option = max(names, key=len, default="")
    if option.startswith("--"):
        done = assay(*words, option[:-2] + option[-1] + option[-2] + "s")
        assert done.code == 2 and "No such option" in done.err and option in done.err, done.err
    done = assay(*words[:-1], words[-1] + "q")
    assert done.code == 2 and words[-1] in done.err and "id you mean" in done.err, done.err


@EVERY
def test_help_tells_the_exit_codes(assay: Assay, words: tuple[str, ...]) -> None:
    done = assay(*words, "--help")
    assert done.code == 0 and "Exit codes: 0 " in done.out and "Usage: assay" in done.out


def shell(command: str, store: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    words = " ".join(f"'{word}'" for word in ASSAY)
    return subprocess.run(
        ["bash", "-c", command.replace("ASSAY", words).replace("STORE", str(store))],
        capture_output=True,
        text=True,
        check=False,
        errors="replace",
        env={"PATH": "/usr/bin:/bin", "HOME": str(store), "PYTHONPATH": str(Path.cwd()), **environment},
    )


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("ASSAY show 2 --full --store STORE | head -c 1", 0),
        ("ASSAY show 2 --store STORE >&-", 0),
        ("ASSAY show 2 --store STORE >/dev/full", 3),
        ("ASSAY show 99 --store STORE 2>&-", 2),
        ("ASSAY delete 1 --store STORE <&-", None),
        ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 ASSAY show 2 --store STORE", 0),
        ("COLUMNS=20 LINES=5 TERM=dumb ASSAY show 2 --full --store STORE", 0),
        ("COLUMNS=0 LINES=0 ASSAY runs --store STORE", 0),
        ("COLUMNS=x ASSAY runs --store STORE", 0),
    ],
)
def test_awful_streams_and_surroundings(
    own_store: Path, command: str, code: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    done = shell(command, own_store)
    assert "Traceback" not in done.stderr + done.stdout and "Exception ignored" not in done.stderr, (
        done.stderr
    )
    assert code is None or done.returncode == code, done.stderr


def test_the_traceback_is_there_with_debug_alone(assay: Assay, history_store: Path) -> None:
    for arguments in (["show", "99"], ["runs", "--nonsense"]):
        assert "Traceback" not in assay(*arguments, "--store", history_store).err
        for debugged in (["--debug", *arguments], [*arguments, "--debug"]):
            done = assay(*debugged, "--store", history_store)
            assert done.code == 2 and "Traceback" in done.err and "assay: " in done.err
