"""Files of other evaluators become recorded outputs with the scores that these tools print."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pytest
from pyarrow import parquet

from engine.errors import BadInput
from engine.formats.importing import import_run
from store import database

Rows = list[tuple[Any, ...]]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def _rows(store: Path, query: str) -> Rows:
    return [tuple(row) for row in database.connect(store).execute(query)]


def _means(store: Path) -> dict[str, tuple[Any, ...]]:
    """Mean, number and missing of each measure."""
    found = _rows(store, "SELECT measure, value, n, missing FROM modelscore ORDER BY measure")
    return {row[0]: row[1:] for row in found}


def _missing(store: Path) -> list[str]:
    return [row[0] for row in _rows(store, "SELECT reason FROM score WHERE value IS NULL")]


# Inspect


def _sample(id: int, epoch: int, text: str, scores: dict[str, Any], **more: Any) -> dict[str, Any]:
    message = {
        "role": "assistant",
        "content": [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": text}],
    }
    return {
        "id": id, "epoch": epoch, "input": [{"role": "user", "content": f"Question {id}?"}], "target": "4",
        "output": {"model": "m", "choices": [{"message": message}]},
        "scores": {name: {"value": value, "answer": text} for name, value in scores.items()},
    } | more  # fmt: skip


HEADER = {
    "version": 2, "status": "success", "eval": {"task": "sums", "model": "openai/m"},
    "results": {"scores": [{"name": "match", "scorer": "match", "metrics": {"accuracy": {"value": 0.5}}}]},
}  # fmt: skip
SAMPLES = [
    _sample(1, 1, "4", {"match": "C", "grade": {"tone": 3, "style": float("nan")}}),
    _sample(1, 2, "5", {"match": "I", "grade": {"tone": 1, "style": 2}}),
    _sample(2, 1, "attachment://0", {"match": "P"}, attachments={"0": "a long answer"}),
    _sample(3, 1, "", {}, error={"message": "the model's server failed"}, choices=["3", "4"]),
]


def _log(path: Path, header: dict[str, Any], head: str = "header.json", *, zstandard: bool = False) -> Path:
    """An .eval log; its members packed with Zstandard as Inspect's newest, which zipfile cannot write."""
    members = {head: header, "summaries.json": []}
    members |= {f"samples/{each['id']}_epoch_{each['epoch']}.json": each for each in SAMPLES}
    contents = {name: json.dumps(value).encode() for name, value in members.items()}
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in contents.items():
            packed.writestr(name, arrow.compress(content, "zstd", asbytes=True) if zstandard else content)
    if zstandard:
        written = bytearray(path.read_bytes())
        for entry in zipfile.ZipFile(path).infolist():
            size = len(contents[entry.filename]).to_bytes(4, "little")
            central = written.rindex(entry.filename.encode()) - 46
            for start, method in ((entry.header_offset, 8), (central, 10)):
                written[start + method : start + method + 2] = (93).to_bytes(2, "little")
                written[start + method + 14 : start + method + 18] = size
        path.write_bytes(written)
    return path


@pytest.mark.parametrize("form", ["eval", "zstd", "json"])
def test_inspect_logs_are_read_in_all_their_forms(tmp_path: Path, store: Path, form: str) -> None:
    path = tmp_path / "log.eval"
    if form == "json":
        path.write_text(json.dumps(HEADER | {"samples": SAMPLES}))
    else:
        _log(path, HEADER, zstandard=form == "zstd")
    import_run("inspect", path, store)
    assert _means(store) == {
        "sums:match": (0.5, 2, 1),  # C is 1, P half, I 0; the epochs of an example are averaged
        "sums:grade:tone": (2.0, 1, 2),
        "sums:grade:style": (2.0, 1, 2),
    }
    assert "the sample failed: the model's server failed" in _missing(store)
    assert _rows(store, "SELECT text FROM response ORDER BY id") == [("4",), ("a long answer",), ("",)]
    assert _rows(store, "SELECT text, sample FROM sample") == [("5", 1)]
    assert _rows(store, "SELECT query FROM example WHERE example = '3'") == [("Question 3?\n\nA. 3\nB. 4",)]
    assert _rows(store, "SELECT name FROM model") == [("openai/m",)]


