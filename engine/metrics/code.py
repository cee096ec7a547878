"""Functional correctness: an answer's program is executed against its example's tests, in a sandbox."""

import math
from collections.abc import Hashable, Iterable, Sequence

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.measures import fraction
from engine.metrics.metric import Score, missing, no_text
from engine.metrics.programs import NotPython, language_of, program_of, tests_of
from engine.models.model import Response
from engine.sandbox.isolate import Limits
from engine.sandbox.sandbox import Job, Outcome, Sandbox

NO_TESTS = "the example has no tests"
_SOURCE = "Chen et al. 2021, unbiased estimator; openai/human-eval evaluation.py"

Pair = tuple[Example, Response]


def pass_at_k(n: int, passed: int, k: int) -> float:
    """The chance that of k samples, drawn without replacement from n of which some passed, one passes.

    1 - C(n - passed, k) / C(n, k). Raises ValueError when there are fewer than k samples.
    """
    if not 0 <= passed <= n or not 1 <= k <= n:
        raise ValueError(f"pass@{k} of {passed} passed among {n} samples")
    return 1.0 - math.comb(n - passed, k) / math.comb(n, k)


class Code:
    """pass@k. Samples of one task are the answers to examples with the same query and tests.

    `k` is a number or a list of them; `timeout_s` (wall), `cpu_s`, `memory_mb` and `processes` limit each
    program. `allow_weak` accepts a machine where the kernel's isolation cannot be had: programs then run as
    processes with limits only, and could read the user's files.
    """

    def __init__(
        self,
        k: int | Sequence[int] = 1,
        timeout_s: float = 10.0,
        cpu_s: int = 5,
        memory_mb: int = 512,
        processes: int = 16,
        allow_weak: bool = False,
        language: str = "python",
    ) -> None:
        self._ks = _ks(k)
        for name, value in {
            "timeout_s": timeout_s, "cpu_s": cpu_s, "memory_mb": memory_mb, "processes": processes,
        }.items():  # fmt: skip
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise BadInput(f"metrics.code.{name}: found {value!r}; allowed: a number above 0")
        if not isinstance(allow_weak, bool):
            raise BadInput(f"metrics.code.allow_weak: found {allow_weak!r}; allowed: true or false")
        if language != "python":
            raise BadInput(f'metrics.code.language: found {language!r}; only "python" can be executed')
        limits = Limits(math.ceil(cpu_s), float(timeout_s), int(memory_mb) << 20, int(processes))
        self._sandbox = Sandbox(limits, allow_weak)
        self.measures = tuple(
            fraction(
                f"pass_at_{number}",
                "programs that pass all tests of their example"
                if number == 1
                else f"chance that one of {number} samples of a task passes all its tests",
                _SOURCE,
                needs={"tests"},
            )
            for number in self._ks
        )

    def score(self, example: Example, response: Response) -> list[Score]:
        return self.score_many([(example, response)])[0]

    def score_many(self, pairs: Sequence[Pair]) -> list[list[Score]]:
        """Scores of all pairs; the samples of one task must come in one call."""
        prepared = [_prepare(*pair) for pair in pairs]
        ran = self._sandbox.run_all(job for job in prepared if isinstance(job, Job))
        outcomes = [next(ran) if isinstance(job, Job) else job for job in prepared]
        tasks: dict[Hashable, list[bool]] = {}
        for (example, _), outcome in zip(pairs, outcomes, strict=True):
            if outcome.passed is not None:
                tasks.setdefault(self.task(example), []).append(outcome.passed)
        return [
            self._scores(outcome, tasks.get(self.task(example), []))
            for (example, _), outcome in zip(pairs, outcomes, strict=True)
        ]

    def task(self, example: Example) -> Hashable | None:
        """What the samples of one task have in common: query and tests; None where there are no tests."""
        tests = tests_of(example)
        return None if tests is None else (example.query, tests)

    def _scores(self, outcome: Outcome, samples: Sequence[bool]) -> list[Score]:
        reason = _told(outcome)
        if outcome.passed is None:
            return missing(self.measures, reason)
        return [
            _score(measure.name, k, outcome.passed, samples, reason)
            for k, measure in zip(self._ks, self.measures, strict=True)
        ]


def _score(name: str, k: int, passed: bool, samples: Sequence[bool], reason: str) -> Score:
    """One sample's share of its task: over n samples the parts sum to (the task's pass@k, 1)."""
    n = len(samples)
    if n < k:
        return Score(name, None, f"the task has {n} samples, and pass@{k} needs {k}")
    task = pass_at_k(n, sum(samples), k)
    value = float(passed) if k == 1 else task
    return Score(name, value, reason, parts=(value / n, 1 / n) if n > 1 else None)


def _prepare(example: Example, response: Response) -> Job | Outcome:
    tests = tests_of(example)
    if tests is None:
        return Outcome(None, NO_TESTS, None)
    if (language := language_of(example)) != "python":
        return Outcome(None, f"the example's tests are {language}; only Python is executed", None)
    if response.text is None:
        return Outcome(None, no_text(response), None)
    try:
        return Job(program_of(example, response.text), tests)
    except NotPython as error:
        return Outcome(False, str(error), None)


def _told(outcome: Outcome) -> str:
    isolation = f"isolation: {outcome.isolation}" if outcome.isolation else ""
    return "; ".join(part for part in (outcome.reason, isolation) if part)


def _ks(k: int | Iterable[int]) -> tuple[int, ...]:
    numbers = (k,) if isinstance(k, int) else tuple(k) if isinstance(k, list | tuple) else ()
    if not numbers or any(isinstance(one, bool) or not isinstance(one, int) or one < 1 for one in numbers):
        raise BadInput(f"metrics.code.k: found {k!r}; allowed: a whole number from 1, or a list of them")
    return tuple(sorted(set(numbers)))
