# ruff: noqa: E501  tasks as their files have them
"""Answers in HumanEval's and MBPP's shapes are executed; pass@k is the unbiased estimator."""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from engine.data.example import Example
from engine.data.examples import read_examples
from engine.errors import BadInput
from engine.metrics import code
from engine.metrics.batch import score_all
from engine.metrics.code import Code, NotPython, extract_code, pass_at_k, program_of
from engine.metrics.load import load_metric
from engine.metrics.metric import Score
from engine.models.model import Response

HUMAN_EVAL = {
    "task_id": "HumanEval/x",
    "prompt": 'from typing import List\n\n\ndef twice(x: int) -> int:\n    return 2 * x\n\n\n'
    'def doubled(items: List[int]) -> List[int]:\n    """ Twice each item.\n    >>> doubled([1])\n    [2]\n    """\n',
    "test": "METADATA = {'author': 'x'}\n\n\ndef check(candidate):\n    assert candidate([]) == []\n"
    "    assert candidate([1, -2]) == [twice(1), twice(-2)]\n",
    "entry_point": "doubled",
    "canonical_solution": "    return [twice(item) for item in items]\n",
}  # fmt: skip
MBPP = {
    "task_id": 2,
    "prompt": "Write a function to find the shared elements of two tuples.",
    "code": "def similar_elements(a, b):\n    return tuple(set(a) & set(b))",
    "test_imports": ["import math"],
    "test_list": [
        "assert set(similar_elements((3, 4), (5, 4))) == {4}",
        "assert math.prod(similar_elements((1, 2), (5, 2))) == 2",
    ],
}


@pytest.fixture(scope="module")
def metric() -> Code:
    return Code()


def example(tmp_path: Path, record: dict[str, object]) -> Example:
    file = tmp_path / "tasks.jsonl"
    file.write_text(json.dumps(record) + "\n")
    return read_examples(file)[0]


def answer(text: str | None) -> Response:
    return Response("x", text, None, None, None, None, reason=None if text is not None else "no answer")


def one(metric: Code, task: Example, text: str | None) -> Score:
    score, _ = metric.score(task, answer(text))
    return score


class TestShapes:
    @pytest.mark.parametrize(
        "text",
        [
            HUMAN_EVAL["canonical_solution"],
            "```python\ndef doubled(items):\n    return [2 * item for item in items]\n```",
            "First a demo:\n```python\nprint(doubled([1]))\n```\nand then\n```py\ndef doubled(items):\n"
            "    return [2 * item for item in items]\n```\nDone.",
            "def doubled(items: List[int]) -> List[int]:\n    return [item + item for item in items]",
            "```\ndef doubled(items):\n    return [2 * item for item in items]",
        ],
    )
    def test_a_human_eval_completion_or_whole_function_passes(
        self, metric: Code, tmp_path: Path, text: str
    ) -> None:
        score = one(metric, example(tmp_path, HUMAN_EVAL), text)
        assert score.value == 1.0
        assert str(score.reason).startswith("isolation: namespaces")

    @pytest.mark.parametrize(
        "text", ["    return items\n", "", "I cannot do that.", "    import os; os._exit(0)\n"]
    )
    def test_what_solves_nothing_does_not_pass(self, metric: Code, tmp_path: Path, text: str) -> None:
        score = one(metric, example(tmp_path, HUMAN_EVAL), text)
        assert score.value == 0.0
        assert "; isolation: namespaces" in str(score.reason)

    def test_mbpp_tests_with_their_imports(self, metric: Code, tmp_path: Path) -> None:
        task = example(tmp_path, MBPP)
        assert one(metric, task, f"```python\n{MBPP['code']}\n```").value == 1.0
        failed = one(metric, task, "def similar_elements(a, b): return a")
        assert failed.value == 0.0
        assert "assert set(similar_elements((3, 4), (5, 4))) == {4}" in str(failed.reason)

    def test_plain_tests(self, metric: Code) -> None:
        task = Example("x", "add", ({"role": "user", "content": "add"},), tests=("assert add(1, 2) == 3",))
        assert one(metric, task, "def add(a, b): return a + b").value == 1.0

    def test_the_prompt_is_not_repeated_where_it_is_prose(self) -> None:
        task = Example("x", "Write add.", (), tests=("assert add(1, 2) == 3",))
        assert program_of(task, "def add(): 1") == "def add(): 1"