def test_an_unfinished_inspect_log_is_read_with_a_note(tmp_path: Path, store: Path) -> None:
    start = {"version": 2, "eval": HEADER["eval"]}
    import_run("inspect", _log(tmp_path / "cut.eval", start, "_journal/start.json"), store)
    assert _rows(store, "SELECT message FROM event") == [("cut.eval: status unfinished, 4 samples",)]


def test_of_several_logs_of_one_task_and_model_the_last_counts(tmp_path: Path, store: Path) -> None:
    for name, grade in (("2025_a", "I"), ("2025_b", "C")):
        samples = [_sample(1, 1, "4", {"match": grade}), _sample(1, 1, "5", {"match": "C"}, input="Another?")]
        head = json.dumps(HEADER | {"samples": None})
        with zipfile.ZipFile(tmp_path / f"{name}.eval", "w") as log:
            log.writestr("header.json", head)
            for place, sample in enumerate(samples):
                log.writestr(f"samples/{place}.json", json.dumps(sample))
    import_run("inspect", tmp_path, store)
    assert _means(store) == {"sums:match": (1.0, 2, 0)}  # an id that stands for two questions is two examples
    notes = _rows(store, "SELECT message FROM event WHERE level = 'warning'")
    assert notes == [("sums, openai/m: in several files; the last, 2025_b.eval, counts",)]


def _write(path: Path, samples: list[dict[str, Any]], **header: Any) -> Path:
    path.write_text(json.dumps(HEADER | {"samples": samples} | header))
    return path


def test_a_finished_inspect_log_counts_before_an_unfinished_one(tmp_path: Path, store: Path) -> None:
    for name, grade, status in (("a", "I", "error"), ("b", "C", "success"), ("c", "I", "cancelled")):
        with zipfile.ZipFile(tmp_path / f"{name}.eval", "w") as log:
            log.writestr("header.json", json.dumps(HEADER | {"status": status}))
            log.writestr("samples/1_epoch_1.json", json.dumps(_sample(1, 1, "4", {"match": grade})))
    import_run("inspect", tmp_path, store)
    assert _means(store) == {"sums:match": (1.0, 1, 0)}
    notes = {row[0] for row in _rows(store, "SELECT message FROM event WHERE level = 'warning'")}
    assert "sums, openai/m: in several files; the last finished one, b.eval, counts" in notes


@pytest.mark.parametrize(
    ("value", "score"),
    [("C", 1.0), ("Yes", 1.0), ("TRUE", 1.0), ("P", 0.5), ("I", 0.0), ("N", 0.0), ("No", 0.0), ("False", 0.0),
     (True, 1.0), ("2.5", 2.5), ("c", None), ("nan", None), ("words", None), ([1, 0], None)],
)  # fmt: skip
def test_inspects_values_are_numbers_as_in_inspect(
    tmp_path: Path, store: Path, value: object, score: float | None
) -> None:
    """By its value_to_float; where that gives a 0 with a warning, the score is missing."""
    import_run("inspect", _write(tmp_path / "log.json", [_sample(1, 1, "4", {"match": value})]), store)
    assert _means(store)["sums:match"][0] == score


def test_what_a_log_says_beside_its_scores_is_no_measure(tmp_path: Path, store: Path) -> None:
    """Results name the parts of a score, reducers and epochs; a score without a value has no parts."""
    results = {"scores": [{"name": part, "scorer": "grade", "reducer": reducer, "metrics": {}}
                          for part in ("tone", "style") for reducer in ("mean", "max")]}  # fmt: skip
    samples = [
        _sample(1, 1, "4", {"grade": {"tone": 3, "style": 2, "why": "it is kind", "steps": [1, 2]}}),
        _sample(2, 1, "4", {"grade": float("nan")}),
        _sample(3, 1, "", {}, error={"message": "no answer"}),
    ]
    spec = HEADER["eval"] | {"config": {"epochs": 2, "epochs_reducer": ["max"]}}
    import_run("inspect", _write(tmp_path / "log.json", samples, results=results, eval=spec), store)
    assert _means(store) == {"sums:grade:tone": (3.0, 1, 2), "sums:grade:style": (2.0, 1, 2)}
    (note,) = _rows(store, "SELECT message FROM event WHERE level = 'warning'")
    assert note == ("log.json: epochs are averaged here, and reduced by max there",)
    failed = _write(tmp_path / "failed.json", samples[2:], results=results)
    import_run("inspect", failed, store)
    assert {key: value for key, value in _means(store).items() if value == (None, 0, 1)} == {
        "sums:grade:tone": (None, 0, 1), "sums:grade:style": (None, 0, 1),
    }  # fmt: skip


