"""Leaving out expressions whose words a text does not hold changes no match."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from engine.metrics import literals, refusals
from engine.metrics.literals import Alternatives, needed

TSV = Path(__file__).with_name("refusals.tsv")
PATTERNS = [r"\bi (?:can'?t|cannot) (?:help|assist)", r"^sorry\b", r"(?:ab|a)c+", r"\d{2,}", r"[Üü]bel"]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"\bi (?:can't|will not) help", {" help"}),
        (r"(?:please|kindly) go", {"please", "kindly"}),
        (r"(?:please|kindly)? go", {" go"}),
        (r"(?:very )+good", {"very "}),
        (r"(?=never)yes|no way", {"yes", "no way"}),
        (r"ÄRGER\b", {"ärger"}),
        (r"a|bcd", None),
        (r"[a-z]+\d", None),
        (r"(?:long)?x*", None),
    ],
)
def test_words_that_each_match_holds(pattern: str, words: set[str] | None) -> None:
    assert needed(pattern) == words


def test_the_first_match_is_that_of_the_expressions_joined() -> None:
    joined, apart = re.compile("|".join(PATTERNS), re.IGNORECASE), Alternatives(PATTERNS)
    texts = [
        "I CAN'T assist 42",
        "sorry, I cannot help",
        "abcc",
        "Übel 1",
        "ÜBEL",
        "",
        "I can help 12",
        "Sorry",
    ]
    for text in texts:
        for start in (0, 1, 4):
            found, expected = apart.search(text, start), joined.search(text, start)
            assert (found and found.span()) == (expected and expected.span()), (text, start)


def test_the_rules_for_refusals_match_as_before() -> None:
    told = tomllib.loads(Path(refusals.__file__).with_suffix(".toml").read_text())
    rules = refusals._rules()
    assert {"rules", "asides", "excuses"} <= told.keys()
    for one in (rules.rules, rules.asides, rules.excuses):
        joined = re.compile("|".join(rule.pattern for rule, _ in one._rules), re.IGNORECASE)
        for line in TSV.read_text().splitlines()[::20]:
            text = line.split("\t")[-1][:300]
            found, expected = one.search(text), joined.search(text)
            assert (found and found.span()) == (expected and expected.span()), text


def test_letters_that_match_others_are_known() -> None:
    """A text in capitals, with a long s or a dotless i, is found where the expression matches it."""
    every = "".join(map(chr, [*range(0xD800), *range(0xE000, sys.maxunicode + 1)]))
    rules = refusals._rules()
    letters = set().union(
        *(word for one in (rules.rules, rules.asides, rules.excuses) for word in one._words)
    )
    for same in re.findall(f"[{re.escape(''.join(letters))}]", every, re.IGNORECASE):
        assert same.lower() in letters or literals._ODD.search(same), same
    assert Alternatives(["say it"]).search("ſAY İT")
