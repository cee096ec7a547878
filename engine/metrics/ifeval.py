"""The 25 instructions of IFEval, by the names and arguments of its public JSONL.

The verdicts are those of google-research/instruction_following_eval and of lm-eval's copy, quirks included.
Where the letter to count is no letter, theirs counts a random one, and here the one that is named counts.
What theirs would draw at random because an argument is missing is not decided here.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import regex

from engine.data.schemas import TIMEOUT_S, TooSlow
from engine.errors import BadInput
from engine.plan.errors import nearest

Follows = Callable[[str], bool]
_RELATIONS = ("less than", "at least")
_OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_REPEATS = re.compile(r"[*+?{]")
_TICKS = ("```json", "```Json", "```JSON", "```")


def instruction(name: str, arguments: Mapping[str, Any], where: str) -> Follows:
    """Whether a text follows the instruction of that name; raises TooSlow for a pattern that takes too long.

    `arguments` are one entry of `kwargs`; null ones are ignored. BadInput, naming `where` it stands, for an
    unknown instruction, or an argument that is missing or wrong.
    """
    if name not in _INSTRUCTIONS:
        raise BadInput(f'{where}: unknown instruction "{name}"{nearest(name, _INSTRUCTIONS)}')
    told = {key: value for key, value in arguments.items() if value is not None}
    try:
        return _INSTRUCTIONS[name](told)
    except KeyError as error:
        raise BadInput(f"{where}: {name} needs the argument {error}.") from error
    except (ValueError, regex.error, re.error) as error:
        raise BadInput(f"{where}: {name}: {error}.") from error


def loosened(text: str) -> list[str]:
    """The text, and what IFEval's loose verdict takes too: without asterisks, the first or last line.

    As in IFEval, nothing that is left blank follows an instruction.
    """
    lines = text.split("\n")
    cut = [text, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    others = [*cut[1:], *(one.replace("*", "") for one in cut)]
    return list(dict.fromkeys([text, *(other for other in others if other.strip())]))


def _number(told: Mapping[str, Any], key: str) -> int:
    value = told[key]
    # Tables pad whole numbers to 3.0.
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value != int(value):
        raise ValueError(f"{key}: expected a whole number of 0 or more, found {value!r}")
    return int(value)


def _text(told: Mapping[str, Any], key: str) -> str:
    if not isinstance(told[key], str) or not told[key]:
        raise ValueError(f"{key}: expected a text, found {told[key]!r}")
    return str(told[key])


def _texts(told: Mapping[str, Any], key: str) -> list[str]:
    value = told[key]
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise ValueError(f"{key}: expected a list of texts, found {value!r}")
    return value


def _relation(told: Mapping[str, Any], number: str, relation: str) -> Callable[[int], bool]:
    limit = _number(told, number)
    if told[relation] not in _RELATIONS:
        raise ValueError(f'{relation}: expected "less than" or "at least", found {told[relation]!r}')
    return (lambda count: count < limit) if told[relation] == "less than" else (lambda count: count >= limit)


def _count(pattern: str, flags: int = 0) -> Callable[[str], int]:
    """How often a pattern matches: by `re` where it can't run away, else by `regex` with a time limit."""
    if not _REPEATS.search(pattern):
        plain = re.compile(pattern, flags)
        return lambda text: len(plain.findall(text))
    timed = regex.compile(pattern, flags | regex.VERSION0)

    def count(text: str) -> int:
        try:
            return len(timed.findall(text, timeout=TIMEOUT_S))
        except TimeoutError as error:
            raise TooSlow from error

    return count


def _existence(told: Mapping[str, Any]) -> Follows:
    counts = [_count(keyword, re.IGNORECASE) for keyword in _texts(told, "keywords")]
    return lambda text: all(count(text) > 0 for count in counts)


def _frequency(told: Mapping[str, Any]) -> Follows:
    holds, count = (
        _relation(told, "frequency", "relation"),
        _count(_text(told, "keyword").strip(), re.IGNORECASE),
    )
    return lambda text: holds(count(text))


def _forbidden_words(told: Mapping[str, Any]) -> Follows:
    counts = [_count(rf"\b{word}\b", re.IGNORECASE) for word in _texts(told, "forbidden_words")]
    return lambda text: not any(count(text) > 0 for count in counts)


