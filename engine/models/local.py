"""Local models: weights, models that share a base, prompts, answers and probes."""

import copy
import hashlib
import json
import logging
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from itertools import islice
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from engine.data.calls import is_mark
from engine.data.example import Example
from engine.errors import BadInput, CannotRun
from engine.models import cores
from engine.models.batcher import Batcher, BatcherTotals, limits_for
from engine.models.fingerprint import (
    FileHashes,
    ResponseCache,
    adapter_hash,
    decided,
    digest,
    fingerprint,
    response_key,
    tokenizer_hash,
)
from engine.models.folder import (
    ADAPTER_WEIGHTS,
    MERGE_IT,
    QUANTIZE,
    SAVE_IT,
    TOKENIZERS,
    adapter_notes,
    adapter_of,
    check_adapter,
    check_model_folder,
    check_quantised,
    find_model,
    peft_names,
    quantisation,
    read_config,
    snapshot_commit,
    weight_shapes,
)
from engine.models.gguf_file import is_gguf, read_header
from engine.models.model import Load, Response, Settings, missing, sample_seed
from engine.models.prompt import PromptError, Prompts
from engine.models.rows import (
    Completion,
    Request,
    Rules,
    decode,
    entrance,
    free_memory,
    in_batches,
    is_spread,
    out_of_memory,
)
from engine.models.slots import why_static
from engine.plan.paths import read_adapter_config
from engine.plan.plan import Model
from engine.servers.reasoning import is_tag, split_reasoning
from store.cache import JsonCache

if TYPE_CHECKING:
    from engine.models.likelihood import Surprise, Window

# What the loaders of transformers and peft raise for files that do not fit together.
_LOAD_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    ImportError,
    RuntimeError,
    SafetensorError,
)

# Any tokens will do; and the largest difference, as a share of the largest logit, that is no change.
_TRIAL = (3, 1, 4, 1, 5, 9, 2, 6)
_SAME = 1e-3

# Kinds of splitting in GGUF files that are GPT-2's.
_LIKE_GPT2 = ("gpt-2", "phi-2", "mpt", "olmo", "jais")

MOST_ATTACHED = 8  # adapters in memory beside the base


