"""What a plan may say of lm-evaluation-harness tasks."""

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, model_validator

from engine.plan.types import Count, Flag, Folder, Name, Table

# What fine-tuning is known to cost: reasoning, common sense, knowledge, truthfulness, arithmetic.
SUITES: dict[str, tuple[str, ...]] = {
    "forgetting": ("arc_challenge", "hellaswag", "mmlu", "truthfulqa_mc2", "winogrande", "gsm8k")
}


def _batch_size(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError('expected a whole number from 1, or "auto"')


BatchSize = Annotated[int | Literal["auto"], PlainValidator(_batch_size)]


class Benchmarks(Table):
    """lm-evaluation-harness tasks and groups, by name or by the one word for a `suite` of them.

    `include` is a folder of local task files; `shots` None is each task's own number. `tasks` has those of
    the suite too, which come first. A batch size "auto" is the largest that fits, found on the way.
    """

    tasks: Annotated[tuple[Name, ...], Field(min_length=1)]
    suite: Literal["forgetting"] | None = None
    include: Folder | None = None
    limit: Count | None = None
    shots: Annotated[int, Field(strict=True, ge=0)] | None = None
    batch_size: BatchSize = 16
    apply_chat_template: Flag = True

    @model_validator(mode="before")
    @classmethod
    def _suite_is_tasks(cls, table: Any) -> Any:
        if not isinstance(table, dict) or not isinstance(table.get("suite"), str):
            return table
        suite = SUITES.get(table["suite"], ())
        tasks = table.get("tasks", ())
        if (
            not suite
            or not isinstance(tasks, list | tuple)
            or not all(isinstance(name, str) for name in tasks)
        ):
            return table
        return {**table, "tasks": list(dict.fromkeys([*suite, *tasks]))}
