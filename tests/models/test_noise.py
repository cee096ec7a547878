"""The noise floor: nothing in 32 bits, something in 16, and nothing again when each prompt is asked alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from engine.models.fingerprint import ResponseCache
from engine.models.local import LocalBase, LocalModel
from engine.models.model import Settings
from engine.models.noise import noise_floor
from engine.plan.plan import Model
from tests.models.tiny import ask

SAMPLE = Path(__file__).parents[2] / "samples/models/base"
SETTINGS = Settings(max_new_tokens=24)
QUESTIONS = [ask("the cat " * (number % 9) + f"{number} dog") for number in range(40)]


def opened(path: Path, dtype: str, cache: ResponseCache | None = None) -> LocalModel:
    model = Model(name="m", role="candidate", path=str(path), dtype=dtype)  # type: ignore[arg-type]  # a parameter
    return LocalBase(str(path), dtype=dtype, device="cpu").generator(model, cache)


def texts(model: LocalModel, settings: Settings) -> dict[str, str | None]:
    return {r.example_id: r.text for batch in model.generate(QUESTIONS, settings) for r in batch}


def test_in_32_bits_the_sample_model_has_none() -> None:
    found = noise_floor(opened(SAMPLE, "float32"), QUESTIONS[:12], SETTINGS)
    assert (found.changed, found.n, found.share, found.first_token) == (0, 12, 0.0, None)
    assert found.low == 0.0 and found.high is not None and found.high < 0.3


def test_in_16_bits_it_can_be_measured(base: Path) -> None:
    found = noise_floor(opened(base, "bfloat16"), QUESTIONS, replace(SETTINGS, max_new_tokens=60))
    assert 0 < found.changed < found.n == len(QUESTIONS)
    assert found.share == found.changed / found.n
    assert found.first_token is not None and found.first_token >= 0


def test_answers_one_by_one_do_not_depend_on_what_else_is_asked(base: Path) -> None:
    alone = replace(SETTINGS, deterministic=True)
    whole = texts(opened(base, "bfloat16"), alone)
    assert texts(opened(base, "bfloat16"), replace(alone, slots=4, batch_size=4)) == whole
    model = opened(base, "bfloat16")
    for question in QUESTIONS[::-7]:
        [response] = [one for batch in model.generate([question], SETTINGS) for one in batch]
        assert response.text == whole[question.id]


def test_examples_without_an_answer_are_counted_apart(base: Path) -> None:
    found = noise_floor(opened(base, "float32"), [ask("cat " * 200, "long"), *QUESTIONS[:3]], SETTINGS)
    assert (found.n, found.unanswered) == (3, 1)


def test_without_answers_there_is_no_share(base: Path) -> None:
    found = noise_floor(opened(base, "float32"), [ask("cat " * 200, "long")], SETTINGS)
    assert (found.n, found.share, found.unanswered) == (0, None, 1)


@pytest.mark.parametrize("unanswerable", [0, 1])
def test_one_answer_alone_has_no_batch_and_so_no_share(base: Path, unanswerable: int) -> None:
    asked = [QUESTIONS[0], *[ask("cat " * 200, "long")] * unanswerable]
    found = noise_floor(opened(base, "float32"), asked, SETTINGS)
    assert (found.n, found.share, found.unanswered) == (0, None, unanswerable)


def test_nothing_comes_from_the_cache_and_nothing_is_put_there(base: Path, tmp_path: Path) -> None:
    with ResponseCache(tmp_path) as cache:
        model = opened(base, "float32", cache)
        noise_floor(model, QUESTIONS[:2], SETTINGS)
        assert not any(r.cached for batch in model.generate(QUESTIONS[:2], SETTINGS) for r in batch)


def test_it_can_be_stopped_between_two_pieces_of_work(base: Path) -> None:
    class Stop(Exception):
        pass

    def stop(way: str, count: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        noise_floor(opened(base, "float32"), QUESTIONS, SETTINGS, stop)
