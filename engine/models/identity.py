"""Who a local model is: the tokenizer that it is asked with, its fingerprint, and the facts for a run."""

from functools import cached_property
from typing import Any

from engine.models.adapter import adapter_notes, read_adapter_config
from engine.models.base import LocalBase
from engine.models.fingerprint import FileHashes, adapter_hash, digest, model_hash, tokenizer_hash
from engine.models.folder import TOKENIZERS, snapshot_commit
from engine.models.quantised import quantisation
from engine.plan.plan import Model

_ADAPTER_FACTS = (
    *("peft_type", "base_model_name_or_path", "revision", "r", "lora_alpha"),
    *("use_dora", "use_rslora"),
)


class Identity:
    """One of the plan's models on its base, told from their files: nothing here loads the weights."""

    def __init__(self, base: LocalBase, model: Model, hashes: FileHashes) -> None:
        self._base = base
        self._adapter = model.adapter
        self._system = model.system
        self._hashes = hashes
        self._brings_tokenizer = model.adapter is not None and any(
            (model.adapter / name).is_file() for name in TOKENIZERS
        )

    @cached_property
    def tokenizer(self) -> Any:
        """The adapter's own tokenizer where its folder has one, since it was trained with that."""
        if self._brings_tokenizer and self._adapter:
            return self._base.load_tokenizer(self._adapter)
        return self._base.tokenizer

    @cached_property
    def notes(self) -> list[str]:
        """What readers should know of an adapter beside its base."""
        if self._adapter is None:
            return []
        notes = adapter_notes(self._base.folder, self._adapter)
        own, other = self.tokenizer, self._base.tokenizer
        if own.chat_template != other.chat_template:
            notes.append("asked with the adapter's own chat template, which differs from the base's")
        if len(own) != len(other):
            notes.append(f"the adapter's own tokenizer knows {len(own):,} tokens, the base's {len(other):,}")
        return notes

    @cached_property
    def fingerprint(self) -> str:
        """A hash by content of weights, configuration (quantisation too), adapter, tokenizer and template,
        and of the system prompt, the dtype and the attention that they run with.
        """
        return digest(
            {
                "model": model_hash(self._base.folder, self._hashes),
                "adapter": adapter_hash(self._adapter, self._hashes) if self._adapter else None,
                "system": self._system,
                "dtype": self._base.dtype,
                "attention": self._base.attention,
            }
        )

    def facts(self) -> dict[str, Any]:
        """What a run keeps of the model, as JSON values."""
        base, template = self._base, self.tokenizer.chat_template
        tokenizer_folder = self._adapter if self._brings_tokenizer and self._adapter else base.folder
        return {
            "kind": "local",
            "path": base.path,
            "folder": str(base.folder.resolve()),
            "commit": snapshot_commit(base.folder),
            "architecture": (base.config.architectures or [base.config.model_type])[0],
            "parameters": base.parameters,
            "context": base.context,
            "vocabulary": base.vocabulary,
            "quantisation": quantisation(base.folder),
            "attention": base.attention,
            "dtype": base.dtype,
            "device": base.device,
            "system": self._system,
            "template": digest(template)[:12] if template else None,
            "tokenizer": tokenizer_hash(tokenizer_folder, self._hashes)[:12],
            "adapter": self._adapter_facts(),
            "fingerprint": self.fingerprint,
        }

    def _adapter_facts(self) -> dict[str, Any] | None:
        if self._adapter is None:
            return None
        config = read_adapter_config(self._adapter)
        facts = {"path": str(self._adapter), "hash": adapter_hash(self._adapter, self._hashes)[:12]}
        return facts | {key: config.get(key) for key in _ADAPTER_FACTS}