class TestMissing:
    def test_no_tests_no_answer_or_another_language(self, metric: Code, tmp_path: Path) -> None:
        task = example(tmp_path, HUMAN_EVAL)
        bare = Example("x", "q", ())
        other = example(tmp_path, {**HUMAN_EVAL, "language": "rust"})
        assert one(metric, bare, "x = 1") == Score("pass_at_1", None, "the example has no tests")
        assert one(metric, task, None) == Score("pass_at_1", None, "no answer")
        assert one(metric, other, "fn main() {}").reason == (
            "the example's tests are rust; only Python is executed"
        )
        assert (
            one(metric, example(tmp_path, {**HUMAN_EVAL, "test": "def check(:"}), "    return 1").value
            is None
        )

    def test_an_answer_in_another_language_fails_and_says_so(self, metric: Code, tmp_path: Path) -> None:
        score = one(metric, example(tmp_path, HUMAN_EVAL), "```javascript\nconst doubled = 1\n```")
        assert (score.value, score.reason) == (
            0.0,
            "the answer's code is javascript; only Python is executed",
        )
        with pytest.raises(NotPython):
            extract_code("```go\nx\n```\n```rust\ny\n```", set())

    @pytest.mark.parametrize(
        "settings",
        [{"k": 0}, {"k": []}, {"k": "1"}, {"k": [1, True]}, {"language": "java"}, {"timeout_s": 0},
         {"allow_weak": "yes"}, {"memory_mb": "big"}],
    )  # fmt: skip
    def test_settings_that_cannot_be(self, settings: dict[str, object]) -> None:
        with pytest.raises(BadInput, match=next(iter(settings))):
            load_metric("code", settings)


class TestPassAtK:
    @pytest.mark.parametrize("n", [1, 2, 5, 7])
    def test_it_is_the_share_of_draws_with_a_pass(self, n: int) -> None:
        for passed, k in itertools.product(range(n + 1), range(1, n + 1)):
            draws = list(itertools.combinations([True] * passed + [False] * (n - passed), k))
            assert pass_at_k(n, passed, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-12)

    def test_it_equals_the_products_form_of_human_eval(self) -> None:
        def reference(n: int, c: int, k: int) -> float:
            return 1.0 if n - c < k else float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))

        for n, c, k in [(200, 3, 100), (200, 0, 10), (20, 19, 5), (100, 100, 1)]:
            assert pass_at_k(n, c, k) == pytest.approx(reference(n, c, k), abs=1e-9)

    def test_samples_of_one_task_make_one_value_and_tasks_count_alike(self) -> None:
        metric = Code(k=[1, 2])
        easy = Example("a", "one", (), tests=("assert f() == 1",))
        hard = Example("b", "two", (), tests=("assert f() == 2",))
        right, wrong = answer("def f(): return 1"), answer("def f(): return 0")
        pairs = [(easy, right), (hard, wrong), (easy, wrong), (easy, wrong), (hard, wrong)]
        scores = metric.score_many(pairs)
        for place, (measure, wanted) in enumerate(
            zip(metric.measures[:2], [(1 / 3 + 0) / 2, (2 / 3 + 0) / 2], strict=True)
        ):
            parts = np.array([row[place].additive() for row in scores])
            assert measure.combine(parts.sum(axis=0)) == pytest.approx(wanted)
        assert [row[0].value for row in scores] == [1.0, 0.0, 0.0, 0.0, 0.0]

    def test_scoring_in_bulk_sees_all_samples_of_a_task(self) -> None:
        task = Example("a", "one", (), tests=("assert f() == 1",))
        pairs = [(task, answer(f"def f(): return {place}")) for place in range(4)]
        rows = list(score_all(["code"], {"code": {"k": [1, 2]}}, pairs))
        assert [row[0].value for row in rows] == [0.0, 1.0, 0.0, 0.0]
        assert [row[1].value for row in rows] == pytest.approx([0.5] * 4)

    def test_too_few_samples_are_missing(self) -> None:
        metric = Code(k=5)
        score, _ = metric.score(Example("a", "q", (), tests=("assert x",)), answer("x = 1"))
        assert (score.value, score.reason) == (None, "the task has 1 samples, and pass@5 needs 5")


