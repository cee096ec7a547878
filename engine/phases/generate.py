"""Generation: every model answers every example that it has not answered yet."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from engine.data.calls import find_calls
from engine.data.example import Example
from engine.data.split import sample
from engine.errors import CannotRun
from engine.models.holder import Holder, base_key
from engine.models.model import GENERATION, Generator, Load, Response, Settings, without_reasoning
from engine.models.prompt import converse
from engine.phases.work import Meter, Work, closed_after
from engine.plan.plan import Benchmarks, Generation, Model, Plan
from store import records
from store.read.query import by_key
from store.records.results import AnswerContent

if TYPE_CHECKING:
    from engine.benchmarks.results import KnownTask, TaskResult
    from engine.metrics.perplexity import CorpusNll, Nll
    from engine.models.fingerprint import FileHashes
    from engine.models.local import LocalModel, Probe
    from engine.models.noise import NoiseFloor
    from engine.servers.started import StartedServer


def settings_of(generation: Generation) -> Settings:
    return Settings(
        max_new_tokens=generation.max_new_tokens,
        temperature=generation.temperature,
        top_p=generation.top_p,
        top_k=generation.top_k,
        min_p=generation.min_p,
        repetition_penalty=generation.repetition_penalty,
        seed=generation.seed,
        stop=generation.stop,
        batch_size=generation.batch_size,
        deterministic=generation.deterministic,
        overflow=generation.overflow,
        delimiters=generation.reasoning_delimiters,
        # A size that the plan names is a limit everywhere; left out, memory decides where it can.
        slots=generation.batch_size if "batch_size" in generation.model_fields_set else None,
    )


# The settings that decide which answers there are, and not how fast.
_DECIDING = (
    *("max_new_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "samples"),
    *("stop", "overflow", "reasoning", "reasoning_delimiters", "deterministic"),
)


def deciding(plan: Plan, model: Model) -> dict[str, Any]:
    """The settings by which a model is asked, kept with its facts; of recorded answers few are known."""
    names = ("samples", "reasoning", "reasoning_delimiters") if model.kind == "recorded" else _DECIDING
    settings = plan.generation.model_dump(mode="json")
    return {name: settings[name] for name in names}


class Gauge:
    """Advances a meter with each batch of responses and with the generator's load."""

    def __init__(self, meter: Meter, generator: Generator) -> None:
        self._meter = meter
        self._generator = generator
        self._seen = Load(0, 0)

    def advance(self, batch: list[Response]) -> None:
        """To be called with every batch, an empty one too.

        Tokens are those of unfinished answers too where the generator counts them, else of the finished ones.
        """
        fresh = [response for response in batch if not response.cached]
        tokens = sum(response.tokens_out or 0 for response in fresh)
        load = self._generator.load()
        if load is not None:
            tokens = load.tokens - self._seen.tokens
            self._meter.observe(
                slots=load.slots,
                busy=load.busy,
                prompt_tokens=load.prompt_tokens - self._seen.prompt_tokens,
                prompt_seconds=load.prompt_seconds - self._seen.prompt_seconds,
            )
            self._seen = load
        self._meter.advance(len(batch), tokens=tokens, remembered=len(batch) - len(fresh))


def wants_noise(work: Work, model: Model) -> bool:
    """Whether the model's noise floor is asked for and not measured yet."""
    if work.plan.generation.noise_floor is None or model.kind != "local":
        return False
    return "noise_floor" not in _details(work, model)


def measure_noise(work: Work, model: Model, loader: "Loader") -> None:
    """Measures on a seeded sample of the run's examples, and keeps the figures with the model's facts."""
    examples = sample(work.examples, work.plan.generation.noise_floor or 0, work.plan.data.seed)
    found = asdict(loader.noise(model, examples, settings_of(work.plan.generation)))
    details = _details(work, model) | {"noise_floor": found}
    work.recorder.set_model(work.model_ids[model.name], details=details)


def _details(work: Work, model: Model) -> dict[str, object]:
    return work.recorder.rows(records.StoredModel, id=work.model_ids[model.name])[0].details or {}


