"""Answers by servers of the run's own: one for each base of the plan, asked for all of its models at once."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Self

from engine.models import cores
from engine.models.fingerprint import FileHashes
from engine.models.holder import served
from engine.models.served import holding, longest
from engine.phases.generate import Loader, Step, probe, settings_of
from engine.phases.work import Stopped, Work
from engine.plan.plan import Model
from engine.servers.engines import installed
from engine.servers.started import StartedServer

HALT = "halt"  # the request that stops the other models of a base once one has failed


class Serving:
    """The engine of one run: a server at a time, kept until another base is asked or the run ends."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._engine = installed(work.plan.generation.engine, work.plan.compute)
        self._groups, self._others = served(work.plan.models, self._engine, download=True)
        self._hashes = FileHashes(work.cache / "responses" if work.cache else None)
        self._server: StartedServer | None = None
        self._held: list[Model] = []
        for name, why in self._others.items():
            said = f"{name}: transformers answers, and not {self._engine.name}: {why}"
            work.recorder.event("warning", "generate", said)

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

    def _serve(self, group: list[Model]) -> StartedServer:
        if self._server is None or group is not self._held:
            self._close()
            work, generation = self._work, self._work.plan.generation
            compute, most = work.plan.compute, None
            # Texts of benchmarks and corpora may be as long as the model's context.
            whole = self._engine.reads and (work.plan.benchmarks or work.plan.metrics.corpora)
            if compute.max_model_len is None and not whole:
                variants = [each.example for each in work.variants]
                asked = [*work.examples, *work.suites, *variants, *work.validation]
                most = longest(group, asked, generation.max_new_tokens)

            def tell(level: str, said: str) -> None:
                work.recorder.event(level, "generate", said)

            held = holding(self._engine, group, compute, most, settings_of(generation).slots)
            if self._engine.on_cpu or held.device == "cpu":
                cores.compute()
                held = replace(held, parts=cores.divisor())
            self._server = StartedServer(self._engine, held, tell, work.checkpoint)
            self._held = group
        return self._server

    def _at_once(self, server: StartedServer, models: Sequence[Model], step: Step) -> None:
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

        if work.options.get("only") in (None, "generate"):
            for model in models:  # while nothing else is asked, whose batches would change the last bits
                probe(work, model, Loader(work, server, self._hashes))
        # What has to be asked alone is not asked beside other models.
        generation = work.plan.generation
        alone = generation.deterministic or generation.noise_floor is not None
        with ThreadPoolExecutor(1 if alone else len(models), thread_name_prefix="served") as pool:
            threads = [pool.submit(advance, model) for model in models]
        errors = [error for thread in threads if (error := thread.exception()) is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
            raise error

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._server, self._held = None, []