def test_tests_come_as_a_list_of_cases_too() -> None:
    cases = [
        {"id": "t1", "test_code": "assert sub(3, 1) == 2"},
        {"id": "t2", "test_code": "assert sub(1, 1) == 0"},
    ]
    example = Example("a", "q", (), extra={"test_cases": cases})
    assert code.tests_of(example) == "assert sub(3, 1) == 2\nassert sub(1, 1) == 0"


def test_the_share_of_tests_that_pass_counts_each_case() -> None:
    cases = [
        {"id": "t1", "test_code": "assert sub(3, 1) == 2"},
        {"id": "t2", "test_code": "assert sub(1, 1) == 0"},
    ]
    example = Example("a", "q", (), extra={"test_cases": cases})
    wrong = "def sub(a, b):\n    return 2"
    mbpp = Example("b", "q", (), extra={"test_list": [case["test_code"] for case in cases]})
    whole = Example("c", "q", (), tests=tuple(case["test_code"] for case in cases))
    right = "def sub(a, b):\n    return a - b"
    pairs = [(example, wrong), (example, right), (mbpp, wrong), (whole, wrong), (example, "```go\nx\n```")]
    rates = [row[-1] for row in Code().score_many([(task, answer(text)) for task, text in pairs])]
    assert [rate.parts for rate in rates] == [(1.0, 2.0), (2.0, 2.0), (1.0, 2.0), (1.0, 2.0), (0.0, 2.0)]
    assert [rates[0].reason, rates[2].reason] == ["failed: t2", "failed: test 2"]


@pytest.mark.parametrize(
    ("tests", "share", "parts"),
    [
        (("assert add(1, 2) == 3", "assert add(0, 0) == 1"), 0.5, (1.0, 2.0)),
        (("import math", "assert add(1, 2) == 3", "assert math.isclose(add(0, 0), 1)"), 0.5, (1.0, 2.0)),
        # What an asserting statement defines is needed by the next: they are one test.
        (("total = add(1, 2)\nassert total == 3", "assert total == 4"), 0.0, (0.0, 1.0)),
        (("def test_add():\n    assert add(0, 0) == 1", "test_add()"), 0.0, (0.0, 1.0)),
    ],
)
def test_statements_of_a_list_that_stand_alone_count_one_by_one(
    tests: tuple[str, ...], share: float, parts: tuple[float, float]
) -> None:
    example = Example("a", "q", (), tests=tests)
    _, rate = Code().score(example, answer("def add(a, b):\n    return a + b"))
    assert (rate.value, rate.parts) == (share, parts)


PUSHES = ["s = Stack()", "s.push(1)", "s.push(2)"]


@pytest.mark.parametrize("column", ["tests", "test_list"])
@pytest.mark.parametrize(
    ("tests", "cases"),
    [
        # One test: what one statement does to an object the next ones find.
        ([*PUSHES, "assert s.pop() == 2", "assert s.pop() == 1"], 0),
        (["s = Stack()\ns.push(1)\ns.push(2)", "assert s.pop() == 2", "assert s.pop() == 1"], 0),
        (["xs = [1, 2]", "assert total(xs) == 3", "assert total(xs) == 3"], 0),
        (["it = iter([1, 2])", "assert 2 in it", "assert 1 in it"], 0),
        (["xs = [2]", "xs[0] = half(2)\nassert half(3) == 2", "assert half(2) == 1"], 0),
        # One test: a statement that may fail without an assertion.
        (["half('a')", "assert half(2) == 1", "assert half(4) == 2"], 0),
        (["try:\n    half('a')\nexcept ValueError:\n    pass", "assert half(2) == 1"] * 2, 0),
        # A case, by what it raises.
        (["if half(3) != 2:\n    raise AssertionError('3')", "assert half(2) == 1"], 2),
        (
            ["try:\n    half(3)\nexcept ValueError:\n    pass\nelse:\n    raise AssertionError",
             "assert half(2) == 1"],
            2,
        ),
        (["import unittest as u", "u.TestCase().assertEqual(half(3), 2)", "assert half(2) == 1"], 2),
        # Each makes its own object, or only compares with what stands above.
        (["s = Stack()\ns.push(1)\nassert s.pop() == 1",
          "s = Stack()\ns.push(1)\ns.push(2)\nassert s.pop() == 2"], 2),
        (["due = 1", "assert half(2) == due", "assert half(4) == due"], 2),
        (["assert all(half(2 * n) == n for n in range(3))", "assert all(half(n) == n for n in (1, 2))"],
         2),
        # What a case imports is needed by the next.
        (["import math\nassert math.isclose(half(2), 1)", "assert math.isclose(half(3), 2)"], 0),
        (["from math import *\nassert isclose(half(2), 1)", "assert isclose(half(3), 2)"], 0),
        (["def check(n):\n    assert half(n) == 1", "check(2)", "check(6)"], 0),
        (["def test_2():\n    n = half(2)\n    assert n == 1", "def test_3():\n    n = half(3)\n    assert n == 1"],
         2),
    ],
)  # fmt: skip
def test_tests_that_share_what_they_change_are_one(column: str, tests: list[str], cases: int) -> None:
    whole = Example("a", "q", (), tests=tuple(tests))
    example = whole if column == "tests" else Example("a", "q", (), extra={column: tests})
    assert len(code.cases_of(example)) == cases


