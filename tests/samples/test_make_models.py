"""The sample weights, data and plans: made by their scripts, disjoint where they must be, small."""

import json
from pathlib import Path
from random import Random

import pytest
from safetensors.numpy import load_file

from engine.data.example import normalise
from engine.data.examples import read_examples
from engine.plan.plan import read_plan
from samples import corpus, make_data, make_models, make_traffic, world

SAMPLES = Path(make_data.__file__).parent
MODELS = SAMPLES / "models"
EVAL_SETS = ["domain.jsonl", "general.jsonl"]


def test_the_data_files_are_what_their_script_writes(tmp_path: Path) -> None:
    make_data.write_all(tmp_path)
    written = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 8
    for path in written:
        assert (SAMPLES / path).read_bytes() == (tmp_path / path).read_bytes(), path


@pytest.mark.parametrize("name", EVAL_SETS)
def test_eval_sets_have_200_different_questions_in_four_equal_categories(name: str) -> None:
    examples = read_examples(SAMPLES / "eval" / name)
    assert len({normalise(example.query) for example in examples}) == 200
    categories = [example.category for example in examples]
    assert {categories.count(category) for category in categories} == {50}


def test_no_evaluation_question_stands_in_the_training_text() -> None:
    held_out = {
        normalise(example.query) for name in EVAL_SETS for example in read_examples(SAMPLES / "eval" / name)
    }
    held_out |= {
        normalise(str(doc["question"])) for skill in world.SKILLS for doc in make_data.benchmark_docs(skill)
    }
    rng = Random(5)
    trained_on = [ticket.text for ticket in make_data.training_tickets()]
    for _ in range(20_000):
        lesson = corpus.foundation(rng)
        trained_on += [lesson.user or "", lesson.prefix, lesson.target]
    texts = {normalise(part) for text in trained_on for part in (text, text.split(": ", 1)[-1])}
    texts |= {text.removeprefix("question: ").removesuffix(" answer:") for text in texts}
    assert not held_out & texts


def test_a_fact_has_the_same_answer_in_every_wording() -> None:
    rng = Random(6)
    for _ in range(500):
        question = world.draw(rng, "facts", held_out=rng.random() < 0.5)
        town = next(town for town in world.TOWNS if town in question.query)
        assert question.answer in {world.FACTS[town, kind] for kind in world.FACT_VALUES}


def test_multiple_choice_docs_hold_their_answer_once() -> None:
    for doc in make_data.benchmark_docs("facts"):
        assert isinstance(doc["choices"], list)
        assert len(set(doc["choices"])) == 4
        assert doc["choices"][doc["gold"]] == doc["answer"]


@pytest.mark.parametrize("name", ["quickstart.toml", "general.toml"])
def test_the_plans_can_be_read_and_find_their_files(name: str) -> None:
    plan = read_plan(SAMPLES / "plans" / name)
    assert plan.data.examples.is_file()
    assert [model.name for model in plan.candidates][:2] == ["good", "overfit"]
    assert all(Path(model.path or "").is_dir() for model in plan.models)


def test_the_committed_weights_are_small_and_name_no_folder_of_their_maker() -> None:
    files = [path for path in MODELS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 8_000_000
    for config in MODELS.glob("adapters/*/adapter_config.json"):
        assert json.loads(config.read_text())["base_model_name_or_path"] == "base"
    for path in files:
        if path.suffix != ".safetensors":
            assert "/work/" not in path.read_text() and "/tmp/" not in path.read_text(), path


def test_only_the_adapter_without_effect_has_zero_b() -> None:
    for name in ("good", "overfit", "no-effect"):
        weights = load_file(MODELS / "adapters" / name / "adapter_model.safetensors")
        b_matrices = [tensor for key, tensor in weights.items() if "lora_B" in key]
        assert len(b_matrices) == 28
        assert any(tensor.any() for tensor in b_matrices) == (name != "no-effect")


def test_the_script_trains_saves_and_scores(tmp_path: Path) -> None:
    make_models.main(["--out", str(tmp_path), "--steps", "3", "--limit", "2"])
    for folder in ("base", "adapters/good", "adapters/overfit", "adapters/no-effect"):
        made = {path.name for path in (tmp_path / folder).iterdir()}
        assert made == {path.name for path in (MODELS / folder).iterdir()}
    card = (tmp_path / "README.md").read_text()
    assert all(f"| {name} | 3 |" in card for name in ("base", "good", "overfit"))
    assert card.count("\n| no-effect |") == 2


def test_the_tokenizer_is_made_the_same_again_and_keeps_any_text(tmp_path: Path) -> None:
    make_models.make_base(tmp_path, make_models.Recipe(steps=0, batch=1, rate=0.0, seed=1))
    assert (tmp_path / "base/tokenizer.json").read_bytes() == (MODELS / "base/tokenizer.json").read_bytes()
    _, tokenizer = make_models.load_base(MODELS)
    text = 'Größe 尺寸\n\x1b[2J {"a": 1}  <two spaces>'
    assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == text
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert chat == "<s><|user|>Hi"


def test_the_traffic_is_what_its_script_makes_of_the_models_answers(tmp_path: Path) -> None:
    logs = [
        json.loads(line)
        for week in range(1, make_traffic.WEEKS + 1)
        for line in (make_traffic.FOLDER / "traffic" / f"week-{week}.jsonl").read_text().splitlines()
    ]
    answers = {(row["version"], row["prompt"]): (row["response"], row["tokens_out"]) for row in logs}
    make_traffic.write_all(tmp_path, answers)
    written = [path.relative_to(tmp_path) for path in tmp_path.rglob("*.jsonl")]
    assert len(written) == 9 == len([*(make_traffic.FOLDER / "traffic").iterdir()]) + 1
    for path in written:
        assert (make_traffic.FOLDER / path).read_bytes() == (tmp_path / path).read_bytes(), path


def test_in_the_traffic_thumbs_follow_the_answers() -> None:
    def up(week: int) -> float:
        rows = map(
            json.loads, (make_traffic.FOLDER / "traffic" / f"week-{week}.jsonl").read_text().splitlines()
        )
        thumbs = [row["thumbs"] for row in rows if "thumbs" in row]
        return thumbs.count(1) / len(thumbs)

    assert min(map(up, range(1, make_traffic.SHIPPED))) > 0.9
    assert max(map(up, range(make_traffic.SHIPPED, make_traffic.WEEKS + 1))) < 0.7
