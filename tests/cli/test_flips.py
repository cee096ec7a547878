"""`assay show RUN --flips`, and a group of flips as an eval set that a plan evaluates."""

import json
import re
from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Assay, lines

RIGHT, WRONG = "yes indeed", "no"


def run(assay: Assay, folder: Path) -> Path:
    """A run in which six of the seven refunds turned wrong, and nothing else."""
    kinds = [("refund", f"Refund my tracking number {'abcdefg'[n]}") for n in range(7)]
    kinds += [("other", f"Is the shop open on {day}") for day in "abcdefghijklmnopqrstu"]
    rows = [
        {"id": f"e{n:02}", "query": query, "category": kind, "label": kind, "reference": RIGHT, "desk": n % 3}
        for n, (kind, query) in enumerate(kinds)
    ]
    lines(folder / "eval.jsonl", rows)
    lines(folder / "before.jsonl", [{"id": row["id"], "response": RIGHT} for row in rows])
    after = [{"id": row["id"], "response": WRONG if n < 6 else RIGHT} for n, row in enumerate(rows)]
    lines(folder / "after.jsonl", after)
    (folder / "plan.toml").write_text(plan('[data]\nexamples = "eval.jsonl"'))
    store = folder / "store"
    assert assay("--store", store, "run", folder / "plan.toml").code in (0, 1)
    return store


def plan(data: str) -> str:
    models = [
        f'[[models]]\nname = "{name}"\nrole = "{role}"\noutputs = "{name}.jsonl"\n'
        for name, role in (("before", "baseline"), ("after", "candidate"))
    ]
    return f'name = "flips"\n{data}\n{"".join(models)}[metrics]\nuse = ["exact_match"]\n'


def test_the_groups_are_told_and_written_as_an_eval_set(assay: Assay, tmp_path: Path) -> None:
    store = run(assay, tmp_path)
    said = re.sub(r"\s+", " ", assay("--store", store, "show", "last", "--flips").out)
    assert "6 turned wrong, 0 turned right, of 28 examples with a value of both models" in said
    assert "6 of 6 that turned wrong are in slice “category: refund” (4.5% of the rest) · p <0.001" in said
    assert "6 of 6 that turned wrong contain “tracking number” (4.5% of the rest)" in said
    (pair,) = assay("--store", store, "show", "last", "--flips", "--json").json["flips"]
    group = next(each for each in pair["groups"] if each["kind"] == "words")
    assert group["examples"] == [f"e{n:02}" for n in range(6)] and group["share"] == 1 / 22
    file = tmp_path / "group.jsonl"
    words = ("annotations", "export", "last", file, "--format", "examples", "--flips", group["group"])
    written = assay("--store", store, *words, "--json").json
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["id"] for row in rows] == group["examples"]
    kept = {name: rows[1][name] for name in ("category", "label", "references", "desk")}
    assert kept == {"category": "refund", "label": "refund", "references": [RIGHT], "desk": 1}
    (tmp_path / "next.toml").write_text(plan(written["plan"]))
    assert assay("check", tmp_path / "next.toml").code == 0
    assert assay("--store", store, *words).out.count("examples = ") == 1


def test_what_is_asked_wrongly_says_what_to_do(
    assay: Assay, plan: Callable[..., Path], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    assay("--store", store, "run", plan())
    out = tmp_path / "out.jsonl"
    export = ("--store", store, "annotations", "export", "last", out)
    for words, told in (
        (("--flips", "lost"), "--format examples"),
        (("--format", "examples", "--flips", "lost"), "no flip of after against before is in 'lost'"),
        (("--format", "examples", "--flips", "lost", "--candidate", "x"), "has no candidate x"),
        (("--format", "examples", "--candidate", "x"), "--flips GROUP"),
    ):
        ended = assay(*export, *words)
        assert (ended.code, told in ended.err) == (2, True), ended.err
    assert not out.exists()
    gained = assay(*export, "--format", "examples", "--flips", "gained")
    assert gained.code == 0 and len(out.read_text().splitlines()) == 8