def test_an_id_of_two_models_questions_is_two_examples(tmp_path: Path, store: Path) -> None:
    for model, order in (("one", (0, 1)), ("two", (1, 0))):
        samples = [_sample(place, 1, "4", {"match": "C"}, input=f"Question {each}?")
                   for place, each in enumerate(order, 1)]  # fmt: skip
        with zipfile.ZipFile(tmp_path / f"{model}.eval", "w") as log:
            log.writestr("header.json", json.dumps(HEADER | {"eval": {"task": "sums", "model": model}}))
            for sample in samples:
                log.writestr(f"samples/{sample['id']}_epoch_1.json", json.dumps(sample))
    import_run("inspect", tmp_path, store)
    asked = _rows(
        store,
        "SELECT m.name, e.example, e.query FROM score s JOIN example e ON e.id = s.example_id"
        " JOIN model m ON m.id = s.model_id WHERE s.value ORDER BY m.name, e.query",
    )
    assert asked == [
        ("one", "1", "Question 0?"), ("one", "2", "Question 1?"),
        ("two", "2-2", "Question 0?"), ("two", "1-2", "Question 1?"),
    ]  # fmt: skip


@pytest.mark.parametrize("damage", ["cut", "zeroed", "zstd", "encrypted", "method"])
def test_a_damaged_log_is_refused_by_its_name(tmp_path: Path, store: Path, damage: str) -> None:
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as log:
        log.writestr("header.json", json.dumps(HEADER))
        log.writestr("samples/1_epoch_1.json", json.dumps(_sample(1, 1, "4" * 900, {"match": "C"})))
    if damage == "zstd":
        _log(path, HEADER, zstandard=True)
    entry = zipfile.ZipFile(path).infolist()[-1 if damage != "zstd" else 0]
    content = bytearray(path.read_bytes())
    start = entry.header_offset + 30 + len(entry.filename)
    if damage in ("zeroed", "zstd"):
        content[start + 4 : start + entry.compress_size] = bytes(entry.compress_size - 4)
    elif damage == "cut":
        del content[start + 10 :]
    else:
        flag, value = (8, 1) if damage == "encrypted" else (10, 97)
        content[content.rindex(entry.filename.encode()) - 46 + flag] = value
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"log\.eval: (is not as inspect writes it|is a zip without its end)"):
        import_run("inspect", path, store)
    assert not database.exists(store)


# lighteval

DOC = {"query": "2 + 2?", "choices": ["3", "4"], "gold_index": [1], "id": "0"}
NEW = [{"doc": DOC | {"id": str(place)}, "model_response": {"text": [text]}, "metric": {"em": score}}
       for place, (text, score) in enumerate((("4", 1.0), ("3", 0.0), ("5", None)))]  # fmt: skip
OLD = [{"example": f"2 + {place}?", "predictions": f"['{text}']", "gold": ["4"], "metrics": {"em": score}}
       for place, (text, score) in enumerate((("4", 1.0), ("3", 0.0), ("5", None)))]  # fmt: skip


@pytest.mark.parametrize("records", [NEW, OLD], ids=["new", "old"])
def test_lighteval_details_are_read(tmp_path: Path, store: Path, records: list[dict[str, Any]]) -> None:
    folder = tmp_path / "details" / "org" / "model" / "2026-01-02T03-04-05.678"
    folder.mkdir(parents=True)
    path = folder / "details_sums|5_2026-01-02T03-04-05.678.parquet"
    parquet.write_table(arrow.Table.from_pylist(records), path)
    import_run("lighteval", tmp_path / "details", store)
    assert _means(store) == {"sums|5:em": (0.5, 2, 1)}
    assert _rows(store, "SELECT name FROM model") == [("org/model",)]
    assert _rows(store, "SELECT text FROM response ORDER BY id") == [("4",), ("3",), ("5",)]
    assert _rows(store, 'SELECT "references" FROM example LIMIT 1') == [('["4"]',)]


