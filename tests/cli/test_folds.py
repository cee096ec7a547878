"""Plans with folds: one run for each, by the models that have not seen it, and all of them together."""

from pathlib import Path

import pytest

from engine.compare.folds import newest_folds, pool
from engine.errors import BadInput
from engine.plan.plan import read_plan
from engine.run import launch
from store.read import evidence, history
from store.session import opened
from tests.cli.conftest import Assay, lines
from tests.engine.runs import carry_out

FOLDS = 3


def write_plan(folder: Path, examples: str = "eval.jsonl") -> Path:
    rows = [{"id": f"e{n}", "query": f"What is {n}?", "reference": f"It is {n}."} for n in range(24)]
    lines(folder / "eval.jsonl", rows)
    lines(folder / "base.jsonl", [{"id": row["id"], "response": "No idea."} for row in rows])
    for fold in range(1, FOLDS + 1):
        # Each fold's model knows that fold alone, so that a mix-up shows.
        said = [
            {"id": row["id"], "response": row["reference"] if n % 2 else f"fold {fold}"}
            for n, row in enumerate(rows)
        ]
        lines(folder / f"tuned-{fold}.jsonl", said)
    plan = folder / "plan.toml"
    plan.write_text(
        f"""name = "cv"
[data]
examples = "{examples}"
folds = {FOLDS}
[[models]]
name = "base"
role = "baseline"
outputs = "base.jsonl"
[[models]]
name = "tuned"
role = "candidate"
outputs = "tuned-{{fold}}.jsonl"
[metrics]
use = ["exact_match"]
"""
    )
    return plan


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, int]]:
    """A store with a finished run of each fold."""
    folder = tmp_path_factory.mktemp("folded")
    plan, store = write_plan(folder), folder / "store"
    runs = {fold: launch.create(plan, store, fold=fold) for fold in range(1, FOLDS + 1)}
    for run in runs.values():
        carry_out(store, run)
    with opened(store) as connection, connection:
        connection.execute("UPDATE run SET status = 'finished'")  # as its worker does
    return store, runs


def test_each_example_is_evaluated_once_by_the_model_of_its_fold(folded: tuple[Path, dict[int, int]]) -> None:
    store, runs = folded
    with opened(store) as connection:
        asked = {
            run: [row.example for row in evidence.run_examples(connection, run)] for run in runs.values()
        }
        assert sorted(name for names in asked.values() for name in names) == sorted(
            f"e{n}" for n in range(24)
        )
        assert all(len(names) > 1 for names in asked.values())
        for fold, run in runs.items():
            texts = connection.execute(
                "SELECT r.text FROM response r JOIN model m ON m.id = r.model_id "
                "WHERE m.run_id = ? AND m.name = 'tuned' AND r.text LIKE 'fold%'",
                (run,),
            )
            assert {text for (text,) in texts} <= {f"fold {fold}"}
            assert history.run(connection, run).name == f"cv, fold {fold}"


def test_folds_are_pooled_over_their_examples(folded: tuple[Path, dict[int, int]]) -> None:
    store, runs = folded
    with opened(store) as connection:
        found = pool(connection, newest_folds(connection, runs[2]))
        part = pool(connection, {1: runs[1], 3: runs[3]})
    assert (found.of, found.runs, found.missing) == (FOLDS, runs, ())
    [tuned] = [row for row in found.measures if (row.model, row.measure) == ("tuned", "exact_match")]
    assert (tuned.value, tuned.n) == (0.5, 24)
    assert tuned.low is not None and tuned.low < 0.5 and None not in tuned.folds
    [compared] = [row for row in found.comparisons if row.measure == "exact_match"]
    assert (compared.delta, compared.n) == (0.5, 24)
    assert part.missing == (2,) and part.measures[0].folds[1] is None and part.measures[0].n < 24


def test_folds_are_shown_for_people_and_programs(assay: Assay, folded: tuple[Path, dict[int, int]]) -> None:
    store, _ = folded
    shown = assay("folds", "--store", store)
    assert "over all folds' examples" in shown.out and "+0.500" in shown.out
    values = assay("folds", "--store", store, "--json").json
    assert values["folds"] == FOLDS and values["measures"][0]["n"] == 24


def test_which_fold_must_be_said_and_be_one_of_the_plans(tmp_path: Path, assay: Assay) -> None:
    plan = write_plan(tmp_path)
    with pytest.raises(BadInput, match="use --fold 1 to --fold 3, or --fold all"):
        read_plan(plan)
    with pytest.raises(BadInput, match="there is no fold 4"):
        read_plan(plan, 4)
    checked = assay("check", plan, "--store", tmp_path / "store", "--json").json
    subjects = {finding["subject"] for finding in checked["findings"]}
    assert checked["can_run"] and {"fold 1, model tuned", "fold 3, data.examples", "model base"} <= subjects
    (tmp_path / "tuned-2.jsonl").unlink()
    refused = assay("run", plan, "--fold", "all", "--store", tmp_path / "store")
    assert refused.code == 2 and "tuned-2.jsonl" in refused.err and not (tmp_path / "store").exists()


def test_examples_may_stand_in_a_file_for_each_fold(tmp_path: Path) -> None:
    write_plan(tmp_path)
    for fold in (1, 2, 3):
        lines(tmp_path / f"fold-{fold}.jsonl", [{"query": str(fold)}])
    plan = read_plan(write_plan(tmp_path, "fold-{fold}.jsonl"), 2)
    assert (plan.data.examples.name, plan.data.folds, plan.data.fold) == ("fold-2.jsonl", None, 2)


def test_a_fold_in_a_plan_without_folds_is_a_mistake(tmp_path: Path) -> None:
    plan = write_plan(tmp_path)
    plan.write_text(plan.read_text().replace(f"folds = {FOLDS}", ""))
    with pytest.raises(BadInput, match=r"holds \{fold\}, and data.folds is missing"):
        read_plan(plan)
    with pytest.raises(BadInput, match="a fold was requested"):
        read_plan(plan, 1)
