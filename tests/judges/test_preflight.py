"""What is wrong with a plan's judges is said before anything is asked."""

from pathlib import Path

from engine.data.examples import read_examples
from engine.judges.preflight import judge_findings
from engine.plan.plan import read_plan
from tests.engine.runs import recorded_plan

SERVED = '[[judges]]\nname = "j"\nserver = "http://h/v1"\nmodel = "m"\n'


def findings(folder: Path, judge: str) -> list[tuple[str, str]]:
    examples = [{"id": "a", "query": "x"}, {"id": "b", "query": "y", "source": "the source"}]
    plan = read_plan(recorded_plan(folder, examples, {"base": {"a": "1"}, "tuned": {"a": "2"}}, judge))
    found = judge_findings(plan, read_examples(plan.data.examples))
    return [(finding.level, finding.message) for finding in found]


def test_a_judge_that_can_ask_about_everything_is_no_finding(tmp_path: Path) -> None:
    assert findings(tmp_path, SERVED) == []
    assert findings(tmp_path, '[[judges]]\nname = "reference"') == []


def test_examples_without_what_a_rubric_needs_are_counted(tmp_path: Path) -> None:
    (found,) = findings(tmp_path, SERVED + 'kind = "pointwise"\nrubric = "hallucination"')
    assert found == (
        "warning",
        "1 of 2 examples will not be judged: the example has no source, which the rubric needs",
    )


def test_a_broken_rubric_and_a_template_that_fails_on_a_question_are_errors(tmp_path: Path) -> None:
    (tmp_path / "rubric.toml").write_text("[[criteria]]\nname = 'x'\n")
    ((level, message),) = findings(tmp_path, SERVED + 'rubric = "rubric.toml"')
    assert level == "error" and "description" in message
    (tmp_path / "user.jinja").write_text("{{ a }} {{ b }} {{ query.nothing }}")
    ((level, message),) = findings(tmp_path, SERVED + 'prompt = "user.jinja"')
    assert level == "error" and "cannot be rendered" in message
