"""Which language a text is in, as far as its script and its commonest words tell.

A rule of thumb that needs no model: the script stands for the commonest language written in it (Cyrillic for
Russian), and within the Latin one the function words decide. Short texts stay undecided rather than guessed.
"""

import re

from engine.data.example import Example
from engine.errors import BadInput
from engine.metrics.text import unicode_words

# Ranges of the scripts that name their language, or the commonest one written in them.
_SCRIPTS = (
    ("ja", re.compile("[\u3040-\u30ff]")),
    ("ko", re.compile("[\uac00-\ud7af\u1100-\u11ff]")),
    ("zh", re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")),
    ("th", re.compile("[\u0e00-\u0e7f]")),
    ("he", re.compile("[\u0590-\u05ff]")),
    ("el", re.compile("[\u0370-\u03ff]")),
    ("hi", re.compile("[\u0900-\u097f]")),
    ("ar", re.compile("[\u0600-\u06ff\u0750-\u077f]")),
    ("ru", re.compile("[\u0400-\u04ff]")),
    ("latin", re.compile("[A-Za-z\u00c0-\u024f]")),
)
_COMMON = """
en the and of to is in that it you for with are this not be have your was can
de der die das und ist nicht ein eine zu mit den auf für sie es ich im von dem
fr le la les et est un une des du dans que pour pas vous sur je ce qui avec au
es el la los las y es un una de que en por no para con su se lo como del
it il la che di è un una per non con sono del della gli le si come da nel
pt o a os as e é um uma de que em não para com se do da por no na você
nl de het een en is van niet dat in te op met voor zijn ik je aan er ook
"""
_FUNCTION_WORDS = {
    line.split()[0]: frozenset(line.split()[1:]) for line in _COMMON.strip().splitlines()
}  # fmt: skip
LANGUAGES = tuple(sorted({*(name for name, _ in _SCRIPTS if name != "latin"), *_FUNCTION_WORDS}))
_SAMPLE = 4000  # characters: enough to tell, and quick on a runaway response
_KANA_SHARE = 0.1


def detect(text: str) -> str | None:
    """The language of a text as a two-letter code, or None where it can't be told."""
    sample = text[:_SAMPLE]
    counts = {name: len(pattern.findall(sample)) for name, pattern in _SCRIPTS}
    if counts["ja"] > _KANA_SHARE * counts["zh"]:
        counts["ja"] += counts["zh"]
    script = max(counts, key=counts.__getitem__)
    if counts[script] == 0:
        return None
    return _latin(sample) if script == "latin" else script


def script_language(text: str) -> str:
    """The language to treat a text as: the detected one, else English."""
    return detect(text) or "en"


def language_of(example: Example, default: str | None, text: str) -> str:
    """The language that the example names (`language`), else the eval set's, else that of the text."""
    named = example.extra.get("language", default)
    return named.lower()[:2] if isinstance(named, str) and named else script_language(text)


def check_language(value: object, where: str) -> str | None:
    """A setting's language as a two-letter code, None when not set; BadInput for what is none."""
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch("[A-Za-z]{2}(-.*)?", value):
        from engine.plan.errors import listed  # with pydantic, which the app's process does without

        raise BadInput(
            f'{where}: expected a language such as "de", found {value!r}.', f"Detected: {listed(LANGUAGES)}."
        )
    return value.lower()[:2]


def _latin(sample: str) -> str | None:
    """The language with the most different function words in the text, two at least and no tie."""
    found = set(unicode_words(sample))
    votes = {name: len(found & common) for name, common in _FUNCTION_WORDS.items()}
    first, second = sorted(votes.values(), reverse=True)[:2]
    return max(votes, key=votes.__getitem__) if first >= 2 and first > second else None
