import io
import json
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
    assert place < lines.index("Alerts: 3 critical, 2 warning, 1 note")
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


def test_a_limit_given_decides_anew_and_stores_nothing(assay: Assay, history_store: Path) -> None:
    before = assay("show", "2", "--json", "--store", history_store).json["decision"]
    told = assay("show", "2", "--gate", "min_win_rate=0.95", "--store", history_store).out
    assert "min_win_rate 0.95, in the plan off" in told
    assert "- good: don't ship (was: inconclusive)" in told
    assert (
        "beyond   good: wins against base by reference 81.8% [59.8%, 100%]; needs about 53 examples" in told
    )
    assert assay("show", "2", "--json", "--store", history_store).json["decision"] == before


def test_the_decision_under_other_limits_is_there_for_programs(assay: Assay, history_store: Path) -> None:
    found = assay("show", "2", "--gate", "max_leakage=0.05", "--json", "--store", history_store).json
    gate = next(gate for gate in found["gates"] if gate["name"] == "max_leakage")
    assert (gate["limit"], gate["plan"]) == (0.05, 0.1)
    assert {item["before"] for item in found["decision"]} == {"inconclusive", "don't ship"}
    assert found["plan"]["reason"] and "tickets.toml" in found["plan"]["file"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--gate", "max_metric_dorp=0.1"], 'no gate "max_metric_dorp" (did you mean "max_metric_drop"?)'),
        (["--gate", "max_metric_drop=much"], "much is no number"),
        (["--gate", "max_metric_drop"], "--gate max_metric_drop"),
        (["--gate", "max_metric_drop=2"], "max_metric_drop is 2"),
        (["--gate", "max_leakage=off"], "max_leakage cannot be off"),
        (["--write"], "--write goes with --gate"),
        (["--gate", "max_leakage=0.2", "--write"], "tickets.toml"),
    ],
)
def test_a_limit_that_cannot_be_is_one_clear_error(
    assay: Assay, history_store: Path, given: list[str], said: str
) -> None:
    ended = assay("show", "2", *given, "--store", history_store)
    assert ended.code == 2 and said in ended.err and "Traceback" not in ended.err


def test_lines_of_limits_are_answered_one_by_one(
    assay: Assay, history_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = ["[]", "no", '{"min_win_rate": "much"}', '{"foo": 1}', "", "\ud800", "[" * 100_000, "{" * 5_000]
    bad += [
        f'{{"max_leakage": {value}}}' for value in ("1e999", "NaN", "-Infinity", "1" + "0" * 400, "9" * 5_000)
    ]
    asked = ['{"min_win_rate": 0.95}', *bad, "{}"]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(asked) + "\n"))
    told = assay("show", "2", "--gate", "-", "--store", history_store).out
    found = [json.loads(line) for line in told.splitlines()]
    assert [("error" in answer) for answer in found] == [False, *(True for _ in bad), False]
    assert found[0]["decision"][0]["word"] == "don't ship"


@pytest.mark.parametrize("text", ["gates = 3\n", "[[gates]]\nmax_leakage = 0.1\n", "[gates\n", "\x00"])
def test_a_plan_edited_since_the_run_leaves_the_decision_and_says_why_it_is_not_written(
    assay: Assay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    told(tmp_path / "store", plan_folder=str(tmp_path))
    plan = tmp_path / "p.toml"
    plan.write_text(text)
    monkeypatch.setattr("sys.stdin", io.StringIO('{"max_leakage": 0.2}\n' * 2))
    lines = assay("show", "1", "--gate", "-", "--store", tmp_path / "store").out.splitlines()
    assert [json.loads(line)["plan"]["reason"].startswith(str(plan)) for line in lines] == [True, True]
    ended = assay("show", "1", "--gate", "max_leakage=0.2", "--write", "--store", tmp_path / "store")
    assert ended.code == 2 and "p.toml" in ended.err and plan.read_text() == text
