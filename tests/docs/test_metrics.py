"""The manual's page on metrics speaks of every metric, under a heading of its family, and of nothing else."""

import re
from pathlib import Path

from engine.decision.families import FAMILIES, FORGETTING, family_of
from engine.metrics.load import load_metric
from engine.plan.metrics import REGISTRY

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
HEADINGS = {
    "Overlap with a reference": "overlap",
    "Exact answers": "exact & token",
    "Classification": "classification",
    "Calibration": "calibration",
    "Extraction": "extraction",
    "Form": "format",
    "Tool calls": "tool calls",
    "Likelihood": "perplexity",
    "Efficiency": "efficiency",
    "Semantic similarity": "semantic",
    "Code": "code",
    "Safety": "safety",
}
GUIDED = re.compile(r"\*\*Use it\*\*.*\*\*It misleads\*\*", re.DOTALL)


def sections() -> dict[str, str]:
    parts = re.split(r"^## (.+)$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def guided(text: str) -> list[str]:
    """The metrics that a section says of when to use them and when they mislead."""
    found: list[str] = []
    for head, rows in re.findall(
        r"^(\| metric \|.*use it \| it misleads \|)\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.M
    ):
        width = head.count("|")
        for row in rows.splitlines():
            assert row.count("|") - row.count("\\|") == width and "||" not in row.replace(" ", ""), row
            found += re.findall(r"^\| `(\w+)` \|", row)
    return found


def test_each_metric_has_a_row_on_its_use_and_its_traps_in_its_familys_section() -> None:
    named: dict[str, str] = {}
    for heading, family in HEADINGS.items():
        text = sections()[heading]
        found = guided(text)
        if heading == "Code":
            assert GUIDED.search(text)
            found = ["code"]
        for metric in found:
            assert metric not in named, f"{metric} stands in two sections"
            named[metric] = family
    assert set(named) == set(REGISTRY)
    for metric, family in named.items():
        for measure in load_metric(metric, {}).measures:
            assert family_of(measure.name, measure.source) == family, (metric, measure.name)


def test_slices_forgetting_and_corpora_have_a_section_with_use_and_traps() -> None:
    for heading in ("Slices", "Forgetting", "Corpora"):
        text = sections()[heading]
        assert re.search(r"\*\*Use (it|them)\*\*", text), heading
        assert re.search(r"\*\*(It misleads|They\s+mislead)\*\*", text), heading
    assert FORGETTING in FAMILIES


def test_every_measure_is_named_on_the_page() -> None:
    names = {measure.name for metric in REGISTRY for measure in load_metric(metric, {}).measures}
    spelled = {name for name in names if re.search(rf"`{name}`", PAGE)}
    shortened = {name for name in names if re.match(r"bleu\d_|check_|bertscore_|pass_at_", name)}
    assert names - spelled - shortened == set()
