"""Proposals on screen: what is told of each, and the keys that decide."""

import json
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from engine.traffic import events, proposals
from engine.traffic.periods import UncoveredCluster
from store import database
from store.read import history
from store.read.traffic import proposals as stored
from store.records import EvalProposal
from store.traffic import add, keep_proposals
from tests.engine.runs import lines
from tests.tui.conftest import Settled
from tests.tui.driver import Driver, driven
from tests.tui.history import NOW
from tui.app.app import AssayApp
from tui.app.settings import AppSettings
from tui.cli.main import command, guarded
from tui.screens.choosing import CommandResult
from tui.screens.proposals import ProposalsScreen

ASKED: list[dict[str, Any]] = [
    {
        "prompt": "Can the delivery address still be changed at noon?", "response": "No, that is impossible.",
        "correction": "Yes, that is possible until the order is packed.", "comment": "wrong",
    },
    {"prompt": "My card 4111 1111 1111 1111 was charged twice?", "response": "?", "correction": "Oh."},
    {"prompt": "Why \x1b[31mis\u202e the [b]kettle[/b] loud?", "response": "\x07no", "thumbs": "down"},
    {"prompt": "Can I pay for a sofa with bitcoin?", "response": "We do not know."},
]  # fmt: skip


@pytest.fixture(scope="module")
def proposed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an eval set and a store of proposals for it; not to be written to."""
    folder = tmp_path_factory.mktemp("proposed")
    fill(folder)
    return folder


def fill(folder: Path) -> None:
    rows = [{"id": "address", "query": "Can I change the delivery address of my order?", "reference": "Yes."}]
    lines(folder / "eval.jsonl", rows)
    database.prepare(folder / "store")
    connection = history.attach(database.connect(folder / "store"))
    for number, asked in enumerate(ASKED):
        raw = {"id": f"event {number}", "model": "shipped", "time": NOW, **asked}
        event, said = events.read(raw, source="test", salt=b"0" * 32, received=NOW)
        assert event is not None
        add(connection, [event], [said] if said else [])
    typical = [(event.id, "Can I pay for a sofa with bitcoin?")]
    cluster = UncoveredCluster("bitcoin · pay", 41, 0.1, 3.0, NOW, typical, [event.id])
    proposals.propose(connection, folder / "eval.jsonl", clusters=[cluster])
    connection.close()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    fill(tmp_path)
    return tmp_path


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Carries the screen's commands out in this process: starting one takes most of a test's time."""

    async def run(*words: str, store: Path) -> CommandResult:
        out, errors = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(errors):
            code = guarded(lambda: command([*words, "--store", str(store)]))
        return CommandResult(code, out.getvalue(), errors.getvalue())

    monkeypatch.setattr("tui.screens.proposals.run_command", run)


def decided(folder: Path) -> list[str | None]:
    connection = history.attach(database.connect(folder / "store"))
    found = [each.decision for each in stored(connection)]
    connection.close()
    return found


def app(folder: Path, **more: Any) -> AssayApp:
    return AssayApp(folder / "store", now=lambda: NOW, **more)


async def go_there(ui: Driver) -> None:
    await ui.press("f4")
    ui.on(ProposalsScreen)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
def test_proposals_look(snap_compare: Any, proposed: Path, settled: Settled, size: tuple[int, int]) -> None:
    async def there(pilot: Any) -> None:
        await settled(pilot)
        await pilot.press("f4")
        await settled(pilot)

    assert snap_compare(app(proposed), terminal_size=size, run_before=there)


async def test_a_proposal_tells_why_what_is_nearest_and_what_was_corrected(proposed: Path) -> None:
    async with driven(app(proposed), (120, 40)) as ui:
        await go_there(ui)
        assert "4 open for eval.jsonl" in ui.text
        assert "corrected: wrong" in ui.text and "nearest in the eval set: address" in ui.text
        assert "− No, that is impossible." in ui.text and "+ Yes, that is possible until" in ui.text
        await ui.press("j")
        assert "masked: card number" in ui.text and "4111" not in ui.text
        await ui.press("j")
        assert "one of 41 questions about bitcoin · pay" in ui.text
        await ui.press("j")
        assert "the [b]kettle[/b] loud" in ui.text and "\x1b" not in ui.text and "\u202e" not in ui.text


