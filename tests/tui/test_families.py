"""Families and needs of measures are written down apart from the metrics: they have to agree with them."""

from dataclasses import replace

from engine.decision.families import FAMILIES, OWN, family, family_of, needs_of, rank, summarize
from engine.metrics.load import load_metric
from engine.metrics.metric import Measure
from engine.plan.metrics import REGISTRY
from store.read.rows import ComparisonRow
from store.records import StoredMetric
from tests.rulings import ruled_row
from tui.sections.measures import declared, span

MEASURES: list[Measure] = [measure for name in REGISTRY for measure in load_metric(name, {}).measures]


def row(measure: str, delta: float | None, low: float | None, high: float | None) -> ComparisonRow:
    values = {"candidate_value": 0.5, "baseline_value": 0.4, "delta": delta, "low": low, "high": high}
    named = {"candidate": "good", "baseline": "base", "kind": "metric", "measure": measure}
    rest = {"direction": "higher", "p": 0.01, "n": 20, "smallest_detectable": None, "reason": None}
    return ruled_row(named | values | rest)


def test_every_measure_of_every_metric_has_a_family_and_its_own_needs() -> None:
    for measure in [*MEASURES, *load_metric("code", {"k": [1, 10]}).measures]:
        assert family_of(measure.name, measure.source) != OWN, measure.name
        assert set(needs_of(measure.name, measure.source) or ()) == measure.needs, measure.name
        assert 0 <= rank(family_of(measure.name)) < len(FAMILIES)


def test_a_measure_of_a_persons_own_is_told_apart_even_under_a_known_name() -> None:
    assert family_of("polite", "/plans/my_metrics.py") == OWN
    assert family_of("accuracy", "/plans/my_metrics.py") == OWN
    assert needs_of("accuracy", "/plans/my_metrics.py") is None
    assert family_of("accuracy", "rule") == "classification"


def test_comparisons_belong_to_the_family_of_their_kind() -> None:
    benchmark = replace(row("mmlu · acc", None, None, None), kind="benchmark")
    assert family(benchmark, {}) == "benchmarks"
    assert family(row("polite", 0.1, 0.0, 0.2), {"polite": "/plans/my_metrics.py"}) == OWN


def test_the_worst_change_is_the_clearest_worsening_whatever_its_scale() -> None:
    found = summarize(
        [
            row("a", -5.0, -11.0, 1.0),
            row("b", -0.1, -0.12, -0.08),
            row("c", 0.3, 0.1, 0.5),
            row("d", None, None, None),
        ]
    )
    assert (found.worse, found.better) == (1, 1)
    assert found.worst is not None and found.worst.measure == "b"
    assert summarize([]).worst is None and summarize([row("d", None, None, None)]).worst is None


def test_a_declaration_says_range_direction_and_needs_in_words() -> None:
    metric = StoredMetric(
        run_id=1,
        measure="rougeL",
        position=0,
        direction="higher",
        low=0.0,
        high=1.0,
        unit="",
        version="1",
        source="Lin 2004",
        meaning="meaning",
        settings={"schema": "{\n}" * 99},
    )
    facts = dict(declared(metric))
    assert facts["range"] == "0 to 1" and facts["direction"] == "higher is better"
    assert facts["needs"] == "references" and facts["unit"] == "none"
    assert "\n" not in facts["settings"] and len(facts["settings"]) < 90
    assert [span(None, None), span(1.0, None), span(None, 0.5)] == ["open", "1 or more", "up to 0.5"]
