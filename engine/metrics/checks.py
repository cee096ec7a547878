"""Checks of a response's form by program, as in IFEval: length, language, content.

A check is a name and its setting. It returns the error as a sentence, or None where the response passes. It
raises where that is unknown: TooSlow for a pattern, UnknownLanguage for a text too short.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.data.example import Example
from engine.data.schemas import TooSlow, compile_pattern, found
from engine.errors import BadInput
from engine.metrics.ifeval import instruction, loosened
from engine.metrics.json_values import AROUND, EMPTY, JsonNotFound, read_json
from engine.metrics.language import UnknownLanguage, check_language, is_in
from engine.metrics.metric import Measure, Score, fraction, missing, no_text
from engine.metrics.text import spaced, words
from engine.models.model import Response
from engine.plan.errors import listed, nearest

NO_CHECKS = 'neither the example ("checks") nor the plan asks for a check'
NOT_ASKED = "this check does not apply here"
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
# language 2: py3langid tells it, and what can't be told is missing. forbidden 2: by whole words.
# json 2: which value in prose counts.
_VERSIONS = {"language": "2", "forbidden": "2", "json": "2"}
_SHOWN = 60
_ITEM = re.compile(r"^[ \t]{0,3}(\d{1,9})[.)][ \t]+\S", re.MULTILINE)
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+\S", re.MULTILINE)

Check = Callable[[str], str | None]


class Instructions:
    """Pass rates of checks, the plan's for every response and the example's own (`checks`), which win.

    Settings: each check by name with its setting: `json` (true or what may stand around it), `numbered_list`,
    `heading`, `code_block` (true); `max_words`, `min_words`, `max_chars` (a count); `regex`; `required`,
    `forbidden` (phrases); `language`.
    With settings, only these checks have a rate of their own; the rates over all checks always count all,
    IFEval's among them (`instruction_id_list` and `kwargs` of an example). The loose rates take an answer
    as IFEval's do: with or without asterisks, its first line and its last one.
    """

    def __init__(self, **told: Any) -> None:
        self._checks = {name: make_check(name, value, "metrics.checks") for name, value in told.items()}
        self._shown = tuple(self._checks or CHECKS)
        self.measures: tuple[Measure, ...] = (
            fraction(
                "checks_passed",
                "share of the checks that pass",
                "Zhou et al. 2023 (IFEval)",
            ),
            fraction(
                "checks_all",
                "responses that pass every check asked for",
                "Zhou et al. 2023 (IFEval)",
                verdict=True,
            ),
            fraction(
                "checks_passed_loose",
                "checks_passed, also without asterisks or the first or last line",
                "Zhou et al. 2023 (IFEval), loose accuracy",
                version="2",
            ),
            fraction(
                "checks_all_loose",
                "checks_all, also without asterisks or the first or last line",
                "Zhou et al. 2023 (IFEval), loose accuracy",
                version="2",
            ),
            *(
                fraction(f"check_{name}", _MEANINGS[name], "rule", version=_VERSIONS.get(name, "1"))
                for name in self._shown
            ),
        )

    def score(self, example: Example, response: Response) -> list[Score]:
        if response.text is None:
            return missing(self.measures, no_text(response))
        try:
            checks = [*(self._checks | _own_checks(example)).items(), *_instructions(example)]
        except BadInput as error:
            return missing(self.measures, str(error))
        if not checks:
            return missing(self.measures, NO_CHECKS)
        text = response.text
        strict = [_result(name, check, [text]) for name, check in checks]
        loose = [
            score if score.value == 1.0 else _result(name, check, loosened(text))
            for score, (name, check) in zip(strict, checks, strict=True)
        ]
        results = {score.measure: score for score in strict}
        rates = [
            results.get(f"check_{name}") or Score(f"check_{name}", None, NOT_ASKED) for name in self._shown
        ]
        return [*_over_all(strict), *_over_all(loose, "_loose"), *rates]


def _result(name: str, check: Check, texts: Sequence[str]) -> Score:
    """Whether one of the texts passes; the reason is that of the first, which alone may be undecided."""
    reasons: list[str] = []
    undecided = False
    for text in texts:
        try:
            fault = check(text)
        except (TooSlow, UnknownLanguage) as error:
            undecided, fault = undecided or not reasons, str(error)
        if fault is None:
            return Score(f"check_{name}", 1.0)
        reasons.append(fault)
    return Score(f"check_{name}", None if undecided else 0.0, reasons[0])


def _over_all(results: Sequence[Score], suffix: str = "") -> list[Score]:
    """Both rates over all checks. One that can't be decided is left out, and leaves open whether all pass."""
    every, one = f"checks_passed{suffix}", f"checks_all{suffix}"
    reasons = [f"{score.measure.removeprefix('check_')}: {score.reason}" for score in results if score.reason]
    reason = "; ".join(reasons) or None
    decided = [score.value for score in results if score.value is not None]
    if not decided:
        return [Score(every, None, reason), Score(one, None, reason)]
    passed, total = sum(decided), float(len(decided))
    whole = 0.0 if passed < total else 1.0 if len(decided) == len(results) else None
    return [Score(every, passed / total, reason, (passed, total)), Score(one, whole, reason)]


