"""What a benchmark's numbers depend on, hashed before the model is asked anything."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import lm_eval

# Raised when the same requests would be scored in another way here.
_SCORING = "1"
# Where a task's data lies; what it holds is hashed request by request.
_PLACES = {"dataset_kwargs", "dataset_path", "dataset_name", "custom_dataset"}


def identity(fingerprint: str, loaded: Mapping[str, Any]) -> str:
    """A hash over weights, tasks and every request, for tasks whose requests lm-eval has built.

    `fingerprint` is the model's: weights, adapter, tokenizer, template and dtype by content. The requests are
    the finished prompts, so that shots, limit, chat template and data are in them; the tasks' configurations
    tell how the answers are filtered and scored.
    """
    hashed = hashlib.sha256()
    head = [_SCORING, lm_eval.__version__, fingerprint, [_group(group) for group in _groups(loaded)]]
    for part in _parts(head, loaded["tasks"]):
        hashed.update(json.dumps(part, default=str, sort_keys=True).encode())
    return hashed.hexdigest()


def _parts(head: list[Any], tasks: Mapping[str, Any]) -> Iterable[Any]:
    yield head
    for name, task in sorted(tasks.items()):
        config = {key: value for key, value in task.dump_config().items() if key not in _PLACES}
        metadata = config.pop("metadata", None) or {}
        config |= {key: value for key, value in metadata.items() if key != "config_source"}
        yield [name, str(task.VERSION), type(task).__qualname__, config]
        before = None
        for request in task.instances:
            document = None if request.doc_id == before else request.doc
            before = request.doc_id
            yield [request.request_type, request.doc_id, request.repeats, request.args, document]


def _groups(loaded: Mapping[str, Any]) -> list[Any]:
    return sorted((loaded.get("groups") or {}).values(), key=lambda group: str(group.name))


def _group(group: Any) -> list[Any]:
    return [group.name, sorted(group.child_names), str(group.aggregate_metric_list)]
