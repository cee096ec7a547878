from pathlib import Path

import pytest

from engine.errors import BadInput
from store.session import opened
from tui.cli.run import STEP_SUMMARY, append_summary, print_brief
from tui.sections.gather import gather


def test_in_brief_a_run_is_its_verdict_and_what_tripped(
    history_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(history_store) as connection:
        print_brief(gather(connection, 2))
        print_brief(gather(connection, 1))
    told = capsys.readouterr().out
    failed, passed = told.split("run 1 ")
    assert failed.startswith("run 2 · tickets-v2 · A GATE FAILED\n")
    assert "CRITICAL" in failed and "arithmetic fell by 0.62" in failed and "Scores" not in failed
    assert passed == "· tickets-v1 · passed\n"


def test_the_step_summary_is_added_to_what_the_job_has_written(
    history_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "summary.md"
    file.write_text("from an earlier step\n")
    monkeypatch.setenv(STEP_SUMMARY, str(file))
    with opened(history_store) as connection:
        append_summary(connection, 2, None)
        append_summary(connection, 1, tmp_path / "own.md")
        monkeypatch.delenv(STEP_SUMMARY)
        append_summary(connection, 1, None)
    written = file.read_text()
    assert written.startswith("from an earlier step\n### Assay: tickets-v2: a gate failed")
    assert "tickets-v1" not in written and (tmp_path / "own.md").read_text().startswith(
        "### Assay: tickets-v1"
    )


def test_a_step_summary_that_cannot_be_written_is_told(history_store: Path, tmp_path: Path) -> None:
    with opened(history_store) as connection, pytest.raises(BadInput, match="cannot be written"):
        append_summary(connection, 1, tmp_path)
