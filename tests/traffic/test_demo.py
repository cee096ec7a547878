"""`make demo-traffic`: its own commands, on a store of the test's, tell what was planted and when."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tui.cli.main import command

ROOT = Path(__file__).parents[2]


def recipe() -> Iterator[list[str]]:
    """The words of each `assay` command of the target."""
    _, _, rest = (ROOT / "Makefile").read_text().partition("\ndemo-traffic: setup")
    for line in rest.partition("\n\n")[0].splitlines():
        if found := re.fullmatch(r"\t@\$\(BIN\)/assay (.*?)( \|\| \[ \$\$\? -eq 1 \])?", line):
            yield shlex.split(found[1])


def test_the_demo_tells_the_wrong_model_and_the_new_questions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    # The users' hashes say whose questions the clusters are learned from: by some salts it is a week later.
    (tmp_path / "store").mkdir()
    (tmp_path / "store/traffic.salt").write_text("00" * 32)
    told = {}
    for words in recipe():
        assert command([*words, "--store", str(tmp_path / "store")]) in (0, 1), words
        told[" ".join(words[:2])] = " ".join(capsys.readouterr().out.split())
    assert list(told) == ["traffic import", "monitor --eval", "traffic propose"]
    assert "1,542 new events" in told["traffic import"]
    alerts = told["monitor --eval"].partition(" Alerts ")[2]
    assert re.search(
        r"from 2026-02-02 on, thumbs up lower: 63\.2%.*?another model or version answers", alerts
    )
    assert "from 2026-02-16 on, people ask something else" in alerts
    assert not re.search(r"from 2026-01", alerts), "nothing is told of the good weeks"
    assert re.search(
        r"recall: \d+ events, [\d.]+% of the newest questions, since 2026-02-16", told["monitor --eval"]
    )
    assert re.search(r"\d new proposals for samples/eval/product.jsonl", told["traffic propose"])
    assert "recall" in told["traffic propose"]