# deepeval


def _judged(name: str, score: float | None, success: bool, **more: Any) -> dict[str, Any]:
    return {"name": name, "score": score, "threshold": 0.5, "success": success} | more


def test_deepeval_test_runs_are_read_with_the_direction_of_each_metric(tmp_path: Path, store: Path) -> None:
    cases = [
        {"name": "a", "input": "Hi", "actualOutput": "Hello", "expectedOutput": "Hello!",
         "metricsData": [_judged("Answer Relevancy", 0.9, True), _judged("Bias", 0.1, True)]},
        {"name": "b", "input": "Bye", "actualOutput": "No", "metricsData": [
            _judged("Answer Relevancy", None, False, error="the judge gave no JSON"),
            _judged("Bias", 0.7, False)]},
    ]  # fmt: skip
    path = tmp_path / ".latest_run_full.json"
    path.write_text(json.dumps({"testCases": cases, "hyperparameters": {"model": "m"}}))
    import_run("deepeval", tmp_path, store)
    assert _means(store) == {
        "deepeval:Answer Relevancy": (0.9, 1, 1),
        "deepeval:Bias": (pytest.approx(0.4), 2, 0),
    }
    assert _rows(store, "SELECT direction FROM metric ORDER BY measure") == [("higher",), ("lower",)]
    assert _missing(store) == ["the judge gave no JSON"]


# HELM


def test_helm_runs_of_two_models_are_read_together(tmp_path: Path, store: Path) -> None:
    for model, score in (("one", 1.0), ("two", 0.0)):
        folder = tmp_path / "runs" / f"mmlu:subject=law,model=org_{model}"
        folder.mkdir(parents=True)
        references = [{"output": {"text": "A"}, "tags": ["correct"]}, {"output": {"text": "B"}, "tags": []}]
        instance = {"id": "id7", "input": {"text": "Which?"}, "references": references}
        state = {"adapter_spec": {"model": f"org/{model}"}, "request_states": [
            {"instance": instance, "train_trial_index": 0, "result": {"completions": [{"text": " A"}]}},
            {"instance": instance | {"perturbation": {"name": "typos"}}},
        ]}  # fmt: skip
        stats = [{"name": {"name": name, "split": "test"}, "count": 1, "mean": mean}
                 for name, mean in (("exact_match", score), ("num_prompt_tokens", 300))]  # fmt: skip
        (folder / "scenario_state.json").write_text(json.dumps(state))
        (folder / "per_instance_stats.json").write_text(
            json.dumps([{"instance_id": "id7", "train_trial_index": 0, "stats": stats}])
        )
    import_run("helm", tmp_path / "runs", store)
    means = _rows(
        store, "SELECT m.name, s.measure, s.value FROM modelscore s JOIN model m ON m.id = s.model_id"
    )
    assert means == [
        ("org/one", "mmlu:subject=law:exact_match", 1.0),
        ("org/two", "mmlu:subject=law:exact_match", 0.0),
    ]
    assert _rows(store, "SELECT example FROM example") == [("id7",)]


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("inspect", "[]", "found.file: expected an object"),
        ("inspect", "{}", "is no log of Inspect: it has no key 'eval'"),
        ("inspect", '{"eval": {}, "samples": [{"scores": 1}]}', "found.file: is not as inspect writes it"),
        ("deepeval", "{", "found.file: is not JSON"),
        ("deepeval", "{}", "holds no answers with scores of deepeval"),
        ("lighteval", "x", "is no file of lighteval's details"),
        ("helm", "{}", "adapter_spec: expected an object"),
    ],
)
def test_files_of_other_tools_are_refused(
    tmp_path: Path, store: Path, kind: str, text: str, message: str
) -> None:
    path = tmp_path / "found.file"
    path.write_text(text)
    with pytest.raises(BadInput) as refused:
        import_run(kind, path, store)
    assert message in str(refused.value)
    assert not database.exists(store)
