"""Second phase: every model answers every example that it has not answered yet."""

import time
from typing import TYPE_CHECKING, Any

from engine.errors import CannotRun
from engine.examples import Example
from engine.generate.model import Generator, Response, Settings
from engine.phases.work import Work, closed_after
from engine.plan import Model
from store import tables

if TYPE_CHECKING:
    from engine.generate.local import LocalBase, LocalModel

PROBE_PROMPTS = 4


class Loader:
    """Opens the plan's models; keeps one base in memory and hands it to all that stand on it."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._base: LocalBase | None = None
        self._base_key: tuple[str, str, str] | None = None

    def open(self, model: Model) -> Generator:
        generation = self._work.plan.generation
        if model.kind == "server":
            from engine.generate.server import ServerModel

            return ServerModel(model, concurrency=generation.concurrency, timeout_s=generation.timeout_s)
        if model.kind == "recorded":
            from engine.generate.recorded import RecordedModel

            return RecordedModel(model)
        return self.local(model)

    def local(self, model: Model) -> "LocalModel":
        """A model of this machine. Another base than the last one's takes that one's place in memory."""
        from engine.generate.cache import ResponseCache
        from engine.generate.local import LocalBase

        assert model.path is not None
        key = (model.path, model.dtype, model.device)
        if key != self._base_key:
            self.close()
            self._base = LocalBase(model.path, dtype=model.dtype, device=model.device)
            self._base_key = key
        assert self._base is not None
        folder = self._work.cache
        opened = self._base.generator(model, ResponseCache(folder / "responses") if folder else None)
        # Here, so that perplexity and benchmarks of a resumed run are held to the same weights too.
        _hold_to_fingerprint(self._work, model, opened)
        return opened

    def close(self) -> None:
        if self._base is not None:
            self._base.close()
        self._base = self._base_key = None


def grouped(models: tuple[Model, ...]) -> list[Model]:
    """The plan's models with those of one base side by side, so that each base is loaded once."""
    first: dict[object, int] = {}
    for place, model in enumerate(models):
        first.setdefault((model.path, model.dtype), place)
    return sorted(models, key=lambda model: first[model.path, model.dtype])


def generate(work: Work, model: Model, loader: Loader) -> None:
    model_id = work.model_ids[model.name]
    done = work.recorder.column(tables.Response, "example_id", model_id=model_id)
    todo = [example for example in work.examples if work.example_ids[example.id] not in done]
    meter = work.meter("generate", model.name, "responses", total=len(work.examples), done=len(done))
    if not todo and not _needs_probe(work, model):
        return
    generator = loader.open(model)
    if model.kind != "local":
        _hold_to_fingerprint(work, model, generator)
    if _needs_probe(work, model):
        _probe(work, model, loader)
    with closed_after(generator.generate(todo, _settings(work))) as batches:
        for batch in batches:
            work.recorder.append(tables.Response, [_row(response, model_id, work) for response in batch])
            meter.advance(len(batch), tokens=sum(response.tokens_out or 0 for response in batch))
            _tell_missing(work, model, batch)
            work.checkpoint()
    work.recorder.set_model(model_id, details=generator.describe())
    generator.close()


def _settings(work: Work) -> Settings:
    generation = work.plan.generation
    return Settings(
        max_new_tokens=generation.max_new_tokens,
        temperature=generation.temperature,
        top_p=generation.top_p,
        seed=generation.seed,
        stop=generation.stop,
        batch_size=generation.batch_size,
        # A size that the plan names is a limit everywhere; left out, memory decides where it can.
        slots=generation.batch_size if "batch_size" in generation.model_fields_set else None,
    )


def _hold_to_fingerprint(work: Work, model: Model, generator: Generator) -> None:
    """Records whose answers these are; refuses to mix in those of other weights under the same name."""
    model_id = work.model_ids[model.name]
    recorded = work.recorder.rows(tables.Model, id=model_id)[0]["fingerprint"]
    if recorded is not None and recorded != generator.fingerprint:
        raise CannotRun(
            f"the files of model {model.name!r} have changed since this run began",
            "start a new run with `assay run`, so that the answers of two models are not mixed",
        )
    if recorded is None:
        work.recorder.set_model(model_id, fingerprint=generator.fingerprint, details=generator.describe())


def _needs_probe(work: Work, model: Model) -> bool:
    if model.adapter is None:
        return False
    return work.recorder.rows(tables.Model, id=work.model_ids[model.name])[0]["probe"] is None


def _probe(work: Work, model: Model, loader: Loader) -> None:
    probe = loader.local(model).probe(work.examples[:PROBE_PROMPTS])
    work.recorder.set_model(
        work.model_ids[model.name],
        probe={
            "max_difference": probe.max_difference,
            "mean_difference": probe.mean_difference,
            "prompts": probe.prompts,
        },
    )


def _row(response: Response, model_id: int, work: Work) -> dict[str, Any]:
    return {
        "model_id": model_id,
        "example_id": work.example_ids[response.example_id],
        "text": response.text,
        "tokens_in": response.tokens_in,
        "tokens_out": response.tokens_out,
        "finish_reason": response.finish_reason,
        "latency_s": response.latency_s,
        "cached": response.cached,
        "reason": response.reason,
        "created": time.time(),
    }


def _tell_missing(work: Work, model: Model, batch: list[Response]) -> None:
    for response in batch:
        if response.text is None:
            work.recorder.event(
                "error", "generate", f"{model.name}, example {response.example_id}: {response.reason}"
            )


def stored_responses(work: Work, model: Model) -> list[tuple[Example, Response]]:
    """What a model answered, read back from the store, in the run's order."""
    rows = {
        row["example_id"]: row
        for row in work.recorder.rows(tables.Response, model_id=work.model_ids[model.name])
    }
    pairs = []
    for example in work.examples:
        row = rows.get(work.example_ids[example.id])
        if row is not None:
            pairs.append(
                (
                    example,
                    Response(
                        example_id=example.id,
                        text=row["text"],
                        tokens_in=row["tokens_in"],
                        tokens_out=row["tokens_out"],
                        finish_reason=row["finish_reason"],
                        latency_s=row["latency_s"],
                        cached=row["cached"],
                        reason=row["reason"],
                    ),
                )
            )
    return pairs