def _instructions(example: Example) -> list[tuple[str, Check]]:
    """IFEval's checks of an example; an empty text follows none."""
    names, arguments = (example.extra.get(key) for key in ("instruction_id_list", "kwargs"))
    if names is None:
        return []
    where = f"instruction_id_list of example {example.id}"
    if not isinstance(names, list) or not isinstance(arguments, list) or len(names) != len(arguments):
        raise BadInput(f"{where}: expected a list of names, and in kwargs as many tables of arguments.")
    return [(str(name), _followed(name, told, where)) for name, told in zip(names, arguments, strict=True)]


def _followed(name: Any, told: Any, where: str) -> Check:
    if not isinstance(name, str) or not isinstance(told, dict):
        raise BadInput(f"{where}: expected a name and its arguments, found {name!r} and {told!r}.")
    follows = instruction(name, told, where)
    return lambda text: None if text.strip() and follows(text) else "not followed"


def _own_checks(example: Example) -> dict[str, Check]:
    where = f"checks of example {example.id}"
    own = example.extra.get("checks", {})
    if not isinstance(own, dict):
        raise BadInput(f'{where}: expected {{"max_words": 50, …}}, found {type(own).__name__}.')
    return {name: make_check(name, told, where) for name, told in own.items()}


def make_check(name: str, told: Any, where: str) -> Check:
    """The check of that name; BadInput, naming `where` it stands, for an unknown one or a wrong setting."""
    if name not in _KINDS:
        raise BadInput(
            f'{where}: unknown check "{name}"{nearest(name, _KINDS)}', f"Checks: {listed(_KINDS)}."
        )
    return _KINDS[name](told, f"{where}.{name}")


def _json(told: Any, where: str) -> Check:
    around = "strict" if told is True else told
    if around not in AROUND:
        raise BadInput(
            f"{where}: expected true, or one of {', '.join(AROUND)}, found {told!r}; "
            "leave the check out where it is not asked for."
        )

    def check(text: str) -> str | None:
        try:
            read_json(text, around)
        except JsonNotFound as error:
            return str(error)
        return None

    return check


def _max_words(told: Any, where: str) -> Check:
    limit = _count(told, where)
    return lambda text: _more(len(words(text)), limit, "words")


def _min_words(told: Any, where: str) -> Check:
    limit = _count(told, where)
    return lambda text: _fewer(len(words(text)), limit, "words")


def _max_chars(told: Any, where: str) -> Check:
    limit = _count(told, where)
    return lambda text: _more(len(text), limit, "characters")


def _regex(told: Any, where: str) -> Check:
    pattern = compile_pattern(told, where)
    return lambda text: None if found(pattern, text) else f"the pattern {told[:_SHOWN]!r} does not match"


