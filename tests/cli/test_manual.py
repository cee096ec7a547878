"""The man page says of every command and option what its help says."""

import re
import shutil
import subprocess

from tests.cli.conftest import Assay
from tui.cli.main import EXIT_CODES, build
from tui.cli.manual import commands


def test_every_command_and_option_is_in_it(assay: Assay) -> None:
    done = assay("man")
    plain = done.out.replace("\\-", "-").replace("\\e", "\\")
    plain = re.sub(r"\\\[u([0-9A-F]+)\]", lambda found: chr(int(found[1], 16)), plain)
    assert done.code == 0 and done.out.startswith(".TH ASSAY 1") and EXIT_CODES in plain
    for words, command in commands(build()):
        part = plain.split(f".SS {' '.join(words)}")
        assert len(part) > 1, words
        for one in command.params:
            if getattr(one, "help", None):
                assert " ".join(one.help.split()) in part[-1] or one.opts[0] in plain, (words, one.opts)
    macros = {line.split()[0] for line in done.out.splitlines() if line.startswith((".", "'"))}
    assert macros <= {".TH", ".SH", ".SS", ".TP", ".PP", ".B"}
    assert not re.search(r"(?<!\\)-{2}", done.out), "hyphens can be copied"


def test_it_is_read_without_a_complaint(assay: Assay) -> None:
    if shutil.which("groff"):
        page = assay("man").out
        done = subprocess.run(
            ["groff", "-man", "-ww", "-Tutf8", "-z"], input=page, text=True, check=True, capture_output=True
        )
        assert done.stderr == ""
