"""The checkpoints of a training that is followed: in Live, and in Trends against the step."""

import json
import sqlite3
from pathlib import Path

import pytest

from tests.cli.conftest import Assay, assay
from tests.tui.driver import opened
from tests.tui.history import build
from tests.tui.test_trends import copied

__all__ = ["assay"]  # the fixture

STATES = {
    100: {"evaluated": 1.0},
    200: {"evaluated": 2.0},
    300: {"failed": "adapter_model.safetensors: is corrupt\x1b[31m or truncated."},
    400: {},
}


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run 1 follows a training: two checkpoints are evaluated, one is damaged, one is being evaluated."""
    folder = build(tmp_path_factory.mktemp("curve") / "store")
    connection = sqlite3.connect(folder / "assay.db")
    (good,) = connection.execute("SELECT id FROM model WHERE run_id = 1 AND role = 'candidate'").fetchone()
    (highest,) = connection.execute("SELECT max(id) FROM model").fetchone()
    for place, (step, state) in enumerate(STATES.items(), start=1):
        name = f"checkpoint-{step}"
        details = json.dumps({"checkpoint": {"step": step, "folder": name, **state}})
        copied(
            connection, "model", f"id = {good}",
            id=highest + place, name=name, details=details, position=10 + place, passed=step < 200,
        )  # fmt: skip
        if "evaluated" in state:
            copied(connection, "modelscore", f"model_id = {good}", model_id=highest + place)
            connection.execute(
                "UPDATE modelscore SET value = ?, low = NULL, high = NULL WHERE model_id = ? "
                "AND measure = 'rougeL'",
                (step / 1000, highest + place),
            )
    connection.execute(
        """UPDATE run SET options = '{"follow": {"pattern": "out/checkpoint-*"}}' WHERE id = 1"""
    )
    connection.commit()
    connection.close()
    return folder


async def test_live_shows_the_newest_checkpoints_and_why_one_has_no_values(followed: Path) -> None:
    async with opened(followed, "live", run=1, size=(120, 40)) as ui:
        lines = [line.strip() for line in ui.text.splitlines() if "checkpoint-" in line]
        names = [line.split()[1] for line in lines if line[:1] in "✓✗!▶"]
        assert names == ["checkpoint-400", "checkpoint-300", "checkpoint-200", "checkpoint-100"]
        assert "being evaluated" in ui.text
        assert "cannot be evaluated: adapter_model.safetensors: is corrupt" in ui.text
        assert "\x1b[31m" not in ui.text
        assert "failed a gate" in ui.text and "rougeL 0.100" in ui.text


async def test_trends_are_against_the_step_until_all_runs_are_asked_for(followed: Path) -> None:
    async with opened(followed, "trends", run=1, size=(120, 36)) as ui:
        await ui.press("slash", *"rougel", "enter")
        assert "2 checkpoints" in ui.text
        assert "step 100" in ui.text and "step 200" in ui.text
        await ui.press("s")
        assert "checkpoints of" not in ui.head and "runs" in ui.text
        await ui.press("s")
        assert "2 checkpoints" in ui.text


async def test_a_run_without_checkpoints_says_so(followed: Path) -> None:
    async with opened(followed, "trends", run=2, size=(120, 36)) as ui:
        assert "step 100" not in ui.text
        await ui.press("s")
        assert "run 2 has no checkpoints" in ui.text


def test_the_command_lists_the_values_by_step(followed: Path, assay: Assay) -> None:
    ran = assay("trend", "rougeL", "--run", "1", "--ascii", "--store", followed)
    assert ran.code == 0
    assert "rougeL, higher is better: 2 checkpoints, by step" in ran.out
    assert "step 100" in ran.out and "step 200" in ran.out
    values = assay("trend", "rougeL", "--run", "1", "--json", "--store", followed).json
    assert [(point["step"], point["value"]) for point in values["points"]] == [(100, 0.1), (200, 0.2)]


def test_the_newest_evaluated_checkpoint_stands_for_the_run(followed: Path, assay: Assay) -> None:
    values = assay("trend", "rougeL", "--json", "--store", followed).json
    point = next(point for point in values["points"] if point["run_id"] == "1")
    assert (point["candidate"], point["step"]) == ("checkpoint-200", None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--run", "2"), "run 2 has no checkpoints"),
        (("--run", "1", "--limit", "3"), "--run shows one run's checkpoints"),
    ],
)
def test_what_cannot_be_shown_is_said(
    followed: Path, assay: Assay, arguments: tuple[str, ...], said: str
) -> None:
    ran = assay("trend", "rougeL", *arguments, "--store", followed)
    assert ran.code == 2 and said in ran.err
