"""Which weights are in memory, or on a server of ours: one base at a time, shared by all of its models.

Torch is imported when a model is opened, not with this file: a plan of recorded or served models needs none.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import BadInput
from engine.models.folder import adapter_of, base_of, weight_shapes
from engine.models.gguf_file import is_gguf
from engine.plan.paths import read_adapter_config
from engine.plan.plan import Model, Plan
from engine.servers.engines import KINDS, RANKS, Engine, Llama, Vllm, installed
from store.read.query import by_key

if TYPE_CHECKING:
    from engine.models.fingerprint import FileHashes
    from engine.models.local import LocalBase, LocalModel
    from engine.servers.started import StartedServer

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
        server: "StartedServer | None" = None,
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


MOST_ADAPTERS = 15  # on one server, which has memory for all of them at the largest rank
# What vLLM reads otherwise than PEFT does, or not at all.
_NOT_READ = (
    *("use_dora", "modules_to_save", "rank_pattern", "alpha_pattern", "lora_bias", "trainable_token_indices"),
    *("target_parameters", "alora_invocation_tokens", "layer_replication", "fan_in_fan_out", "use_qalora"),
    *("use_bdlora", "arrow_config", "megatron_config", "kasa_config", "velora_config", "monteclora_config"),
)
_HEADS = ("lm_head", "embed_out", "embed_tokens", "wte", "embed_in", "word_embeddings")
_PEFT = "base_model.model."


def served(
    models: Sequence[Model], engine: Engine, download: bool = False
) -> tuple[list[list[Model]], dict[str, str]]:
    """The models that an engine answers for, those of one server together; and why not for the others.

    A base of which it would not answer for one model is answered by transformers as a whole, so that
    its models are compared under one engine. With `download`, what is on the hub alone is fetched. Raises
    BadInput for files that cannot be read.
    """
    groups: list[list[Model]] = []
    others: dict[str, str] = {}
    local = [model for model in models if model.kind == "local"]
    for group in by_key((base_key(model), model) for model in local).values():
        reasons = {model.name: why for model in group if (why := why_not(model, engine, download))}
        if reasons:
            first = next(iter(reasons))
            others |= {model.name: f"{first}: {reasons[first]}" for model in group} | reasons
        else:
            groups += _in_parts(group)
    return groups, others


def answering(plan: Plan, model: Model) -> Engine | None:
    """The engine that answers for a local model; None for transformers, and where the engine is not here."""
    if plan.generation.engine not in KINDS:
        return None
    try:
        engine = installed(plan.generation.engine, plan.compute)
        groups, _ = served(plan.models, engine)
    except BadInput:
        return None
    return engine if any(one.name == model.name for group in groups for one in group) else None


def _in_parts(group: Sequence[Model]) -> Iterator[list[Model]]:
    """At most so many adapters to a server; models with the same one stay together."""
    sets = list(by_key((adapter_of(model), model) for model in group).values())
    for start in range(0, len(sets), MOST_ADAPTERS):
        yield [model for models in sets[start : start + MOST_ADAPTERS] for model in models]


def why_not(model: Model, engine: Engine, download: bool = False) -> str | None:
    """Why an engine would not answer with a model as transformers does; None where it would.

    Raises BadInput when the model's files cannot be read.
    """
    folder, name = base_of(model, download), engine.name
    file, of_files = is_gguf(folder), isinstance(engine, Llama)
    for is_so, why in (
        (file and not of_files, f"{name} reads no GGUF file as transformers does"),
        (of_files and not file, f"{name} reads GGUF files alone"),
        (model.quantize is not None, f'quantize = "{model.quantize}" is bitsandbytes\' in transformers'),
        (model.device_map is not None, f"device_map is transformers'; {name} has ways of its own"),
        (model.device == "mps" and not of_files, f"{name} does not run on mps"),
        (
            model.device == "cpu" and not (engine.on_cpu or of_files),
            f'device = "cpu", and this {name} needs a GPU',
        ),
        (model.device.startswith("cuda") and engine.on_cpu, f"this {name} was built for processors"),
    ):
        if is_so:
            return why
    adapter = adapter_of(model, download)
    if adapter is None:
        return None
    if not isinstance(engine, Vllm):
        return f"{adapter.name} is an adapter: {name} answers for whole models; merge it, and name the result"
    return _why_no_adapter(folder, adapter)


def _why_no_adapter(folder: Path, adapter: Path) -> str | None:
    config = read_adapter_config(adapter)
    kind = str(config.get("peft_type")).upper()
    if kind != "LORA":
        return f"{adapter.name} is {kind}; vLLM attaches LoRA alone"
    if named := next((key for key in _NOT_READ if config.get(key)), None):
        return f"{adapter.name} sets {named}, which vLLM does not apply as PEFT does"
    if config.get("bias") not in (None, "none"):
        return f"{adapter.name} has biases, which vLLM leaves out"
    if isinstance(config.get("init_lora_weights"), str) and config["init_lora_weights"].lower() != "gaussian":
        return f"{adapter.name} began as {config['init_lora_weights']}, which vLLM refuses"
    known = {name.removesuffix(".weight") for name in weight_shapes(folder)}
    for tensor in weight_shapes(adapter):
        module, _, part = tensor.removesuffix(".weight").rpartition(".")
        if part not in ("lora_A", "lora_B") or module.endswith(_HEADS):
            return f"{adapter.name} has {tensor}, which vLLM leaves out"
        if not tensor.startswith(_PEFT) or module.removeprefix(_PEFT) not in known:
            return f"{adapter.name} has {tensor}, a name that vLLM does not find in the base"
    rank = config.get("r")
    if type(rank) is not int or rank > RANKS[-1]:
        return f"{adapter.name} has rank {rank}; vLLM takes {RANKS[-1]} at most"
    return None
