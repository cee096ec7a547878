import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engine.compare.sweep import Place, cheap_measure, general_measure, hold_to_general, rank
from engine.errors import BadInput, CannotRun
from engine.metrics.exact import TokenF1
from engine.metrics.perplexity import PERPLEXITY
from engine.plan.plan import Plan, parse_plan
from engine.plan.sweep import members_of, step_of
from engine.preflight.check import check

TOKEN_F1 = TokenF1.measures[0]
HEAD = 'name = "s"\n'
DATA = '[data]\nexamples = "eval.jsonl"\n'
ENTRIES = """
[[models]]
name = "base"
role = "baseline"
path = "base"
[[models]]
"""
TABLE = 'models = { sweep = "outputs/checkpoint-*" }\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "eval.jsonl").write_text('{"query": "q", "references": ["r"]}\n')
    for base in ("base", "other"):
        (tmp_path / base).mkdir()
        (tmp_path / base / "config.json").write_text("{}")
    for step in (2, 10, 1):
        adapter(tmp_path / f"outputs/checkpoint-{step}", tmp_path / "base")
    return tmp_path


def adapter(folder: Path, base: Path | str) -> None:
    folder.mkdir(parents=True)
    recorded = {"peft_type": "LORA", "base_model_name_or_path": str(base)}
    (folder / "adapter_config.json").write_text(json.dumps(recorded))


Says = Callable[[str], str]


@pytest.fixture
def says(folder: Path) -> Says:
    def problems(text: str) -> str:
        with pytest.raises(BadInput) as error:
            parse_plan(text, folder)
        return str(error.value)

    return problems


def names(plan: Plan) -> list[str]:
    return [model.name for model in plan.models]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        *(("checkpoint-200", 200), ("global_step500", 500), ("ckpt_7", 7), ("step-10-merged", 10)),
        *(("lr-2e-4", None), ("rank-16", None), ("lora-r16", None), ("final", None), ("epoch-3", None)),
    ],
)
def test_a_step_is_the_trainers_own_or_the_one_that_the_name_tells(
    tmp_path: Path, name: str, told: int | None
) -> None:
    checkpoint = tmp_path / name
    checkpoint.mkdir()
    assert step_of(checkpoint) == told
    (checkpoint / "trainer_state.json").write_text('{"global_step": 30}')
    assert step_of(checkpoint) == 30


def test_a_table_with_a_sweep_is_a_base_and_its_checkpoints_in_the_order_of_their_steps(folder: Path) -> None:
    told = "chat_template_kwargs = { enable_thinking = false }"
    table = f'models = {{ sweep = "outputs/checkpoint-*", dtype = "float32", {told} }}\n'
    plan = parse_plan(HEAD + table + DATA, folder)
    assert names(plan) == ["base", "checkpoint-1", "checkpoint-2", "checkpoint-10"]
    assert [model.role for model in plan.models] == ["baseline"] + 3 * ["candidate"]
    assert {model.path for model in plan.models} == {str(folder / "base")}
    assert {model.dtype for model in plan.models} == {"float32"}
    assert all(model.chat_template_kwargs == {"enable_thinking": False} for model in plan.models)
    assert plan.model("checkpoint-10").adapter == folder / "outputs/checkpoint-10"
    assert (plan.sweep.keep, plan.sweep.by, plan.sweep.sample) == (3, None, 50)


def test_an_entry_with_a_sweep_stands_beside_others(folder: Path) -> None:
    entry = 'name = "lora"\npath = "base"\nsystem = "Be brief."\nsweep = "outputs/checkpoint-*"\n'
    plan = parse_plan(HEAD + DATA + ENTRIES + entry, folder)
    assert names(plan) == ["base", "lora-checkpoint-1", "lora-checkpoint-2", "lora-checkpoint-10"]
    assert [model.system for model in plan.models] == [None] + 3 * ["Be brief."]
    assert [model.sweep for model in plan.candidates] == 3 * ["outputs/checkpoint-*"]


def test_whole_models_can_be_swept(folder: Path) -> None:
    for step in (5, 20):
        (folder / f"full/step-{step}").mkdir(parents=True)
        (folder / f"full/step-{step}/config.json").write_text("{}")
    plan = parse_plan(HEAD + DATA + ENTRIES + 'sweep = "full/*"\n', folder)
    assert [model.path for model in plan.candidates] == [
        str(folder / f"full/step-{step}") for step in (5, 20)
    ]
    assert all(model.adapter is None for model in plan.candidates)


def test_checkpoints_of_one_name_are_told_apart_by_their_folders(folder: Path) -> None:
    for seed in ("a", "b"):
        adapter(folder / f"runs/{seed}/checkpoint-1", folder / "base")
    plan = parse_plan(HEAD + 'models = { sweep = "runs/*/checkpoint-*" }\n' + DATA, folder)
    assert names(plan) == ["base", "a/checkpoint-1", "b/checkpoint-1"]


