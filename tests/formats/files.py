"""Small files as MT-Bench, AlpacaEval, Prometheus 2 and JudgeLM write them."""

import json
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

QUESTIONS = [
    {"question_id": 81, "category": "writing", "turns": ["Compose a travel post.", "Begin with A."]},
    {"question_id": 101, "category": "reasoning", "turns": ["You pass the second. Where now?", "The last?"],
     "reference": ["Second.", "That is not possible."]},
]  # fmt: skip
MODELS = ("vicuna-13b", "gpt-3.5-turbo")
# model, question, turn: score as FastChat writes it, -1 for one that could not be read
SCORES = {
    ("vicuna-13b", 81, 1): 8, ("vicuna-13b", 81, 2): 5.5,
    ("vicuna-13b", 101, 1): 3, ("vicuna-13b", 101, 2): -1,
    ("gpt-3.5-turbo", 81, 1): 9, ("gpt-3.5-turbo", 81, 2): 9,
    ("gpt-3.5-turbo", 101, 1): 2, ("gpt-3.5-turbo", 101, 2): 7,
}  # fmt: skip
# question, turn: the winners of both games
WINNERS = {
    (81, 1): ("model_2", "model_2"), (81, 2): ("model_1", "model_2"),
    (101, 1): ("model_1", "model_1"), (101, 2): ("error", "model_2"),
}  # fmt: skip


