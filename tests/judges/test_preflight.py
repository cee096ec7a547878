"""What is wrong with a plan's judges is said before anything is asked."""

from pathlib import Path

import pytest

from engine.data.examples import read_examples
from engine.judges.preflight import judge_findings, left_out
from engine.plan.plan import read_plan
from store import records
from tests.engine.runs import carry_out, queue, recorded_plan

SERVED = '[[judges]]\nname = "j"\nserver = "http://h/v1"\nmodel = "m"\n'


def findings(folder: Path, judge: str) -> list[tuple[str, str]]:
    examples = [{"id": "a", "query": "x"}, {"id": "b", "query": "y", "source": "the source"}]
    plan = read_plan(recorded_plan(folder, examples, {"base": {"a": "1"}, "tuned": {"a": "2"}}, judge))
    found = judge_findings(plan, read_examples(plan.data.examples))
    return [(finding.level, finding.message) for finding in found]


def test_a_judge_that_can_ask_about_everything_is_no_finding(tmp_path: Path) -> None:
    assert findings(tmp_path, SERVED) == []


def test_examples_without_what_a_rubric_needs_are_counted(tmp_path: Path) -> None:
    (found,) = findings(tmp_path, SERVED + 'kind = "pointwise"\nrubric = "hallucination"')
    assert found == (
        "warning",
        "1 of 2 examples will not be judged: the example has no source, which the rubric needs",
    )


@pytest.mark.parametrize("rubric", ["truthfulness", "accuracy"])
def test_a_rubric_of_references_that_the_judge_is_not_shown_is_refused(tmp_path: Path, rubric: str) -> None:
    told = f'{SERVED}kind = "pointwise"\nrubric = "{rubric}"\n'
    ((level, message),) = findings(tmp_path, told + "use_references = false\n")
    assert level == "error" and f"the rubric {rubric} grades by references" in message
    assert [level for level, _ in findings(tmp_path, told)] == ["warning"]


def test_a_broken_rubric_and_a_template_that_fails_on_a_question_are_errors(tmp_path: Path) -> None:
    (tmp_path / "rubric.toml").write_text("[[criteria]]\nname = 'x'\n")
    ((level, message),) = findings(tmp_path, SERVED + 'rubric = "rubric.toml"')
    assert level == "error" and "description" in message
    (tmp_path / "user.jinja").write_text("{{ a }} {{ b }} {{ query.nothing }}")
    ((level, message),) = findings(tmp_path, SERVED + 'prompt = "user.jinja"')
    assert level == "error" and "cannot be rendered" in message


@pytest.mark.parametrize(
    ("settings", "warns"),
    [
        ("repeat = 3", True),
        ("repeat = 3\nrubric = 'one.toml'", True),
        ("repeat = 3\nformat = 'mt-bench'", True),
        ("repeat = 3\ntemperature = 0.5", False),
        ("repeat = 3\nrubric = 'tone'", False),
        ("", False),
    ],
)
def test_a_judge_that_would_be_asked_the_same_several_times_is_told(
    tmp_path: Path, settings: str, warns: bool
) -> None:
    (tmp_path / "one.toml").write_text(
        "[[criteria]]\nname = 'x'\ndescription = 'Is it right?'\nmin = 1\nmax = 5\n"
    )
    found = findings(tmp_path, SERVED + 'kind = "pointwise"\n' + settings)
    assert [level for level, said in found if "is asked 3 times for the same" in said] == ["warning"] * warns


POINTWISE = SERVED + 'kind = "pointwise"\n'
KEYED = 'api_key_env = "ASSAY_UNSET_KEY"\n'


@pytest.mark.parametrize(
    ("judge", "level", "said"),
    [
        ('[[judges]]\nname = "reference"', "warning", "will not be asked: no example has a reference"),
        (SERVED + KEYED, "warning", "will not be asked: the environment variable ASSAY_UNSET_KEY is not set"),
        (
            POINTWISE + "[gates]\nmin_win_rate = 0.5",
            "error",
            "no judge of the plan will compare pairs: a win rate is of pairs of answers",
        ),
        (
            "[gates]\nmin_win_rate = 0.5",
            "error",
            "no judge of the plan will compare pairs: no example has a reference",
        ),
    ],
)
def test_a_judge_that_cannot_judge_is_a_warning_and_an_error_where_a_gate_needs_it(
    tmp_path: Path, judge: str, level: str, said: str
) -> None:
    assert (level, said) in findings(tmp_path, judge)


@pytest.mark.parametrize(
    "gates", ["min_win_rate = 0.5", "min_judge_agreement = 0.4", 'metrics = { "judge:j:tone" = 0.1 }']
)
def test_a_judge_that_a_gate_needs_is_not_left_out(tmp_path: Path, gates: str) -> None:
    plan = read_plan(recorded_plan(tmp_path, [{"id": "a", "query": "x"}], {"base": {}, "tuned": {}},
                                   f"{SERVED}{KEYED}[gates]\n{gates}"))  # fmt: skip
    assert left_out(plan, read_examples(plan.data.examples)) == {}


def test_a_run_goes_on_without_a_judge_that_has_no_key(tmp_path: Path) -> None:
    answers = {"base": {"a": "1"}, "tuned": {"a": "2"}}
    plan = recorded_plan(tmp_path, [{"id": "a", "query": "x"}], answers, SERVED + KEYED)
    run = carry_out(tmp_path / "store", queue(tmp_path / "store", plan))
    assert run.rows(records.StoredJudge, run_id=run.run_id) == []
    (event,) = (row for row in run.rows(records.Event, run_id=run.run_id) if row.phase == "judge")
    assert event.message == "j is not asked: the environment variable ASSAY_UNSET_KEY is not set"
    assert (run.run().options or {})["judges_left_out"].keys() == {"j"}
