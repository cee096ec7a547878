"""Answers with vLLM: a server for each base of the plan, asked for all of its models at once."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Self

from engine.models.fingerprint import FileHashes
from engine.models.folder import adapter_of
from engine.models.holder import base_key
from engine.models.served import MOST_ADAPTERS, holding, longest, why_not
from engine.phases.generate import Loader, Step
from engine.phases.work import Stopped, Work
from engine.plan.plan import Model, Plan
from engine.servers.vllm import Installed, VllmServer, installed
from store.read.query import by_key

HALT = "halt"  # the request that stops the other models of a base once one has failed


def served(plan: Plan, vllm: Installed) -> tuple[list[list[Model]], dict[str, str]]:
    """The models that vLLM answers for, those of one server together; and of other bases' models why not.

    A base of which vLLM would not answer for one model is answered by transformers as a whole, so that
    its models are compared under one engine. Raises BadInput for files that cannot be read.
    """
    groups: list[list[Model]] = []
    others: dict[str, str] = {}
    local = [model for model in plan.models if model.kind == "local"]
    for models in by_key((base_key(model), model) for model in local).values():
        reasons = {model.name: why for model in models if (why := why_not(model, vllm))}
        if reasons:
            first = next(iter(reasons))
            others |= {model.name: f"{first}: {reasons[first]}" for model in models} | reasons
        else:
            groups += _in_parts(models)
    return groups, others


def _in_parts(models: Sequence[Model]) -> Iterator[list[Model]]:
    """At most so many adapters to a server; models with the same one stay together."""
    sets = list(by_key((adapter_of(model, download=True), model) for model in models).values())
    for start in range(0, len(sets), MOST_ADAPTERS):
        yield [model for models in sets[start : start + MOST_ADAPTERS] for model in models]


class Serving:
    """The vLLM of one run: a server at a time, kept until another base is asked or the run ends."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._vllm = installed(work.plan.compute.vllm)
        self._groups, self._others = served(work.plan, self._vllm)
        self._hashes = FileHashes(work.cache / "responses" if work.cache else None)
        self._server: VllmServer | None = None
        self._held: list[Model] = []
        for name, why in self._others.items():
            work.recorder.event("warning", "generate", f"{name}: transformers answers, and not vLLM: {why}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def each(self, models: Sequence[Model], step: Step) -> None:
        """Gives every model to the step once: those of one server all at the same time."""
        names = {model.name for group in self._groups for model in group}
        self._here([model for model in models if model.name not in names], step)
        asked = {model.name: model for model in models}
        for group in self._groups:
            if todo := [asked[model.name] for model in group if model.name in asked]:
                self._at_once(self._serve(group), todo, step)

    def _here(self, models: Sequence[Model], step: Step) -> None:
        """Those that need no server of ours, one after another."""
        if any(model.kind == "local" for model in models):
            self._close()  # the device has room for one base
        loader = Loader(self._work)
        try:
            for model in models:
                step(self._work, model, loader)
        finally:
            loader.close()

    def _serve(self, group: list[Model]) -> VllmServer:
        if self._server is None or group is not self._held:
            self._close()
            work, generation = self._work, self._work.plan.generation
            compute = work.plan.compute
            most = None
            if compute.max_model_len is None and work.plan.benchmarks is None:
                most = longest(group, work.examples + work.validation, generation.max_new_tokens)

            def tell(level: str, said: str) -> None:
                work.recorder.event(level, "generate", said)

            self._server = VllmServer(self._vllm, holding(group, compute, most), tell, work.checkpoint)
            self._held = group
        return self._server

    def _at_once(self, server: VllmServer, models: Sequence[Model], step: Step) -> None:
        asked, failed = self._work.request, False
        work = replace(self._work, request=lambda: asked() or (HALT if failed else None))

        def advance(model: Model) -> None:
            nonlocal failed
            loader = Loader(work, server, self._hashes)
            try:
                step(work, model, loader)
            except BaseException:
                failed = True
                raise
            finally:
                loader.close()

        with ThreadPoolExecutor(len(models), thread_name_prefix="served") as pool:
            threads = [pool.submit(advance, model) for model in models]
        errors = [error for thread in threads if (error := thread.exception()) is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
            raise error

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._server, self._held = None, []
