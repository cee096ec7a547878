"""`--set KEY=VALUE`: values in place of a plan's, for the commands that take a plan to run it."""

import sqlite3
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Assay

Write = Callable[..., Path]


def stored(store: Path, run: int = 1) -> str:
    with sqlite3.connect(store / "assay.db") as connection:
        return str(connection.execute("SELECT plan FROM run WHERE id = ?", (run,)).fetchone()[0])


def test_values_are_set_by_dotted_keys_indices_and_names_and_stored(
    assay: Assay, plan: Write, tmp_path: Path
) -> None:
    file, store = plan(more="# a comment that stays\n"), tmp_path / "store"
    before = file.read_text()
    given = (
        "name=other", "generation.max_new_tokens=7", 'metrics.use=["exact_match"]',
        "gates.max_metric_drop=0.5", "models[0].name=earlier", "models.after.outputs=right.jsonl",
    )  # fmt: skip
    done = assay("run", file, *(word for one in given for word in ("--set", one)), "--store", store)
    assert done.code == 0, done.err
    text = stored(store)
    read = tomllib.loads(text)
    assert (read["name"], read["generation"]["max_new_tokens"]) == ("other", 7)
    assert [model["name"] for model in read["models"]] == ["earlier", "after"]
    assert read["metrics"]["use"] == ["exact_match"] and "# a comment that stays" in text
    assert file.read_text() == before, "the file is left as it is"
    assert "set in place of the plan's: name=other, generation.max_new_tokens=7" in done.out
    shown = assay("show", "1", "--json", "--store", store).json
    assert {score["metric"] for score in shown["scores"]} == {"exact_match"}


def test_check_and_run_and_the_gates_of_show_agree(assay: Assay, plan: Write, tmp_path: Path) -> None:
    file, store = plan(candidate="wrong", gates="max_metric_drop = 0.05"), ("--store", tmp_path / "store")
    assert assay("check", file, "--set", "gates.max_metric_drop=1.0", *store).code == 0
    assert assay("run", file, *store).code == 1
    assert assay("run", file, "--set", "gates.max_metric_drop=1.0", *store).code == 0
    moved = assay("show", "1", "--gate", "max_metric_drop=1.0", "--json", *store).json["decision"][0]
    set_ = assay("show", "2", "--json", *store).json["decision"][0]
    assert (moved["word"], moved["reasons"]) == (set_["word"], set_["reasons"])
    again = assay("rerun", "2", *store)
    assert again.code == 0 and "max_metric_drop = 1.0" in stored(tmp_path / "store", 3)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("generation.temprature=1", 'unknown key "temprature" (did you mean "temperature"?)'),
        ("generation.temperature=hot", "generation.temperature: found 'hot'"),
        ("models.aftr.outputs=x.jsonl", 'models.aftr.outputs: models has no aftr (did you mean "after"?)'),
        ("models[9].outputs=x.jsonl", "models has no 9"),
        ("metrics.use[5]=x", "metrics.use has no 5"),
        ("name.first=x", "name is one value, without keys of its own"),
        ("name", "--set name: must be KEY=VALUE"),
        ("=1", "must be KEY=VALUE"),
        ("a b=1", "--set a b: is not a dotted key"),
        ("name=[1, 2", "--set name: its value is not TOML"),
        ('name="a"\nseed = 2', "--set name: sets more than one key"),
        ("data.examples=gone.jsonl", "gone.jsonl"),
    ],
)  # fmt: skip
def test_what_cannot_be_set_is_an_error_that_names_the_key(
    assay: Assay, plan: Write, tmp_path: Path, setting: str, said: str
) -> None:
    file = plan()
    for command in ("run", "check"):
        done = assay(command, file, "--set", setting, "--store", tmp_path / "store")
        assert done.code == 2 and said in done.err + done.out, done.err
    assert not (tmp_path / "store").exists()


def test_the_noise_floor_and_a_run_that_follows_take_them_too(
    assay: Assay, plan: Write, tmp_path: Path
) -> None:
    file, store = plan(), ("--store", tmp_path / "store")
    for words in (("noise", file), ("follow", tmp_path, "--plan", file, *store)):
        done = assay(*words, "--set", "generation.temprature=1")
        assert done.code == 2 and 'unknown key "temprature"' in done.err, done.err


def test_a_secret_is_refused_and_not_repeated(assay: Assay, plan: Write, tmp_path: Path) -> None:
    key = "sk-" + "abcdEFGH1234" * 4
    for setting in (f"judges=[{{name='j', api_key='{key}'}}]", f"name={key}", f"name=['{key}"):
        done = assay("run", plan(), "--set", setting, "--store", tmp_path / "store")
        assert done.code == 2 and key not in done.err + done.out
