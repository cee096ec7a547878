"""Hashes of everything that decides a model's answers: the content of its files, never their paths."""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from engine.data.textfile import write_text
from engine.errors import BadInput
from engine.models.folder import weight_files
from engine.models.gguf_file import is_gguf
from engine.models.model import Response, Settings
from engine.plan.plan import Model
from store.cache import JsonCache

_TOKENIZER_FILES = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model",
    "*.tiktoken", "tekken.json", "chat_template*", "additional_chat_templates/*",
)  # fmt: skip
_MODEL_FILES = ("config.json", "generation_config.json", "*.py")
_ADAPTER_FILES = ("adapter_config.json",)


class FileHashes:
    """SHA-256 of files, cached by path, size, modification time and inode.

    With a folder, the cache is stored in it (`file-hashes.json`), so that weights are read once and not at
    every start. A file that changed is read again.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._memory = folder / "file-hashes.json" if folder else None
        self._known: dict[str, str] = {}
        if self._memory and self._memory.is_file():
            try:
                self._known = dict(json.loads(self._memory.read_text(encoding="utf-8")))
            except ValueError:
                self._known = {}

    def of(self, file: Path) -> str:
        """The SHA-256 of the file's content, in hexadecimal."""
        status = file.stat()
        key = f"{file.resolve()}|{status.st_size}|{status.st_mtime_ns}|{status.st_ino}"
        if key not in self._known:
            with file.open("rb") as source:
                self._known[key] = hashlib.file_digest(source, "sha256").hexdigest()
            self._save()
        return self._known[key]

    def _save(self) -> None:
        if self._memory is None:
            return
        with suppress(BadInput):  # on a full or read-only disk they are read again next time
            write_text(self._memory, json.dumps(self._known))


def digest(value: Any) -> str:
    """The SHA-256 of a JSON value, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode("utf-8")).hexdigest()


def decided(model: Model) -> dict[str, Any]:
    """What the plan itself decides of a local model's answers. Models without the later keys keep the
    fingerprints that they always had.
    """
    found: dict[str, Any] = {"system": model.system}
    if model.chat_template_kwargs:
        found["chat_template_kwargs"] = model.chat_template_kwargs
    if model.quantize is not None:
        found["quantize"] = model.quantize
    return found


def fingerprint(
    model: Model,
    folder: Path,
    adapter: Path | None,
    hashes: FileHashes,
    *,
    dtype: str | None,
    attention: str | None,
) -> str:
    """A hash by content of weights, configuration (quantisation too), adapter, tokenizer and template, and of
    the system prompt, what the template is told, how the weights are quantised, and the dtype and the
    attention that they run with.
    """
    return digest(
        {
            "model": model_hash(folder, hashes),
            "adapter": adapter_hash(adapter, hashes) if adapter else None,
            **decided(model),
            "dtype": dtype,
            "attention": attention,
        }
    )


def model_hash(folder: Path, hashes: FileHashes) -> str:
    """The hash of a model's weights, configuration and tokenizer, all of which a GGUF file holds."""
    if is_gguf(folder):
        return digest(["gguf", hashes.of(folder)])
    return digest(
        _contents([*weight_files(folder), *_matching(folder, _MODEL_FILES + _TOKENIZER_FILES)], hashes)
    )


def adapter_hash(folder: Path, hashes: FileHashes) -> str:
    """The hash of an adapter's weights and configuration, and of its tokenizer, if any."""
    return digest(
        _contents([*weight_files(folder), *_matching(folder, _ADAPTER_FILES + _TOKENIZER_FILES)], hashes)
    )


def tokenizer_hash(folder: Path, hashes: FileHashes) -> str:
    """The hash of a folder's tokenizer and chat template."""
    return digest(_contents(_matching(folder, _TOKENIZER_FILES), hashes))


def _matching(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return [file for pattern in patterns for file in folder.glob(pattern) if file.is_file()]


def _contents(files: list[Path], hashes: FileHashes) -> list[list[str]]:
    return sorted([file.name, hashes.of(file)] for file in set(files))


def response_key(
    fingerprint: str, prompt: list[int] | str, settings: Settings, seed: int | None = None
) -> str:
    """The key of one answer: model content, exact prompt, and the settings that can change the text.

    `seed` is the example's own when answers are sampled. The batch size is left out: it decides how fast
    an answer comes, not which, but for near ties (see `noise`); answers asked for one by one are kept apart.
    A truncated prompt is keyed by its truncated tokens.
    """
    drawn = [settings.temperature, settings.top_p, settings.top_k, settings.min_p, seed]
    decided = {
        "max_new_tokens": settings.max_new_tokens,
        "stop": list(settings.stop),
        "repetition_penalty": settings.repetition_penalty,
        "drawn": drawn if settings.sampled else None,
        "deterministic": settings.deterministic,
    }
    return digest([fingerprint, prompt, decided])


class ResponseCache(JsonCache):
    """Responses on disk, as JSON."""

    def get(self, key: str) -> Response | None:
        """The response kept under the key, marked as cached and with the figures of its first time."""
        value = super().get(key)
        if value is None:
            return None
        try:
            return _response(value)
        except (TypeError, ValueError):
            self.drop(key)
            return None

    def put(self, key: str, response: Response) -> None:
        """Keeps an answer; a missing one is not kept, so that it is tried again."""
        if response.text is not None:
            super().put(key, asdict(response))


def _response(value: Any) -> Response:
    """Raises TypeError or ValueError for what `put` cannot have written."""
    response = Response(**value)
    if not isinstance(response.text, str) or not isinstance(response.example_id, str):
        raise ValueError("a response without its text")
    # JSON knows no tuples.
    return replace(response, turns=tuple(response.turns), cached=True)
