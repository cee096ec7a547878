"""`assay monitor`: periods, alerts and gaps on the terminal and as JSON, its exit codes, acknowledging."""

import json
from pathlib import Path

import pytest

from engine.traffic.periods import watch_of
from store import database
from tests.traffic.made import TOPICS, Week, changed, store
from tui.cli.main import command, guarded


def monitor(folder: Path, *arguments: str) -> int:
    return guarded(lambda: command(["--store", str(folder), "monitor", *arguments]))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model shipped by mistake in the sixth week, whose name is hostile."""
    folder = tmp_path_factory.mktemp("shipped")
    store(folder, changed(5, model="bad\x1b[31m[red]", refused=0.6)).close()
    return folder


def test_an_open_alert_fails_until_somebody_acknowledges_it(
    shipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert monitor(shipped) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "refusals higher:" in shown and "likely cause: another model or version answers" in shown
    assert "in the first 4 weeks" in shown
    assert "\x1b" not in shown
    for _ in range(9):
        monitor(shipped, "--json")
        found = watch_of(json.loads(capsys.readouterr().out))
        if not found.open_alerts:
            break
        assert monitor(shipped, "acknowledge", str(found.open_alerts[0].id)) == 0
        assert "is acknowledged by" in capsys.readouterr().out
    assert monitor(shipped) == 0
    assert "(acknowledged by" in " ".join(capsys.readouterr().out.split())


def test_json_holds_the_whole_result_again(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monitor(shipped, "--json")
    told = json.loads(capsys.readouterr().out)
    found = watch_of(told)
    assert json.loads(json.dumps(found.as_dict())) == told
    assert [row.events for row in found.rows] == [60] * 8
    assert found.rows[0].figures["rating"].reason == "nobody rated an answer"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["acknowledge", "99"], "there is no alert 99"),
        (["--variant", "none-such"], "no event has the variant"),
        (["--reference", "0"], "must be from 1 to 1000 periods"),
        (["--reference", "no-such-run"], "there is no run 'no-such-run'"),
        (["--reference", "accepted"], "no run is accepted"),
        (["--eval", "no-such-file.jsonl"], "no-such-file.jsonl"),
        (["--meaning", "no-such-folder"], "holds no model"),
        (["--days", "0"], "--days"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    shipped: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert monitor(shipped, *arguments) == 2
    assert said in capsys.readouterr().err


def test_an_empty_store_says_how_traffic_comes_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database.prepare(tmp_path)
    assert monitor(tmp_path) == 0
    assert "assay traffic import FILE" in capsys.readouterr().out


def test_days_and_variants_and_what_the_eval_set_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = "Which vegan recipes with lentils and spinach do you recommend for {n} guests on Sunday?"
    store(
        tmp_path,
        lambda _: Week(variant="A", events=40),
        lambda number: Week(variant="B", events=60, new_share=0.7, new_topic=new if number > 2 else None),
        weeks=5,
    )
    file = tmp_path / "eval.jsonl"
    asked = [text.format(n=n) for n, text in enumerate(TOPICS * 4)]
    file.write_text("\n".join(json.dumps({"query": query, "reference": "x"}) for query in asked))
    monitor(tmp_path, "--eval", str(file), "--reference", "2", "--json")
    found = watch_of(json.loads(capsys.readouterr().out))
    assert found.variants == ["A", "B"]
    assert {alert.variant for alert in found.alerts if alert.measure == "questions"} == {"B"}
    assert [cluster.examples[0][1].split()[1] for cluster in found.uncovered] == ["vegan"]
    monitor(tmp_path, "--variant", "A", "--days", "1")
    shown = capsys.readouterr().out
    assert "B:" not in shown and "and 27 earlier periods, which --json has" in shown
