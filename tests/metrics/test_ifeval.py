"""IFEval: each verdict equals that of the public implementation, which lm-eval has a copy of."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any
from unittest.mock import patch

import langdetect
import nltk
import numpy as np
import pytest

from engine.data.example import Example
from engine.data.schemas import TooSlow
from engine.errors import BadInput
from engine.metrics.checks import Instructions
from engine.metrics.ifeval import INSTRUCTIONS, _punkt, _word_tokenizer, instruction
from engine.metrics.metric import Score
from engine.models.model import Response

ARGUMENTS: dict[str, dict[str, Any]] = {
    "keywords:existence": {"keywords": ["cat", "item"]},
    "keywords:frequency": {"keyword": "item", "frequency": 2, "relation": "at least"},
    "keywords:forbidden_words": {"forbidden_words": ["no", "cat"]},
    "keywords:letter_frequency": {"letter": "t", "let_frequency": 3, "let_relation": "less than"},
    "language:response_language": {"language": "de"},
    "length_constraints:number_sentences": {"num_sentences": 2, "relation": "at least"},
    "length_constraints:number_paragraphs": {"num_paragraphs": 2},
    "length_constraints:number_words": {"num_words": 5, "relation": "less than"},
    "length_constraints:nth_paragraph_first_word": {
        "num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Quoted",
    },
    "detectable_content:number_placeholders": {"num_placeholders": 2},
    "detectable_content:postscript": {"postscript_marker": "P.S."},
    "detectable_format:number_bullet_lists": {"num_bullets": 2},
    "detectable_format:constrained_response": {},
    "detectable_format:number_highlighted_sections": {"num_highlights": 2},
    "detectable_format:multiple_sections": {"section_spliter": "SECTION", "num_sections": 2},
    "detectable_format:json_format": {},
    "detectable_format:title": {},
    "combination:two_responses": {},
    "combination:repeat_prompt": {"prompt_to_repeat": "Say it twice."},
    "startend:end_checker": {"end_phrase": "Any other questions?"},
    "startend:quotation": {},
    "change_case:capital_word_frequency": {"capital_frequency": 2, "capital_relation": "at least"},
    "change_case:english_capital": {},
    "change_case:english_lowercase": {},
    "punctuation:no_comma": {},
}  # fmt: skip
TEXTS = (
    "", " \n", "123", "*", "say it twice. Then an answer, with a comma.", "First part.\n***\nSecond part.",
    "***\n\n***", "One.\n******\nTwo.", "One.\n******\nOne.", "Some text.\n\n'Quoted' is the first word.",
    "A.\n\n\n\nQuoted, it is.", "Dear [name], write to [address].\nP. S. Call me.", "* item one\n- item two",
    "Here they are:\n* item\n* item", "My answer is maybe.", "*bold* and **strong**", "** **",
    "SECTION 1\ntext\nSECTION 2\ntext", '{"a": [1, 2]}', '```json\n{"a": 1}\n```', "```\nno\n```",
    "<<A title>>\nText",
    "<< >>", "It ends. Any other questions?", '"It ends. Any other questions?"', '"',
    "NASA and ESA met Dr. Smith in D.C.", "THIS IS AN ENGLISH SENTENCE IN CAPITAL LETTERS.",
    "this is an english sentence without any capital letters.", "a cat! an item? no.",
    "Das hier ist ein deutscher Satz über eine Katze, nicht mehr.", "नमस्ते दुनिया", "你好。",
    "Sure, here it is:\n* item\nBye", "*i*t*e*m* cat ***",
)  # fmt: skip


@pytest.fixture(scope="module")
def public() -> Iterator[Any]:
    """lm-eval's copy, without the rest of lm-eval, and with the data that it would download."""
    folder = Path(importlib.util.find_spec("lm_eval").submodule_search_locations[0])  # type: ignore[union-attr,index]
    stubs = {
        name: ModuleType(name)
        for name in ("lm_eval", "lm_eval.tasks", "lm_eval.tasks.ifeval", "immutabledict")
    }
    for name, stub in stubs.items():
        stub.__path__ = [str(folder.parent / name.replace(".", "/"))]
    stubs["immutabledict"].immutabledict = MappingProxyType  # type: ignore[attr-defined]
    with patch.dict(sys.modules, stubs), patch.object(nltk.data, "find"):
        utils = importlib.import_module("lm_eval.tasks.ifeval.utils")
        shared = sys.modules["lm_eval.tasks.ifeval.instructions_util"]
    langdetect.DetectorFactory.seed = 0

    def cut(text: str) -> list[str]:
        return [word for sentence in _punkt().tokenize(text) for word in _word_tokenizer().tokenize(sentence)]

    with (
        patch.object(shared, "_get_sentence_tokenizer", _punkt),
        patch.object(shared.nltk, "word_tokenize", cut),
    ):
        yield utils


