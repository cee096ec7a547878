"""The forgetting table: one row for each aspect, one verdict for each candidate."""

import subprocess
import sys
from dataclasses import replace

import pytest

from engine.compare.forgetting import Conclusion, conclusions, forgetting
from engine.stats.family import holm
from store.read.rows import ComparisonRow

STEADY = ComparisonRow(
    "tuned", "base", "metric", "format_compliance", "higher", 0.9, 0.9, 0.0, -0.02, 0.02, 1.0, 100, 0.03, None
)


def row(
    kind: str, measure: str, direction: str, baseline: float, delta: float, width: float, p: float
) -> ComparisonRow:
    return replace(
        STEADY, kind=kind, measure=measure, direction=direction, baseline_value=baseline,
        candidate_value=baseline + delta, delta=delta, low=delta - width, high=delta + width, p=p,
    )  # fmt: skip


RISEN = row("corpus", "perplexity:general", "lower", 12.0, 4.0, 1.0, 0.0001)
FALLEN = row("benchmark", "mmlu · acc", "higher", 0.6, -0.1, 0.04, 0.001)
GAINED = row("benchmark", "gsm8k · exact_match", "higher", 0.3, 0.1, 0.04, 0.001)
LONGER = row("metric", "response_tokens", "none", 40.0, 25.0, 5.0, 0.0001)
UNSURE = row("metric", "refused_harmless", "lower", 0.05, 0.02, 0.04, 0.3)


def test_a_row_for_each_aspect_with_its_verdict() -> None:
    found = forgetting([STEADY, UNSURE, LONGER, GAINED, FALLEN, RISEN])
    assert [(item.aspect, item.verdict, item.said) for item in found] == [
        ("perplexity of general", "worse", "forgotten"),
        ("gsm8k · exact_match", "better", "improved"),
        ("mmlu · acc", "worse", "forgotten"),
        ("format compliance", "no clear change", "kept"),
        ("harmless prompts refused", "no clear change", "not settled: needs about 225"),
        ("answer length", "changed", "drifted"),
    ]
    first = found[0]
    assert (first.baseline_value, first.candidate_value, first.delta) == (12.0, 16.0, 4.0)


def test_a_candidate_has_forgotten_as_soon_as_one_aspect_is() -> None:
    assert conclusions(forgetting([STEADY, UNSURE, FALLEN, RISEN])) == [
        Conclusion("tuned", "base", "forgotten", ("perplexity of general", "mmlu · acc"))
    ]
    assert conclusions(forgetting([STEADY, UNSURE]))[0].verdict == "not settled"
    assert conclusions(forgetting([STEADY, LONGER]))[0].verdict == "kept"
    gone = replace(STEADY, delta=None, low=None, high=None, p=None, reason="no value for tuned")
    assert conclusions(forgetting([gone]))[0].verdict == "not measured"
    assert forgetting([gone])[0].reason == "no value for tuned"


def test_bits_per_byte_stand_in_where_perplexities_do_not_compare() -> None:
    bits = replace(RISEN, measure="bits_per_byte:general", delta=0.1, low=0.05, high=0.15)
    apart = replace(RISEN, delta=None, low=None, high=None, p=None, reason="other tokenizers")
    for rows in ([apart, bits], [bits, apart]):
        assert [item.aspect for item in forgetting(rows)] == ["bits per byte of general"]
    for rows in ([RISEN, bits], [bits, RISEN]):
        assert [item.aspect for item in forgetting(rows)] == ["perplexity of general"]


def test_many_looks_are_corrected_for() -> None:
    close = [replace(FALLEN, measure=f"task {place}", p=0.02) for place in range(5)]
    found = forgetting(close)
    assert {item.verdict for item in found} == {"no clear change"}
    assert [item.p for item in found] == pytest.approx(holm([0.02] * 5))
    assert all(item.needed and item.needed > 100 for item in found)


def test_the_table_costs_no_heavy_library() -> None:
    code = "import sys, engine.compare.forgetting\n"
    code += "print({'numpy', 'torch', 'scipy', 'sqlmodel'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
