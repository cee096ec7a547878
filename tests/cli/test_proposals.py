"""What traffic teaches, from the command line: proposals, decisions, training pairs, two variants."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Assay, lines

DAY = "2026-01-05T{:02d}:00Z"


class Ran:
    """The commands of traffic on one store."""

    def __init__(self, assay: Assay, folder: Path) -> None:
        self._assay, self.folder = assay, folder

    def __call__(self, *words: str | Path) -> Any:
        return self._assay("traffic", *words, "--store", self.folder / "store")


@pytest.fixture
def traffic(assay: Assay, tmp_path: Path) -> Ran:
    """A store with some traffic, and an eval set."""
    run = Ran(assay, tmp_path)
    lines(
        tmp_path / "eval.jsonl", [{"id": "a", "query": "How long does a refund take?", "reference": "Soon."}]
    )
    said = {"model": "m", "time": DAY.format(9), "response": "No."}
    asked = [
        {"prompt": "Do you ship lamps to Norway by boat?", "correction": "Yes.", **said},
        {"prompt": "Why is the kettle so loud at night?", "thumbs": "down", **said},
    ]
    log = lines(tmp_path / "log.jsonl", asked)
    assert run("import", log).code == 0
    return run


def test_from_traffic_to_the_next_version_and_back(traffic: Ran) -> None:
    found = traffic("propose", traffic.folder / "eval.jsonl")
    assert found.code == 0 and "2 new proposals for" in found.out and "Norway" in found.out
    listed = traffic("proposals", "--json").json["proposals"]
    assert [(each["id"], each["origin"]) for each in listed] == [(1, "correction"), (2, "thumbs")]
    accepted = traffic("accept", "1", "2")
    assert "1, 2 accepted" in accepted.out and "eval-v2.jsonl: version" in accepted.out
    assert "3 examples, 2 of them from traffic" in accepted.out
    assert len((traffic.folder / "eval-v2.jsonl").read_text().splitlines()) == 3
    assert traffic("proposals").out.startswith("no proposal is open")
    undone = traffic("undo")
    assert "1, 2 open again" in undone.out and "there is no next version" in undone.out
    assert "2 rejected" in traffic("reject", "2").out


def test_a_reference_is_written_and_trained_on(traffic: Ran) -> None:
    traffic("propose", traffic.folder / "eval.jsonl")
    refused = traffic("accept", "2", "--training")
    assert refused.code == 2 and "no correction to train on" in refused.err
    assert "masked: email" in traffic("edit", "2", "--reference", "-Ask ann@example.org").out
    assert traffic("accept", "2", "--training").code == 0
    assert traffic("accept", "1").code == 0
    dpo, sft = traffic.folder / "dpo.jsonl", traffic.folder / "sft.jsonl"
    written = traffic("pairs", "--dpo", dpo, "--sft", sft)
    assert "1 record in" in written.out and "1 correction left out: in the eval set" in written.out
    pair = json.loads(dpo.read_text())
    assert pair["chosen"][0]["content"] == "-Ask [email]" and pair["rejected"][0]["content"] == "No."
    assert json.loads(sft.read_text())["messages"][-1]["content"] == "-Ask [email]"
    both = traffic("pairs", "--sft", sft, "--accepted")
    assert "2 records in" in both.out and "a model that trains on these has seen it" in both.err


def test_what_is_wrong_is_said_in_a_line(traffic: Ran) -> None:
    for words, told in (
        (("propose", "none.jsonl"), "no such file: none.jsonl"),
        (("propose", str(traffic.folder / "eval.jsonl"), "--since", "monday"), "--since monday: is no"),
        (("accept", "7"), "there is no proposal 7"),
        (("pairs",), "no file to write"),
        (("undo",), "there is nothing to undo"),
        (("ab", "a", "b"), "people saw no answer of model a"),
        (("ab", "a", "b", "--detach"), "--judge and --detach are about a shadow candidate"),
    ):
        ran = traffic(*words)
        assert ran.code == 2 and told in ran.err, (words, ran.err)


def test_two_variants_are_compared_and_a_mismatch_comes_first(traffic: Ran) -> None:
    asked = [
        {
            "prompt": f"{variant} {number}", "response": "word " * (1 + (variant == "b") * 9), "model": "m",
            "variant": variant, "user": f"{variant}{number}", "time": DAY.format(number % 23),
            "thumbs": "up" if number % 3 else "down",
        }
        for variant, users in (("a", 70), ("b", 70), ("c", 200)) for number in range(users)
    ]  # fmt: skip
    assert traffic("import", lines(traffic.folder / "ab.jsonl", asked)).code == 0
    found = traffic("ab", "a", "b", "--weeks")
    assert found.code == 0 and "b against a, 2026-01-05" in found.out
    assert "Each user counts once" in found.out and "inconclusive" in found.out and "more" in found.out
    mismatch = traffic("ab", "a", "c")
    assert mismatch.out.splitlines()[1].startswith("! SAMPLE RATIO MISMATCH: c has 74.1% of the users")
    values = traffic("ab", "a", "c", "--json").json
    assert values["ratio"]["mismatched"] and {row["standing"] for row in values["measures"]} == {"not tested"}


def test_a_shadow_candidate_becomes_a_run(traffic: Ran) -> None:
    asked = [
        {"prompt": f"Question {number}?", "response": f"{variant} {number}", "model": "m", "variant": variant,
         "shadow": variant == "next", "time": DAY.format(number)}
        for variant in ("now", "next") for number in range(9)
    ]  # fmt: skip
    assert traffic("import", lines(traffic.folder / "shadow.jsonl", asked)).code == 0
    made = traffic("ab", "now", "next", "--shadow")
    assert made.code == 0 and "run 1: 9 pairs of answers" in made.out
    assert "made before; `assay review 1` opens it" in traffic("ab", "now", "next", "--shadow").out
