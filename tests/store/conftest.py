from collections.abc import Iterator
from pathlib import Path

import pytest

from store import records
from store.write import Recorder, create_run


def queued_run(folder: Path, name: str = "first") -> int:
    return create_run(
        folder,
        records.Run(name=name, plan="", plan_hash="0" * 64, plan_folder="/", plan_file="plan.toml"),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def recorder(folder: Path) -> Iterator[Recorder]:
    recorder = Recorder(folder, queued_run(folder))
    yield recorder
    recorder.close()


@pytest.fixture
def two_models(recorder: Recorder) -> tuple[int, int]:
    """A baseline and a candidate over three examples."""
    base, good = (
        recorder.insert(
            records.StoredModel(run_id=recorder.run_id, name=name, role=role, kind="local", position=place)
        )
        for place, (name, role) in enumerate([("base", "baseline"), ("good", "candidate")])
    )
    recorder.append(
        [
            records.StoredExample(
                eval_set="v", example=f"e{place}", position=place, query=f"question {place}"
            )
            for place in range(3)
        ]
    )
    recorder.append(
        [
            records.RunExample(run_id=recorder.run_id, position=place, example_id=place + 1)
            for place in range(3)
        ]
    )
    return base, good
