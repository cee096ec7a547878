"""A run with several samples of every answer: what is stored, compared, shown and told of it."""

import random
from pathlib import Path

import numpy as np
import pytest

from engine.compare.comparable import Side, paired_candidates
from engine.gates.checks import compare_runs
from engine.stats.intervals import bootstrap_interval
from store.read import history
from store.session import opened
from tests.engine.runs import carry_out, lines, queue
from tui.sections.gather import gather

N = 12
SAMPLES = 4
GENERATION = "[generation]\nsamples = {samples}\n[metrics]\nuse = ['exact_match', 'length']\npass_k = [{k}]\n"


def write_plan(folder: Path, right: dict[str, int], samples: int = SAMPLES, k: int = 2) -> Path:
    """Recorded models that are right in so many of a hundred samples; each has one answer too few."""
    rows = [{"id": f"e{place}", "query": f"What is {place}?", "reference": "4"} for place in range(N)]
    lines(folder / "examples.jsonl", rows)
    text = 'name = "sampled"\n[data]\nexamples = "examples.jsonl"\n'
    for role, (name, share) in zip(("baseline", "candidate"), right.items(), strict=True):
        dice = random.Random(name)
        given = [
            {
                "id": row["id"],
                "responses": ["45"[dice.random() > share / 100] for _ in range(SAMPLES)],
            }
            for row in rows
        ]
        given[0]["responses"] = [*given[0]["responses"][:-1], None]
        lines(folder / f"{name}.jsonl", given)
        text += f'[[models]]\nname = "{name}"\nrole = "{role}"\noutputs = "{name}.jsonl"\n'
    plan = folder / "plan.toml"
    plan.write_text(text + GENERATION.format(samples=samples, k=k))
    return plan


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sampled")
    plan = write_plan(folder, {"base": 30, "tuned": 90})
    for samples in (4, 3):
        plan.write_text(plan.read_text().replace("samples = 4", f"samples = {samples}"))
        recorder = carry_out(folder / "store", queue(folder / "store", plan))
        recorder.set_run(status="finished", finished=1.0)
        recorder.close()
    return folder / "store"


def test_an_example_is_one_unit_and_its_interval_resamples_examples(store: Path) -> None:
    with opened(store) as connection:
        scores = {(row.model, row.measure): row for row in history.model_scores(connection, 1)}
        (model, *_) = history.models(connection, 1)
        rows = connection.execute(
            "SELECT value FROM score WHERE model_id = ? AND measure = 'exact_match' ORDER BY example_id",
            (model.id,),
        ).fetchall()
    own = scores["base", "exact_match"]
    means = [row["value"] for row in rows]
    expected = bootstrap_interval(
        np.array([(value, 1.0) for value in means]), lambda sums: sums[..., 0] / sums[..., 1], 0, ends=(0, 1)
    )
    assert (own.n, own.samples, own.samples_missing) == (N, N * SAMPLES - 1, 1)
    assert (own.value, own.low, own.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert own.spread is not None and 0.2 < own.spread < 0.7
    at_least_one, both = scores["base", "pass@2:exact_match"], scores["base", "pass^2:exact_match"]
    assert both.value is not None and at_least_one.value is not None
    assert both.value < own.value < at_least_one.value
    assert at_least_one.n == N and at_least_one.spread is None
    assert scores["base", "response_words"].samples == N * SAMPLES - 1


def test_candidates_are_paired_on_the_means_of_their_examples(store: Path) -> None:
    with opened(store) as connection:
        found = {row.measure: row for row in history.comparisons(connection, 1)}
    assert found["exact_match"].n == N and found["maj@4:exact_match"].n <= N
    assert found["exact_match"].standing == "better"


def test_show_and_its_report_tell_of_the_samples(store: Path) -> None:
    from tui.cli.terminal import print_sections
    from tui.report import render

    with opened(store) as connection:
        found = gather(connection, 1)
    assert any(remark.startswith("4 samples of each answer: a value is avg@4") for remark in found.remarks)
    assert dict(found.measures.families)["exact & token"][1].measure == "pass@2:exact_match"
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("tui.cli.terminal.paragraph", lambda text, *rest: said.append(text))
        print_sections(found, full=True)
    told = next(
        text for text in said if text.startswith("base, between the samples of a prompt: exact_match")
    )
    assert "; response_words spread 0.000, 1 sample without a value" in told
    assert "spread 0.000, 1 sample without a value" in render(found, "html")


def test_runs_of_different_settings_are_told_so(store: Path) -> None:
    with opened(store) as connection:
        found = compare_runs(connection, 1, 2)
        sides = Side(connection, 1), Side(connection, 2)
        assert paired_candidates(*sides)[0]
    assert found.settings == [
        "tuned (run 1) and tuned (run 2) answered with different settings: samples 4 and 3"
    ]
    assert {item.measure for item in found.comparisons} >= {"exact_match", "pass@2:exact_match"}


def test_further_samples_go_where_their_run_goes(store: Path, tmp_path: Path) -> None:
    from store.database import prepare
    from store.transfer.merge import merge

    prepare(tmp_path)
    with opened(tmp_path) as connection:
        merge(connection, store)
        (count,) = connection.execute("SELECT count(*) FROM sample").fetchone()
    assert count == 2 * N * (SAMPLES - 1 + 2)
