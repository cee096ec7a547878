"""`assay run --model BASE --adapter DIR --data FILE`: a run without a plan, by one that is made of them."""

from pathlib import Path

import pytest

from engine.plan.plan import read_plan
from tests.cli.conftest import Assay, lines

SAMPLES = Path(__file__).parents[2] / "samples"
BASE, GOOD, OTHER = (SAMPLES / "models" / name for name in ("base", "adapters/good", "adapters/overfit"))
DATA = SAMPLES / "eval/domain.jsonl"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_plan_is_made_printed_and_written_and_its_run_stored(assay: Assay, tmp_path: Path) -> None:
    words = ("run", "--model", BASE, "--adapter", GOOD, "--adapter", OTHER, "--data", DATA)
    done = assay(
        *words,
        "--metric",
        "exact_match",
        "--metric",
        "chrf",
        "--set",
        "generation.max_new_tokens=9",
        "--queue",
    )
    assert done.code == 0 and "run 1 waits in the queue" in done.out, done.err
    assert "[[models]]" in done.err and "the plan is in plan.toml" in done.err
    plan = read_plan(tmp_path / "plan.toml")
    assert [model.name for model in plan.baselines] == ["base"]
    assert [model.name for model in plan.candidates] == ["good", "overfit"]
    assert plan.metrics.use == ("exact_match", "chrf") and plan.data.examples.resolve() == DATA
    assert plan.data.split == "all", "what is named is evaluated on as it is"
    assay(*words, "--metric", "exact_match", "--metric", "chrf", "--queue")
    assert not (tmp_path / "plan-2.toml").exists(), "the same plan is in the same file"
    other = assay(*words, "--queue", "--quiet")
    assert other.err == "" and (tmp_path / "plan-2.toml").exists()
    assert "rouge" in read_plan(tmp_path / "plan-2.toml").metrics.use, "by default what fits the data"


def test_the_name_of_the_file_does_not_make_it_training_data(assay: Assay, tmp_path: Path) -> None:
    lines(tmp_path / "train.jsonl", [{"query": f"q{n}?", "reference": f"a{n}"} for n in range(9)])
    done = assay("run", "--model", BASE, "--adapter", GOOD, "--data", "train.jsonl", "--queue")
    assert done.code == 0, done.err
    plan = read_plan(tmp_path / "plan.toml")
    assert (plan.data.split, plan.data.train) == ("all", None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give a plan, or what to make one of: --model BASE --adapter DIR --data FILE"),
        (["--model", BASE], "give a plan, or what to make one of"),
        (["plan.toml", "--data", DATA], "plan.toml names its own models and data"),
        (["--model", BASE, "--adapter", GOOD, "--data", "gone.jsonl"], "--data gone.jsonl: no such file"),
        (["--model", BASE, "--adapter", GOOD, "--data", SAMPLES], "is a folder"),
        (["--model", BASE, "--adapter", BASE, "--data", DATA], "has no adapter_config.json"),
        (["--model", "no folder", "--adapter", GOOD, "--data", DATA], "is no folder and no hub id"),
        (["--model", BASE, "--adapter", GOOD, "--data", BASE / "model.safetensors"], "model.safetensors"),
        (
            ["--model", BASE, "--adapter", GOOD, "--data", DATA, "--metric", "exact_mach"],
            'did you mean "exact_match"?',
        ),
    ],
)  # fmt: skip
def test_what_no_plan_can_be_made_of_is_an_error(
    assay: Assay, tmp_path: Path, arguments: list[str | Path], said: str
) -> None:
    done = assay("run", *arguments)
    assert done.code == 2 and said in done.err, done.err
    assert list(tmp_path.iterdir()) == []
