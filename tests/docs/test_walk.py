"""The walk of the manual: its keys are bound, and it still leads from a decision to a report."""

import re
from pathlib import Path

import pytest

from docs.walk import FOLDER, STEPS, walk
from tests.tui.driver import opened
from tests.tui.history import build
from tui.keys import REGISTRY

TYPED = set("made up")
IN_WHAT_IF = {"right"}


def test_every_key_of_the_walk_is_bound() -> None:
    bound = {key for action in REGISTRY.values() for key in action.keys.split(",")}
    assert {key for step in STEPS for key in step.keys} - bound <= TYPED | IN_WHAT_IF


def test_the_recorded_walk_has_every_step_and_no_path_of_the_machine_that_made_it() -> None:
    text = (FOLDER / "walk.txt").read_text()
    starts = [f"{n:2}  {' '.join(step.keys) or '-'}  {step.what}" for n, step in enumerate(STEPS, 1)]
    places = [text.index(start) for start in starts]
    assert places == sorted(places)
    assert not re.search(r"/(home|root|work|tmp|dev)/", text)


def test_the_manual_shows_its_pictures() -> None:
    manual = (FOLDER / "app.md").read_text()
    for name in ("walk.txt", *(f"walk-{step.picture}.svg" for step in STEPS if step.picture)):
        assert f"({name})" in manual and (FOLDER / name).is_file()


async def test_from_a_decision_to_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    decide = next(place for place, step in enumerate(STEPS) if step.keys == ("H",))
    async with opened(build(tmp_path / "store"), "live", run=2, size=(100, 30)) as ui:
        await walk(ui, STEPS[decide:])
    assert "tickets-v2" in (tmp_path / "run-2.html").read_text()
