"""What is said where Ray, or a cluster, is not there."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.checkpoints import make_checkpoints, write_sweep

BLOCKED = "import sys; sys.modules['ray'] = None\n"


def python(code: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_ray_a_local_run_misses_nothing_and_a_plan_that_asks_for_it_names_the_extra(
    tmp_path: Path,
) -> None:
    make_checkpoints(tmp_path / "outputs", 1)
    plan = write_sweep(tmp_path, '[compute]\nengine = "ray"\n')
    said = python(
        f"{BLOCKED}import engine.run.execute, engine.models.local, engine.phases.sweep\n"
        "assert not [name for name in sys.modules if name.startswith('engine.phases.fleet')]\n"
        "from pathlib import Path\n"
        "from engine.run.launch import create\nfrom engine.errors import BadInput\n"
        "try: create(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "except BadInput as error: print(error)\n",
        plan,
        tmp_path / "store",
    )
    assert "pip install 'assay[ray]'" in said


def test_without_ray_a_run_that_was_made_elsewhere_stops_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from engine.cluster import connect
    from engine.errors import CannotRun

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(CannotRun, match="needs the package ray") as error:
        connect("auto")
    assert "pip install 'assay[ray]'" in error.value.hint


def test_a_cluster_that_is_not_there() -> None:
    from engine.cluster import connect
    from engine.errors import CannotRun

    with pytest.raises(CannotRun, match=r"no Ray cluster can be reached at '127.0.0.1:1'") as error:
        connect("127.0.0.1:1")
    assert "ray start --head" in error.value.hint
