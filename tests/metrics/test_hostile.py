"""What models and data may hold: nothing crashes, hangs or counts as something that it isn't."""

import json
import math
import time
from typing import Any

import numpy as np
import pytest

from engine.data.example import Example
from engine.metrics.load import load_metric
from engine.metrics.metric import Metric
from engine.models.model import Response

SETTINGS: dict[str, dict[str, Any]] = {
    "rouge": {},
    "bleu": {},
    "bleu_orders": {},
    "sacrebleu": {},
    "chrf": {},
    "meteor": {},
    "exact_match": {},
    "token_f1": {},
    "contains": {},
    "regex": {"pattern": r"(\w+\s*)+$"},
    "numeric": {},
    "edit_similarity": {},
    "classification": {"labels": ["no", "not sure", "yes"]},
    "entities": {},
    "tags": {},
    "set_f1": {},
    "json_fields": {},
    "format": {"schema": {"type": "object"}},
    "checks": {"json": True, "max_words": 5, "language": "de", "code_block": True, "required": "x"},
    "length": {},
}
REFERENCES = {
    "plain": "The printer is on fire: 42",
    "empty": "",
    "half a character": "\ud800 printer \udfff",
    "tags": "B-PER I-PER O",
    "entities": '[{"text": "Ann", "type": "PER"}]',
    "object": '{"a": 1, "b": [true, null]}',
    "deep": "[" * 50_000,
    "foreign": "打印机着火了 ไฟไหม้ الطابعة",
}
ANSWERS = {
    "empty": "",
    "white space": " \n\t\u2028\u00a0 ",
    "half a character": "\ud800\udc00\udfff \ud83d",
    "control characters": "\x00\x1b[2J\x07\u202e\u200b\ufeff",
    "not a number": "NaN Infinity -inf 1e999 -1e999",
    "NaN in JSON": '{"a": NaN, "b": Infinity, "c": 1e999}',
    "digits": "9" * 10_000,
    "deep JSON": '{"a":' * 20_000,
    "deep closed JSON": "[" * 50_000 + "]" * 50_000,
    "many openings": "{ [ " * 20_000,
    "marks": "!" * 50_000,
    "fences": "```\n" * 20_000,
    "commas": "1," * 20_000 + "1111",
}
LONG = {
    "words": "the printer burns again " * 9_000,
    "one word": "a" * 200_000,
    "lines": "yes\nno\n" * 30_000,
    "Chinese": "打印机着火了" * 32_000,
}


def example(reference: str | None) -> Example:
    references = () if reference is None else (reference,)
    return Example("e", "q", ({"role": "user", "content": "q"},), references, label="no")


def check(metric: Metric, reference: str | None, text: str | None) -> None:
    scores = metric.score(example(reference), Response("e", text, 1, 1, "stop", 0.1, reason="timed out"))
    assert [score.measure for score in scores] == [measure.name for measure in metric.measures]
    for score, measure in zip(scores, metric.measures, strict=True):
        if score.value is None:
            assert score.reason
            continue
        assert math.isfinite(score.value)
        assert measure.low is None or measure.low - 1e-12 <= score.value
        assert measure.high is None or score.value <= measure.high + 1e-12
        assert np.isfinite(np.array(score.additive())).all()
        json.dumps([score.value, score.parts], allow_nan=False)


@pytest.mark.parametrize("name", SETTINGS)
def test_hostile_text_on_either_side(name: str) -> None:
    metric = load_metric(name, SETTINGS[name])
    for reference in (None, *REFERENCES.values()):
        for text in (None, *ANSWERS.values()):
            check(metric, reference, text)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("kind", LONG)
def test_an_answer_of_two_hundred_thousand_characters_takes_seconds_at_most(name: str, kind: str) -> None:
    metric = load_metric(name, SETTINGS[name])
    began = time.process_time()
    check(metric, REFERENCES["foreign" if kind == "Chinese" else "plain"], LONG[kind])
    assert time.process_time() - began < 6


@pytest.mark.parametrize("name", SETTINGS)
def test_an_absent_answer_is_missing_with_its_reason(name: str) -> None:
    metric = load_metric(name, SETTINGS[name])
    absent = Response("e", None, None, None, None, None, reason="timed out")
    for reference in REFERENCES.values():
        assert all(score.value is None and score.reason for score in metric.score(example(reference), absent))
