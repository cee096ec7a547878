"""GGUF files, the exports of llama.cpp, read without torch: the facts and shapes in their headers.

The format is ggml's docs/gguf.md. The package `gguf` takes seconds for a header, since it makes an object of
every token; here arrays are skipped.
"""

import mmap
import struct
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

from engine.errors import BadInput, install

SUFFIX = ".gguf"
_SCALARS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
_STRING, _ARRAY = 8, 9
_IN_FULL = {"F64", "F32", "F16", "BF16"}
# What transformers calls the facts that an architecture has under its own name.
_CONFIG = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "vocab_size": "vocab_size",
}


def is_gguf(model: Path) -> bool:
    """Whether a model is named by its GGUF file, and not by its folder."""
    return model.suffix.casefold() == SUFFIX and not model.is_dir()


@dataclass(frozen=True, slots=True)
class Header:
    """`facts` by their names in the file, an array as its length; `tensors` with ggml's name of their type
    and their shape, the last dimension running fastest.
    """

    facts: dict[str, Any]
    tensors: dict[str, tuple[str, tuple[int, ...]]]

    @property
    def config(self) -> dict[str, Any]:
        """The model's configuration under the names that transformers has for it."""
        kind = self.facts["general.architecture"]
        found = {name: self.facts.get(f"{kind}.{key}") for key, name in _CONFIG.items()}
        found["vocab_size"] = found["vocab_size"] or self.facts.get("tokenizer.ggml.tokens")
        return {"model_type": kind, **{key: value for key, value in found.items() if value is not None}}

    @property
    def quantisation(self) -> dict[str, Any] | None:
        """The kind of file by its own account ("Q4_K_M"), else the type that holds most of the weights; None
        when none of them is quantised.
        """
        sizes: dict[str, int] = {}
        for kind, shape in self.tensors.values():
            sizes[kind] = sizes.get(kind, 0) + prod(shape)
        if sizes.keys() <= _IN_FULL:
            return None
        from gguf.constants import LlamaFileType

        kinds = {int(kind): kind.name.removeprefix("MOSTLY_") for kind in LlamaFileType}
        most = max(sizes, key=lambda kind: sizes[kind])
        return {"quant_method": "gguf", "type": kinds.get(self.facts.get("general.file_type", -1), most)}

    @property
    def turn_ends(self) -> frozenset[int]:
        """The tokens that end an answer beside the end of text."""
        names = ("eot", "eom")
        ends = (self.facts.get(f"tokenizer.ggml.{name}_token_id") for name in names)
        return frozenset(end for end in ends if type(end) is int)


def read_header(file: Path) -> Header:
    """The header. Raises BadInput for a broken file, or without the package that reads the weights."""
    if find_spec("gguf") is None:
        raise BadInput(f"{file}: a GGUF file is read with the package gguf.", install("gguf"))
    try:
        status = file.stat()
        return _header(file, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise BadInput(f"{file}: cannot be read: {error.strerror}") from error
    except (struct.error, ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise BadInput(f"{file}: is corrupt or truncated.", "Copy or download the file again.") from error


@lru_cache(maxsize=4)
def _header(file: Path, size: int, _modified: int) -> Header:
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    with file.open("rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(data)
        magic, number, tensors, facts = reader.take("4sIQQ")
        if magic != b"GGUF" or number not in (2, 3):
            raise ValueError("no GGUF of version 2 or 3")
        found = {reader.text(): reader.value(*reader.take("I")) for _ in range(facts)}
        if not isinstance(found["general.architecture"], str):
            raise ValueError("no architecture")
        shapes, end = {}, 0
        for _ in range(tensors):
            name = reader.text()
            (dimensions,) = reader.take("I")
            shape = tuple(reversed(reader.take(f"{dimensions}Q")))
            kind, offset = reader.take("IQ")
            block, width = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
            shapes[name] = (GGMLQuantizationType(kind).name, shape)
            end = max(end, offset + prod(shape) // block * width)
        alignment = found.get("general.alignment", 32)
        if -(-reader.at // alignment) * alignment + end > size:
            raise ValueError("truncated")
    return Header(found, shapes)


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.at = 0

    def take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{form}", self._data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return values

    def text(self) -> str:
        (length,) = self.take("Q")
        (found,) = self.take(f"{length}s")
        return str(found, "utf-8")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.take(_SCALARS[kind])[0]
        of, length = self.take("IQ")
        if of == _STRING:
            for _ in range(length):
                (width,) = self.take("Q")
                self.at += width
        else:
            self.at += length * struct.calcsize(f"<{_SCALARS[of]}")
        return length


def check_gguf(file: Path) -> None:
    """Passes for a whole file that transformers can load with its tokenizer; its source tells what it knows.

    Raises BadInput with what is missing or not known.
    """
    header = read_header(file)
    kind = str(header.facts["general.architecture"])
    what = header.facts.get("general.type", "model")
    if what != "model":
        raise BadInput(
            f"{file}: holds no model: its type is {what!r}.",
            "Name the model's file; an adapter is the folder that PEFT wrote, on its base's folder.",
        )
    if header.facts.get("split.count", 0) > 1:
        raise BadInput(
            f"{file}: is one of {header.facts['split.count']} parts.",
            "Join them: llama-gguf-split --merge FIRST_PART WHOLE.gguf",
        )
    if "tokenizer.ggml.tokens" not in header.facts:
        raise BadInput(f"{file}: has no tokenizer.", "Convert the model again, with its tokenizer.")
    found = find_spec("transformers")
    assert found is not None and found.origin is not None
    source = Path(found.origin).parent
    readers = (
        "modeling_gguf_pytorch_utils.py",
        "integrations/ggml.py",
        "integrations/gguf/gguf_config_mapping.py",
    )
    known = "".join((source / reader).read_text("utf-8") for reader in readers if (source / reader).is_file())
    if not any(f'"{name}"' in known for name in (kind, kind.replace("-", "_"))):
        raise BadInput(
            f"{file}: transformers {version('transformers')} reads no GGUF files of the kind {kind!r}.",
            "Serve it with llama-server, and name the server; or name the folder that it was made from.",
        )