def scores(text: str, names: list[str], arguments: list[dict[str, Any]]) -> dict[str, Score]:
    extra = {"key": 1, "instruction_id_list": names, "kwargs": arguments}
    example = Example("e", "q", ({"role": "user", "content": "q"},), extra=extra)
    found = Instructions().score(example, Response("e", text, 1, 1, "stop", 0.1))
    return {score.measure: score for score in found}


def test_there_are_the_25_of_the_paper() -> None:
    assert len(INSTRUCTIONS) == 25 and set(ARGUMENTS) == set(INSTRUCTIONS)


@pytest.mark.parametrize("text", TEXTS)
def test_strict_and_loose_verdicts_are_the_public_ones(public: Any, text: str) -> None:
    names = list(ARGUMENTS)
    padded = [{**arguments, "unused": None} for arguments in ARGUMENTS.values()]
    doc = {"key": 1, "prompt": "q", "instruction_id_list": names, "kwargs": padded}
    theirs = public.process_results(doc, [text])
    ours = scores(text, names, padded)
    for suffix, kind in (("", "strict"), ("_loose", "loose")):
        verdicts = theirs[f"inst_level_{kind}_acc"]
        assert ours[f"checks_passed{suffix}"].parts == (float(sum(verdicts)), 25.0)
        assert ours[f"checks_all{suffix}"].value == float(theirs[f"prompt_level_{kind}_acc"])
    failed = {part.split(": ")[0] for part in (ours["checks_passed"].reason or "").split("; ")}
    strict = theirs["inst_level_strict_acc"]
    assert failed - {""} == {name for name, followed in zip(names, strict, strict=True) if not followed}
    for name, followed in zip(names, strict, strict=True):
        assert (bool(text.strip()) and instruction(name, ARGUMENTS[name], "x")(text)) == followed, name


def test_every_instruction_is_followed_by_one_text_and_not_by_another() -> None:
    for name, arguments in ARGUMENTS.items():
        follows = instruction(name, arguments, "x")
        assert {follows(text) for text in TEXTS if text.strip()} == {True, False}, name


def test_accuracy_by_instruction_weighs_instructions_and_by_prompt_prompts() -> None:
    one = scores("a, b", ["punctuation:no_comma"], [{}])
    two = scores("a b", ["punctuation:no_comma", "startend:quotation"], [{}, {}])
    rates = {}
    for measure in Instructions().measures[:2]:
        parts = np.array([scored[measure.name].additive() for scored in (one, two)])
        rates[measure.name] = float(measure.combine(parts.sum(axis=0)))
    assert rates == {"checks_passed": pytest.approx(1 / 3), "checks_all": 0.0}


def test_a_letter_that_is_none_is_counted_itself() -> None:
    told = {"letter": "!", "let_frequency": 2, "let_relation": "at least"}
    follows = instruction("keywords:letter_frequency", told, "x")
    assert follows("Hi! Ho!") and not follows("Hi!")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("keywords:existense", {}, 'unknown instruction "keywords:existense"'),
        ("keywords:existence", {"keywords": None}, "needs the argument 'keywords'"),
        ("keywords:existence", {"keywords": "cat"}, "expected a list of texts"),
        (
            "keywords:frequency",
            {"keyword": "(", "frequency": 1, "relation": "at least"},
            "keywords:frequency",
        ),
        (
            "length_constraints:number_words",
            {"num_words": 5, "relation": "at most"},
            '"less than" or "at least"',
        ),
        ("length_constraints:number_words", {"num_words": -5, "relation": "at least"}, "a whole number"),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 1, "nth_paragraph": 2, "first_word": "a"},
            "expected 1 to 1",
        ),
    ],
)
def test_what_the_public_one_would_draw_at_random_is_missing(
    name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match="example e") as error:
        instruction(name, arguments, "instruction_id_list of example e")
    assert message in str(error.value)
    scored = scores("text", ["punctuation:no_comma", name], [{}, arguments])
    assert all(score.value is None and message in (score.reason or "") for score in scored.values())


def test_a_pattern_that_runs_away_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.metrics.ifeval.TIMEOUT_S", 0.05)
    follows = instruction("keywords:existence", {"keywords": ["^(a|a)*$"]}, "x")
    with pytest.raises(TooSlow):
        follows("a" * 40 + "!")
