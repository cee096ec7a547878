"""The forgetting table: one row for each aspect, one verdict for each candidate."""

import subprocess
import sys
from dataclasses import replace

from engine.compare.forgetting import Conclusion, conclusions, forgetting
from store.read.rows import ComparisonRow
from tests.rulings import ruled_row

STEADY = ruled_row(
    {
        "candidate": "tuned", "baseline": "base", "kind": "metric", "measure": "format_compliance",
        "direction": "higher", "candidate_value": 0.9, "baseline_value": 0.9, "delta": 0.0, "low": -0.02,
        "high": 0.02, "p": 1.0, "n": 100, "smallest_detectable": 0.03, "reason": None,
    },
    allowed=0.05,
)  # fmt: skip


def row(
    kind: str, measure: str, direction: str, baseline: float, delta: float, width: float, p: float
) -> ComparisonRow:
    made = {field: getattr(STEADY, field) for field in ("candidate", "baseline", "n", "reason")}
    made |= {"smallest_detectable": 0.03, "kind": kind, "measure": measure, "direction": direction}
    made |= {"baseline_value": baseline, "candidate_value": baseline + delta, "delta": delta, "p": p}
    return ruled_row(made | {"low": delta - width, "high": delta + width})


RISEN = row("corpus", "perplexity:general", "lower", 12.0, 4.0, 1.0, 0.0001)
FALLEN = row("benchmark", "mmlu · acc", "higher", 0.6, -0.1, 0.04, 0.001)
GAINED = row("benchmark", "gsm8k · exact_match", "higher", 0.3, 0.1, 0.04, 0.001)
LONGER = row("metric", "response_tokens", "none", 40.0, 25.0, 5.0, 0.0001)
UNSURE = row("metric", "refused_harmless", "lower", 0.05, 0.02, 0.04, 0.3)
GONE = replace(
    STEADY, delta=None, low=None, high=None, p=None, standing="missing", reason="no value for tuned"
)
AT_FLOOR = replace(FALLEN, measure="gpqa · acc", baseline_value=0.0, delta=0.0, standing="at the floor")

FALLEN_APART = replace(GONE, kind="benchmark", measure="mmlu · acc")


def test_a_row_for_each_aspect_with_its_verdict() -> None:
    found = forgetting([STEADY, UNSURE, LONGER, GAINED, FALLEN, RISEN])
    assert [(item.aspect, item.standing, item.said) for item in found] == [
        ("perplexity of general", "worse", "forgotten"),
        ("gsm8k · exact_match", "better", "improved"),
        ("mmlu · acc", "worse", "forgotten"),
        ("format compliance", "no worse", "kept"),
        ("harmless prompts refused", "inconclusive", "inconclusive: needs about 230 examples"),
        ("answer length", "more", "drifted"),
    ]
    first = found[0]
    assert (first.baseline_value, first.candidate_value, first.delta) == (12.0, 16.0, 4.0)


def test_a_candidate_has_forgotten_as_soon_as_one_aspect_is() -> None:
    assert conclusions(forgetting([STEADY, UNSURE, FALLEN, RISEN])) == [
        Conclusion("tuned", "base", "forgotten", ("perplexity of general", "mmlu · acc"))
    ]
    assert conclusions(forgetting([STEADY, UNSURE]))[0].verdict == "inconclusive"
    assert conclusions(forgetting([STEADY, LONGER]))[0].verdict == "kept"
    assert conclusions(forgetting([GONE]))[0].verdict == "not measured"
    assert forgetting([GONE])[0].reason == "no value for tuned"


def test_no_evidence_is_not_kept() -> None:
    """What was not measured leaves the conclusion open, and what had nothing to lose proves nothing."""
    assert conclusions(forgetting([FALLEN_APART, STEADY]))[0].verdict == "inconclusive"
    assert forgetting([AT_FLOOR])[0].said == "at the floor"
    assert conclusions(forgetting([AT_FLOOR]))[0].verdict == "at the floor"
    assert conclusions(forgetting([AT_FLOOR, STEADY]))[0].verdict == "kept"
    assert conclusions(forgetting([LONGER]))[0].verdict == "inconclusive"


def test_a_gain_that_may_be_chance_over_a_baseline_at_0_is_no_open_question_of_forgetting() -> None:
    gain = row("benchmark", "gpqa · acc", "higher", 0.0, 0.02, 0.04, 0.3)
    assert (gain.standing, gain.needed is not None) == ("inconclusive", True)
    [found] = forgetting([gain])
    assert (found.said, found.needed) == ("at the floor", None)
    assert conclusions(forgetting([gain]))[0].verdict == "at the floor"
    points = replace(gain, candidate_value=2.0)  # no share: 0 may not be its end
    assert forgetting([points])[0].standing == "inconclusive"


def test_bits_per_byte_stand_in_where_perplexities_do_not_compare() -> None:
    bits = replace(RISEN, measure="bits_per_byte:general", delta=0.1, low=0.05, high=0.15)
    apart = replace(
        RISEN, delta=None, low=None, high=None, p=None, standing="missing", reason="other tokenizers"
    )
    for rows in ([apart, bits], [bits, apart]):
        assert [item.aspect for item in forgetting(rows)] == ["bits per byte of general"]
    for rows in ([RISEN, bits], [bits, RISEN]):
        assert [item.aspect for item in forgetting(rows)] == ["perplexity of general"]


def test_the_table_costs_no_heavy_library() -> None:
    code = "import sys, engine.compare.forgetting\n"
    code += "print({'numpy', 'torch', 'scipy', 'sqlmodel'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
