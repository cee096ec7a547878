"""lm-eval's results files, written by lm-eval itself, become runs that compare and are written back."""

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lm_eval import evaluate
from lm_eval.api.model import LM
from lm_eval.loggers import EvaluationTracker
from lm_eval.utils import make_table

from engine.benchmarks.tasks import load_task, task_manager
from engine.compare.comparison import Comparison
from engine.errors import BadInput
from engine.formats.importing import import_benchmarks, import_run
from engine.formats.lm_eval import export_lm_eval
from engine.gates.checks import RunComparison, compare_runs
from engine.stats.paired import from_stderr, mcnemar
from store import database, records
from store.read import history
from store.records.columns import values_of
from store.write import Recorder
from tests.benchmarks.tiny_tasks import write_tasks

TASKS = ("tiny_group", "tiny_filtered")
SCORES = {"acc,none", "exact_match,strict-match", "exact_match,flexible-extract"}


class Dice(LM):  # type: ignore[misc]  # lm-eval is untyped here
    """Answers at random, the same at every time."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        return [(-self._random.random(), False) for _ in requests]

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        raise NotImplementedError

    def generate_until(self, requests: list[Any]) -> list[str]:
        return [self._random.choice(["red", "green", "it is blue"]) for _ in requests]


def run_lm_eval(tasks: Path, out: Path, model: str, seed: int) -> dict[str, Any]:
    """What `lm-eval run --log_samples --output_path` does, without listing the installed packages."""
    tracker = EvaluationTracker(output_path=str(out))
    tracker.general_config_tracker.log_experiment_args(
        model_source="hf", model_args=f"pretrained={model}", system_instruction=None, chat_template=None,
        fewshot_as_multiturn=False,
    )  # fmt: skip
    with task_manager(tasks, TASKS) as manager:
        loaded = [load_task(task, None, manager) for task in TASKS]
        together = {key: loaded[0].get(key, {}) | loaded[1].get(key, {}) for key in loaded[0]}
        results = evaluate(Dice(seed), together, bootstrap_iters=1000)
    results |= {"date": 1_700_000_000.0 + seed, "lm_eval_version": "0.4.13"}
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for task, lines in samples.items():
        tracker.save_results_samples(task_name=task, samples=lines)
    found: dict[str, Any] = results
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A results root of two models, with what lm-eval found of each."""
    folder = tmp_path_factory.mktemp("lm-eval")
    tasks = write_tasks(folder / "tasks")
    found = {model: run_lm_eval(tasks, folder / "out", model, seed)
             for seed, model in enumerate(("org/before", "/data/runs/after"))}  # fmt: skip
    return folder / "out", found


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def imported(written: tuple[Path, dict[str, Any]], store: Path) -> Iterator[history.Connection]:
    assert import_benchmarks(written[0], store, samples=True) == [1, 2]
    connection = history.attach(database.connect(store))
    yield connection
    connection.close()


def found(comparison: RunComparison, measure: str) -> Comparison:
    (item,) = [item for item in comparison.benchmarks if item.measure == measure]
    return item


def test_each_model_becomes_a_run_with_lm_evals_own_numbers(
    imported: history.Connection, written: tuple[Path, dict[str, Any]]
) -> None:
    assert [history.run(imported, run).name for run in (1, 2)] == ["lm-eval org/before", "lm-eval runs/after"]
    own = written[1]["org/before"]
    rows = history.benchmarks(imported, 1)
    assert {f"{row.metric},{row.filter}" for row in rows} == SCORES
    for row in rows:
        values = own["results"][row.task]
        assert row.value == values[f"{row.metric},{row.filter}"]
        assert row.stderr == values[f"{row.metric}_stderr,{row.filter}"]
        assert row.n == (16 if row.task == "tiny_group" else 8)
    assert {row.task: row.version for row in rows}["tiny_group"] == "3.0"