class Loader:
    """Opens the plan's models and does the work that needs weights; one base at a time is in memory.

    With a `server`, local models are those that it answers for; `hashes` are those of files read already.
    """

    def __init__(
        self, work: Work, server: "StartedServer | None" = None, hashes: "FileHashes | None" = None
    ) -> None:
        self._work = work
        cache = work.cache / "responses" if work.cache else None
        self._holder = Holder(cache, server, work.plan.generation.timeout_s, hashes)

    def open(self, model: Model) -> Generator:
        generation = self._work.plan.generation
        if model.kind == "server":
            from engine.models.server import ServerModel

            return ServerModel(model, concurrency=generation.concurrency, timeout_s=generation.timeout_s)
        if model.kind == "recorded":
            from engine.models.recorded import RecordedModel, RunAnswers

            if model.run is None:
                return RecordedModel(model, generation.samples)
            run = self._work.recorder.run()
            # Which run was meant stays so when this one is resumed.
            known = (_details(self._work, model).get("run"), _details(self._work, model).get("model"))
            if known[0] is not None:
                model = model.model_copy(update={"run": str(known[0]), "model": known[1]})
            return RunAnswers(model, self._work.store, run.name, run.id, generation.samples)
        return self._local(model)

    def probe(self, model: Model, examples: Sequence[Example]) -> "Probe":
        """Whether the model's adapter does something, over the first examples that it can be asked."""
        return self._local(model).probe(examples)

    def noise(self, model: Model, examples: Sequence[Example], settings: Settings) -> "NoiseFloor":
        """How many of the answers change when nothing changes but the batch."""
        from engine.models.noise import noise_floor

        def between(_way: str, _count: int) -> None:
            self._work.heed()

        return noise_floor(self._local(model), examples, settings, between)

    def nll(self, model: Model, items: Sequence[tuple[Example, str]]) -> "Iterator[Nll]":
        """How surprised the model is by each text as its answer."""
        from engine.metrics.perplexity import conditional_nll

        return conditional_nll(self._local(model), items)

    def corpus(self, model: Model, texts: Sequence[tuple[int, str]]) -> "Iterator[CorpusNll]":
        """How surprised the model is by each text, in itself."""
        from engine.metrics.perplexity import corpus_nll

        return corpus_nll(self._local(model), texts)

    def tasks(
        self,
        model: Model,
        settings: Benchmarks,
        tasks: Sequence[str],
        progress: Callable[[str, int, int], None],
        known: frozenset[str],
    ) -> "Iterator[TaskResult | KnownTask]":
        """The benchmarks' results, each as it is finished; `known` identities are not measured again."""
        from engine.benchmarks.harness import run_tasks

        return run_tasks(self._local(model), settings, tasks, progress, known)

    def _local(self, model: Model) -> "LocalModel":
        opened = self._holder.model(model)
        # Here, so that perplexity and benchmarks of a resumed run are held to the same weights too.
        hold_to_fingerprint(self._work, model, opened)
        return opened

    def close(self) -> None:
        self._holder.close()


Step = Callable[[Work, Model, Loader], None]
# Gives each of the models to the step once, with a loader that opens it. Raises what the step raises, once
# nothing is under way any more.
Each = Callable[[Sequence[Model], Step], None]


def grouped(models: tuple[Model, ...]) -> list[Model]:
    """The plan's models with those of one base side by side, so that each base is loaded once."""
    first: dict[object, int] = {}
    for place, model in enumerate(models):
        first.setdefault(base_key(model), place)
    return sorted(models, key=lambda model: first[base_key(model)])


def unasked(work: Work, model: Model) -> list[Example]:
    """What the model has still to be asked: each example once for each of its samples that is not stored, and
    then each variant.
    """
    known: dict[str, Any] = {"name": "example_id", "model_id": work.model_ids[model.name]}
    done = [work.recorder.column(records.StoredResponse, **known)]
    done += [
        work.recorder.column(records.StoredSample, **known, sample=place)
        for place in range(1, work.plan.generation.samples)
    ]
    plain = [
        replace(example, sample=place) if place else example
        for example in [*work.examples, *work.suites]
        for place, have in enumerate(done)
        if work.example_ids[example.id] not in have
    ]
    asked = work.variants_of(model)
    rows = work.recorder.rows(records.StoredVariantAnswer, model_id=known["model_id"]) if asked else []
    have_answers = {(row.variant_id, row.sample) for row in rows}
    return plain + [
        replace(variant.example, sample=place) if place else variant.example
        for variant in asked
        for place in range(work.plan.generation.samples)
        if (variant.id, place) not in have_answers
    ]


