"""From an empty store to the first run: plans found, checked, started; new ones made of what is there."""

import os
from pathlib import Path

import pytest

from engine.plan import SAMPLES
from engine.plan.plan import read_plan
from tests.engine.runs import lines, recorded_plan
from tests.tui.driver import driven
from tests.tui.history import HOSTILE
from tui.app.app import AssayApp
from tui.screens.live.screen import LiveScreen
from tui.screens.runs import RunsScreen
from tui.screens.start import CheckScreen, WizardScreen, _prompt_lines, found_plans


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with data, recorded answers and no plan."""
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def record(folder: Path) -> Path:
    examples = [{"id": f"e{n}", "query": f"q{n}", "reference": "yes"} for n in range(4)]
    answers = {name: {f"e{n}": text for n in range(4)} for name, text in (("before", "no"), ("after", "yes"))}
    return recorded_plan(
        folder, examples, answers, '[metrics]\nuse = ["exact_match"]\n[generation]\ncache = false'
    )


async def test_three_keys_lead_from_an_empty_store_to_the_first_run(folder: Path) -> None:
    record(folder)
    app = AssayApp(folder / ".assay")
    async with driven(app) as ui:
        assert "whether to ship it" in ui.text
        await ui.press("s", "enter", "enter")
        await ui.shows("recorded #1", "Decision  H: why", "? inconclusive")
        assert ui.on(LiveScreen).run_id == 1
        await ui.press("escape")
        assert isinstance(ui.screen, RunsScreen) and "passed" in ui.text


async def test_a_start_that_fails_says_why_and_the_plan_can_be_started_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(folder)
    async with driven(AssayApp(folder / ".assay")) as ui:
        await ui.press("s", "enter")
        assert "can run" in ui.text
        (folder / "before.jsonl").rename(folder / "away.jsonl")
        await ui.press("enter", "enter")
        await ui.shows("`assay run` did not work", "before.jsonl")
        assert "no such file" in " ".join(ui.text.split())
        await ui.press("escape")
        assert "enter starts it" in ui.text
    assert not (folder / ".assay").exists()


async def test_in_an_empty_folder_the_bundled_sample_is_three_keys_away(folder: Path) -> None:
    app = AssayApp(folder / ".assay")
    async with driven(app) as ui:
        await ui.press("s")
        first = next(line for line in ui.lines if line.startswith("›"))
        assert "quickstart" in first and "bundled sample" in first
        (folder / "train.jsonl").write_text("")
        await ui.press("escape", "s")
        assert "› Make a plan" in ui.text


async def test_a_plan_with_errors_is_told_what_and_not_started(folder: Path) -> None:
    plan = record(folder)
    (folder / "after.jsonl").unlink()
    app = AssayApp(folder / ".assay")
    async with driven(app, (80, 24), settle=False) as ui:
        await ui.press("s", "enter", "enter")
        assert isinstance(ui.screen, CheckScreen)
        assert "cannot run yet" in ui.text and "no such file" in " ".join(ui.text.split())
        assert "Traceback" not in ui.text
        lines(folder / "after.jsonl", [{"id": f"e{n}", "response": "yes"} for n in range(3)])
        await ui.press("enter", "r")
        assert "can run" in ui.text
    assert plan.exists() and not (folder / ".assay").exists()


def test_the_plans_of_a_folder_come_likeliest_first(tmp_path: Path) -> None:
    record(tmp_path)
    (tmp_path / "more").mkdir()
    for place, name in enumerate(
        ("more/b.toml", "a.toml", f"more/{HOSTILE.replace('/', '').replace(chr(0), '')[:60]}.toml")
    ):
        (tmp_path / name).write_text((tmp_path / "plan.toml").read_text())
        os.utime(tmp_path / name, (2e9 + place, 2e9 + place))
    (tmp_path / "pyproject.toml").write_text("[data]\nx = 1\n")
    (tmp_path / "broken.toml").write_bytes(b"\xff[")
    found = found_plans(tmp_path, tmp_path / "nowhere")
    assert [plan.path.name for plan in found][::3] == ["plan.toml", "b.toml"] and len(found) == 4
    assert (found[0].name, found[0].baselines, found[0].candidates) == ("recorded", 1, 1)
    bundled = found_plans(tmp_path)[4:]
    assert bundled[0].path == SAMPLES / "plans" / "quickstart.toml" and all(plan.bundled for plan in bundled)


async def test_a_plan_is_made_of_the_files_found_with_parts_left_out_and_renamed(folder: Path) -> None:
    record(folder).rename(folder / "plan.txt")
    app = AssayApp(folder / ".assay")
    async with driven(app, (80, 24), settle=False) as ui:
        await ui.press("s", "enter")
        assert isinstance(ui.screen, WizardScreen)
        shown = ui.text
        for part in ("[x]  candidate  after", "examples.jsonl · 4 records", "assumed", "exact_match"):
            assert part in shown
        place = next(i for i, item in enumerate(ui.screen.rows.items) if item.name == "after")
        ui.screen.rows.go_to(place)
        await ui.tap("e", *["backspace"] * 5, *"new", "enter")
        ui.screen.rows.go_to(next(i for i, item in enumerate(ui.screen.rows.items) if item.name == "length"))
        await ui.press("space", "w", "enter")
        assert isinstance(ui.screen, CheckScreen) and "can run" in ui.text
    plan = read_plan(folder / "plan.toml")
    assert [model.name for model in plan.models] == ["before", "new"]
    assert "exact_match" in plan.metrics.use and "length" not in plan.metrics.use


async def test_a_file_that_is_there_is_written_over_only_when_asked(folder: Path) -> None:
    before = record(folder).read_text()
    app = AssayApp(folder / ".assay")
    async with driven(app, (80, 24), settle=False) as ui:
        await ui.press("s", "w")
        await ui.tap("w", *["backspace"] * 20, *"plan.toml", "enter")
        assert "write over it?" in ui.text
        await ui.press("n")
        assert (folder / "plan.toml").read_text() == before
        await ui.press("w", *["backspace"] * 20, *"../plan.toml", "enter")
        assert "a file name alone" in ui.text


async def test_a_folder_with_nothing_of_use_says_what_is_lacking(folder: Path) -> None:
    name = HOSTILE.replace("/", "").replace("\0", "")[:60]
    (folder / f"{name}.jsonl").write_text("{")
    app = AssayApp(folder / ".assay")
    async with driven(app, (80, 24), settle=False) as ui:
        await ui.press("s", "w")
        assert "lacks  a candidate" in ui.text and "no use" in ui.text
        assert not set("\x1b\x07\x9b\u202e") & set(ui.text)
        await ui.tap("w")
        assert "missing: examples: a file with" in ui.text


async def test_the_check_shows_the_first_prompt_of_each_model_and_its_findings_again(folder: Path) -> None:
    record(folder)
    async with driven(AssayApp(folder / ".assay")) as ui:
        await ui.press("s")
        await ui.tap("enter", "P")  # while the plan is being checked
        await ui.shows("this plan can run")
        assert "First prompt of before" in ui.text and "its outputs are recorded" in ui.text
        await ui.press("P")
        assert "data.examples" in ui.text and "First prompt" not in ui.text


def test_a_hostile_prompt_is_shown_as_text() -> None:
    shown = {
        "model": "m\x1b[2J",
        "tokens": 7,
        "reason": None,
        "text": f"<s>{HOSTILE}\n\n[bold]x[/bold]\x1b]0;t\x07",
    }
    text = "\n".join(line.plain for line in _prompt_lines(shown, 60))
    assert "<s>" in text and "[bold]x[/bold]" in text and "\x1b" not in text and "\x07" not in text
