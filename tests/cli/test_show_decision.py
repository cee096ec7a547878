from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from tests.cli.conftest import Assay
from tests.tui.decided import GOOD, told


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same candidate, trained twice."""
    store = tmp_path_factory.mktemp("trained") / "store"
    for rate, epochs in ((2e-4, 3), (1e-4, 5)):
        values: dict[str, Any] = {"learning_rate": rate, "num_epochs": epochs}
        told(
            store, GOOD, name="tickets", details={"training": {"file": "a", "sha256": "0", "values": values}}
        )
    return store


def test_show_begins_with_the_word_and_its_reasons(assay: Assay, history_store: Path) -> None:
    lines = assay("show", "2", "--store", history_store).out.splitlines()
    assert lines[0].startswith("run 2 · tickets-v2 · A GATE FAILED")
    place = lines.index("Decision")
    assert place < lines.index("Candidates")
    assert lines[place + 1 : place + 3] == ["1 inconclusive · 2 don't; best: good", "? good: inconclusive"]
    assert "- overfit: DON'T SHIP" in lines
    card, told_of = lines[lines.index("- overfit: DON'T SHIP") + 1 :][:2]
    assert card == "    wins 91% [69–100] · forgot 3/3 · 1 leaked"
    assert told_of == "    - forgot skills of base: arithmetic · acc 0.820 → 0.200, n 10, and 1 more"


def test_the_page_alone_holds_every_question_with_its_numbers(
    assay: Assay, history_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.text.output.width", lambda: 80)
    page = assay("show", "2", "--decision", "--store", history_store).out
    assert "Candidates" not in page
    for question in (
        "+ Better than base? yes", "What was forgotten?", "Which slices lost?", "What does it cost?",
        "· Quality vs. a full fine-tune?", "Can the eval set be believed?", "Can the judge be believed?",
    ):  # fmt: skip
        assert question in page
    assert "arithmetic · acc 0.820 → 0.200  -0.620 [-0.720, -0.520]  n 10" in page
    assert all(cell_len(line) <= 80 for line in page.splitlines())


def test_json_holds_the_decision(assay: Assay, history_store: Path) -> None:
    shown = assay("show", "2", "--json", "--store", history_store).json
    assert [item["candidate"] for item in shown["decision"]] == ["good", "overfit", "no-effect"]
    assert [item["word"] for item in shown["decision"]] == ["inconclusive", "don't ship", "don't ship"]
    assert all(len(item["reasons"]) <= 3 and item["answers"] for item in shown["decision"])


def test_comparing_two_runs_tells_what_was_trained_differently(assay: Assay, two_runs: Path) -> None:
    shown = assay("compare", "1", "2", "--store", two_runs).out
    assert "tuned: lr 2e-4 → 1e-4, epochs 3 → 5" in shown
    values = assay("compare", "1", "2", "--json", "--store", two_runs).json
    assert values["training"] == [
        {
            "candidate": "tuned",
            "changes": [
                {"name": "lr", "before": 2e-4, "after": 1e-4},
                {"name": "epochs", "before": 3, "after": 5},
            ],
            "reason": None,
            "said": "lr 2e-4 → 1e-4, epochs 3 → 5",
        }
    ]


def test_runs_without_training_configs_say_so(assay: Assay, history_store: Path) -> None:
    shown = assay("compare", "1", "2", "--store", history_store).out
    assert "good: not known: no training_config was given in either run" in shown
