"""Making a run the reference, and holding later ones against it, from the command line."""

from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Assay


def test_a_run_is_accepted_used_and_withdrawn(
    assay: Assay, plan: Callable[..., Path], tmp_path: Path
) -> None:
    store = ("--store", tmp_path / "store")
    file = plan()
    first = assay("run", file, "--against", "accepted", "--quiet", *store)
    assert first.code == 0
    assert "no previous run of recorded is accepted yet" in " ".join(assay("show", 1, *store).out.split())
    accepted = assay("accept", 1, "--note", "shipped", *store)
    assert "after of run 1 is the reference for later runs of recorded" in accepted.out
    assert assay("run", file, "--against", "accepted", "--quiet", *store).code == 0
    assert "accepted run 1: after" in assay("show", 2, *store).out
    assert (
        "run 1 is no longer the reference; no run of its name is one now"
        in assay("accept", 1, "--withdraw", *store).out
    )


def test_what_cannot_be_accepted_says_what_can(
    assay: Assay, plan: Callable[..., Path], tmp_path: Path
) -> None:
    store = ("--store", tmp_path / "store")
    assert assay("run", plan(), "--quiet", *store).code == 0
    other = assay("accept", 1, "before", *store)
    assert other.code == 2 and "run 1 has no candidate 'before'" in other.err and "it has after" in other.err
    assert "nothing of run 1 is accepted" in assay("accept", 1, "--withdraw", *store).err
    missing = assay("run", plan(), "--against", "9", *store)
    assert missing.code == 2 and "there is no run 9" in missing.err
