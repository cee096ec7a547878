"""What a plan may say about its judges, and what it hears when that does not go together."""

from pathlib import Path

import pytest

from engine.errors import BadInput
from engine.plan.plan import Plan, parse_plan
from engine.plan.rubric import BUILT_IN, find_rubric

PLAN = """
name = "judged"
[data]
examples = "eval.jsonl"
[[models]]
name = "base"
role = "baseline"
outputs = "base.jsonl"
[[models]]
name = "tuned"
role = "candidate"
outputs = "base.jsonl"
"""
SERVED = '[[judges]]\nname = "j"\nserver = "http://h/v1"\nmodel = "m"\n'
LOCAL = '[[judges]]\nname = "j"\nlocal = "judges/small"\n'
TWO = SERVED + SERVED.replace('"j"', '"strong"')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("base.jsonl", "judges/small/config.json", "prompts/user.jinja", "own.toml", "prices.toml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / "eval.jsonl").write_text('{"query": "a"}\n')
    return tmp_path


def read(folder: Path, text: str) -> Plan:
    return parse_plan(PLAN + text, folder)


def test_a_judge_is_pairwise_in_a_chat_s_words_unless_told_otherwise(folder: Path) -> None:
    (judge,) = read(folder, SERVED).judges
    assert (judge.kind, judge.format, judge.use_references, judge.stop_early) == (
        "pairwise",
        "chat",
        True,
        False,
    )
    assert (judge.sample, judge.max_calls, judge.local, judge.prompt) == (None, None, None, None)
    judging = read(folder, SERVED).judging
    assert (judging.max_cost, judging.prices, judging.cascade, judging.panel) == (None, None, (), None)


def test_everything_can_be_said(folder: Path) -> None:
    plan = read(
        folder,
        LOCAL
        + 'kind = "pointwise"\nrubric = "hallucination"\nprompt = "prompts"\nuse_references = false\n'
        + 'sample = 20\nmax_calls = 100\ndtype = "bfloat16"\ndevice = "cuda:1"\n'
        + TWO.replace('"j"', '"cheap"')
        + '[judging]\nmax_cost = 2.5\nprices = "prices.toml"\ncascade = ["cheap", "strong"]\npanel = false\n',
    )
    judge = plan.judges[0]
    assert (judge.local, judge.prompt) == (str(folder / "judges/small"), folder / "prompts")
    assert (judge.rubric, judge.sample, judge.max_calls) == ("hallucination", 20, 100)
    assert plan.judging.cascade == ("cheap", "strong")
    assert plan.judging.prices == folder / "prices.toml"


@pytest.mark.parametrize(("scale", "grades"), [("1-10", (1, 10)), ("1-5", (1, 5))])
def test_a_scale_is_what_it_says(folder: Path, scale: str, grades: tuple[int, int]) -> None:
    (judge,) = read(folder, SERVED + f'kind = "pointwise"\nscale = "{scale}"').judges
    assert judge.grades == grades


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_rubrics_are_named_and_describe_every_grade(folder: Path, name: str) -> None:
    (judge,) = read(folder, SERVED + f'rubric = "{name}"').judges
    assert judge.rubric == name
    for criterion in find_rubric(name).criteria:
        assert sorted(criterion.levels) == list(range(criterion.min, criterion.max + 1))


def test_the_built_in_rubrics_are_these() -> None:
    assert set(BUILT_IN) == {
        "helpfulness",
        "accuracy",
        "format",
        "tone",
        "safety",
        "hallucination",
        "refusal",
        "strongreject",
        "truthfulness",
    }
    assert find_rubric("hallucination").needs == "source"
    assert find_rubric("accuracy").needs == "reference"


def test_a_file_is_a_rubric_of_one_s_own(folder: Path) -> None:
    assert read(folder, SERVED + 'rubric = "own.toml"').judges[0].rubric == folder / "own.toml"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SERVED + 'local = "judges/small"', "has server and local"),
        ('[[judges]]\nname = "j"\n', "server is missing, or local"),
        (LOCAL + 'model = "m"', "does not apply with local; it belongs with server"),
        (LOCAL + "concurrency = 3", "does not apply with local; it belongs with server"),
        (SERVED + 'dtype = "float16"', "does not apply with server; it belongs with local"),
        (SERVED + 'answer = "tokens"', "does not apply with server; it belongs with local"),
        (LOCAL + 'kind = "pointwise"\nrubric = "tone"\nanswer = "tokens"', '"tokens" needs format = "chat"'),
        ('[[judges]]\nname = "j"\nlocal = "./gone"', "no such folder"),
        (SERVED + 'scale = "1-5"', 'does not apply to kind = "pairwise"'),
        (SERVED + 'kind = "pointwise"\nstop_early = true', 'does not apply to kind = "pointwise"'),
        (SERVED + 'kind = "pointwise"\nscale = "1-7"', "allowed: '1-10' or '1-5'"),
        (SERVED + 'kind = "pointwise"\nscale = "1-5"\nrubric = "tone"', "does not apply with rubric"),
        (SERVED + 'rubric = "helpfullness"', "a built-in rubric is one of accuracy, format"),
        (SERVED + 'format = "judgelm"\nkind = "pointwise"', '"judgelm" compares two answers'),
        (SERVED + 'format = "judgelm"\nrubric = "tone"', 'does not apply with format = "judgelm"'),
        (SERVED + 'format = "prometheus"\nprompt = "prompts"', 'does not apply with format = "prometheus"'),
        (SERVED + 'format = "vicuna"', "judges[0].format"),
        (SERVED + "sample = 0", "judges[0].sample"),
        ('[[judges]]\nname = "reference"\nkind = "pointwise"', "the embedded judge only compares"),
        ('[[judges]]\nname = "reference"\nprompt = "prompts"', "does not apply to the embedded judge"),
        (
            TWO + '[judging]\ncascade = ["j", "stong"]',
            '"stong" is not a judge of the plan (did you mean "strong"?)',
        ),
        (TWO + '[judging]\ncascade = ["j"]', "must name at least two judges"),
        (TWO + '[judging]\ncascade = ["j", "j"]', "must name at least two judges, each once"),
        (TWO + 'kind = "pointwise"\n[judging]\ncascade = ["j", "strong"]', '"strong" rates single responses'),
        (SERVED + "[judging]\nmax_cost = 0", "judging.max_cost"),
        (SERVED + '[judging]\nprices = "gone.toml"', "no such file"),
        (SERVED + "[judging]\nmax_costs = 3", 'unknown key "max_costs" (did you mean "max_cost"?)'),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_way_out(folder: Path, text: str, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(folder, text)
    assert says in str(caught.value)