def test_a_run_keeps_the_checkpoints_that_it_was_made_with(folder: Path) -> None:
    made = parse_plan(HEAD + TABLE + DATA, folder)
    kept = json.loads(json.dumps(members_of(made.models)))
    adapter(folder / "outputs/checkpoint-11", folder / "base")
    assert len(parse_plan(HEAD + TABLE + DATA, folder).candidates) == 4
    assert parse_plan(HEAD + TABLE + DATA, folder, swept=kept).models == made.models


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('sweep = "outputs/nothing-*"', "models[1].sweep: no folder matches"),
        ("sweep = 3", "models[1].sweep: found 3"),
        ('sweep = "outputs/*"\nadapter = "x"', "adapter does not apply with a sweep"),
        ('sweep = "outputs/*"\nrole = "baseline"', "its checkpoints are candidates"),
        ('sweep = "base*"\npath = "base"', "path does not apply"),
        ('sweep = "odd/*"', "is neither an adapter nor a model"),
        ('sweep = "lost/*"', 'which is not here: name it with path = "…"'),
        ('sweep = "nameless/*"', "does not record its base"),
        ('sweep = "outputs/*"\nadaptor = "x"', 'unknown key "adaptor" (did you mean "adapter"?)'),
    ],
)
def test_a_sweep_that_cannot_be_is_told_with_its_key(
    folder: Path, says: Says, entry: str, message: str
) -> None:
    (folder / "odd/checkpoint-1").mkdir(parents=True)
    adapter(folder / "lost/checkpoint-1", "/nowhere/base")
    adapter(folder / "nameless/checkpoint-1", "")
    assert message in says(HEAD + DATA + ENTRIES + entry)


def test_a_table_needs_one_base_to_compare_with(folder: Path, says: Says) -> None:
    adapter(folder / "outputs/checkpoint-3", folder / "other")
    assert "models.sweep: its adapters have 2 bases" in says(HEAD + TABLE + DATA)
    assert "full models record no base to compare with" in says(
        HEAD + 'models = { sweep = "base*" }\n' + DATA
    )


def test_too_many_checkpoints_are_refused(folder: Path, says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.plan.sweep.MOST", 2)
    assert "3 folders match; allowed: at most 2" in says(HEAD + TABLE + DATA)


def test_a_cut_without_a_sweep_would_do_nothing(says: Says) -> None:
    candidate = 'name = "c"\nrole = "candidate"\npath = "other"\n'
    assert "sweep: there is nothing to choose from" in says(
        HEAD + DATA + ENTRIES + candidate + "[sweep]\nkeep = 2\n"
    )


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        ("workers = 2", 'compute.workers: does not apply without engine = "ray"'),
        ('engine = "ray"\naddress = "ray://head:10001"', "compute.address: Ray's client protocol"),
        ('engine = "rey"', 'did you mean "ray"?'),
    ],
)
def test_a_compute_table_that_cannot_be(says: Says, compute: str, message: str) -> None:
    assert message in says(HEAD + TABLE + DATA + f"[compute]\n{compute}\n")


def test_ray_chooses_the_gpu(says: Says) -> None:
    table = 'models = { sweep = "outputs/checkpoint-*", device = "cuda:1" }\n'
    assert "Ray chooses the GPU" in says(HEAD + table + DATA + '[compute]\nengine = "ray"\n')


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("token_f", 'did you mean "token_f1"?'),
        ("response_words", "neither more nor less response_words is better"),
        ("confidence", "neither more nor less confidence is better"),
        ("ece", "ece is of all examples together"),
    ],
)
def test_preflight_refuses_what_nothing_can_be_cut_by(folder: Path, by: str, message: str) -> None:
    metrics = '[metrics]\nuse = ["token_f1", "length", "calibration"]\n'
    plan = parse_plan(HEAD + TABLE + DATA + metrics + f'[sweep]\nby = "{by}"\n', folder)
    [finding] = [item for item in check(plan, folder / "store") if item.subject == "sweep"]
    assert finding.level == "error"
    assert message in finding.message


def test_perplexity_needs_no_place_among_the_metrics(folder: Path) -> None:
    plan = parse_plan(HEAD + TABLE + DATA + '[metrics]\nuse = ["token_f1"]\n', folder)
    assert cheap_measure(plan) is PERPLEXITY


def test_by_takes_a_corpus_or_a_benchmark_of_the_plan(folder: Path) -> None:
    (folder / "news.txt").write_text("Nothing new.")
    rest = '[metrics]\nuse = ["token_f1"]\ncorpora = { domain = "news.txt", news = "news.txt" }\n'
    rest += '[benchmarks]\ntasks = ["arithmetic"]\n'
    for by in ("perplexity:news", "bits_per_byte:domain", "arithmetic"):
        plan = parse_plan(HEAD + TABLE + DATA + rest + f'[sweep]\nby = "{by}"\n', folder)
        assert cheap_measure(plan).name == by and general_measure(plan) is None


