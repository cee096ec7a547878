"""Which weights are in memory: one base at a time, shared by all of its models.

Torch is imported when a model is opened, not with this file: a plan of recorded or served models needs none.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from engine.plan.plan import Model

if TYPE_CHECKING:
    from engine.models.fingerprint import FileHashes
    from engine.models.local import LocalBase, LocalModel
    from engine.servers.vllm import VllmServer

BaseKey = tuple[object, ...]


def base_key(model: Model) -> BaseKey:
    """What two models have in common that can share one loaded base."""
    where = (model.device, model.device_map, *sorted(model.max_memory.items()))
    return (model.path, model.revision, model.dtype, model.quantize, *where)


class Holder:
    """Opens models; another base than the last one's takes that one's place.

    `cache` is for their answers; the likelihoods of texts stand beside it. With a `server` no weights are
    loaded here: it answers, and each request may take `timeout_s`. `hashes` are those of files read already.
    """

    def __init__(
        self,
        cache: Path | None,
        server: "VllmServer | None" = None,
        timeout_s: float = 120.0,
        hashes: "FileHashes | None" = None,
    ) -> None:
        self._cache = cache
        self._server = server
        self._timeout_s = timeout_s
        self._hashes = hashes
        self._base: LocalBase | None = None
        self._key: BaseKey | None = None

    def model(self, model: Model) -> "LocalModel":
        """The model, its weights loaded when first needed. Raises BadInput for files that cannot be used."""
        from engine.models.fingerprint import FileHashes, ResponseCache
        from engine.models.local import LocalBase
        from store.cache import JsonCache

        assert model.path is not None
        if base_key(model) != self._key:
            self.close()
            self._base = LocalBase(
                model.path,
                dtype=model.dtype,
                device=model.device,
                revision=model.revision,
                quantize=model.quantize,
                spread=model.device_map is not None,
                max_memory=model.max_memory,
            )
            self._key = base_key(model)
        assert self._base is not None
        if self._hashes is None:
            self._hashes = FileHashes(self._cache)
        answers = likelihoods = None
        if self._cache is not None:
            answers, likelihoods = ResponseCache(self._cache), JsonCache(self._cache.parent / "likelihoods")
        if self._server is None:
            return self._base.generator(model, answers, likelihoods, self._hashes)
        from engine.models.served import ServedModel

        how = self._server, answers, likelihoods, self._hashes, self._timeout_s
        return ServedModel(self._base, model, *how)

    def close(self) -> None:
        if self._base is not None:
            self._base.close()
        self._base = self._key = None
