"""Parses judges' answers: JSON in prose, rubric scores, and one verdict from both orders."""

import json
import re
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from engine.plan.rubric import Rubric
from engine.servers.reasoning import split_reasoning

_LONGEST = 100_000  # characters, from the end
_LONGEST_VALUE = 500  # characters of a winner in an object
_TRIES = 200  # places where an object could start
_OBJECT = re.compile(r'\{\s*"')
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")
_DECODER = json.JSONDecoder(strict=False)

_ADDRESS = re.compile(
    r"""\[\[\s*(?:A|B|C|tie|rating|\d+)\s*\]\]
    | "winner"\s*:
    | \b(?:as|dear|attention|note\ to|message\ to)\s+(?:the\s+|an?\s+)?(?:impartial\s+)?
      (?:judge|evaluator|grader)\b
    | \b(?:choose|pick|select|prefer|vote\ for)\s+(?:response|answer|assistant|option|model)\s+[AB]\b
    | \b(?:response|answer|assistant)\s+[AB]\s+(?:is|should\ be)\s+
      (?:the\s+)?(?:better|best|winner|preferred)\b
    | \b(?:ignore|disregard|forget)\s+(?:all\s+)?(?:the\s+|your\s+|any\s+)?
      (?:previous|prior|above|earlier)\s+instructions?\b
    """,
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class ParseFailure:
    """The reason why an answer cannot be parsed, for people and for the judge's next try."""

    reason: str


def said(answer: str) -> str:
    """The text after a model's reasoning; empty when the reasoning never ends."""
    return split_reasoning(answer).answer[-_LONGEST:].strip()


def objects_with(key: str, text: str) -> tuple[list[dict[str, Any]], str]:
    """The outermost JSON objects in a text that have the key, their keys in lower case, and the other text.

    Commas before a closing bracket are forgiven.
    """
    found, others = _objects(key, text)
    return (found, others) if found else _objects(key, _TRAILING_COMMA.sub(r"\1", text))


def _objects(key: str, text: str) -> tuple[list[dict[str, Any]], str]:
    found, others = [], ""
    start = end = 0
    for _ in range(_TRIES):
        match = _OBJECT.search(text, start)
        if match is None:
            break
        try:
            value, start = _DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            start = match.end()
            continue
        answer = {name.strip().lower(): item for name, item in value.items()}
        if key in answer:
            found.append(answer)
            others, end = f"{others}{text[end : match.start()]}\n", start
    return found, others + text[end:]


def number(value: object) -> float | None:
    """A JSON number, or one in a string; None for anything else, truth values included."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def reasoning_of(answer: dict[str, Any]) -> str:
    """The reasons that come with an answer, empty where there are none."""
    reasoning = answer.get("reasoning")
    return reasoning if isinstance(reasoning, str) else ""


def addresses_judge(text: str) -> bool:
    """Whether a response addresses its judge: a forged verdict, an appeal, an override."""
    return _ADDRESS.search(text) is not None


Scale = tuple[int, int]
EXTRA = 8  # fields of an answer beyond its score that are kept
_OWN = ("score", "scores", "reasoning", "confidence")
_NAME = re.compile(r"[^\W\d]\w{0,39}")

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_OUT_OF = r"(?:\s*(?:/|out of)\s*(\d+))?"
_FRACTION = re.compile(rf"\s*{_NUMBER}{_OUT_OF}\s*", re.IGNORECASE)
# Followed by the next key: at the end of a text that was cut off, 1 may be the start of 10.
_CUT_OFF = re.compile(rf'"score"\s*:\s*"?{_NUMBER}"?()(?=\s*[,}}])', re.IGNORECASE)
_BRACKETED = re.compile(rf"\[\[\s*{_NUMBER}{_OUT_OF}\s*\]\]", re.IGNORECASE)
_ALONE = re.compile(rf"\A[*\s]*{_NUMBER}{_OUT_OF}[*.\s]*\Z", re.IGNORECASE)
_STATED = (
    r"^[^\w\n]{{0,9}}(?:(?:final|overall|total|my) ){{0,2}}(?:{names})[^\w\n]{{1,9}}?"
    rf"{_NUMBER.replace('{', '{{').replace('}', '}}')}{_OUT_OF}" + r"[^\w\n]{{0,9}}$"
)


@dataclass(frozen=True, slots=True)
class Scored:
    """One parsed answer; `scores` by criterion, empty without a rubric; flags as in `Rating`.

    `extra` are the other numbers and truth values (1 and 0) of the answer, by their names there.
    """

    score: float
    scores: dict[str, float]
    reasoning: str
    flags: tuple[str, ...] = ()
    extra: dict[str, float] = field(default_factory=dict)


_TAKEN_BACK = ParseFailure("the answer denies its score, or takes it back")


def parse_score(text: str, scale: Scale) -> Scored | ParseFailure:
    """Parses one score, which may be in fences or prose, end in commas, or be cut off.

    Looked for in this order: a JSON object with a `score`; the score of one that is cut off or broken;
    `[[7]]` as in MT-Bench; a line "Score: 7/10" (or Rating, Grade); nothing but "7/10". Two
    different scores in one of these forms, one off the scale or taken back, or "7/10" on a scale to 5 are
    failures: nothing is clamped or guessed.
    """
    text = said(text)
    if not text:
        return ParseFailure("the answer is empty")
    answers, _ = objects_with("score", text)
    if answers:
        if _RETRACTED.search(text, text.rfind("}") + 1):
            return _TAKEN_BACK
        grades = {_grade(answer["score"], scale, "score") for answer in answers}
        found = _one(grades, reasoning_of(answers[-1]))
        return found if isinstance(found, ParseFailure) else replace(found, extra=_extra(answers[-1]))
    for form in (_CUT_OFF, _BRACKETED, _stated("score|rating|grade"), _ALONE):
        marks = list(form.finditer(text))
        grades = {_in_range(mark[1], mark[2] or "", scale, "score") for mark in marks}
        if len(grades) == 1 and (any(map(_is_denied, marks)) or _RETRACTED.search(text, marks[-1].end())):
            return _TAKEN_BACK
        if grades:
            return _one(grades, text)
    return ParseFailure("the answer holds no score")


def parse_rubric_scores(text: str, rubric: Rubric) -> Scored | ParseFailure:
    """Reads one grade per criterion: a JSON object's `scores`, else lines "criterion: 4/5".

    The score is the rubric's total of the grades; a total of the rater's own that is more than one point, or
    a quarter of the scale, off is flagged. A criterion without a grade, or with one off its scale, makes the
    answer a failure.
    """
    text = said(text)
    if not text:
        return ParseFailure("the answer is empty")
    answers, _ = objects_with("scores", text)
    if answers:
        readings = [_grades(answer["scores"], rubric) for answer in answers]
        if any(reading != readings[0] for reading in readings):
            return ParseFailure("the answer gives different scores")
        last = answers[-1]
        total = _totalled(readings[0], rubric, last.get("score"), reasoning_of(last))
        return total if isinstance(total, ParseFailure) else replace(total, extra=_extra(last))
    return _totalled(_stated_grades(text, rubric), rubric, None, text)


def _extra(answer: Mapping[str, Any]) -> dict[str, float]:
    """What else an answer states: at most EXTRA numbers and truth values, under plain names."""
    found = [
        name
        for name, value in answer.items()
        if name not in _OWN and _NAME.fullmatch(name) and isinstance(value, bool | int | float)
    ]
    return {name: float(answer[name]) for name in found[:EXTRA] if abs(answer[name]) <= sys.float_info.max}


def _one(grades: set[float | ParseFailure], reasoning: str) -> Scored | ParseFailure:
    if len(grades) > 1:
        return ParseFailure("the answer gives different scores")
    grade = grades.pop()
    return grade if isinstance(grade, ParseFailure) else Scored(grade, {}, reasoning)


def _grade(value: object, scale: Scale, name: str) -> float | ParseFailure:
    if isinstance(value, str) and (fraction := _FRACTION.fullmatch(value)):
        return _in_range(fraction[1], fraction[2] or "", scale, name)
    return _in_range(value, "", scale, name)


def _in_range(value: object, out_of: str, scale: Scale, name: str) -> float | ParseFailure:
    grade = number(value)
    if grade is None:
        return ParseFailure(f"{name} is not a number")
    low, high = scale
    if not low <= grade <= high:
        return ParseFailure(f"{name} is {grade:g}; allowed: {low} to {high}")
    if out_of and int(out_of) != high:
        return ParseFailure(f"{name} is out of {out_of}; the scale is {low} to {high}")
    return grade


def _grades(value: Any, rubric: Rubric) -> dict[str, float] | ParseFailure:
    if not isinstance(value, dict):
        return ParseFailure("scores is not an object of criteria and grades")
    given = {_plain(name): grade for name, grade in value.items()}
    return _complete(
        {
            criterion.name: _grade(given[_plain(criterion.name)], criterion.scale, criterion.name)
            for criterion in rubric.criteria
            if _plain(criterion.name) in given
        },
        rubric,
    )


def _stated_grades(text: str, rubric: Rubric) -> dict[str, float] | ParseFailure:
    grades: dict[str, float | ParseFailure] = {}
    for criterion in rubric.criteria:
        found = {
            _in_range(value, out_of, criterion.scale, criterion.name)
            for value, out_of in _stated(re.escape(criterion.name)).findall(text)
        }
        if len(found) > 1:
            return ParseFailure(f"the answer gives different scores for {criterion.name}")
        if found:
            grades[criterion.name] = found.pop()
    return _complete(grades, rubric) if grades else ParseFailure("the answer holds no scores")


def _complete(grades: Mapping[str, float | ParseFailure], rubric: Rubric) -> dict[str, float] | ParseFailure:
    missing = [criterion.name for criterion in rubric.criteria if criterion.name not in grades]
    if missing:
        return ParseFailure(f"there is no score for {', '.join(missing)}")
    whole: dict[str, float] = {}
    for name, grade in grades.items():
        if isinstance(grade, ParseFailure):
            return grade
        whole[name] = grade
    return whole


def _totalled(
    grades: dict[str, float] | ParseFailure, rubric: Rubric, own: object, reasoning: str
) -> Scored | ParseFailure:
    if isinstance(grades, ParseFailure):
        return grades
    total = rubric.total(grades)
    said_total = number(own)
    low, high = rubric.scale
    contradicts = said_total is not None and not abs(said_total - total) <= min(1, (high - low) / 4)
    return Scored(total, grades, reasoning, ("contradicts_scores",) if contradicts else ())


def _stated(names: str) -> re.Pattern[str]:
    return re.compile(_STATED.format(names=names), re.IGNORECASE | re.MULTILINE)


def _plain(name: object) -> str:
    return re.sub(r"[\W_]+", " ", str(name)).strip().casefold()


Winner = Literal["A", "B", "tie"]
Verdict = Literal["win", "loss", "tie", "failed"]

_SIDE = (
    r"(?:(?:response|answer|assistant|model|option|candidate|output|回答|答案|回复|回應|助手|模型|応答|답변|응답)"
    r"[\s_-]?)?[\"'(\[]{0,3}(?P<side>[AB])(?![A-Za-z0-9'’])[\"')\]]{0,3}"
)
_TIE = r"(?P<tie>(?:an?\s+)?(?:tied?|draw)\b|equal\b|neither\b|both\b|引き分け|平局|平手|同等|무승부)"
_VALUE = rf"(?:the\s+)?(?:{_SIDE}|{_TIE})"
_NAMED = re.compile(rf"\W{{0,9}}?{_VALUE}\W{{0,9}}", re.IGNORECASE)
_MARKUP = re.compile(r"[*`~]+")
_VERDICTS_BRACKETED = re.compile(r"\[\[\s*(?:(?P<side>[AB])|(?P<tie>C|tie))\s*\]\]", re.IGNORECASE)
# Followed by the next key or the end: "A" or "B" is the question's format repeated.
_VERDICTS_CUT_OFF = re.compile(
    r"""(["'])winner\1\s*:\s*(["'])(?:(?P<side>[AB])|(?P<tie>tie))\2(?=\s*(?:[,}]|\Z))""", re.IGNORECASE
)
_DEGREE = r"(?:(?:clearly|slightly|significantly|overall|much|far|the|a|bit)\s+){0,3}"
_BEST = r"(?:better|best|winner|stronger|superior|preferable|preferred)"
_REASON = r"(?:because|since|as|due)\b|因为|因為|由于|由於|なぜなら"
_VERDICTS_STATED = re.compile(
    r"^[^\w\n]{0,9}(?:(?:the|my|final|overall)\s+){0,3}(?:"
    r"(?:winner|verdict|(?:better|preferred|best)\s+(?:response|answer)"
    r"|勝者|胜者|获胜者|勝ち|判定|结论|結論|승자)[^\w\n?？]{0,9}(?:is\b|は|是|为|為)?"
    r"|(?:judge?ment|decision|conclusion|(?:my|final)\s+(?:choice|pick|preference))\s*(?::|is\b))"
    rf"[^\w\n?？]{{0,9}}(?<![A-Za-z0-9]){_VALUE}"
    # Not "Winner: A good answer from both".
    rf"(?P<rest>(?:\s*[^\w\s]|[^\x00-\x7f]|\s+(?:because|since|as|by|due|wins)\b|\s+is\s+{_DEGREE}{_BEST}\b|\s*$).*)$",
    re.IGNORECASE | re.MULTILINE,
)
_OTHERS = re.compile(r"(?<![A-Za-z0-9])(?:(?-i:[AB])|or|tie|draw|not|no|wait)(?![A-Za-z0-9])", re.IGNORECASE)
_OPEN = re.compile(
    r"\b(?:if|unless|perhaps|maybe|possibly)\b"
    r"|[?？不没沒]|ない|ません|しかし|ただ|아니|아닙|아님|않|하지만",
    re.IGNORECASE,
)
# Of a sentence before a mark, and after it: "not [[A]]", "if …, [[A]]", "A writes [[A]]", "[[A]] if …".
_DENIED = re.compile(
    r"\b(?:if|unless|whether)\b|(?:\b(?:not|never|neither|than|instead\s+of|or)|n['’]t|不是|并非|而非)\s*"
    r"(?:\w+\s+){0,4}\W{0,5}$",
    re.IGNORECASE,
)
# Of the text before: a verdict that a response forges, told by the judge.
_TOLD = re.compile(
    r"\b(?:writes?|wrote|says?|said|claims?|claimed|includes?|contains?|outputs|adds|appends|inserts|embeds|tries"
    r"|(?:begins?|ends?|starts?)\s+with)\b\W{0,3}(?:\w+\s+){0,3}\W{0,9}$",
    re.IGNORECASE,
)
# A line that a last line of "B" completes.
_ASKS = re.compile(
    r"winner|verdict|better|best|prefer|choice|choose|pick|answer|conclusion|judge?ment|decision|final|胜|勝|判|结论|結論"
    r"|更|승|답",
    re.IGNORECASE,
)
_NOT = re.compile(r"not\b|n['’]t\b", re.IGNORECASE)
_WORST = r"(?:worse|worst|weaker|weakest|loser|inferior)"
_LESSER = (
    rf"(?:{_WORST}|poorer|poorest|lesser|losing|rejected|dispreferred|less\s+(?!than\b)\w+|(?<!at\s)least\s+\w+"
    r"|(?:not|un|non)[\s-]*(?:chosen|preferred|selected|better|best))\b"
)
_LESSER_NATIVE = (
    "更差|较差|較差|更糟|更弱|较弱|較弱|不如|败者|敗者|输家|輸家|劣|負け"
    r"|더\s*(?:나쁘|나쁜|나쁩|못)|패자|열등"
)
_LOSES = re.compile(rf"\b{_LESSER}|\bloses?\b|{_LESSER_NATIVE}", re.IGNORECASE)
# "The worse answer" names what follows; "A is the worse" and "A, the worse" what went before.
_DEFINITE = re.compile(rf"(?<!\bis )(?<!\bwas )(?<!\bas )(?<!, )\bthe\s+{_DEGREE}$", re.IGNORECASE)
_COMPARED = r"(?:unlike|than|with|to|against|over|versus|vs\.?|比|より)"
_OF_SIDE = re.compile(
    rf"(?P<beside>\b{_COMPARED}\s*)?(?:(?:the|response|answer|assistant|model|option|candidate|output)\s+)*"
    rf"(?<![A-Za-z0-9])(?P<side>(?-i:[AB])|other)(?![A-Za-z0-9])(?!\s+{_DEGREE}{_LESSER})",
    re.IGNORECASE,
)
# Between it and a mark: that the mark is of the better one, or follows from what was said of the worse.
_WINS = re.compile(rf"\b(?:{_BEST}|prefer|wins?|winning)\b|更好|更优|胜|勝|승", re.IGNORECASE)
_FOLLOWS = re.compile(
    r"[,;:—–-]\s*(?:and\s+)?(?:so|therefore|thus|hence|(?:the|my|our)\s+(?:\w+\s+)?"
    r"(?:verdict|choice|pick|vote|judge?ment|decision|conclusion|answer))\b|所以|因此|よって|따라서",
    re.IGNORECASE,
)
_LOST = re.compile(
    r"(?:[^\w\n.!?]{0,7}|[^\w\n]{0,7}(?:(?:response|answer|assistant|model|one|it|this|that|which)\s+)?"
    r"(?:is|was|as|being|seems|looks)\s+)"
    rf"(?:{_DEGREE}(?:{_LESSER}|(?:beaten|outperformed|surpassed|outdone)\b))"
    r"|[^\w\n]{0,7}(?:(?:response|answer|assistant|model|one|it|which)\s+)?"
    r"(?:(?:(?:clearly|should|must|will)\s+)?(?:loses?|lost)\b|falls\s+short\b)"
    rf"|[^\w\n]{{0,7}}(?:の(?:ほう|方)が|が|は|가|는|이|은)?\s*(?:{_LESSER_NATIVE})",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"[^\w\n]{0,5}(?:if|unless|when|or|(?:is|was)\s+(?:not|wrong)|would)\b", re.IGNORECASE
)
# What takes a verdict back.
_RETRACTED = re.compile(
    r"(?:^|[.!?。！？;；:—–-]\s*)[^\w\n]{0,3}(?:(?:but|however|and|or)\W{1,3})?(?:wait|actually|hmm+|correction|sorry"
    r"|oops|nope|scratch\s+that|my\s+mistake|no[,.:]|on\s+(?:second|closer|further|reflection)|(?:i|let\s+me)\s+"
    r"(?:reconsider|re-?think|re-?evaluate|correct|change|misread|was\s+wrong)|等等|等一下|不对|不對|更正|待って|いや|訂正|잠깐|아니)"
    rf"|\bthe\s+(?:other|second|latter)(?:\s+(?:one|response|answer))?\s+(?:(?:is|was)\s+{_DEGREE}(?:{_BEST}|right)|wins)\b",
    re.IGNORECASE | re.MULTILINE,
)


def _whole(said: str, native: str) -> re.Pattern[str]:
    """Sentences about a side as a whole: not "better written", nor "better in style"."""
    return re.compile(
        rf"(?<![\w'\"(]){_SIDE}(?:(?:{said})(?:\s+(?:response|answer|one|overall)\b)?"
        r"(?:\s+than\s+(?:the\s+other(?:\s+(?:one|response|answer))?|(?:(?:response|answer|assistant|model)\s+)?[AB])\b)?"
        rf"(?:\s+overall\b)?|\s*(?:{native}))"
        rf"(?=\s*(?:[.;:!。！）)\"'」]|$|[,，、]?\s*(?:{_REASON})))",
        re.IGNORECASE | re.MULTILINE,
    )


_PREFERRED = _whole(
    rf"\s+(?:is|was)\s+{_DEGREE}{_BEST}|\s+wins",
    r"更好|更优|更佳|较好|胜出|获胜|勝出|(?:の(?:ほう|方)が(?:良い|よい|優れている|優れています)"
    r"|が(?:優れている|優れています|勝ち|良い))(?:です|だ|と(?:思|考|判断)\w{0,5})?",
)
_OUTDONE = _whole(
    rf"\s+(?:is|was)\s+{_DEGREE}{_WORST}|\s+loses",
    r"更差|较差|較差|落败|(?:の(?:ほう|方)が|が)(?:劣る|劣っている|劣っています|負け)(?:です|だ)?",
)
_LEAD = re.compile(
    r"(?:\W{0,9}(?:so|therefore|thus|hence|overall|finally|in\s+(?:conclusion|summary|short|my\s+(?:opinion|view|judge?ment))"
    r"|to\s+(?:conclude|summari[sz]e|sum\s+up)|based\s+on\s+(?:this|that|these|the\s+above|my)[ \w]{0,40}"
    r"|i\s+(?:think|believe|conclude|judge|find)(?:\s+that)?|(?:it\s+is|it's)\s+clear\s+that|clearly"
    r"|my\s+(?:conclusion|verdict|judge?ment|decision|answer)\s+is(?:\s+that)?|综上(?:所述)?|总之|总的来说|总体而言|因此|所以"
    r"|よって|したがって|結論として|以上より|따라서|결론적으로)[\s,:，：、]*){0,3}\W{0,9}",
    re.IGNORECASE,
)
_LONGEST_LEAD = 160  # characters
_DOUBT = re.compile(
    r"\b(?:not|but|however|though|although|while|whereas|if|unless|only|may|might|could|would|actually|wait|instead"
    r"|says|said|claims|except|doubt|perhaps|maybe|neither|nor|hardly|never|first|seems?|so\s+far)\b|n['’]t\b"
    r"|[但虽不没沒如]|ない|ません|しかし|もし|ただ|하지만|[?？]",
    re.IGNORECASE,
)
_QUOTE = re.compile('["“”「」]')
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|(?<=[。！？])|\n\s*\n")


@dataclass(frozen=True, slots=True)
class Parsed:
    """One parsed answer. Scores are 1 to 10, for A and B, or None; flags as in `Judgment`."""

    winner: Winner
    reasoning: str
    scores: tuple[float, float] | None
    flags: tuple[str, ...]


def parse_pairwise(text: str) -> Parsed | ParseFailure:
    """Parses a pairwise answer, which may be in fences or prose, end in commas, or be cut off.

    Verdicts are JSON objects with a `winner`, or what is left of one; `[[A]]`, `[[B]]`, `[[C]]` (a tie) as in
    MT-Bench; a line "Winner: A"; a first line of "A" or a last line of "Response A". Without any of them, a
    last line that says "A is better", and leaves no doubt. An answer with different verdicts, or with one
    that is denied, taken back, contradicted, or of the worse answer, is a failure: which one was meant is not
    ours to guess.
    """
    text = said(text)
    if not text:
        return ParseFailure("the answer is empty")
    answers, others = objects_with("winner", text)
    plain = _MARKUP.sub("", unicodedata.normalize("NFKC", others))[-_LONGEST:].strip()
    verdicts = [_winner(answer["winner"]) for answer in answers]
    if None in verdicts:
        return ParseFailure('the winner is none of "A", "B", "tie"')
    marks = _marks(plain)
    bare, after = _bare(plain)
    verdicts += [*map(_marked, marks), *bare]
    if answers and _TOLD.search(_before(text, text.index("{"))):
        verdicts.append(None)
    if not (answers or marks):
        verdicts += [None for found in (_DOUBT.search(after), _LOST.match(after)) if found]
    else:
        after = text[text.rfind("}") + 1 :] if answers else plain[max(mark.end() for mark in marks) :]
    if verdicts:
        verdicts += [None for _ in _RETRACTED.findall(after)[:1]] + [*map(_named, _PREFERRED.finditer(after))]
        verdicts += [_OTHER.get(_named(match)) for match in _OUTDONE.finditer(after)]
    else:
        verdicts = _preferred(plain)
    if not verdicts:
        return ParseFailure("the answer holds no winner")
    winner = verdicts[0]
    if winner is None or len(set(verdicts)) > 1:
        return ParseFailure("the answer names different winners, or leaves its winner in doubt")
    return _parsed(winner, answers[-1]) if answers else Parsed(winner, text, None, ("no_scores",))


def _winner(value: object) -> Winner | None:
    """The winner that a value of an answer names."""
    plain = _MARKUP.sub("", unicodedata.normalize("NFKC", str(value)[:_LONGEST_VALUE])).strip()
    if match := _NAMED.fullmatch(plain):
        return _named(match)
    found = _preferred(plain)
    return found[0] if len(set(found)) == 1 else None


def _named(match: re.Match[str]) -> Winner | None:
    """The winner in a match; None where the rest of its line names another one."""
    groups = match.groupdict()
    side = groups["side"]
    winner: Winner = "tie" if side is None else "A" if side in "Aa" else "B"
    return winner if all(word == winner for word in _OTHERS.findall(groups.get("rest") or "")) else None


def _marks(text: str) -> list[re.Match[str]]:
    """All explicit verdicts; a line "Verdict: [[A]] …" is its bracketed mark alone."""
    marks = [*_VERDICTS_CUT_OFF.finditer(text), *_VERDICTS_BRACKETED.finditer(text)]
    within = {place for mark in marks for place in range(*mark.span())}
    return marks + [
        match
        for match in _VERDICTS_STATED.finditer(text)
        if match.start("side" if match["side"] else "tie") not in within
    ]


def _marked(match: re.Match[str]) -> Winner | None:
    """The winner of a mark.

    None where its sentence denies it, supposes it, tells of somebody else's, or names the loser.
    """
    rest = match.groupdict().get("rest") or ""
    if _is_denied(match) or _OPEN.search(rest) or _RETRACTED.search(rest):
        return None
    side = match["side"]
    is_lost = side and (
        _LOST.match(match.string, match.end("side")) or _is_loser(side, match.string, match.start("side"))
    )
    return None if is_lost else _named(match)


_OTHER: Mapping[Winner | None, Winner] = {"A": "B", "B": "A"}


def _is_loser(side: str, text: str, end: int) -> bool:
    """Whether the words before a side's place make it the worse one: "The worse answer is", "A is worse:"."""
    *_, asked, last = ["", *_SENTENCE.split(text[max(end - _LONGEST_LEAD, 0) : end])]
    is_asked = asked.rstrip().endswith(("?", "？", ":", "：")) or asked.rpartition("\n")[2].startswith("#")
    told = f"{asked}\n{last}" if is_asked else last
    *_, loses = [None, *_LOSES.finditer(told)]
    if loses is None or _WINS.search(told, loses.end()):
        return False
    follows = not is_asked and _FOLLOWS.search(told, loses.end())
    sides = (found for found in _OF_SIDE.finditer(told) if found.start() < loses.start())
    subjects = [found["side"] for found in sides if not found["beside"]]
    if _DEFINITE.search(told[: loses.start()]) or not subjects:
        return not follows
    return subjects[-1] == side.upper()


def _is_denied(match: re.Match[str]) -> bool:
    """Whether the words around a mark deny it, suppose it, or say that a response holds it."""
    before, text = _before(match.string, match.start()), match.string
    found = _DENIED.search(before.rpartition("\n")[2]) or _DENIED_AFTER.match(text, match.end())
    return bool(found or _TOLD.search(before))


def _before(text: str, end: int) -> str:
    """The sentence in progress at a place, which may have begun on the line before."""
    return _SENTENCE.split(text[max(end - _LONGEST_LEAD, 0) : end])[-1]


def _bare(text: str) -> tuple[list[Winner | None], str]:
    """The winners of lines that are nothing but one: the first, the last, and all where they are headings.

    And what follows a first line alone.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    bare = {place: match for place, line in enumerate(lines) if (match := _NAMED.fullmatch(line))}
    last = len(lines) - 1
    # "Response A" may begin a discussion of it, as may "# Response A" and "Response A:" anywhere.
    if last in bare and not lines[last].startswith("#") and not lines[last].endswith(":"):
        asked = lines[last - 1] if last and lines[last - 1].endswith((":", "：", "?", "？")) else "winner"
        side, before = bare[last]["side"], "".join(f"{line}\n" for line in lines[:last])
        lost = side and _is_loser(side, before, len(before))
        clear = _ASKS.search(asked) and not _NOT.search(asked) and not lost
        earlier = [winner for line in lines[:last] for winner in _preferred(line, contrary=True) if winner]
        return [*map(_named, bare.values()), *earlier, *([] if clear else [None])], ""
    if 0 in bare and (len(lines[0].strip(" .\"'()[]")) == 1 or bare[0]["tie"]):
        return [*map(_named, bare.values())], "\n".join(lines[1:])
    return [], ""


def _preferred(text: str, *, contrary: bool = False) -> list[Winner | None]:
    """The verdicts in sentences such as "B is better"; None for one in doubt, or before the last line.

    With `contrary` those such as "A is worse" too.
    """
    lines = text.strip().splitlines()
    found: list[Winner | None] = []
    for place, line in enumerate(lines, start=1):
        sure = place == len(lines) and not _DOUBT.search(line) and not _QUOTE.search(line.strip("\"'“”「」 "))
        for sentence in _SENTENCE.split(line):
            said = [(match, _named(match)) for match in _PREFERRED.finditer(sentence)]
            if contrary:
                said += [(match, _OTHER.get(_named(match))) for match in _OUTDONE.finditer(sentence)]
            for match, winner in said:
                leads = match.start() <= _LONGEST_LEAD and _LEAD.fullmatch(sentence, 0, match.start())
                found.append(winner if sure and leads else None)
    return found


def _parsed(winner: Winner, answer: dict[str, Any]) -> Parsed:
    scores = _scores(answer.get("scores"))
    flags: tuple[str, ...] = ()
    if scores is None:
        flags = ("no_scores",)
    elif _contradicts(winner, scores):
        flags = ("contradicts_scores",)
    return Parsed(winner, reasoning_of(answer), scores, flags)


def _scores(value: object) -> tuple[float, float] | None:
    if not isinstance(value, dict):
        return None
    named = {_winner(key): _grade(score, (1, 10), "score") for key, score in value.items()}
    a, b = named.get("A"), named.get("B")
    return (a, b) if isinstance(a, float) and isinstance(b, float) else None


def _contradicts(winner: Winner, scores: tuple[float, float]) -> bool:
    a, b = scores
    return {"A": a < b, "B": b < a, "tie": a != b}[winner]


def verdict(first: str | None, second: str | None) -> Verdict:
    """The candidate's verdict on one example from the winners of both orders, in either order.

    The rule of MT-Bench (Zheng et al. 2023): a win or a loss needs both orders to agree on it. Everything
    else is a tie: one win each way, and a win or loss beside a tie. A None, for a failed or missing
    judgment, leaves no verdict: "failed".
    """
    if first is None or second is None:
        return "failed"
    outcomes: dict[str, Verdict] = {"candidate": "win", "baseline": "loss"}
    return outcomes.get(first, "tie") if first == second else "tie"