@pytest.mark.parametrize(
    ("rest", "held_to"),
    [
        ('[metrics]\nuse = ["token_f1"]\n', None),
        ('[metrics]\nuse = ["token_f1"]\ncorpora = { domain = "t.txt" }\n', None),
        (
            '[metrics]\nuse = ["token_f1"]\ncorpora = { domain = "t.txt", news = "t.txt" }\n',
            "bits_per_byte:news",
        ),
        ('[benchmarks]\ntasks = ["arithmetic"]\n', "arithmetic"),
    ],
)  # fmt: skip
def test_the_default_holds_to_what_is_general_in_the_plan(
    folder: Path, rest: str, held_to: str | None
) -> None:
    (folder / "t.txt").write_text("Nothing new.")
    found = general_measure(parse_plan(HEAD + TABLE + DATA + rest, folder))
    assert (found and found.name) == held_to


def place(model: str, rank: int | None) -> Place:
    return Place(model, None if rank is None else float(rank), None, None, 4, rank, kept=rank == 1)


def test_the_best_by_gain_are_kept_among_those_that_forgot_least() -> None:
    gain = [place(name, rank) for rank, name in enumerate(("d", "c", "b", "a"), start=1)] + [place("e", None)]
    general = [place(name, rank) for rank, name in enumerate(("a", "b", "c", "d"), start=1)]
    held = hold_to_general(gain, [*general, place("e", None)], keep=1, name="bits_per_byte:general")
    assert [(item.model, item.rank, item.kept) for item in held] == [
        *(("b", 1, True), ("a", 2, False), ("d", 3, False), ("c", 4, False), ("e", None, False))
    ]
    assert held[2].reason == (
        "not in the better half on bits_per_byte:general, and more than 1% from the best there"
    )
    assert [item.general for item in held[:3]] == [2.0, 1.0, 4.0]


def test_one_that_learned_nothing_is_not_kept_for_a_hairs_breadth() -> None:
    gain = [replace(place("tuned", 1), value=2.0), replace(place("untrained", 2), value=9.0)]
    general = [replace(place("untrained", 1), value=1.0), replace(place("tuned", 2), value=1.0001)]
    held = hold_to_general(gain, general, keep=1, name="bits_per_byte:general")
    assert [item.model for item in held if item.kept] == ["tuned"]


def test_of_equals_none_forgot_more() -> None:
    gain = [place(name, rank) for rank, name in enumerate(("d", "c", "b", "a"), start=1)]
    general = [replace(item, value=1.0) for item in gain[::-1]]
    held = hold_to_general(gain, general, keep=1, name="arithmetic")
    assert [item.model for item in held] == ["d", "c", "b", "a"] and not any(item.reason for item in held)


SAMPLE = ["a", "b", "c", "d"]


def values(*numbers: float) -> dict[str, tuple[float, float]]:
    return {example: (number, 1.0) for example, number in zip(SAMPLE, numbers, strict=False)}


def test_the_best_are_kept_and_the_earlier_of_equals() -> None:
    scored = {"first": values(0, 0, 1, 0), "second": values(1, 1, 1, 0), "third": values(1, 1, 0, 1)}
    places = rank(scored, {}, TOKEN_F1, SAMPLE, keep=1, seed=0)
    assert [(place.model, place.rank, place.kept) for place in places] == [
        ("second", 1, True),
        ("third", 2, False),
        ("first", 3, False),
    ]
    assert places[0].value == 0.75
    assert [place.n for place in places] == [4, 4, 4]


def test_lower_is_better_for_perplexity() -> None:
    scored = {"worse": {"a": (4.0, 2.0)}, "better": {"a": (1.0, 2.0)}}
    assert [place.model for place in rank(scored, {}, PERPLEXITY, ["a"], 1, 0)] == ["better", "worse"]


def test_what_could_not_be_measured_has_no_rank_and_is_not_kept() -> None:
    scored = {"broken": {}, "whole": values(0, 0, 0, 0), "half": values(1)}
    reasons = {"broken": "no finite numbers", "half": "out of memory"}
    whole, broken, half = rank(scored, reasons, TOKEN_F1, SAMPLE, keep=3, seed=0)
    assert (whole.model, whole.rank, whole.kept) == ("whole", 1, True)
    assert (broken.value, broken.rank, broken.kept, broken.reason) == (None, None, False, "no finite numbers")
    assert half.reason == "measured on 1 of 4 examples: out of memory"


def test_all_are_compared_on_the_examples_that_all_have() -> None:
    # Left to its own examples, the one that failed on the hard ones would win.
    scored = {"whole": values(1, 1, 1, 0), "lucky": values(1, 1, 1)}
    places = rank(scored, {"lucky": "out of memory"}, TOKEN_F1, SAMPLE, keep=1, seed=0)
    assert [(place.model, place.value, place.n) for place in places] == [("whole", 1.0, 3), ("lucky", 1.0, 3)]


def test_a_sweep_that_nothing_could_be_measured_of_is_not_cut_by_chance() -> None:
    with pytest.raises(CannotRun, match=r"could not be measured \(the reference is empty"):
        rank({"a": {}, "b": {}}, {"a": "the reference is empty"}, PERPLEXITY, SAMPLE, 1, 0)