def test_two_imports_compare_question_by_question(imported: history.Connection) -> None:
    comparison = compare_runs(imported, 1, 2)
    values = [
        dict(imported.execute("SELECT doc_id, value FROM benchmarksample WHERE model_id = ? AND "
                              "task = 'tiny_choice'", (model,)).fetchall())
        for model in (1, 2)
    ]  # fmt: skip
    gaps = [values[1][doc] - values[0][doc] for doc in range(8)]
    choice = found(comparison, "tiny_choice · acc")
    assert (choice.n, choice.delta) == (8, pytest.approx(sum(gaps) / 8))
    assert choice.p == mcnemar(gaps.count(-1), gaps.count(1))
    # A group that is the mean over its documents is paired on all of them.
    assert found(comparison, "tiny_group · acc").n == 16
    assert found(comparison, "tiny_filtered · exact_match (flexible-extract)").n == 8
    assert not comparison.incomparable


def test_files_without_samples_compare_by_their_standard_errors(
    written: tuple[Path, dict[str, Any]], store: Path
) -> None:
    import_benchmarks(written[0], store)
    connection = history.attach(database.connect(store))
    choice = found(compare_runs(connection, 1, 2), "tiny_choice · acc")
    connection.close()
    before, after = (written[1][model]["results"]["tiny_choice"] for model in written[1])
    expected = from_stderr(
        after["acc,none"], after["acc_stderr,none"], before["acc,none"], before["acc_stderr,none"], 8
    )
    assert (choice.delta, choice.low, choice.high, choice.p, choice.n) == (
        expected.delta, expected.low, expected.high, expected.p, 8,
    )  # fmt: skip
    assert choice.smallest_detectable == expected.smallest_detectable


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE benchmarkscore SET version = '9' WHERE model_id = 2", "different task versions: 2.0 and 9"),
        ("UPDATE benchmarkscore SET shots = 5 WHERE model_id = 2", "different shots: 0 and 5"),
        ("UPDATE benchmarksample SET prompt_hash = 'x' WHERE model_id = 2", "different prompts: the hashes"),
        ("UPDATE benchmarksample SET target_hash = 'x' WHERE model_id = 2", "different targets: the hashes"),
        ("UPDATE benchmarksample SET doc_id = doc_id + 99 WHERE model_id = 2", "different documents"),
        (
            "DELETE FROM benchmarksample; UPDATE benchmarkscore SET task_hash = 'x' WHERE model_id = 2",
            "the task's hash differs",
        ),
    ],
)
def test_what_was_not_asked_in_the_same_way_is_listed_with_the_reason(
    imported: history.Connection, change: str, reason: str
) -> None:
    imported.executescript(change)
    comparison = compare_runs(imported, 1, 2)
    assert all(item.delta is None for item in comparison.benchmarks)
    listed = {item.what: item.reason for item in comparison.incomparable}
    assert reason in listed["tiny_choice · acc, runs/after (run 2)"]
    assert not [alert for alert in comparison.alerts if alert.severity == "critical"]


def test_with_a_baseline_all_models_are_one_run(written: tuple[Path, dict[str, Any]], store: Path) -> None:
    assert import_benchmarks(written[0], store, "both", samples=True, baseline="org/before") == [1]
    connection = history.attach(database.connect(store))
    models = history.models(connection, 1)
    rows = history.comparisons(connection, 1)
    connection.close()
    assert [(model.name, model.role) for model in models] == [
        ("org/before", "baseline"),
        ("runs/after", "candidate"),
    ]
    assert models[1].passed is not None
    assert {(row.candidate, row.baseline) for row in rows} == {("runs/after", "org/before")}
    assert sum(row.kind == "benchmark" for row in rows) == 5
    # The likelihoods in the samples tell whether confidence can be trusted; the group stands for its members.
    told = {row.measure: row for row in rows if row.kind == "metric"}
    assert told.keys() == {"ece:tiny_group", "brier:tiny_group", "accuracy@80%:tiny_group"}
    assert told["brier:tiny_group"].n == 16 and told["brier:tiny_group"].family == "unchecked"
    assert told["ece:tiny_group"].reason == (
        "a calibration error needs 20 examples; both models have probabilities of 16"
    )