def test_of_tests_that_are_one_a_program_passes_all_or_nothing() -> None:
    example = Example("a", "q", (), tests=(*PUSHES, "assert s.pop() == 2", "assert s.pop() == 1"))
    stack = (
        "class Stack:\n    def __init__(self):\n        self.items = []\n    def push(self, item):\n"
        "        self.items.append(item)\n    def pop(self):\n        return self.items.pop()"
    )
    queue = stack.replace("pop()", "pop(0)")
    rates = [row[-1] for row in Code().score_many([(example, answer(text)) for text in (stack, queue)])]
    assert [rate.parts for rate in rates] == [(1.0, 1.0), (0.0, 1.0)]


def test_a_program_that_fails_never_passes_all_its_tests() -> None:
    once = "calls = 0\ndef f():\n    global calls\n    calls += 1\n    return calls"
    example = Example("a", "q", (), tests=("assert f() == 1", "assert f() < 2"))
    passed, rate = Code().score(example, answer(once))
    assert (passed.value, rate.value, rate.parts) == (0.0, 0.0, (0.0, 2.0))
    assert rate.reason == "each test passes alone, and not together: none counts"
    outcomes = [code.Outcome(True, None, None), code.Outcome(None, "cut off", None)]
    unknown = code._rate(code.Outcome(False, "AssertionError", None), ["test 1", "test 2"], outcomes)
    assert (unknown.value, unknown.reason) == (None, "cut off")


def test_of_a_program_that_never_ends_no_share_is_known() -> None:
    example = Example("a", "q", (), extra={"test_list": ["assert f(1) == 1", "assert f(2) == 2"]})
    text = "def f(x):\n    while True: pass"
    passed, rate = Code(cpu_s=1, timeout_s=3).score(example, answer(text))
    assert (passed.value, rate.value) == (0.0, None)


def shown(columns: Mapping[str, object], text: str) -> tuple[float | None, str]:
    score, _ = Code().score(Example("a", "q", (), extra=dict(columns)), answer(text))
    return score.value, score.reason or ""


APPS = {"input_output": '{"inputs": ["3\\n", "5\\n"], "outputs": ["6\\n", "10.0\\n"]}'}
FUNCTION = {"input_output": {"fn_name": "both", "inputs": [[1, 2], [3, 4]], "outputs": [[3], 7]}}
LIVE = {
    "public_test_cases": '[{"input": "1\\n[1, 2]", "output": "4", "testtype": "functional"}]',
    "metadata": '{"func_name": "f"}',
}
CONTEST = {"public_tests": {"input": ["1 2\n"], "output": ["3\n"]}}


