"""Completion: what each shell is told may follow, without a library being loaded."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Assay
from tui.cli.completion import candidates
from tui.cli.manual import SCRIPTS

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def surroundings(history_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_STORE", str(history_store))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my plans").mkdir()
    (tmp_path / "plan.toml").write_text("")
    (tmp_path / "note.txt").write_text("")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("assay sh", ["show"]),
        ("assay queue i", ["install"]),
        ("assay --store x sh", ["show"]),
        ("assay show ", ["last", "3", "2", "1", "tickets-v3", "tickets-v2", "tickets-v1"]),
        ("assay show tickets-v1", ["tickets-v1"]),
        ("assay compare 1 l", ["last"]),
        ("assay show 2 x", []),
        ("assay trend rou", ["rougeL"]),
        ("assay trend rougeL --candidate g", ["good"]),
        ("assay show 2 --sec", ["--section"]),
        ("assay show 2 --section sc", ["scores"]),
        ("assay show 2 --section=sc", ["--section=scores"]),
        ("assay run --metric exact", ["exact_match"]),
        ("assay run plan.toml --against ac", ["accepted"]),
        ("assay check ", ["my plans/", "plan.toml"]),
        ("assay preview n", ["note.txt"]),
        ("assay completion ", ["bash", "zsh", "fish"]),
        ("assay runs --deb", ["--debug"]),
        ("assay show 'unclosed", []),
        ("assay nonsense ", []),
    ],
)
def test_what_may_follow(line: str, expected: list[str]) -> None:
    assert [value for value, _ in candidates(line) if value != "cache/"] == expected


def test_a_name_that_a_line_cannot_hold_is_left_out() -> None:
    for name in ("plan\nb.toml", "plan\x1b[31m.toml", os.fsdecode(b"plan\xff.toml")):
        Path(name).touch()
    assert [value for value, _ in candidates("assay check plan")] == ["plan.toml"]


def test_a_store_named_on_the_line_is_the_one_asked(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="unable to open"):
        list(candidates(f"assay show --store {tmp_path} "))
    assert ask("bash", f"assay show --store {tmp_path} ") == ""


def ask(shell: str, line: str) -> str:
    environment = {**os.environ, "_ASSAY_COMPLETE": shell, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "assay", line], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stderr == ""
    return done.stdout


def test_each_shell_gets_its_own_form() -> None:
    assert ask("bash", "assay show --s").splitlines() == ["--section", "--slices", "--store"]
    assert "--section:Only this section; may be repeated." in ask("zsh", "assay show --sec")
    assert "2\ttickets-v2" in ask("fish", "assay show 2").splitlines()
    assert ask("bash", "assay trend bits_per_byte:gen") == "general\n", "bash ends a word at a colon"


def test_a_key_loads_no_library() -> None:
    list(candidates("assay sh"))  # which fills the cache
    code = (
        "import sys, json\nfrom tui.cli.completion import main\nmain('bash', 'assay show ')\n"
        "print(json.dumps([n for n in ('typer', 'rich', 'textual', 'pydantic', 'numpy', 'sqlalchemy')"
        " if n in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.startswith("last\n") and json.loads(done.stdout.splitlines()[-1]) == []


def test_bash_completes_with_the_script(assay: Assay, tmp_path: Path) -> None:
    script = assay("completion", "bash").out
    program = tmp_path / "bin/assay"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m assay "$@"\n')
    program.chmod(0o755)
    typed = """
complete_line() { COMP_LINE=$1; COMP_POINT=${#1}; _assay; printf '%s\\n' "${COMPREPLY[@]}"; }
complete_line "assay show 2 --section f"; complete_line "assay check my"
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", script + typed],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"},
    )
    assert done.stdout.splitlines() == ["forgetting", "my\\ plans/"]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_scripts_are_printed_and_parsed(assay: Assay, shell: str) -> None:
    done = assay("completion", shell)
    assert done.code == 0 and f"_ASSAY_COMPLETE={shell}" in done.out
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=done.out, text=True, check=True, capture_output=True)
    wrong = assay("completion", "tcsh")
    assert wrong.code == 2 and "bash" in wrong.err