def test_a_baseline_that_is_not_there_is_refused(written: tuple[Path, dict[str, Any]], store: Path) -> None:
    with pytest.raises(BadInput, match="its models: org/before, runs/after"):
        import_benchmarks(written[0], store, baseline="before")
    assert not database.exists(store)


def _content(store: Path, run: int) -> list[Any]:
    """What a run holds of benchmarks, without its own ids."""
    recorder = Recorder(store, run)
    try:
        (model,) = recorder.rows(records.StoredModel, run_id=run)
        rows = [
            {key: value for key, value in values_of(row).items() if key != "model_id"}
            for table in (records.StoredBenchmarkScore, records.StoredBenchmarkSample)
            for row in recorder.rows(table, model_id=model.id)
        ]
        return [model.name, (model.details or {})["benchmark_groups"], rows]
    finally:
        recorder.close()


def test_what_is_written_out_is_read_back_the_same(
    imported: history.Connection, store: Path, tmp_path: Path
) -> None:
    files = export_lm_eval(imported, 1, tmp_path / "out")
    assert {file.parent.name for file in files} == {"org__before"}
    [again] = import_benchmarks(tmp_path / "out", store, samples=True)
    assert _content(store, again) == _content(store, 1)
    table = make_table(json.loads(files[0].read_text()))
    assert "tiny_choice" in table and "strict-match" in table


OLD = {
    "results": {
        "hellaswag": {"acc": 0.25, "acc_stderr": 0.25 * (3 / 199) ** 0.5, "acc_norm": 0.5},
        "wikitext": {"word_perplexity": 20.5, "byte_perplexity": float("nan")},
    },
    "versions": {"hellaswag": 0, "wikitext": 1},
    "config": {"model": "gpt2", "model_args": "pretrained=EleutherAI/pythia-70m", "num_fewshot": 5},
}


