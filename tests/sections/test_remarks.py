"""What `assay show` remarks on a run's models: by which path they answered, and what they had to say."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from store import records
from store.database import connect
from store.read import history
from store.write import Recorder
from tui.sections.gather import gather

CONTINUOUS = {"batching": "continuous", "batching_reason": None, "batching_figures": {"slots": 64}}
NF4 = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
STATIC = {"batching": "static", "batching_reason": "it is an encoder–decoder", "batching_figures": None}


def test_the_path_and_the_notes_of_each_model_are_told(own_store: Path) -> None:
    recorder = Recorder(own_store, 2)
    for name, details in (
        ("base", CONTINUOUS | {"notes": ["no chat template"], "quantisation": None}),
        ("good", CONTINUOUS | {"notes": ["no chat template", "out of memory on cpu"], "quantisation": NF4}),
        ("overfit", STATIC | {"notes": []}),
    ):
        row = recorder.rows(records.StoredModel, run_id=2, name=name)[0]
        recorder.set_model(row.id, details=details)
    recorder.close()
    with closing(history.attach(connect(own_store))) as connection:
        found = gather(connection, 2).remarks
    assert "base, good: no chat template" in found
    assert "good: out of memory on cpu" in found
    assert "good and base differ in quantisation (bitsandbytes nf4 and none)" in found
    assert "base, good answered in continuous batches of up to 64 rows" in found
    assert "overfit answered in static batches: it is an encoder–decoder" in found


def test_what_held_in_the_sandbox_is_told_with_the_number_of_programs(own_store: Path) -> None:
    recorder = Recorder(own_store, 2)
    model = recorder.rows(records.StoredModel, run_id=2, name="base")[0]
    metric = recorder.rows(records.StoredMetric, run_id=2)[0]
    examples = sorted({score.example_id for score in recorder.rows(records.StoredScore, model_id=model.id)})
    held = "namespaces, system-call filter, own keyring, memory by sum"
    reasons = [f"isolation: {held}", f"ValueError: isolation: none; isolation: {held}", "no program", None]
    recorder.append([replace(metric, measure="pass_at_1", position=99)])
    recorder.append(
        [
            records.StoredScore(
                model_id=model.id, measure="pass_at_1", example_id=example, value=1.0, reason=reason
            )
            for example, reason in zip(examples, reasons, strict=False)
        ]
    )
    recorder.close()
    with closing(history.attach(connect(own_store))) as connection:
        assert f"sandbox for 2 programs: {held}" in gather(connection, 2).remarks