async def test_keys_accept_reject_train_and_undo(own: Path, here: None) -> None:
    async with driven(app(own)) as ui:
        await go_there(ui)
        await ui.press("a", "t", "n")
        assert decided(own) == ["accepted", "training", "rejected", None]
        assert "1 open for eval.jsonl" in ui.text
        rows = [json.loads(line) for line in (own / "eval-v2.jsonl").read_text().splitlines()]
        assert rows[1]["references"] == ["Yes, that is possible until the order is packed."]
        await ui.press("u")
        assert decided(own) == ["accepted", "training", None, None]
        await ui.press("w")
        assert "✓ in the eval set" in ui.text and "✓ for training" in ui.text
        await ui.press("g", "a")
        assert "decided already: u takes your last decision back" in ui.text


async def test_what_has_no_correction_is_not_trained_on_until_one_is_written(
    own: Path, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = own / "editor"
    editor.write_text("#!/bin/sh\nprintf -- '-Descale it.' > \"$1\"\n")
    editor.chmod(0o700)
    monkeypatch.setenv("VISUAL", str(editor))
    monkeypatch.setattr(AssayApp, "suspend", lambda app: nullcontext())
    async with driven(app(own)) as ui:
        await go_there(ui)
        await ui.press("G", "t")
        assert "no correction to train on: e writes one" in ui.text
        await ui.press("e")
        assert "+ -Descale it." in ui.text
        await ui.press("t")
        assert decided(own)[-1] == "training"


async def test_a_refused_decision_says_why_and_the_proposal_comes_back(own: Path) -> None:
    (own / "eval.jsonl").unlink()
    async with driven(app(own)) as ui:
        await go_there(ui)
        await ui.press("a")
        assert "no such file" in ui.text and "4 open" in ui.text


async def test_what_a_model_wrote_shows_how_and_its_question_can_be_edited(
    tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nprintf 'May a sofa be returned?' > \"$1\"\n")
    editor.chmod(0o700)
    monkeypatch.setenv("VISUAL", str(editor))
    monkeypatch.setattr(AssayApp, "suspend", lambda app: nullcontext())
    database.prepare(tmp_path / "store")
    connection = history.attach(database.connect(tmp_path / "store"))
    how = {"model": "wri\x1b[31mter", "source": "manual.md:3", "way": "detail", "prompt": "Ask of [source]."}
    written = EvalProposal(
        event_id="synthetic-1", eval_set=str(tmp_path / "tests.jsonl"), origin="synthetic", reference="Yes.",
        why="written from manual.md:3: detail", created=NOW, synthetic=how,
        messages=[{"role": "user", "content": "May a [b]lamp\u202e be returned?"}],
    )  # fmt: skip
    keep_proposals(connection, [written])
    connection.close()
    async with driven(app(tmp_path), (120, 40)) as ui:
        await go_there(ui)
        assert "~ synthetic" in ui.text and "written from manual.md:3: detail" in ui.text
        assert "source manual.md:3" in ui.text and "Ask of [source]." in ui.text
        assert "\x1b" not in ui.text and "\u202e" not in ui.text
        await ui.press("i")
        assert "May a sofa be returned?" in ui.text and "a person edited it" in ui.text
        await ui.press("a")
        assert "tests-v1.jsonl has 1 example synthetic" in ui.text
    row = json.loads((tmp_path / "tests-v1.jsonl").read_text())
    assert row["synthetic"] == {**how, "edited": True} and row["references"] == ["Yes."]


async def test_reading_alone_decides_nothing(proposed: Path) -> None:
    async with driven(app(proposed, settings=AppSettings(read_only=True))) as ui:
        await go_there(ui)
        for key in "anteu":
            await ui.press(key)
            assert "opened with --read-only" in ui.text


async def test_words_filter(proposed: Path) -> None:
    async with driven(app(proposed)) as ui:
        await go_there(ui)
        await ui.press("/", *"bitcoin", "enter")
        assert "sofa" in ui.text and "kettle" not in ui.text
        await ui.press("/", *"zebra", "enter")
        assert "no proposal holds these words" in ui.text


async def test_a_store_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    async with driven(app(tmp_path)) as ui:
        await go_there(ui)
        assert "nothing to decide: `assay traffic propose EVAL`" in ui.text
        await ui.press("a", "u", "escape")


async def test_a_screen_that_lost_its_widgets_while_it_read_no_store_is_no_error(tmp_path: Path) -> None:
    async with driven(app(tmp_path)) as ui:
        await go_there(ui)
        screen = ui.app.screen
        await screen.query_children().remove()
        screen.reload()  # type: ignore[attr-defined]
        await ui.app.workers.wait_for_complete()
        assert ui.app.screen is screen and not screen.query("#proposals")
