"""Metrics that people bring: the documentation's example, classes, packages, and code that misbehaves."""

import re
import sys
from pathlib import Path

import pytest

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.load import load_metric, load_metrics
from engine.metrics.metric import Score
from engine.models.model import Response
from engine.plan.metrics import REGISTRY, is_own
from engine.plan.plan import parse_plan
from engine.run.launch import create

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
EXAMPLE = Example("e", "q", ({"role": "user", "content": "q"},), ("ref",))
PLAN = """
name = "own"
[data]
examples = "eval.jsonl"
[[models]]
name = "a"
role = "baseline"
outputs = "out.jsonl"
[[models]]
name = "b"
role = "candidate"
outputs = "out.jsonl"
[metrics]
use = ["rouge", "{name}"]
"""


def write(folder: Path, text: str, name: str = "my_metrics.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def score(path: Path, attribute: str, answer: str | None = "x", **settings: object) -> list[Score]:
    metric = load_metric(f"{path}:{attribute}", settings)
    return metric.score(EXAMPLE, Response("e", answer, 1, 1, "stop", 0.1, reason="timed out"))


def documented(heading: str) -> str:
    """The Python of the documentation that follows a line."""
    found = re.search(re.escape(heading) + r".*?```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert found, heading
    return found.group(1)


def test_the_documented_function_is_a_metric(tmp_path: Path) -> None:
    path = write(tmp_path, documented("### A function"))
    metric = load_metric(f"{path}:polite", {})
    [measure] = metric.measures
    assert (measure.name, measure.direction, measure.low, measure.high) == ("polite", "higher", 0.0, 1.0)
    assert measure.meaning == "Answers that say please or thank you."
    assert re.fullmatch("[0-9a-f]{12}", measure.version)
    assert score(path, "polite", "Thank you for asking") == [Score("polite", 1.0)]
    assert score(path, "polite", "Read the manual") == [Score("polite", 0.0)]
    assert score(path, "polite", None) == [Score("polite", None, "timed out")]
    [exclaimed] = load_metric(f"{path}:exclamations", {}).measures
    assert (exclaimed.direction, exclaimed.high) == ("lower", None)
    assert score(path, "exclamations", "Oh! No!")[0].value == 2.0


def test_the_documented_class_is_a_metric(tmp_path: Path) -> None:
    path = write(tmp_path, documented("### A class"))
    assert score(path, "Signed", "Bye, Ann", name="Ann")[0].value == 1.0
    assert score(path, "Signed", "Bye", name="Ann")[0].value == 0.0
    with pytest.raises(BadInput, match=r'nmae \(did you mean "name"\?\)'):
        score(path, "Signed", nmae="Ann")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return 1 / 0", "ZeroDivisionError"),
        ("return float('nan')", "not finite"),
        ("return float('inf')", "not finite"),
        ("return None", "returned no value"),
        ("return None, 'nothing to say'", "nothing to say"),
        ("return 'good'", "not a number"),
    ],
)
def test_a_function_that_fails_leaves_the_score_missing(tmp_path: Path, body: str, reason: str) -> None:
    [found] = score(write(tmp_path, f"def bad(example, response):\n    {body}\n"), "bad")
    assert found.value is None
    assert reason in (found.reason or "")


def test_a_function_may_give_a_reason(tmp_path: Path) -> None:
    path = write(tmp_path, "def good(example, response):\n    return 0.5, 'half of it'\n")
    assert score(path, "good") == [Score("good", 0.5, "half of it")]


CLASS = """
from engine.metrics.metric import Measure, Score
class Broken:
    measures = (Measure("m", "higher", 0.0, 1.0, "share", frozenset(), "1", "me", "m"),)
    def score(self, example, response):
        {body}
"""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise KeyError('x')", "KeyError"),
        ("return []", "did not return each"),
        ("return None", "TypeError"),
        ("return [Score('m', float('nan'))]", "not finite"),
    ],
)
def test_a_class_that_fails_leaves_its_scores_missing(tmp_path: Path, body: str, reason: str) -> None:
    [found] = score(write(tmp_path, CLASS.format(body=body)), "Broken")
    assert (found.measure, found.value) == ("m", None)
    assert reason in (found.reason or "")


