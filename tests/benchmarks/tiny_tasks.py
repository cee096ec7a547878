"""Small local tasks of lm-eval: choices, answers of its own, two filters, and a group."""

import json
from pathlib import Path
from typing import Any

import yaml

ROWS = [{"question": f"the cat {number}", "choices": ["red", "green", "blue"], "answer": number % 3}
        for number in range(8)]  # fmt: skip
CHOICE: dict[str, Any] = {
    "task": "tiny_choice",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "colours.jsonl"}},
    "test_split": "test",
    "fewshot_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}\nAnswer:",
    "doc_to_choice": "choices",
    "doc_to_target": "answer",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    "metadata": {"version": 2.0},
}
SECOND = CHOICE | {"task": "tiny_second", "doc_to_text": "Second: {{question}}"}
FILTERED = CHOICE | {
    "task": "tiny_filtered",
    "output_type": "generate_until",
    "doc_to_target": "{{choices[answer]}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 4, "do_sample": False},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    "filter_list": [
        {"name": "strict-match", "filter": [{"function": "take_first"}]},
        {
            "name": "flexible-extract",
            "filter": [
                {"function": "regex", "regex_pattern": "(red|green|blue)"},
                {"function": "take_first"},
            ],
        },
    ],
}
GROUP = {
    "group": "tiny_group",
    "task": ["tiny_choice", "tiny_second"],
    "aggregate_metric_list": [{"metric": "acc", "weight_by_size": True}],
    "metadata": {"version": 3.0},
}


def write_tasks(folder: Path, *configs: dict[str, Any]) -> Path:
    """The tasks' files and their data; all of the above where none are named."""
    folder.mkdir(exist_ok=True)
    (folder / "colours.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    for config in configs or (CHOICE, SECOND, FILTERED, GROUP):
        write_task(folder, config)
    return folder


def write_task(folder: Path, config: dict[str, Any]) -> None:
    own = {key: value for key, value in config.items() if key != "doc_to_choice"}
    if config.get("output_type") == "multiple_choice":
        own["doc_to_choice"] = config["doc_to_choice"]
    name = config.get("group") or config["task"]
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(own))
