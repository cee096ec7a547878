"""What a plan may say about its judges."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from engine.plan_types import Count, EnvironmentName, File, Flag, Name, Seconds, Seed, Table, Temperature, Url


class Judge(Table):
    """Who grades pairs: a model on an OpenAI-compatible server, or the embedded rule named "reference"."""

    name: Name
    kind: Literal["pairwise"] = "pairwise"
    server: Url | None = None
    model: Name | None = None
    api_key_env: EnvironmentName | None = None
    rubric: File | None = None
    concurrency: Count = 8
    max_tokens: Count = 1024
    timeout_s: Seconds = 60.0
    retries: Annotated[int, Field(strict=True, ge=0, le=20)] = 4
    seed: Seed = 0
    temperature: Temperature = 0.0
    embedded: Flag = False

    @model_validator(mode="before")
    @classmethod
    def _reference_needs_no_server(cls, table: Any) -> Any:
        if isinstance(table, dict) and table.get("name") == "reference" and "server" not in table:
            return {**table, "embedded": True}
        return table