def test_files_from_before_0_4_are_read_too(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "pythia.json"
    path.write_text(json.dumps(OLD))
    import_benchmarks(path, store)
    connection = history.attach(database.connect(store))
    rows = {(row.task, row.metric): row for row in history.benchmarks(connection, 1)}
    assert history.models(connection, 1)[0].name == "EleutherAI/pythia-70m"
    connection.close()
    share = rows["hellaswag", "acc"]
    assert (share.value, share.n, share.version, share.shots, share.filter) == (0.25, 200, "0", 5, "none")
    assert rows["hellaswag", "acc_norm"].n == 0
    assert rows["wikitext", "word_perplexity"].higher_is_better == 0
    assert rows["hellaswag", "acc"].higher_is_better == 1
    missing = rows["wikitext", "byte_perplexity"]
    assert (missing.value, missing.reason) == (None, "the file has nan, which is not a number")


def test_a_share_whose_counts_nobody_knows_compares_without_an_n(store: Path, tmp_path: Path) -> None:
    for name, share in (("a", 0.5), ("b", 0.4)):
        values = {"acc_norm": share, "acc_norm_stderr": 0.0123}
        (tmp_path / f"{name}.json").write_text(json.dumps(OLD | {"results": {"hellaswag": values}}))
        import_benchmarks(tmp_path / f"{name}.json", store)
    connection = history.attach(database.connect(store))
    (item,) = compare_runs(connection, 1, 2).benchmarks
    connection.close()
    assert item.n == 0 and item.delta == pytest.approx(-0.1)
    assert item.high is not None and item.high < 0 and item.p is not None and item.p < 1e-6


def test_of_several_files_of_one_model_the_newest_counts(store: Path, tmp_path: Path) -> None:
    for date, share in ((2.0, 0.7), (1.0, 0.1)):
        values = {"acc": share, "acc_stderr": "N/A"}
        text = json.dumps(OLD | {"results": {"hellaswag": values}, "date": date})
        (tmp_path / f"results_{share}.json").write_text(text)
    assert import_benchmarks(tmp_path, store) == [1]
    connection = history.attach(database.connect(store))
    (row,) = history.benchmarks(connection, 1)
    notes = (history.models(connection, 1)[0].details or {})["notes"]
    connection.close()
    assert (row.value, row.stderr) == (0.7, None)
    assert "hellaswag: in several files; the newest, results_0.7.json, counts" in notes


def results(score: float, n: int = 100, arguments: str = "pretrained=org/base", **more: Any) -> str:
    """A file as lm-eval 0.4 writes it, with one task."""
    return json.dumps(
        {
            "results": {"arc_easy": {"acc,none": score, "acc_stderr,none": 0.01}},
            "versions": {"arc_easy": 1.0},
            "n-shot": {"arc_easy": 0},
            "higher_is_better": {"arc_easy": {"acc": True}},
            "n-samples": {"arc_easy": {"original": 2376, "effective": n}},
            "config": {"model": "hf", "model_args": arguments},
            "date": 1.0,
            **more,
        }
    )


def compared_files(store: Path, folder: Path, *texts: str) -> RunComparison:
    for place, text in enumerate(texts):
        (folder / f"{place}.json").write_text(text)
        import_benchmarks(folder / f"{place}.json", store)
    connection = history.attach(database.connect(store))
    found = compare_runs(connection, 1, 2)
    connection.close()
    return found


TOLD = {"fewshot_as_multiturn": False, "chat_template_sha": None}


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (results(0.81, 2376), results(0.62, 50), "different documents: 2,376 and 50 of them"),
        (
            results(0.81, **TOLD),
            results(0.62, **TOLD | {"chat_template_sha": "ab"}),
            "different chat template: not applied and applied",
        ),
        (
            results(0.81, **TOLD),
            results(0.62, **TOLD | {"system_instruction": "Be brief."}),
            "different system instruction: none and Be brief.",
        ),
    ],
)
def test_scores_that_were_asked_in_another_way_are_not_compared(
    store: Path, tmp_path: Path, first: str, second: str, reason: str
) -> None:
    comparison = compared_files(store, tmp_path, first, second)
    [item] = comparison.benchmarks
    assert item.delta is None and item.reason == reason and not comparison.is_evaluated


MODEL = "meta-llama/Llama-3.1-8B"
LLAMA = f"pretrained={MODEL}"


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (
            [f"{LLAMA},peft=out/lora-{name}/final/adapter" for name in "AB"],
            ["out/lora-A/final/adapter", "out/lora-B/final/adapter"],
        ),
        ([f"{LLAMA},device=cuda", f"{LLAMA},revision=v2"], [MODEL, f"{MODEL} revision=v2"]),
        ([f"{LLAMA},batch_size=1", f"{LLAMA},load_in_4bit=True"], [MODEL, f"{MODEL} load_in_4bit=True"]),
        ([f"{LLAMA},batch_size=1", f"{LLAMA},device=cpu"], [MODEL]),
    ],
)
def test_two_models_are_never_merged(
    store: Path, tmp_path: Path, arguments: list[str], names: list[str]
) -> None:
    for place, (given, score) in enumerate(zip(arguments, (0.4, 0.8), strict=True)):
        with gzip.open(tmp_path / f"results_{place}.json.gz", "wt") as file:
            file.write(results(score, arguments=given, date=float(place)))
    runs = import_benchmarks(tmp_path, store)
    connection = history.attach(database.connect(store))
    models = [history.models(connection, run)[0] for run in runs]
    values = [history.benchmarks(connection, run)[0].value for run in runs]
    connection.close()
    assert [model.name for model in models] == names
    assert values == ([0.4, 0.8] if len(names) == 2 else [0.8])