def generate(work: Work, model: Model, loader: Loader) -> None:
    model_id = work.model_ids[model.name]
    todo = unasked(work, model)
    questions = len(work.examples) + len(work.suites) + len(work.variants_of(model))
    total = questions * work.plan.generation.samples
    meter = work.meter("generate", model.name, "responses", total=total, done=total - len(todo))
    if not (todo or _needs_probe(work, model) or wants_noise(work, model)):
        return
    generator = loader.open(model)
    if model.kind != "local":
        hold_to_fingerprint(work, model, generator)
    probe(work, model, loader)
    facts: dict[str, Any] = {}
    generation = work.plan.generation

    def read(response: Response) -> Response:
        """The answer apart from its trace."""
        if not facts:
            # Every prompt is made before the first answer: what they showed is kept before any of these.
            facts.update(_keep_facts(work, model, generator))
        if generation.reasoning == "keep" or facts.get("reasoning_apart"):
            return response
        opened = facts.get("opens_reasoning", False)
        return without_reasoning(response, opened, generation.reasoning_delimiters)

    # Recorded answers are those of whole conversations already.
    is_recorded = model.kind == "recorded"
    answer = generator.generate if is_recorded else partial(converse, generator, read=read)
    gauge = Gauge(meter, generator)
    told: list[str] = []
    asked = {example.id: example for example in todo}
    with closed_after(answer(todo, settings_of(work.plan.generation))) as batches:
        for batch in batches:
            if is_recorded:
                batch = [read(response) for response in batch]
            _keep(work, model_id, [(response, asked[response.example_id]) for response in batch])
            gauge.advance(batch)
            _tell_missing(work, model, batch)
            told = _tell_rejected(work, model, generator, told)
            work.checkpoint()
    _keep_facts(work, model, generator)
    if wants_noise(work, model):
        measure_noise(work, model, loader)
    generator.close()


def _keep_facts(work: Work, model: Model, generator: Generator) -> dict[str, Any]:
    """Stores and returns what the model says of itself.

    What is known already stays: how a checkpoint fared in its sweep, and what was seen of prompts that were
    answered before the run was resumed.
    """
    model_id = work.model_ids[model.name]
    known = work.recorder.rows(records.StoredModel, id=model_id)[0].details or {}
    facts = known | generator.describe() | {GENERATION: deciding(work.plan, model)}
    if "unread_system" in facts:
        facts["unread_system"] = max(facts["unread_system"], known.get("unread_system", 0))
    work.recorder.set_model(model_id, details=facts)
    return facts


def hold_to_fingerprint(work: Work, model: Model, generator: Generator) -> None:
    """Records whose answers these are; refuses to mix in those of other weights under the same name."""
    model_id = work.model_ids[model.name]
    row = work.recorder.rows(records.StoredModel, id=model_id)[0]
    recorded = row.fingerprint
    if recorded is not None and recorded != generator.fingerprint:
        engines = ((row.details or {}).get("engine"), generator.describe().get("engine"))
        what = "the files of" if engines[0] == engines[1] else "the engine or its version of"
        raise CannotRun(
            f"{what} model {model.name!r} have changed since this run began",
            "start a new run with `assay run`, so that the answers of two models are not mixed",
        )
    if recorded is None:
        details = (row.details or {}) | generator.describe()
        work.recorder.set_model(model_id, fingerprint=generator.fingerprint, details=details)


def _needs_probe(work: Work, model: Model) -> bool:
    if model.adapter is None:
        return False
    return work.recorder.rows(records.StoredModel, id=work.model_ids[model.name])[0].probe is None


