"""Whether responses keep to instructions of form that a program can check, as IFEval asks it."""

from typing import Any

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.checks import CHECKS, Check, make_check
from engine.metrics.measures import fraction
from engine.metrics.metric import Measure, Score, missing, no_text
from engine.metrics.patterns import TooSlow
from engine.models.model import Response

NO_CHECKS = 'neither the example ("checks") nor the plan asks for a check'
NOT_ASKED = "this check is not asked for here"
_MEANINGS = {
    "json": "responses that are JSON, whole and alone",
    "regex": "responses in which the pattern matches",
    "max_words": "responses of at most so many words",
    "min_words": "responses of at least so many words",
    "max_chars": "responses of at most so many characters",
    "required": "responses with every required phrase",
    "forbidden": "responses without any forbidden phrase",
    "language": "responses recognised as written in the language",
    "numbered_list": "responses with a numbered list",
    "heading": "responses with a Markdown heading",
    "code_block": "responses with a fenced code block",
}


class Instructions:
    """Pass rates of checks, the plan's for every response and the example's own (`checks`), which win.

    Settings: each check by name with what it is told: `json`, `numbered_list`, `heading`, `code_block`
    (true); `max_words`, `min_words`, `max_chars` (a count); `regex`; `required`, `forbidden` (phrases);
    `language`.
    With settings, only these checks have a rate of their own; the two rates over all checks always count all.
    """

    def __init__(self, **told: Any) -> None:
        self._checks = {name: make_check(name, value, "metrics.checks") for name, value in told.items()}
        self._shown = tuple(self._checks or CHECKS)
        self.measures: tuple[Measure, ...] = (
            fraction(
                "checks_passed",
                "checks that responses pass, of all checks asked for",
                "Zhou et al. 2023 (IFEval)",
            ),
            fraction("checks_all", "responses that pass every check asked for", "Zhou et al. 2023 (IFEval)"),
            *(fraction(f"check_{name}", _MEANINGS[name], "rule") for name in self._shown),
        )

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None:
            return missing(self.measures, no_text(response))
        try:
            checks = self._checks | _own_checks(example)
            faults = {name: check(response.text) for name, check in checks.items()}
        except (BadInput, TooSlow) as error:
            return missing(self.measures, str(error))
        if not faults:
            return missing(self.measures, NO_CHECKS)
        failed = [f"{name}: {fault}" for name, fault in faults.items() if fault is not None]
        reason = "; ".join(failed) or None
        passed, total = float(len(faults) - len(failed)), float(len(faults))
        return [
            Score("checks_passed", passed / total, reason, (passed, total)),
            Score("checks_all", float(not failed), reason),
            *(_rate(name, faults) for name in self._shown),
        ]


def _rate(name: str, faults: dict[str, str | None]) -> Score:
    if name not in faults:
        return Score(f"check_{name}", None, NOT_ASKED)
    return Score(f"check_{name}", float(faults[name] is None), faults[name])


def _own_checks(example: Example) -> dict[str, Check]:
    where = f"checks of example {example.id}"
    own = example.extra.get("checks", {})
    if not isinstance(own, dict):
        raise BadInput(f'{where}: expected {{"max_words": 50, …}}, found {type(own).__name__}.')
    return {name: make_check(name, told, where) for name, told in own.items()}