def _letter_frequency(told: Mapping[str, Any]) -> Follows:
    holds, letter = _relation(told, "let_frequency", "let_relation"), _text(told, "letter").strip().lower()
    if len(letter) != 1:
        raise ValueError(f"letter: expected one letter, found {told['letter']!r}")
    return lambda text: holds(text.lower().count(letter))


def _response_language(told: Mapping[str, Any]) -> Follows:
    language = _text(told, "language")
    return lambda text: _detected(text) in (language, None)


def _number_sentences(told: Mapping[str, Any]) -> Follows:
    holds = _relation(told, "num_sentences", "relation")
    return lambda text: holds(len(_sentences(text)))


def _number_paragraphs(told: Mapping[str, Any]) -> Follows:
    wanted = _number(told, "num_paragraphs")

    def follows(text: str) -> bool:
        paragraphs = re.split(r"\s?\*\*\*\s?", text)
        empty = [place for place, paragraph in enumerate(paragraphs) if not paragraph.strip()]
        inside = any(0 < place < len(paragraphs) - 1 for place in empty)
        return not inside and len(paragraphs) - len(empty) == wanted

    return follows


def _number_words(told: Mapping[str, Any]) -> Follows:
    holds = _relation(told, "num_words", "relation")
    # Of `regex`, as nltk's tokenizer has it: marks as those of Hindi are part of a word.
    return lambda text: holds(len(regex.findall(r"\w+", text)))


def _nth_paragraph_first_word(told: Mapping[str, Any]) -> Follows:
    wanted, nth = _number(told, "num_paragraphs"), _number(told, "nth_paragraph")
    first = _text(told, "first_word").lower()
    if not 1 <= nth <= wanted:
        raise ValueError(f"nth_paragraph: expected 1 to {wanted}, found {nth}")

    def follows(text: str) -> bool:
        paragraphs = text.split("\n\n")
        count = sum(1 for paragraph in paragraphs if paragraph.strip())
        # Theirs takes the nth of all, and the number without the empty ones.
        if nth > count or not (words := paragraphs[nth - 1].split()):
            return False
        word = words[0].lstrip("'").lstrip('"')
        return count == wanted and re.split(r"[.,?!'\"]", word)[0].lower() == first

    return follows


def _number_placeholders(told: Mapping[str, Any]) -> Follows:
    wanted = _number(told, "num_placeholders")
    return lambda text: len(re.findall(r"\[.*?\]", text)) >= wanted


def _postscript(told: Mapping[str, Any]) -> Follows:
    marker = _text(told, "postscript_marker").strip()
    known = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    count = _count(known.get(marker, marker.lower()))
    return lambda text: count(text.lower()) > 0


def _number_bullet_lists(told: Mapping[str, Any]) -> Follows:
    wanted = _number(told, "num_bullets")
    stars, dashes = (_count(rf"^\s*{mark}.*$", re.MULTILINE) for mark in (r"\*[^\*]", "-"))
    return lambda text: stars(text) + dashes(text) == wanted


def _constrained_response(_: Mapping[str, Any]) -> Follows:
    return lambda text: any(option in text for option in _OPTIONS)


def _number_highlighted_sections(told: Mapping[str, Any]) -> Follows:
    wanted = _number(told, "num_highlights")

    def follows(text: str) -> bool:
        found = re.findall(r"\*[^\n\*]*\*", text) + re.findall(r"\*\*[^\n\*]*\*\*", text)
        return sum(1 for one in found if one.strip("*").strip()) >= wanted

    return follows


def _multiple_sections(told: Mapping[str, Any]) -> Follows:
    wanted = _number(told, "num_sections")
    count = _count(rf"\s?{_text(told, 'section_spliter').strip()}\s?\d+\s?")
    return lambda text: count(text) >= wanted


def _json_format(_: Mapping[str, Any]) -> Follows:
    def follows(text: str) -> bool:
        inner = text.strip()
        for tick in _TICKS:
            inner = inner.removeprefix(tick)
        try:
            json.loads(inner.removesuffix("```").strip())
        except (ValueError, RecursionError):
            return False
        return True

    return follows


