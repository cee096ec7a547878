"""What is read of slices, corpora and disparities: order, what is settled, and what is missing."""

from pathlib import Path
from typing import Any

import pytest

from store import database, records
from store.read import slices
from store.read.history import Connection, attach
from store.write import Recorder
from tests.rulings import ruled_slices


def comparison(pair: tuple[int, int], name: str, delta: float | None, p: float | None) -> dict[str, Any]:
    row = {"baseline_id": pair[0], "candidate_id": pair[1], "measure": "rougeL", "direction": "higher"}
    ends = (None, None) if delta is None else (delta - 0.1, delta + 0.1)
    reason = "no interval from a single example" if delta is None else None
    values = {"candidate_value": 0.5, "baseline_value": 0.4, "delta": delta, "low": ends[0], "high": ends[1]}
    return row | values | {"slice": name, "p": p, "n": 9, "reason": reason}


@pytest.fixture
def connection(recorder: Recorder, folder: Path) -> Connection:
    return attach(database.connect(folder))


def test_slices_that_are_settled_as_worse_come_first_and_those_settled_as_better_last(
    recorder: Recorder, two_models: tuple[int, int], connection: Connection
) -> None:
    rows = [
        comparison(two_models, "numbers", 0.3, 0.001),
        comparison(two_models, "code", None, None),
        comparison(two_models, "negation", -0.2, 0.04),
        comparison(two_models, "very short prompt", -0.3, 0.002),
        comparison(two_models, "not English", -0.2, 0.2),
        comparison(two_models, "category: a", -0.05, 0.04),  # its interval holds 0
    ]
    recorder.append([records.SliceComparison(**row) for row in ruled_slices(rows)])
    found = slices.slices(connection, recorder.run_id)
    assert [(row.slice, row.standing) for row in found] == [
        ("very short prompt", "worse"),
        ("negation", "worse"),
        ("category: a", "inconclusive"),
        ("not English", "inconclusive"),
        ("numbers", "better"),
        ("code", "missing"),
    ]
    assert (found[0].candidate, found[0].baseline) == ("good", "base")
    assert [row.slice for row in slices.worst(found, 1)] == ["very short prompt"]
    assert found[-1].reason == "no interval from a single example"


@pytest.mark.parametrize(("direction", "standing"), [("lower", "better"), ("none", "less")])
def test_the_measures_direction_decides_what_is_worse(
    recorder: Recorder,
    two_models: tuple[int, int],
    connection: Connection,
    direction: str,
    standing: str,
) -> None:
    row = comparison(two_models, "numbers", -0.3, 0.001) | {"direction": direction}
    recorder.append([records.SliceComparison(**one) for one in ruled_slices([row])])
    (found,) = slices.slices(connection, recorder.run_id)
    assert found.standing == standing


def test_a_corpus_is_summed_over_its_texts_and_counts_the_missing_ones(
    recorder: Recorder, two_models: tuple[int, int], connection: Connection
) -> None:
    texts = [(69.3, 100, 400, None), (138.6, 200, 900, None), (None, 0, 7, "fewer than two tokens")]
    recorder.append(
        [
            records.CorpusScore(
                model_id=two_models[0],
                corpus="general",
                text=place,
                nll=nll,
                tokens=tokens,
                bytes=size,
                reason=reason,
            )
            for place, (nll, tokens, size, reason) in enumerate(texts)
        ]
    )
    recorder.append(
        records.CorpusScore(
            model_id=two_models[1],
            corpus="general",
            text=0,
            nll=None,
            tokens=0,
            bytes=400,
            reason="a window does not fit into memory",
        )
    )
    base, good = slices.corpora(connection, recorder.run_id)
    assert (base.model, base.texts, base.missing, base.reason) == ("base", 3, 1, "fewer than two tokens")
    assert base.tokens == 300 and base.bytes == 1300
    assert base.perplexity == pytest.approx(2.0, abs=1e-3)
    assert base.bits_per_byte == pytest.approx(300 / 1300, abs=1e-3)
    assert (good.nll, good.perplexity, good.bits_per_byte, good.missing) == (None, None, None, 1)


def test_the_surest_disparity_comes_first_and_one_without_p_is_not_settled(
    recorder: Recorder, two_models: tuple[int, int], connection: Connection
) -> None:
    row = {"model_id": two_models[1], "first": "men", "second": "women", "low": 0.1, "high": 0.3, "n": 40}
    rows = [
        ("refusal", 0.2, None, "not tested"),
        ("toxicity", 0.2, 0.03, "more"),
        ("personal_data", 0.2, 0.001, "less"),
    ]
    recorder.append(
        [
            records.StoredDisparity(**{**row, "measure": name, "delta": delta, "p": p, "standing": standing})
            for name, delta, p, standing in rows
        ]
    )
    found = slices.disparities(connection, recorder.run_id)
    assert [(item.measure, item.is_settled) for item in found] == [
        ("personal_data", True),
        ("toxicity", True),
        ("refusal", False),
    ]


def test_a_slices_score_is_of_its_model(
    recorder: Recorder, two_models: tuple[int, int], connection: Connection
) -> None:
    row = {
        "measure": "rougeL",
        "slice": "numbers",
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "n": 9,
        "missing": 1,
    }
    recorder.append(
        [records.SliceScore(**{**row, "model_id": model, "reason": "no response"}) for model in two_models]
    )
    found = slices.slice_scores(connection, recorder.run_id)
    assert [(score.model, score.n, score.missing) for score in found] == [("base", 9, 1), ("good", 9, 1)]