@pytest.mark.parametrize(
    ("loaded", "name"),
    [
        (f"{LLAMA},peft=out/lora-A/final/adapter", "out/lora-A/final/adapter"),
        (f"{LLAMA},peft=/runs/lora-A/checkpoint-500/", "lora-A/checkpoint-500"),
        ("pretrained=C:\\out\\lora-A\\final", "lora-A/final"),
        ("pretrained=/mnt/out/merged", "/mnt/out/merged"),
        (LLAMA, MODEL),
    ],
)
def test_a_file_of_its_own_calls_its_model_by_what_tells_it_from_others(
    store: Path, tmp_path: Path, loaded: str, name: str
) -> None:
    (tmp_path / "results.json").write_text(results(0.4, arguments=loaded))
    import_benchmarks(tmp_path, store)
    connection = history.attach(database.connect(store))
    assert [model.name for model in history.models(connection, 1)] == [name]
    connection.close()


def test_files_that_name_no_model_are_not_guessed_to_be_of_one(store: Path, tmp_path: Path) -> None:
    for place in (0, 1):
        (tmp_path / f"results_{place}.json").write_text(results(0.4, arguments=""))
    with pytest.raises(BadInput, match="neither says which model it is of") as refused:
        import_benchmarks(tmp_path, store)
    assert "--name" in str(refused.value)


def test_a_token_among_the_arguments_is_not_kept(store: Path, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(results(0.4, arguments=f"{LLAMA},token=hf_secret,dtype=float16"))
    import_benchmarks(tmp_path, store)
    connection = history.attach(database.connect(store))
    details = json.dumps(history.models(connection, 1)[0].details)
    connection.close()
    assert "hf_secret" not in details and "dtype=float16" in details


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps(OLD)[:-30], "results.json:1: "),
        ('{"results": {\n"a": {"acc": 0.5', "results.json:2: ends in the middle"),
        ("", "results.json:1: ends in the middle"),
        ('{"score": 1}', 'it has no table "results"'),
        ("[1]", 'it has no table "results"'),
        ('{"results": {"a": 3}}', "results.a: found 3, expected a table"),
        ('{"results": {"a": {"alias": "a"}}}', "holds no scores"),
        ('{"results": {"a": {"acc,none": 1}}, "versions": [1]}', "versions: found [1], expected a table"),
        ("[" * 100_000, "is not a results file of lm-eval"),
    ],
)
def test_what_is_not_lm_evals_is_refused(store: Path, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(BadInput) as refused:
        import_benchmarks(path, store)
    assert message in str(refused.value)
    assert not database.exists(store)


def test_folders_and_samples_that_are_not_there_are_told(store: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has no results file of lm-eval"):
        import_benchmarks(tmp_path, store)
    (tmp_path / "results.json").write_text(json.dumps(OLD))
    with pytest.raises(BadInput, match=r"there are no samples_\*\.jsonl"):
        import_benchmarks(tmp_path, store, samples=True)
    (tmp_path / "samples_hellaswag.jsonl").write_text('{"doc_id": 0}\n')
    with pytest.raises(BadInput, match=r"samples_hellaswag\.jsonl:1: arguments: is missing"):
        import_benchmarks(tmp_path, store, samples=True)
    with pytest.raises(BadInput, match="holds lines, not results"):
        import_benchmarks(tmp_path / "samples_hellaswag.jsonl", store)


def test_only_a_run_with_benchmarks_is_exported(tmp_path: Path, store: Path) -> None:
    from tests.formats import files

    import_run("judgelm", files.judgelm(tmp_path / "judgments.jsonl"), store)
    connection = history.attach(database.connect(store))
    with pytest.raises(BadInput, match="holds no benchmarks"):
        export_lm_eval(connection, 1, tmp_path / "out")
    connection.close()