def _title(_: Mapping[str, Any]) -> Follows:
    return lambda text: any(
        title.lstrip("<").rstrip(">").strip() for title in re.findall(r"<<[^\n]+>>", text)
    )


def _two_responses(_: Mapping[str, Any]) -> Follows:
    def follows(text: str) -> bool:
        parts = [part.strip() for part in text.split("******")]
        given = [part for part in parts if part]
        return all(parts[1:-1]) and len(given) == 2 and given[0] != given[1]

    return follows


def _repeat_prompt(told: Mapping[str, Any]) -> Follows:
    prompt = _text(told, "prompt_to_repeat").strip().lower()
    return lambda text: text.strip().lower().startswith(prompt)


def _end_checker(told: Mapping[str, Any]) -> Follows:
    phrase = _text(told, "end_phrase").strip().lower()
    return lambda text: text.strip().strip('"').lower().endswith(phrase)


def _capital_word_frequency(told: Mapping[str, Any]) -> Follows:
    holds = _relation(told, "capital_frequency", "capital_relation")

    def follows(text: str) -> bool:
        cut = _word_tokenizer().tokenize
        return holds(sum(word.isupper() for sentence in _sentences(text) for word in cut(sentence)))

    return follows


def _english_capital(_: Mapping[str, Any]) -> Follows:
    return lambda text: text.isupper() and _detected(text) in ("en", None)


def _english_lowercase(_: Mapping[str, Any]) -> Follows:
    return lambda text: text.islower() and _detected(text) in ("en", None)


def _no_comma(_: Mapping[str, Any]) -> Follows:
    return lambda text: "," not in text


def _quotation(_: Mapping[str, Any]) -> Follows:
    return lambda text: re.fullmatch(r'".*"', text.strip(), re.DOTALL) is not None


_INSTRUCTIONS: Mapping[str, Callable[[Mapping[str, Any]], Follows]] = {
    "keywords:existence": _existence,
    "keywords:frequency": _frequency,
    "keywords:forbidden_words": _forbidden_words,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": _response_language,
    "length_constraints:number_sentences": _number_sentences,
    "length_constraints:number_paragraphs": _number_paragraphs,
    "length_constraints:number_words": _number_words,
    "length_constraints:nth_paragraph_first_word": _nth_paragraph_first_word,
    "detectable_content:number_placeholders": _number_placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _number_bullet_lists,
    "detectable_format:constrained_response": _constrained_response,
    "detectable_format:number_highlighted_sections": _number_highlighted_sections,
    "detectable_format:multiple_sections": _multiple_sections,
    "detectable_format:json_format": _json_format,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeat_prompt,
    "startend:end_checker": _end_checker,
    "startend:quotation": _quotation,
    "change_case:capital_word_frequency": _capital_word_frequency,
    "change_case:english_capital": _english_capital,
    "change_case:english_lowercase": _english_lowercase,
    "punctuation:no_comma": _no_comma,
}
INSTRUCTIONS = tuple(_INSTRUCTIONS)


def _detected(text: str) -> str | None:
    """langdetect's language of a text; None where it finds nothing to tell it by, which IFEval lets pass.

    Seeded, since langdetect draws at random: the same text has the same language in every run.
    """
    import langdetect

    langdetect.DetectorFactory.seed = 0
    try:
        return str(langdetect.detect(text))
    except langdetect.LangDetectException:
        return None


def _sentences(text: str) -> list[str]:
    found: list[str] = _punkt().tokenize(text)
    return found


@lru_cache(maxsize=1)
def _punkt() -> Any:
    """nltk's tokenizer with its own English model, which the package `punkt` brings along: no download."""
    import punkt

    from engine.metrics.lean_nltk import PunktParameters, PunktSentenceTokenizer

    model, parameters = punkt.load_model("english"), PunktParameters()
    for name in ("abbrev_types", "collocations", "sent_starters"):
        setattr(parameters, name, set(getattr(model, name)))
    parameters.ortho_context.update(model.ortho_context)
    return PunktSentenceTokenizer(parameters)


@lru_cache(maxsize=1)
def _word_tokenizer() -> Any:
    from engine.metrics.lean_nltk import NLTKWordTokenizer

    return NLTKWordTokenizer()
