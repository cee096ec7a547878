"""A sweep in the hands of real workers: killed in its funnel, resumed, and shown with its cut."""

import signal
from pathlib import Path
from xml.etree import ElementTree

import pytest

from engine.run import launch
from store.read import history
from tests.cli.conftest import Assay, assay
from tests.e2e.conftest import reader
from tests.e2e.forked import Worker, rows
from tests.engine.checkpoints import make_checkpoints, write_sweep

CHECKPOINTS, KEEP, SAMPLE, EXAMPLES = 5, 2, 3, 6

__all__ = ["assay"]  # the fixture

pytestmark = pytest.mark.e2e


def test_a_sweep_killed_in_its_funnel_goes_on_without_repeating_and_shows_the_cut(
    tmp_path: Path, assay: Assay
) -> None:
    make_checkpoints(tmp_path / "outputs", CHECKPOINTS)
    store = tmp_path / "store"
    run = launch.create(write_sweep(tmp_path, by="token_f1", keep=KEEP, sample=SAMPLE), store)

    assert Worker(store, run, (2 * SAMPLE - 1, ("response",))).wait(timeout=240) == -signal.SIGKILL
    assert rows(store, "response") < CHECKPOINTS * SAMPLE, "killed too late to show anything"
    connection = reader(store)
    before = connection.execute("SELECT id, text, created FROM response").fetchall()
    make_checkpoints(tmp_path / "outputs/later", 1)[0].rename(tmp_path / "outputs/checkpoint-9")

    assert Worker(store, run).wait(timeout=240) == 0
    after = connection.execute("SELECT id, text, created FROM response").fetchall()
    assert set(before) <= set(after)
    # The base and the kept ones answered everything, the cut ones the sample.
    assert len(after) == (1 + KEEP) * EXAMPLES + (CHECKPOINTS - KEEP) * SAMPLE

    models = {model.name: model for model in history.models(connection, run)}
    assert list(models) == ["base", *(f"checkpoint-{step}" for step in range(1, CHECKPOINTS + 1))]
    cut = {name for name, model in models.items() if model.is_cut}
    assert len(cut) == CHECKPOINTS - KEEP
    assert all(models[name].passed is None for name in cut)
    assert not [alert for alert in history.alerts(connection, run) if alert.candidate in cut]
    kept_passed = [model.passed for model in models.values() if model.sweep and not model.is_cut]
    assert history.run(connection, run).passed is all(kept_passed)
    events = [row[0] for row in connection.execute("SELECT message FROM event")]
    [told] = [message for message in events if "checkpoints cut" in message]
    assert all(name in told for name in cut)

    shown = assay("show", str(run), "--section", "sweep", "--store", store)
    assert f"Sweep of {CHECKPOINTS} checkpoints by token_f1 on {SAMPLE} examples" in shown.out
    assert all(f"{name} " in shown.out for name in models if name != "base")
    values = assay("show", str(run), "--store", store, "--json").json
    listed = {model["name"]: model for model in values["models"]}
    for name in cut:
        fared = listed[name]["details"]["sweep"]
        assert fared["value"] is not None and fared["rank"] > KEEP and fared["kept"] is False
        assert f"cut after token_f1 on {SAMPLE} examples" in listed[name]["reason"]
    assert not {row["model"] for row in values["scores"]} & cut
    junit = ElementTree.fromstring(assay("report", str(run), "--format", "junit", "--store", store).out)
    built = [*junit.iter("testsuite"), *junit.iter("testcase")]
    named = " ".join(f"{each.get('name')} {each.get('classname')}" for each in built)
    assert "checkpoint-" in named
    assert not any(name in named for name in cut), "a cut checkpoint is no error of a build"
    markdown = assay("report", str(run), "--format", "md", "--store", store).out
    assert all(f"| {name} | cut after" in markdown for name in cut)