def _required(told: Any, where: str) -> Check:
    phrases = _phrases(told, where)

    def check(text: str) -> str | None:
        folded = text.casefold()
        absent = [phrase for phrase in phrases if phrase.casefold() not in folded]
        return f"lacks {', '.join(map(repr, absent))}" if absent else None

    return check


def _forbidden(told: Any, where: str) -> Check:
    phrases = {phrase: _whole(phrase) for phrase in _phrases(told, where)}

    def check(text: str) -> str | None:
        folded = spaced(text.casefold())
        present = [phrase for phrase, pattern in phrases.items() if pattern.search(folded)]
        return f"holds {', '.join(map(repr, present))}" if present else None

    return check


def _language(told: Any, where: str) -> Check:
    wanted = check_language(told, where)
    if wanted is None:
        raise BadInput(f'{where}: expected a language such as "de", found {told!r}.')

    def check(text: str) -> str | None:
        if not text.strip():
            return EMPTY
        matches, given = is_in(text, wanted)
        return None if matches else f"written in {given}, not {wanted}"

    return check


def _numbered_list(told: Any, where: str) -> Check:
    def check(text: str) -> str | None:
        numbers = [int(number) for number in _ITEM.findall(text)]
        return None if {1, 2} <= set(numbers) else "has no numbered list (1. … 2. …)"

    return _asked(told, where, check)


def _heading(told: Any, where: str) -> Check:
    return _asked(
        told, where, lambda text: None if _HEADING.search(text) else "has no Markdown heading (# …)"
    )


def _code_block(told: Any, where: str) -> Check:
    return _asked(told, where, lambda text: None if _fenced(text) else "has no fenced code block (``` … ```)")


_KINDS: Mapping[str, Callable[[Any, str], Check]] = {
    "json": _json,
    "regex": _regex,
    "max_words": _max_words,
    "min_words": _min_words,
    "max_chars": _max_chars,
    "required": _required,
    "forbidden": _forbidden,
    "language": _language,
    "numbered_list": _numbered_list,
    "heading": _heading,
    "code_block": _code_block,
}
CHECKS = tuple(_KINDS)


def _fenced(text: str) -> bool:
    """Whether a fence opens, and one like it closes it on a later line."""
    opened = ""
    for line in text.splitlines():
        mark = line.strip()
        if opened and mark.startswith(opened) and not mark.strip(opened[0]):
            return True
        if not opened and mark.startswith(("```", "~~~")):
            opened = mark[:3]
    return False


def _asked(told: Any, where: str, check: Check) -> Check:
    if told is not True:
        raise BadInput(
            f"{where}: expected true, found {told!r}; leave the check out where it is not asked for."
        )
    return check


def _count(told: Any, where: str) -> int:
    if isinstance(told, bool) or not isinstance(told, int) or told < 0:
        raise BadInput(f"{where}: expected a whole number of 0 or more, found {told!r}.")
    return told


def _phrases(told: Any, where: str) -> list[str]:
    phrases = [told] if isinstance(told, str) else told
    if not phrases or not isinstance(phrases, list) or not all(isinstance(item, str) for item in phrases):
        raise BadInput(f"{where}: expected a phrase or a list of phrases, found {told!r}.")
    return phrases


def _whole(phrase: str) -> re.Pattern[str]:
    """A phrase as whole words, ignoring case and the white space between them."""
    body = r"\s+".join(map(re.escape, spaced(phrase.casefold()).split())) or re.escape(phrase)
    # An end that is no letter, as of "C++", stands for itself.
    before = r"(?<!\w)" if re.match(r"\w", phrase.strip()) else ""
    after = r"(?!\w)" if re.search(r"\w$", phrase.strip()) else ""
    return re.compile(before + body + after)


def _more(count: int, limit: int, unit: str) -> str | None:
    return f"{count} {unit}, the maximum is {limit}" if count > limit else None


def _fewer(count: int, limit: int, unit: str) -> str | None:
    return f"{count} {unit}, the minimum is {limit}" if count < limit else None