@pytest.mark.parametrize(
    ("columns", "right", "wrong"),
    [
        (APPS, "print(int(input()) * 2)", "print(6)"),
        (
            APPS,
            "import sys\nn = sys.stdin.buffer.read()\nsys.stdout.write(str(int(n) * 2))\nexit()",
            "exit()",
        ),
        (
            APPS,
            "Read it:\n```python\nx = 1\n```\nSo:\n```python\nprint(2 * int(open(0).read()))\n```",
            "x = 1",
        ),
        (
            APPS,
            "def main():\n    print(int(input()) * 2)\nif __name__ == '__main__':\n    main()",
            "input(1/0)",
        ),
        (
            FUNCTION,
            "class Solution:\n    def both(self, a: List[int], b):\n        return a + b",
            "def both(a, b): return 3",
        ),
        (
            FUNCTION,
            "from __future__ import annotations\ndef both(a, b):\n    return a + b",
            "def other(a, b): return a + b",
        ),
        (LIVE, "def f(a, b): return a + sum(b)", "def f(a, b): return '4'"),
        (CONTEST, "print(sum(map(int, input().split())))", "print(*map(int, input().split()))"),
        *(
            (APPS, source, "print(6)")
            for source in (
                "import os\nprint(int(os.read(0, 100)) * 2)",
                "import os, sys\nfd = sys.stdin.fileno()\nprint(int(os.read(fd, os.fstat(fd).st_size)) * 2)",
                "print(int(open(0, 'rb').read()) * 2)",
                "import os\nprint(int(os.fdopen(0).read()) * 2)",
                "import io\nprint(int(io.open(0).read()) * 2)",
                "print(int(open('/dev/stdin').read()) * 2)",
                "import os\nos.write(1, b'%d' % (int(input()) * 2))",
                "import atexit, io, os, sys\nsys.stdout = io.BytesIO()\n"
                "atexit.register(lambda: os.write(1, sys.stdout.getvalue()))\n"
                "sys.stdout.write(b'%d' % (int(sys.stdin.readline()) * 2))",
                "import threading, time\ndef main():\n  time.sleep(0.05)\n  print(int(input()) * 2)\n"
                "threading.Thread(target=main).start()",
                "import sys\nprint(int(input()) * 2)\nsys.stdout.close()\nsys.stdin.close()",
            )
        ),
        (
            {"input_output": '{"fn_name": "same", "inputs": [[1]], "outputs": [[NaN, -Infinity]]}'},
            "def same(x): return (float('nan'), float('-inf'))",
            "import decimal\ndef same(x): return [decimal.Decimal('sNaN'), float('inf')]",
        ),
        (
            {"input_output": '{"inputs": ["x"], "outputs": ["1.50 NaN"]}'},
            "print('1.5 nan')",
            "print('1.5 sNaN')",
        ),
        ({"input_output": '{"inputs": ["x"], "outputs": ["10"]}'}, "print('10.0')", "print('1_0')"),
        (
            {"input_output": '{"inputs": ["' + "1 " * 3_000_000 + '"], "outputs": ["3000000"]}'},
            "print(len(input().split()))",
            "print(len(input()))",
        ),
        (
            {"test_cases": [{"input": "1", "expected_output": "2"}]},
            "print(int(input()) + 1)",
            "print(int(input()))",
        ),
    ],
)
def test_inputs_with_outputs_are_given_to_the_program(
    columns: Mapping[str, object], right: str, wrong: str
) -> None:
    passed, reason = shown(columns, right)
    assert passed == 1.0, reason
    assert shown(columns, wrong)[0] == 0.0


def test_a_program_with_one_wrong_output_fails_and_its_share_is_known(tmp_path: Path) -> None:
    cases = [{"input": "1", "output": "2"}, {"input": "2", "output": "5"}]
    task = example(tmp_path, {"query": "q", "tests": cases})
    passed, rate = Code().score(task, answer("print(int(input()) * 2)"))
    assert (passed.value, rate.value, rate.reason) == (0.0, 0.5, "failed: test 2")


def test_pickled_tests_are_never_loaded() -> None:
    passed, reason = shown(
        LIVE | {"private_test_cases": "eJxrYEpMBgADUAFJ"}, "def f(a, b): return a + sum(b)"
    )
    assert passed is None and reason.startswith("its private_test_cases is no JSON")


@pytest.mark.parametrize(
    "text",
    [
        "1. First:\n   ```python\n   def sub(a, b):\n       return a - b\n   ```\n2. Done.",
        "```python\ndef minus(b):\n    return -b\n```\nand\n```python\ndef sub(a, b):\n    return a + minus(b)\n```",
    ],
)
def test_code_in_a_list_or_in_several_blocks_is_whole(text: str) -> None:
    assert shown({"test_list": ["assert sub(3, 1) == 2"]}, text)[0] == 1.0
