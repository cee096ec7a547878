"""Whether a plan may have the data it asks for: what people excluded, the test lock, the other files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.data.example import Example, eval_set_version
from engine.data.excluded import without_excluded
from engine.data.lock import refuse_used_test, used_before
from engine.data.rows import data_rows
from engine.errors import BadInput
from engine.plan.finding import Finding
from engine.plan.plan import Data, Plan
from store import database
from store.exclusions import excluded
from store.read.lock import test_uses
from store.session import opened


def remaining(examples: list[Example], store: Path) -> list[Example]:
    """The examples that nobody took out in this store."""
    if not database.exists(store):
        return examples
    with opened(store) as connection:
        return without_excluded(examples, excluded(connection))[0]


def data_findings(
    plan: Plan, whole: Sequence[Example], examples: Sequence[Example], store: Path
) -> Iterator[Finding]:
    """Of the test lock, of exclusions, and of what the plan names beside examples and training data.

    `whole` are the file's examples, `examples` those that remain.
    """
    data = plan.data
    if left := len(whole) - len(examples):
        message = f"{left} of {len(whole)} examples are left out, since people excluded them"
        if examples:
            yield Finding("ok", "data.examples", message)
        else:
            yield Finding("error", "data.examples", message, "put some back: x on the Splits screen")
    if data.split == "test" and examples:
        yield _lock(data, whole, examples, store)
    for key, file in [*(("data.earlier", file) for file in data.earlier), ("data.queries", data.queries)]:
        if file is not None:
            yield _readable(key, file, data)
    if data.embedding_model is not None:
        yield _embedding(data, data.embedding_model)


def _lock(data: Data, whole: Sequence[Example], examples: Sequence[Example], store: Path) -> Finding:
    version, uses = eval_set_version(examples), []
    if database.exists(store):
        with opened(store) as connection:
            uses = test_uses(connection, version, eval_set_version(whole))
    try:
        refuse_used_test(version, uses, data.final)
    except BadInput as error:
        return Finding("error", "data.split", error.message, error.hint)
    if uses:
        message = f"the test split was used {used_before(uses)}; final = true lets it be used again"
        return Finding("warning", "data.split", message, "its numbers are worth less with each use")
    return Finding(
        "ok", "data.split", "the test split was not used before; this run will be recorded as its first use"
    )


def _readable(key: str, file: Path, data: Data) -> Finding:
    try:
        next(data_rows(file, data.fields), None)
    except BadInput as error:
        return Finding("error", key, error.message, error.hint)
    return Finding("ok", key, f"{file.name} can be read")


def _embedding(data: Data, folder: Path) -> Finding:
    if not (folder / "config.json").is_file():
        return Finding(
            "error",
            "data.embedding_model",
            f"{folder}: holds no model (no config.json)",
            "name the folder of a sentence-transformers model that was downloaded before",
        )
    if data.train is None:
        return Finding(
            "warning", "data.embedding_model", "finds nothing without training data", "name them as `train`"
        )
    return Finding("ok", "data.embedding_model", f"{folder} holds a model")