@pytest.mark.parametrize(
    ("text", "attribute", "message"),
    [
        ("def polite(example, response): return 1", "polit", r'did you mean "polite"'),
        ("def broken(:", "broken", "can't be imported: SyntaxError"),
        ("import nowhere_to_be_found", "x", "ModuleNotFoundError"),
        ("class Empty: pass", "Empty", "has no `measures`"),
        (
            "class Picky:\n    def __init__(self): raise ValueError('no')",
            "Picky",
            "can't be made: ValueError: no",
        ),
        ("x = 3", "x", "has no function or class"),
    ],
)
def test_what_cannot_be_loaded_says_why(tmp_path: Path, text: str, attribute: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        score(write(tmp_path, text), attribute)
    with pytest.raises(BadInput, match="can't be read"):
        score(tmp_path / "absent.py", attribute)


def test_a_function_has_no_settings(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has no settings"):
        score(write(tmp_path, "def f(example, response): return 1"), "f", strict=True)


def test_files_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
    first = write(tmp_path / "one", "def f(example, response): return 1")
    second = write(tmp_path / "two", "def f(example, response): return 0")
    assert (score(first, "f")[0].value, score(second, "f")[0].value) == (1.0, 0.0)


def test_an_installed_package_brings_metrics_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "def shouting(example, response): return response.text.isupper()", "loud_metrics.py")
    info = tmp_path / "loud-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[assay.metrics]\nshouting = loud_metrics:shouting\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    metric = load_metric("shouting", {})
    assert (metric.measures[0].version, metric.measures[0].source) == ("1.2", "loud")
    assert metric.score(EXAMPLE, Response("e", "HEY", 1, 1, "stop", 0.1))[0].value == 1.0
    with pytest.raises(BadInput, match='did you mean "shouting"'):
        load_metric("shoutin", {})
    sys.modules.pop("loud_metrics")


def test_a_plan_names_the_file_relative_to_itself(tmp_path: Path) -> None:
    path = write(tmp_path, documented("### A class"))
    for name in ("eval.jsonl", "out.jsonl"):
        (tmp_path / name).write_text('{"query": "q", "response": "r"}\n')
    name = f"{path}:Signed"
    text = PLAN.format(name="my_metrics.py:Signed") + '"my_metrics.py:Signed" = { name = "Ann" }\n'
    plan = parse_plan(text, tmp_path)
    assert plan.metrics.use == ("rouge", name)
    assert plan.metrics.settings == {name: {"name": "Ann"}}
    assert load_metric(name, plan.metrics.settings[name]).measures[0].name == "signed"


def test_a_plan_whose_file_is_not_there_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "")
    with pytest.raises(
        BadInput, match=r'metrics\.use\[1\]: no such file.*did you mean "my_metrics.py"'
    ) as error:
        parse_plan(PLAN.format(name="my_metric.py:polite"), tmp_path)
    assert "unknown metric" not in str(error.value)


def test_code_outside_the_plans_folder_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, documented("### A class"))
    inner = tmp_path / "plans"
    inner.mkdir()
    (inner / "link.py").symlink_to(path)
    for name in (str(path), "../my_metrics.py", "link.py"):
        with pytest.raises(BadInput, match="is outside the plan's folder"):
            parse_plan(PLAN.format(name=f"{name}:Signed"), inner)


def test_two_metrics_of_one_plan_may_not_give_the_same_measure(tmp_path: Path) -> None:
    text = "def rouge1(example, response): return 1\n"
    own = [write(tmp_path, text + comment, f"{name}.py") for name, comment in (("a", ""), ("b", "# another"))]
    (tmp_path / "eval.jsonl").write_text('{"query": "q", "reference": "r"}\n')
    (tmp_path / "out.jsonl").write_text('{"query": "q", "response": "r"}\n')
    (tmp_path / "plan.toml").write_text(PLAN.format(name='a.py:rouge1", "b.py:rouge1'))
    with pytest.raises(BadInput) as error:
        create(tmp_path / "plan.toml", tmp_path / "store")
    assert f'the metrics "rouge" and "{own[0]}:rouge1" both give a measure named "rouge1"' in str(error.value)
    assert f'"rouge" and "{own[1]}:rouge1"' in str(error.value)
    with pytest.raises(BadInput, match=r'"rouge1"\s+Leave one of the two out'):
        load_metrics(["rouge", f"{own[0]}:rouge1"], {})


def test_no_two_metrics_of_assays_own_share_a_measure() -> None:
    found = load_metrics(REGISTRY, {})
    names = [measure.name for metric in found.values() for measure in metric.measures]
    assert found.keys() == set(REGISTRY) and len(names) == len(set(names)) > len(found)


def test_what_names_a_place_in_a_file() -> None:
    assert is_own("my_metrics.py:polite") and is_own("/a b/m.py:Polite")
    assert not is_own("rouge") and not is_own("module:polite") and not is_own("my_metrics.py")