class LocalBase:
    """A base model by folder or hub id, its tokenizer and its weights, each loaded once when first needed.

    `dtype` "auto" is bfloat16 on CUDA (float16 on cards without it) and float32 elsewhere; `device` "auto"
    is CUDA if available. `spread` puts layers on all GPUs, the processor and the disk, in this order, with at
    most `max_memory` on each, by GPU number and "cpu". Raises BadInput when the folder is not a complete
    model, cannot be quantised so, or the device is missing.
    """

    def __init__(
        self,
        path: str,
        dtype: str = "auto",
        device: str = "auto",
        *,
        revision: str | None = None,
        quantize: str | None = None,
        spread: bool = False,
        max_memory: Mapping[str, str] | None = None,
    ) -> None:
        self.path = path
        self.folder = check_model_folder(str(find_model(path, download=True, revision=revision)))
        check_quantised(self.folder, quantize)
        self.quantisation = quantisation(self.folder, quantize)
        self.quantize = quantize
        self.spread = spread
        self._max_memory = max_memory or {}
        self._offloaded: TemporaryDirectory[str] | None = None
        self.device = _device(device)
        self.dtype = _dtype(dtype, self.device)
        self._trust = False
        self._model: Any = None
        self._peft: Any = None
        self._trial: Any = None
        self._adapter_kind = ""
        self._attached: dict[Path, str] = {}
        self._attachments = 0
        self._tokenizations: dict[Path, str] = {}
        # As many as there are adapters in memory: each checkpoint of a sweep may bring its own.
        self.load_tokenizer = lru_cache(MOST_ATTACHED)(self._load_tokenizer)

    def generator(
        self,
        model: Model,
        cache: ResponseCache | None = None,
        likelihoods: JsonCache | None = None,
        hashes: FileHashes | None = None,
    ) -> "LocalModel":
        """One of the plan's models on this base; `hashes` are those of files that were read already."""
        return LocalModel(self, model, cache, likelihoods, hashes)

    def trust(self, model: Model) -> None:
        """The base folder's own code runs once one of its models is marked as trusted."""
        self._trust = self._trust or model.trust_remote_code

    @contextmanager
    def _source(self, folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
        """What a loader of transformers takes for a folder, or for a GGUF file.

        The file is shown to it alone: a configuration, template or adapter beside it is of another model.
        """
        if not is_gguf(folder):
            yield folder, {"trust_remote_code": self._trust}
            return
        with TemporaryDirectory() as alone:
            (Path(alone) / "model.gguf").symlink_to(folder.resolve())
            yield Path(alone), {"gguf_file": "model.gguf"}

    @cached_property
    def _whole_config(self) -> Any:
        from transformers import AutoConfig

        with self._bad_input(self.path), self._source(self.folder) as (place, how):
            return AutoConfig.from_pretrained(place, **how)

    @property
    def config(self) -> Any:
        """The model's configuration, of its text part where it has several."""
        return self._whole_config.get_text_config()

    @cached_property
    def shape(self) -> Any:
        """The model without its weights: their shapes alone."""
        from transformers import AutoModelForCausalLM

        with self._bad_input(self.path), torch.device("meta"):
            return AutoModelForCausalLM.from_config(
                copy.deepcopy(self._whole_config), trust_remote_code=self._trust
            )

    @cached_property
    def generation_config(self) -> Any:
        """How the model's makers would generate with it, read without loading the weights."""
        from transformers import GenerationConfig

        if is_gguf(self.folder) or not (self.folder / "generation_config.json").is_file():
            return self.shape.generation_config
        with self._bad_input(self.path):
            return GenerationConfig.from_pretrained(self.folder)

    @property
    def attention(self) -> str:
        """The attention that the weights run with, as transformers names it: "sdpa", "eager", …

        Told without loading the weights.
        """
        return str(self.shape.config._attn_implementation)

    @property
    def architecture(self) -> str:
        """The class of the model, as its configuration names it."""
        return str((self.config.architectures or [type(self.shape).__name__])[0])

    @property
    def turn_ends(self) -> frozenset[int]:
        """The tokens that end an answer, beside those of the generation config and the tokenizer."""
        return read_header(self.folder).turn_ends if is_gguf(self.folder) else frozenset()

    @cached_property
    def notes(self) -> list[str]:
        """Notes on what a GGUF file says and transformers does not follow."""
        facts = read_header(self.folder).facts if is_gguf(self.folder) else {}
        if facts.get("tokenizer.ggml.model") != "gpt2":
            return []
        from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

        splits = facts.get("tokenizer.ggml.pre")
        if splits in GGUF_PRE_TOKENIZER_SPLITS or splits in _LIKE_GPT2:
            return []
        return [
            f"the file splits texts as {splits!r} does, which transformers does not know: they are split as "
            "GPT-2's are, and some may get other tokens than in training"
        ]

    @property
    def context(self) -> int | None:
        """The largest number of tokens, prompt and answer together; None when the model has no such limit."""
        limit = getattr(self.config, "max_position_embeddings", None)
        return int(limit) if limit else None

    @property
    def vocabulary(self) -> int | None:
        """The number of token ids that the model knows."""
        size = getattr(self.config, "vocab_size", None)
        return int(size) if size else None

    @cached_property
    def parameters(self) -> int:
        """The number of values in the weight files."""
        return sum(prod(shape) for _, shape in weight_shapes(self.folder).values())

    @property
    def tokenizer(self) -> Any:
        return self.load_tokenizer(self.folder)

    def _load_tokenizer(self, folder: Path) -> Any:
        """The tokenizer in a folder. Raises BadInput when it cannot be read."""
        from transformers import AutoTokenizer

        with self._bad_input(str(folder)), self._source(folder) as (place, how):
            return AutoTokenizer.from_pretrained(place, **how)

    def tokenization(self, folder: Path) -> str:
        """A hash of how a folder's tokenizer cuts texts, whatever kind of file holds it."""
        if folder not in self._tokenizations:
            tokens = read_header(folder).facts["tokenizer.ggml.tokens"] if is_gguf(folder) else None
            self._tokenizations[folder] = _tokenization(self.load_tokenizer(folder), tokens)
        return self._tokenizations[folder]

    @property
    def model(self) -> Any:
        """The loaded transformers model. Raises BadInput for broken files, CannotRun for want of memory."""
        if self._model is None:
            self._model = self._load()
        return self._model

    @contextmanager
    def active(self, adapter: Path | None) -> Iterator[Any]:
        """The transformers model with this adapter on and all others off; None is the bare base."""
        if self.device.startswith("cpu"):
            cores.compute()
        model = self.model
        if adapter is not None:
            self._peft_with(adapter).set_adapter(self._attached[adapter], inference_mode=True)
            yield model
        elif self._peft is not None:
            with self._peft.disable_adapter():
                yield model
        else:
            yield model

    def close(self) -> None:
        """Frees the weights; they are loaded again if the base is used again."""
        self._model = self._peft = self._trial = None
        self._attached.clear()
        free_memory()
        if self._offloaded is not None:
            self._offloaded.cleanup()
            self._offloaded = None

    def _load(self) -> Any:
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        with self._bad_input(self.path), self._source(self.folder) as (place, how):
            model, report = AutoModelForCausalLM.from_pretrained(
                place,
                dtype=getattr(torch, self.dtype),
                output_loading_info=True,
                **how,
                **self._weights_as(),
                **self._places(),
            )
        for module in model.modules() if self.quantisation else ():
            # bitsandbytes packs 4-bit weights anew at their first use on some processors, and unpacks them to
            # other values when they are saved or an adapter is attached.
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False
        # transformers fills what a checkpoint lacks with random numbers, and only warns.
        if absent := sorted(report["missing_keys"]):
            raise BadInput(
                f"{self.path}: its weights lack {len(absent)} tensors, such as {absent[0]}.",
                "Copy or save the model again; an answer from random weights would mean nothing.",
            )
        return model.eval()

    def _weights_as(self) -> dict[str, Any]:
        """How transformers is to read the weights, or quantise them."""
        if is_gguf(self.folder):
            from transformers import GgufConfig

            # Unpacked, so that what multiplies them does not depend on the packages that are here.
            config = self._whole_config
            return {"quantization_config": GgufConfig(dequantize=True), "config": config}
        if self.quantize is None:
            return {"use_safetensors": True}
        from transformers import BitsAndBytesConfig

        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it tells every cast of int8
        config = BitsAndBytesConfig(
            **QUANTIZE[self.quantize], bnb_4bit_compute_dtype=getattr(torch, self.dtype)
        )
        return {"quantization_config": config, "use_safetensors": True}

    def _places(self) -> dict[str, Any]:
        if not self.spread:
            return {"device_map": self.device}
        self._offloaded = TemporaryDirectory(prefix="assay-offloaded-")
        places = {int(place) if place.isdigit() else place: size for place, size in self._max_memory.items()}
        return {
            "device_map": "auto",
            "max_memory": places or None,
            "offload_folder": self._offloaded.name,
        }

    def _peft_with(self, adapter: Path) -> Any:
        """The base wrapped by PEFT, holding this adapter."""
        if adapter not in self._attached:
            if self._trial is None:
                self._trial = _trial_logits(self.model)
            try:
                self._attach(adapter)
                self._hold_base_unchanged(adapter)
            except BaseException:
                self.close()  # it may be attached in part, or have changed the base
                raise
        return self._peft

    def _attach(self, adapter: Path) -> None:
        from peft import PeftConfig, PeftModel

        with self._bad_input(str(adapter)), warnings.catch_warnings():
            # What PEFT warns of is refused here, or remarked on with the adapter.
            warnings.simplefilter("ignore")
            config = PeftConfig.from_pretrained(str(adapter))
            config.inference_mode = True
            # Beside an adapter with tokens of its own, PEFT asks every other one for such tokens.
            kind = f"{config.peft_type} {bool(getattr(config, 'trainable_token_indices', None))}"
            if self._peft is not None and kind != self._adapter_kind:
                # PEFT wraps layers in one way at a time; others are attached again when they are next used.
                self._peft.unload()
                self._peft = None
                self._attached.clear()
            if len(self._attached) >= MOST_ATTACHED:
                # The one that came first makes room: a sweep has more of them than a device may hold.
                self._peft.delete_adapter(self._attached.pop(next(iter(self._attached))))
            self._attachments += 1
            name = f"adapter_{self._attachments}"
            tensors = self._tensors(adapter, config)
            if self._peft is None:
                self._peft = PeftModel(self.model, config, adapter_name=name)
            else:
                self._peft.add_adapter(name, config)
            self._put_beside_layers()
            self._fill(adapter, name, tensors)
        self._adapter_kind = kind
        self._attached[adapter] = name
        self.model.eval()

    def _put_beside_layers(self) -> None:
        """Gives an adapter's tensors the device that each layer runs on.

        PEFT leaves them where the layer's weights wait to be used, which may be nowhere: it fills none there.
        """
        if not is_spread(self.model):
            return
        from peft.tuners.tuners_utils import BaseTunerLayer

        for layer in self.model.modules():
            hook = getattr(getattr(layer, "base_layer", None), "_hf_hook", None)
            if hook is None or not isinstance(layer, BaseTunerLayer):
                continue
            for name, part in layer.named_children():
                if name == "base_layer":
                    continue
                empty = any(weight.is_meta for weight in part.parameters())
                part.to_empty(device=hook.execution_device) if empty else part.to(hook.execution_device)

    def _tensors(self, adapter: Path, config: Any) -> dict[str, Any]:
        """The tensors of an adapter's file under the names that PEFT reads, without copies of the base's own.

        Raises BadInput for numbers that are not finite, and for weights of the base that the adapter changed:
        PEFT would write them into the base.
        """
        tensors = load_file(adapter / ADAPTER_WEIGHTS)
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not tensor.float().isfinite().all():
                raise BadInput(
                    f"{adapter}: {name} holds numbers that are not finite.",
                    "Its training diverged: name another checkpoint.",
                )
        names = peft_names(tensors, (name for name, _ in self.model.named_modules()))
        saved = tuple(getattr(config, "modules_to_save", None) or ())
        base = self.model.state_dict()
        found = {}
        for name, tensor in tensors.items():
            own = names[name].removeprefix("base_model.model.").replace(".base_layer.", ".")
            module, _, leaf = own.rpartition(".")
            places = (own, f"{module}.base_layer.{leaf}", f"{module}.original_module.{leaf}")
            weight = next((base[place] for place in places if place in base), None)
            if weight is None or (saved and module.endswith(saved)):
                found[names[name]] = tensor
            elif weight.is_meta:
                raise BadInput(
                    f"{adapter}: has a copy of the base's {own}, which waits beside its device and cannot be "
                    "compared.",
                    "Save the adapter without the base's own weights, or give the base a device to itself.",
                )
            elif weight.shape != tensor.shape or not tensor.to(weight).equal(weight):
                raise BadInput(
                    f"{adapter}: changes the base's own {own}, which other models use too.", MERGE_IT
                )
        return found

    def _fill(self, adapter: Path, name: str, tensors: dict[str, Any]) -> None:
        """Loads the tensors. Raises BadInput where one has no place, or a place of the adapter gets none."""
        from peft import get_peft_model_state_dict, set_peft_model_state_dict

        loaded = set_peft_model_state_dict(self._peft, tensors, adapter_name=name)
        # Some kinds have buffers that are never saved: what saving it would write is what its file must have.
        whole = get_peft_model_state_dict(self._peft, adapter_name=name, save_embedding_layers=False)
        saved = {key.removesuffix(".weight") for key in whole}
        empty = (key.split(".") for key in loaded.missing_keys)
        empty = (".".join(part for part in parts if part != name) for parts in empty if name in parts)
        absent = [key for key in empty if key.removesuffix(".weight") in saved]
        for keys, what in (
            (loaded.unexpected_keys, "have no place in the base"),
            (absent, "are not in its file"),
        ):
            if keys:
                first = keys[0].replace(f".{name}", "")
                raise BadInput(f"{adapter}: {len(keys)} of its tensors {what}, the first {first}.", SAVE_IT)

    def _hold_base_unchanged(self, adapter: Path) -> None:
        """Refuses an adapter that alters the base for good, as one that subtracts its start from the weights.

        The proof is that the base, with the adapter off, gives the logits that it gave before.
        """
        with self.active(None) as model:
            difference = (_trial_logits(model) - self._trial).abs().max()
        if difference > _SAME * self._trial.abs().max():
            raise BadInput(
                f"{adapter}: changes the base's own weights, which other models use too.",
                MERGE_IT,
            )

    def _newer(self) -> str:
        """A hint when the model's files were written by a newer transformers than the installed one."""
        from transformers import __version__

        written = str(read_config(self.folder).get("transformers_version") or "")
        if _numbers(written) <= _numbers(__version__):
            return ""
        return f"; transformers {written} saved it, and this is {__version__}: a newer one may load it"

    @contextmanager
    def _bad_input(self, what: str) -> Iterator[None]:
        """Turns the loaders' errors into one clear message."""
        try:
            yield
        except _LOAD_ERRORS as error:
            if out_of_memory(error):
                raise CannotRun(
                    f"{what}: does not fit into the memory of {self.device} as {self.dtype}.",
                    'Use a smaller dtype, quantize = "nf4", or device_map = "auto", which takes all GPUs and '
                    "the processor's memory; or a server that splits it (vLLM), and name the server.",
                ) from error
            logging.getLogger(__name__).debug("loading %s", what, exc_info=error)
            hint = f"Copy or save it again{self._newer()}."
            if "dispatched on the CPU or the disk" in str(error):
                hint = "A quantised model must fit on the GPUs: give max_memory more, or remove quantize."
            if "trust_remote_code" in str(error):
                hint = "It has its own code: if you trust it, set trust_remote_code = true on the model."
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            # torch says which tensor does not fit on the lines after the first.
            reason = (
                " ".join(lines[:2] if lines[0].endswith(":") else lines[:1])
                if lines
                else type(error).__name__
            )
            raise BadInput(f"{what}: cannot be loaded: {reason}", hint) from error


def _trial_logits(model: Any) -> Any:
    ids = [token % model.get_input_embeddings().weight.shape[0] for token in _TRIAL]
    with torch.inference_mode():
        return model(torch.tensor([ids], device=entrance(model))).logits.float()


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise BadInput(f"device {name!r}: cannot be used here.", 'Use "auto", "cpu" or "cuda:0".') from error
    return name


def _dtype(name: str, device: str) -> str:
    if name != "auto":
        return name
    if not device.startswith("cuda"):
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


# Where tokenizers of one vocabulary part ways: words, numbers, spaces, cases, scripts and signs.
PARTING = (
    " It's the 1st of  12345 \n\tif (x_1 != 0.25) {\r\n} CamelCase naïve e\u0301 Größe 世界 мир 🙂👩‍💻 ﬁ"
)


def _tokenization(tokenizer: Any, tokens: int | None) -> str:
    """The vocabulary, the merges where there are some, and a text that shows how words are split.

    `tokens` is the number of a GGUF file's own: transformers adds some that its class of tokenizer has.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    merges = json.loads(backend.to_str())["model"].get("merges") if backend else None
    ids = tokenizer(PARTING, add_special_tokens=False)["input_ids"]
    vocabulary = {
        text: place for text, place in tokenizer.get_vocab().items() if tokens is None or place < tokens
    }
    return digest([vocabulary, merges, ids])[:12]


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)[:3]]


_ADAPTER_FACTS = (
    *("peft_type", "base_model_name_or_path", "revision", "r", "lora_alpha"),
    *("use_dora", "use_rslora"),
)


class Identity:
    """One of the plan's models on its base, read from their files without loading the weights."""

    def __init__(self, base: LocalBase, model: Model, adapter: Path | None, hashes: FileHashes) -> None:
        self._base = base
        self._model = model.model_copy(update={"quantize": base.quantize})
        self._adapter = adapter
        self._hashes = hashes
        self._brings_tokenizer = adapter is not None and any(
            (adapter / name).is_file() for name in TOKENIZERS
        )

    @cached_property
    def tokenizer(self) -> Any:
        """The adapter's own tokenizer where its folder has one, since it was trained with that."""
        if self._brings_tokenizer and self._adapter:
            return self._base.load_tokenizer(self._adapter)
        return self._base.tokenizer

    @cached_property
    def notes(self) -> list[str]:
        """Notes on an adapter's differences from its base, and on what a GGUF file does not tell."""
        if self._adapter is None:
            return self._base.notes
        notes = [*self._base.notes, *adapter_notes(self._base.folder, self._adapter, self._base.quantize)]
        own, other = self.tokenizer, self._base.tokenizer
        if own.chat_template != other.chat_template:
            notes.append("uses the adapter's own chat template, which differs from the base's")
        if len(own) != len(other):
            notes.append(f"the adapter's own tokenizer has {len(own):,} tokens, the base's {len(other):,}")
        return notes

    @cached_property
    def fingerprint(self) -> str:
        """See `engine.models.fingerprint.fingerprint`."""
        base = self._base
        return fingerprint(
            self._model, base.folder, self._adapter, self._hashes, dtype=base.dtype, attention=base.attention
        )

    def facts(self) -> dict[str, Any]:
        """The model's details for the run's records, as JSON values."""
        base, template = self._base, self.tokenizer.chat_template
        tokenizer_folder = self._adapter if self._brings_tokenizer and self._adapter else base.folder
        return {
            "kind": "local",
            "path": base.path,
            "folder": str(base.folder.resolve()),
            "commit": snapshot_commit(base.folder),
            "architecture": base.architecture,
            "parameters": base.parameters,
            "context": base.context,
            "vocabulary": base.vocabulary,
            "tokens": len(self.tokenizer),
            "quantisation": base.quantisation,
            "attention": base.attention,
            "dtype": base.dtype,
            "device": base.device,
            "device_map": "auto" if base.spread else None,
            **decided(self._model),
            "template": digest(template)[:12] if template else None,
            # A GGUF file holds its tokenizer in another form: the files differ where the tokens may not.
            **({} if is_gguf(tokenizer_folder) else {"tokenizer": self._tokenizer_hash(tokenizer_folder)}),
            "tokenization": base.tokenization(tokenizer_folder),
            "adapter": self._adapter_facts(),
            "fingerprint": self.fingerprint,
        }

    def _tokenizer_hash(self, folder: Path) -> str:
        return tokenizer_hash(folder, self._hashes)[:12]

    def _adapter_facts(self) -> dict[str, Any] | None:
        if self._adapter is None:
            return None
        config = read_adapter_config(self._adapter)
        facts = {
            "path": str(self._model.adapter),
            "commit": snapshot_commit(self._adapter),
            "hash": adapter_hash(self._adapter, self._hashes)[:12],
            "own_tokenizer": self._brings_tokenizer,
        }
        return facts | {key: config.get(key) for key in _ADAPTER_FACTS}


@dataclass(frozen=True, slots=True)
class Probe:
    """How much an adapter changes the logits, over every position of a few prompts; 0 means no effect.

    NaN where no prompt was tried, and where logits are not numbers.
    """

    max_difference: float
    mean_difference: float
    prompts: int

    @classmethod
    def of(cls, largest: Sequence[float], total: float, count: int) -> "Probe":
        """From the largest difference of each prompt, and the sum and number of all differences."""
        # `max` passes over a NaN that is not the first.
        known = max(largest, default=math.nan) if not any(map(math.isnan, largest)) else math.nan
        return cls(known, total / count if count else math.nan, len(largest))


def probe_adapter(base: LocalBase, adapter: Path, prompts: Sequence[list[int]]) -> Probe:
    """Compares the logits with the adapter on and off over these prompts."""
    largest, total, count = [], 0.0, 0
    for ids in prompts:
        difference = (_logits(base, adapter, ids) - _logits(base, None, ids)).abs()
        largest.append(float(difference.max()))
        total += float(difference.sum(dtype=torch.float64))
        count += difference.numel()
    return Probe.of(largest, total, count)


def _logits(base: LocalBase, adapter: Path | None, ids: list[int]) -> Any:
    # In this order: an adapter that is loaded in inference mode could not be switched off outside it.
    with base.active(adapter) as model, torch.inference_mode():
        return model(torch.tensor([ids], device=entrance(model))).logits.float()


PROBE_PROMPTS = 4
# Seconds between two hand-overs of what was finished: the most that a kill loses beside the rows at work,
# and how soon a run can be paused.
HAND_OVER = 0.25


@dataclass(frozen=True, slots=True)
class Pending:
    """A prompt that is to be answered: its key in the cache, and what its answer suffers from."""

    example: Example
    request: Request
    key: str | None
    reason: str | None


class LocalModel:
    """One model of a plan on a shared base: the base itself, a system prompt on it, or an adapter on it.

    Weights are loaded at the first answer that the cache does not hold. Raises BadInput when the adapter
    does not fit the base.
    """

    def __init__(
        self,
        base: LocalBase,
        model: Model,
        cache: ResponseCache | None = None,
        likelihoods: JsonCache | None = None,
        hashes: FileHashes | None = None,
    ) -> None:
        base.trust(model)
        self.adapter = adapter_of(model, download=True)
        if self.adapter:
            check_adapter(base.path, self.adapter, base.folder)
        self.name = model.name
        self.base = base
        self._plan = model
        self._system = model.system
        self._cache = cache
        self.likelihoods = likelihoods
        self._hashes = hashes or FileHashes(cache.folder if cache else None)
        self._identity = Identity(base, model, self.adapter, self._hashes)
        self._notes: list[str] = []
        self._gauge = BatcherTotals()
        self._batching: dict[str, Any] = {"batching": None, "batching_reason": None, "batching_figures": None}

    @property
    def tokenizer(self) -> Any:
        """The adapter's own tokenizer where its folder has one, since it was trained with that."""
        return self._identity.tokenizer

    @property
    def template_variables(self) -> Mapping[str, Any]:
        """What the chat template is told beside the messages, such as `enable_thinking`."""
        return self._plan.chat_template_kwargs

    @cached_property
    def _prompts(self) -> Prompts:
        return Prompts(self.tokenizer, self._system, self.template_variables)

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides the answers, by content; see `Identity`."""
        return self._identity.fingerprint

    def describe(self) -> dict[str, Any]:
        """Facts for the run, read without loading the weights.

        `batching` is "continuous" or "static" (None before anything was generated), `batching_reason` why it
        is static, and `batching_figures` what the continuous batcher did.
        """
        return {
            **self._identity.facts(),
            **self._batching,
            "unread_system": self._prompts.unread_system,
            "opens_reasoning": self._prompts.opens_reasoning,
            "notes": [*self._prompts.notes, *self._identity.notes, *self._notes],
        }

    @property
    def prompt_notes(self) -> list[str]:
        """What was unusual about the prompts made so far."""
        return list(self._prompts.notes)

    def prompt(self, example: Example) -> list[int]:
        """The exact token ids that the model is asked with. Raises PromptError when there can be none."""
        return self._prompts.ids(example)

    def active(self) -> AbstractContextManager[Any]:
        """The transformers model as this model answers: its adapter on, or every adapter off."""
        return self.base.active(self.adapter)

    def generate(self, examples: Sequence[Example], settings: Settings) -> Iterator[list[Response]]:
        """Answers the examples: cached and impossible ones at once, then the others as they are finished.

        An example's own `max_new_tokens` takes the place of the settings'. A prompt beyond the context that
        is not to be cut, or one that fits no memory, gets a response without text and a reason.
        """
        if settings.deterministic:
            self._note("each prompt was answered alone (deterministic)")
            settings = replace(settings, slots=1, batch_size=1)
        if settings.sampled:
            self._note(f"answers are sampled: temperature {settings.temperature}, seed {settings.seed}")
        if settings.without_effect:
            self._note(settings.without_effect)
        self._prompts.delimiters = settings.delimiters
        ready: list[Response] = []
        pending: list[Pending] = []
        for example in examples:
            prepared = self._prepare(example, settings)
            if isinstance(prepared, Response):
                ready.append(prepared)
            else:
                pending.append(prepared)
        if ready:
            yield [self._counted(response, settings) for response in ready]
        if not pending:
            return
        for batch in self._answered(pending, settings):
            yield [self._counted(response, settings) for response in batch]

    def _answered(self, pending: Sequence[Pending], settings: Settings) -> Iterator[list[Response]]:
        """Generates the answers to prompts, in lists as they are finished."""
        with self.active() as model:
            rules = self._rules(model.generation_config, settings)
            reason = why_static(model)
        self._batching["batching"] = "static" if reason else "continuous"
        self._batching["batching_reason"] = reason
        answer = self._static if reason else self._continuous
        for group in [[item] for item in pending] if settings.deterministic else [pending]:
            yield from answer(group, rules)

    def _rules(self, configured: Any, settings: Settings) -> Rules:
        """The rules of answers; `configured` is the model's generation config."""
        self._note_ignored_generation_config(configured, settings)
        ends = self._ends(configured, settings)
        return Rules(self.tokenizer, ends, settings, self._prompts.turn_end, self._marks - ends)

    def _counted(self, response: Response, settings: Settings) -> Response:
        """The response with the tokens of its trace; notes an answer that went on beyond its turn's end."""
        if response.overran:
            end = self.tokenizer.convert_ids_to_tokens(self._prompts.turn_end)
            self._note(
                f"answers went on after {end}, which ends a turn in the chat template and is no end token of "
                f"the model: add stop = [{json.dumps(end)}] under [generation]"
            )
        if response.text is None:
            return response
        opened = self._prompts.opens_reasoning
        trace = split_reasoning(response.text, opened, settings.delimiters).reasoning
        if not trace:
            return response
        ids = self.tokenizer(trace, add_special_tokens=False, verbose=False)["input_ids"]
        return replace(response, thinking_tokens=len(ids))

    def _continuous(self, pending: Sequence[Pending], rules: Rules) -> Iterator[list[Response]]:
        """Hands over what was finished several times a second, also when nothing was."""
        need = max(len(item.request.ids) + item.request.room for item in pending)
        with self.active() as model:
            limits = limits_for(model, need, rules.settings.slots)
        batcher = Batcher([item.request for item in pending], rules, limits, self.note_halved)
        self._batching["batching_figures"] = None
        self._gauge.begin()
        while not batcher.done:
            # The adapter is switched on for each stretch of work: between two, others may use the base.
            with self.active() as model:
                finished = batcher.advance(model, HAND_OVER)
            self._batching["batching_figures"] = asdict(batcher.figures)
            self._gauge.read(batcher.figures, len(finished))
            yield [self._response(pending[place], answer) for place, answer in finished]

    def _static(self, pending: Sequence[Pending], rules: Rules) -> Iterator[list[Response]]:
        """Batches of like length, longest prompt first."""

        def answer(batch: Sequence[Pending]) -> list[Response]:
            with self.active() as model:
                answers = decode(model, [item.request for item in batch], rules)
            return [self._response(item, answer) for item, answer in zip(batch, answers, strict=True)]

        yield from in_batches(
            sorted(pending, key=lambda item: len(item.request.ids), reverse=True),
            rules.settings.batch_size,
            answer,
            lambda item: self._response(item, None),
            self.note_halved,
        )

    def without_cache(self) -> "LocalModel":
        """The same model without the cache: it generates every answer."""
        return self.base.generator(self._plan, hashes=self._hashes)

    def window_nll(self, windows: "Sequence[Window]") -> "list[Surprise]":
        """How surprised the model is by each window's predicted tokens and ending, in one batch."""
        from engine.models.likelihood import window_nll

        with self.active() as model:
            return window_nll(model, windows)

    def note_halved(self, size: int) -> None:
        """Records that memory ran out, and the new batch size."""
        self._note(f"out of memory on {self.base.device}: continued with batches of {size}")

    def probe(self, examples: Sequence[Example]) -> Probe:
        """Compares the logits with the adapter on and off, over the first prompts that can be asked."""
        if self.adapter is None:
            raise ValueError(f"{self.name} has no adapter to probe")
        return probe_adapter(self.base, self.adapter, list(islice(self._askable(examples), PROBE_PROMPTS)))

    def _askable(self, examples: Sequence[Example]) -> Iterator[list[int]]:
        for example in examples:
            try:
                ids = self.prompt(example)
            except PromptError:
                continue
            if not self._impossible(ids):
                yield ids

    @property
    def context(self) -> int | None:
        """The largest number of tokens that it is asked with, the answer included; None for no limit."""
        return self.base.context

    @property
    def bound(self) -> str:
        """What sets the context, in words."""
        return "the model's context" if self.context == self.base.context else "the plan's max_model_len"

    def load(self) -> Load | None:
        """The continuous batcher's load; None before it starts, and with static batches."""
        return self._gauge.load

    def close(self) -> None:
        """Nothing of its own to free: the base holds the weights, and `LocalBase.close` frees them."""

    def _prepare(self, example: Example, settings: Settings) -> Response | Pending:
        try:
            ids = self.prompt(example)
        except PromptError as error:
            return missing(example, str(error))
        room = example.extra.get("max_new_tokens", settings.max_new_tokens)
        if type(room) is not int or room < 1:
            return missing(
                example, f"its max_new_tokens is {room!r}; allowed: a whole number from 1", len(ids)
            )
        whole = len(ids)
        ids = self._fitted(example, ids, room, settings)
        if reason := self._impossible(ids):
            return missing(example, reason, len(ids))
        reason = (
            None if whole == len(ids) else f"prompt of {whole} tokens cut to {len(ids)} to fit the context"
        )
        room = room if self.context is None else min(room, self.context - len(ids))
        seed = _example_seed(sample_seed(settings.seed, example.sample), example.id)
        key = None
        if self._cache:
            # Which special tokens stay in a text is decided by the reasoning delimiters too.
            content = digest([self.fingerprint, sorted(self._marks)])
            key = response_key(content, ids, replace(settings, max_new_tokens=room), seed)
            if hit := self._cache.get(key):
                return replace(hit, example_id=example.id, sample=example.sample, reason=reason)
        return Pending(example, Request(ids, room, seed), key, reason)

    def _fitted(self, example: Example, ids: list[int], room: int, settings: Settings) -> list[int]:
        """The prompt; one that fills the context is cut where that is asked for.

        It then leaves room for the answer, at most half of the context.
        """
        context = self.context
        if settings.overflow == "refuse" or context is None or len(ids) < context:
            return ids
        self._note('prompts that fill the context were cut to fit (overflow = "truncate")')
        return self._prompts.cut(example, ids, context - min(room, context // 2))

    def _impossible(self, ids: list[int]) -> str | None:
        """Why the model cannot be asked with these tokens."""
        context = self.context
        if context is not None and len(ids) >= context:
            verb = "exceeds" if len(ids) > context else "fills"
            return f"prompt of {len(ids)} tokens {verb} {self.bound} of {context}"
        return self.unknown_token(ids)

    @property
    def end_of_answer(self) -> int | None:
        """The token with which an answer ends: the chat template's, else the tokenizer's own."""
        end = self._prompts.turn_end
        return self.tokenizer.eos_token_id if end is None else end

    def unknown_token(self, ids: list[int]) -> str | None:
        """Why the model cannot read these tokens: its tokenizer knows more of them than the model does."""
        vocabulary = self.base.vocabulary
        if vocabulary is not None and max(ids) >= vocabulary:
            return f"the tokenizer gives token {max(ids)}, the model's vocabulary ends at {vocabulary - 1}"
        return None

    def _response(self, item: Pending, answer: Completion | None) -> Response:
        """An answer for the run, kept in the cache; None is a prompt that fits no memory."""
        length = len(item.request.ids)
        if answer is None:
            reason = f"out of memory on {self.base.device} with a prompt of {length} tokens"
            return missing(item.example, reason, length)
        response = Response(
            item.example.id,
            answer.text,
            tokens_in=length,
            tokens_out=answer.tokens,
            finish_reason=answer.finish_reason,
            latency_s=answer.seconds,
            overran=answer.overran,
            sample=item.example.sample,
        )
        if self._cache and item.key:
            self._cache.put(item.key, response)
        return replace(response, reason=item.reason)

    @cached_property
    def _marks(self) -> frozenset[int]:
        """The special tokens that calls of tools and traces are told by."""
        tokens, own = self.tokenizer.added_tokens_decoder.items(), self._prompts.delimiters
        special = {place: token.content for place, token in tokens if token.special}
        return frozenset(place for place, text in special.items() if is_mark(text) or is_tag(text, own))

    def _ends(self, generation_config: Any, settings: Settings) -> frozenset[int]:
        """Every end token of the generation config, and the tokenizer's, which an adapter may change.

        A stop string that is a special token is one, too: texts are decoded without those.
        """
        configured = generation_config.eos_token_id
        ends = configured if isinstance(configured, list) else [configured]
        special = {str(token): id for id, token in self.tokenizer.added_tokens_decoder.items()}
        stops = [special.get(stop) for stop in settings.stop]
        ends = [*ends, *stops, self.tokenizer.eos_token_id, *self.base.turn_ends]
        return frozenset(int(end) for end in ends if end is not None)

    def _note_ignored_generation_config(self, generation_config: Any, settings: Settings) -> None:
        penalty = generation_config.repetition_penalty
        if penalty not in (None, 1.0, settings.repetition_penalty):
            self._note(f"the model's generation config asks for repetition_penalty {penalty}: not applied")

    def _note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)


def _example_seed(seed: int, example_id: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\0{example_id}".encode()).digest()[:8], "big")