def probe(work: Work, model: Model, loader: Loader) -> None:
    """Stores whether the model's adapter does something, where that is not known yet."""
    if not _needs_probe(work, model):
        return
    found = loader.probe(model, work.examples)
    work.recorder.set_model(
        work.model_ids[model.name],
        probe={
            "max_difference": _finite(found.max_difference),
            "mean_difference": _finite(found.mean_difference),
            "prompts": found.prompts,
        },
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _keep(work: Work, model_id: int, batch: list[tuple[Response, Example]]) -> None:
    variants = {variant.example.id: variant.id for variant in work.variants}
    plain = [
        (each.sample, _row(each, example, model_id) | {"example_id": work.example_ids[example.id]})
        for each, example in batch
        if example.id not in variants
    ]
    others = [
        _row(each, example, model_id) | {"variant_id": variants[example.id], "sample": each.sample}
        for each, example in batch
        if example.id in variants
    ]
    with work.recorder.transaction() as transaction:
        transaction.append([records.StoredResponse(**row) for sample, row in plain if not sample])
        transaction.append([records.StoredSample(**row, sample=sample) for sample, row in plain if sample])
        transaction.append([records.StoredVariantAnswer(**row) for row in others])


def _row(response: Response, example: Example, model_id: int) -> dict[str, Any]:
    calls_tools = response.text is not None and (example.tools or example.calls)
    return {
        "model_id": model_id,
        "text": response.text,
        "turns": list(response.turns) or None,
        "thinking": response.thinking,
        "thinking_tokens": response.thinking_tokens,
        "calls": list(find_calls(response.text or "", example.tools).calls) if calls_tools else None,
        "tokens_in": response.tokens_in,
        "tokens_out": response.tokens_out,
        "finish_reason": response.finish_reason,
        "latency_s": response.latency_s,
        "cached": response.cached,
        "reason": response.reason,
        "created": time.time(),
    }


def _tell_rejected(work: Work, model: Model, generator: Generator, told: list[str]) -> list[str]:
    """Records at once the parameters that a server refuses: these answers were made without them."""
    if model.kind != "server":
        return told
    facts = generator.describe()
    rejected: list[str] = facts["rejected"]
    if rejected != told:
        work.recorder.event("warning", "generate", f"{model.name}: {facts['notes'][-1]}")
        model_id = work.model_ids[model.name]
        known = work.recorder.rows(records.StoredModel, id=model_id)[0].details or {}
        work.recorder.set_model(model_id, details=known | facts)
    return rejected


def _tell_missing(work: Work, model: Model, batch: list[Response]) -> None:
    """One event for all that stayed unanswered together: recorded answers come at once, and many may lack."""
    unanswered = [response for response in batch if response.text is None]
    if not unanswered:
        return
    first = unanswered[0]
    told = f"{model.name}, example {first.example_id}: {first.reason}"
    if more := len(unanswered) - 1:
        told += f"; {more} more {'has' if more == 1 else 'have'} no answer either"
    work.recorder.event("error", "generate", told)


def stored_answers(work: Work, model: Model) -> list[records.StoredResponse]:
    """A model's stored responses and their further samples, each example's in the order of its samples."""
    model_id = work.model_ids[model.name]
    found = work.recorder.rows(records.StoredResponse, model_id=model_id)
    more = (
        work.recorder.rows(records.StoredSample, model_id=model_id)
        if work.plan.generation.samples > 1
        else ()
    )
    return [*found, *sorted(more, key=lambda row: row.sample)]


def stored_responses(work: Work, model: Model) -> list[tuple[Example, Response]]:
    """A model's answers, read from the store, in the run's order: those of which every sample is there."""
    samples = work.plan.generation.samples
    rows = by_key((row.example_id, row) for row in stored_answers(work, model))
    pairs = []
    for example in work.examples:
        found = rows.get(work.example_ids[example.id], [])
        for place, row in enumerate(found if len(found) == samples else ()):
            pairs.append((example, answered(row, example, place)))
    return pairs


def answered(row: AnswerContent, example: Example, sample: int) -> Response:
    """What the store keeps of an answer, as the model gave it."""
    return Response(
        example_id=example.id,
        text=row.text,
        tokens_in=row.tokens_in,
        tokens_out=row.tokens_out,
        finish_reason=row.finish_reason,
        latency_s=row.latency_s,
        cached=row.cached,
        reason=row.reason,
        turns=tuple(row.turns or ()),
        sample=sample,
        thinking=row.thinking,
        thinking_tokens=row.thinking_tokens,
    )