def lines(path: Path, records: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def mt_bench(folder: Path) -> Path:
    lines(folder / "question.jsonl", QUESTIONS)
    for model in MODELS:
        lines(
            folder / "model_answer" / f"{model}.jsonl",
            [
                {
                    "question_id": question["question_id"],
                    "answer_id": f"{model}-{question['question_id']}",
                    "model_id": model,
                    "choices": [{"index": 0, "turns": [f"{model} one", f"{model} two, longer"]}],
                    "tstamp": 1.0,
                }
                for question in QUESTIONS
            ],
        )
    lines(
        folder / "model_judgment" / "gpt-4_single.jsonl",
        [
            {
                "question_id": question,
                "model": model,
                "judge": ["gpt-4", "single-v1"],
                "user_prompt": "[Question]\nq\n\n[The Start of Assistant's Answer]\na",
                "judgment": f"Because. Rating: [[{score}]]",
                "score": score,
                "turn": turn,
                "tstamp": 1.0,
            }
            for (model, question, turn), score in SCORES.items()
        ],
    )
    lines(
        folder / "model_judgment" / "gpt-4_pair.jsonl",
        [
            {
                "question_id": question,
                "model_1": MODELS[0],
                "model_2": MODELS[1],
                "g1_winner": first,
                "g2_winner": second,
                "judge": ["gpt-4", "pair-v2"],
                "g1_user_prompt": "p1",
                "g1_judgment": "[[A]]",
                "g2_user_prompt": "p2",
                "g2_judgment": "[[B]]",
                "turn": turn,
                "tstamp": 1.0,
            }
            for (question, turn), (first, second) in WINNERS.items()
        ],
    )
    return folder


def alpaca_eval(path: Path, preferences: Sequence[float | str | None], prefix: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [
        {
            "instruction": f"Instruction {place}?",
            "output_1": "The baseline's answer. " * 2,
            "generator_1": "gpt4_1106_preview",
            "output_2": "The model's answer. " * (1 + place % 4),
            "generator_2": "my-model",
            "dataset": "helpful_base",
            "annotator": "weighted_alpaca_eval_gpt4_turbo",
            "preference": preference,
            f"{prefix}price_per_example": 0.01,
            f"{prefix}time_per_example": 0.5,
            f"{prefix}raw_completion": {"logprobs": "m"},
        }
        for place, preference in enumerate(preferences)
    ]
    path.write_text(json.dumps(records))
    return path


def judgelm(path: Path) -> Path:
    texts = ["8 7\nThe first is better.", "6, 9", "5 5", "no scores here"]
    records = []
    for place, text in enumerate(texts):
        record = {
            "question_id": place, "question_body": f"Question {place}", "answer1_body": "one",
            "answer2_body": "another", "answer1_model_id": "base", "answer2_model_id": "tuned",
            "pred_text": text, "pred_model_id": "JudgeLM-7B", "reference": {"text": "right"},
        }  # fmt: skip
        records.append(record)
    # The other order of the first question: the judge prefers the same answer again.
    records.append(
        records[0] | {"answer1_body": "another", "answer2_body": "one", "answer1_model_id": "tuned",
                      "answer2_model_id": "base", "pred_text": " 6 8\nThe second is better."}
    )  # fmt: skip
    return lines(path, records)


def judgelm_both(folder: Path) -> Path:
    """A run in both orders as JudgeLM writes them: the reversed one has the same ids."""
    folder.mkdir()
    for name, texts, scores in (
        ("a_sequential.jsonl", ("long good answer", "bad"), "9 2"),
        ("b_reverse.jsonl", ("bad", "long good answer"), "2 9"),
    ):
        records = [
            {"question_id": place, "question_body": f"q{place}", "answer1_body": f"{texts[0]} {place}",
             "answer2_body": f"{texts[1]} {place}", "answer1_model_id": "good", "answer2_model_id": "bad",
             "pred_text": scores, "reference": "right"}
            for place in range(4)
        ]  # fmt: skip
        lines(folder / name, records)
    return folder


def prometheus(path: Path) -> Path:
    outputs = ["Good. [RESULT] 4", "Fine. **[RESULT]** 5.", "Bad [RESULT] 2</s>", "No result"]
    absolute = [
        {"orig_instruction": f"Task {place}", "orig_response": "An answer.", "orig_reference_answer": "Best.",
         "orig_criteria": "Is it right?", "output": output}
        for place, output in enumerate(outputs)
    ]  # fmt: skip
    relative = [
        {"instruction": "Pair", "response_A": "a", "response_B": "b", "output": "A is clearer. [RESULT] A"},
    ]
    return lines(path, [*absolute, *relative])


def verdicts(folder: Path) -> None:
    """Verdicts of another tool on the same pairs in two forms, and a person's labels on them."""
    header = "id,model_a,model_b,winner"
    (folder / "verdicts.csv").write_text(
        f"{header},judge\nq1,tuned,base,model_a,gpt\nq2,tuned,base,tie,gpt\n"
    )
    (folder / "labels.csv").write_text(f"{header},annotator\nq1,tuned,base,model_a,ann\n")
    said = {"model_a": "tuned", "model_b": "base"}
    lines(
        folder / "judged.jsonl", [{"id": "q1", "choice": "none"} | said, {"id": "q2", "choice": "B"} | said]
    )


def evaluations(folder: Path) -> None:
    """One answer with its score as Inspect, lighteval, deepeval, HELM and garak write it."""
    details = folder / "details/org/model/2026-01-02T03-04-05.678"
    run = folder / "runs/mmlu:subject=law,model=org_model"
    for part in (folder / "logs", folder / ".deepeval", details, run):
        part.mkdir(parents=True)
    sample = {"id": 1, "epoch": 1, "input": "2 + 2?", "output": {"completion": "4"}, "scores": {"match": "C"}}
    with zipfile.ZipFile(folder / "logs/sums.eval", "w") as log:
        log.writestr("header.json", json.dumps({"status": "success", "eval": {"task": "sums", "model": "m"}}))
        log.writestr("samples/1_epoch_1.json", json.dumps(sample))
    row = {"doc": {"query": "2 + 2?"}, "model_response": {"text": ["4"]}, "metric": {"em": 1.0}}
    parquet.write_table(
        pa.Table.from_pylist([row]), details / "details_sums|5_2026-01-02T03-04-05.678.parquet"
    )
    case = {"input": "2 + 2?", "actualOutput": "4", "metricsData": [{"name": "Right", "score": 1.0}]}
    (folder / ".deepeval/.latest_run_full.json").write_text(json.dumps({"testCases": [case]}))
    attempt = {
        "entry_type": "attempt", "status": 2, "seq": 0, "probe_classname": "dan.Dan_11_0", "prompt": "Attack",
        "outputs": ["No"], "detector_results": {"dan.DAN": [0.0]},
    }  # fmt: skip
    lines(folder / "garak.1.report.jsonl", [attempt])
    request = {
        "instance": {"id": "id1", "input": {"text": "2 + 2?"}},
        "result": {"completions": [{"text": "4"}]},
    }
    state = {"adapter_spec": {"model": "org/model"}, "request_states": [request]}
    (run / "scenario_state.json").write_text(json.dumps(state))
    stats = [{"instance_id": "id1", "stats": [{"name": {"name": "exact_match"}, "mean": 1.0}]}]
    (run / "per_instance_stats.json").write_text(json.dumps(stats))
