"""Estimates of a plan's models: memory, disk, and time, from previous runs or a measurement here.

Nothing is loaded and no torch imported: weights are counted from the headers of their files, keys and values
from the configuration. What is rough is rounded up.
"""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import ceil, prod
from pathlib import Path
from typing import Any

from engine.data.example import Example
from engine.errors import AssayError, BadInput
from engine.judges.preflight import estimate_of
from engine.metrics.perplexity import PERPLEXITY, read_corpus
from engine.models.folder import adapter_of, base_of, quantisation, read_config, weight_shapes
from engine.models.gguf_file import is_gguf
from engine.models.holder import Holder, answering, base_key
from engine.models.model import Generator, Response
from engine.models.prompt import converse
from engine.models.server import ServerModel
from engine.models.vitals import Sensors
from engine.phases.generate import settings_of
from engine.plan.errors import Finding, in_units, in_words
from engine.plan.plan import Judge, Model, Plan
from engine.servers.engines import KINDS, Llama
from store.read.query import by_key

PROMPTS = 8


def measure(plan: Plan, examples: Sequence[Example]) -> Iterator[Finding]:
    """A finding for each model that answers here or behind a server, with its pace and the time for all.

    The first answer estimates loading, the others the pace; a run, with more at a time, is faster.
    """
    step = max(1, len(examples) // (PROMPTS + 1))
    few = list(examples[::step][: PROMPTS + 1])
    holder = Holder(None)
    try:
        for model in plan.models:
            if model.kind == "local" and plan.generation.engine in KINDS:
                name = KINDS[plan.generation.engine].name
                said = f"{name} is not started to measure it: `assay check` tells its pace by earlier runs"
                yield Finding("ok", f"time of {model.name}", said)
            elif model.kind != "recorded" and len(few) > 1:
                yield _measured(plan, model, holder, few, len(examples) * plan.generation.samples)
    finally:
        holder.close()


def _measured(plan: Plan, model: Model, holder: Holder, few: list[Example], count: int) -> Finding:
    subject = f"time of {model.name}"
    try:
        generator = _open(plan, model, holder)
        first, loading = _timed(plan, generator, few[:1])
        others, seconds = _timed(plan, generator, few[1:])
    except AssayError as error:
        return Finding("error", subject, error.message, error.hint)
    if unanswered := [response for response in (*first, *others) if response.text is None]:
        reason = f"{len(unanswered)} of {len(few)} prompts got no answer: {unanswered[0].reason}"
        return Finding("warning", subject, reason)
    tokens = sum(response.tokens_out or 0 for response in others)
    pace = len(others) / seconds
    speeds = f"{pace:.1f} answers and {tokens / seconds:,.0f} tokens a second"
    return Finding(
        "ok",
        subject,
        f"first answer after {in_words(loading)}, then {speeds}: at most {in_words(loading + count / pace)} "
        f"for all {count:,}",
    )


def _open(plan: Plan, model: Model, holder: Holder) -> Generator:
    if model.kind == "server":
        generation = plan.generation
        return ServerModel(
            model, concurrency=generation.concurrency, timeout_s=generation.timeout_s, patient=False
        )
    return holder.model(model)


def _timed(plan: Plan, generator: Generator, examples: list[Example]) -> tuple[list[Response], float]:
    began = time.monotonic()
    batches = converse(generator, examples, settings_of(plan.generation))
    return [response for batch in batches for response in batch], time.monotonic() - began


_JUDGE_PROMPT = 700  # tokens of a judge's instructions with a long rubric
LIBRARY = 1 << 30  # bytes that the library takes by itself
# As engine.models.batcher has them, which needs torch to say so.
SLOTS, SLOTS_ELSEWHERE = {"cuda": 256}, 128
PREFILL, PREFILL_ELSEWHERE = {"cuda": 8192}, 512
SHARE = 0.6
_TAKERS, _SHARE = ("vllm", "sglang"), 0.9
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# Of each token's log-probabilities: the model's own numbers, those as float32, and their logarithms.
_MEASURED_BYTES = {"float32": 8, "bfloat16": 10, "float16": 10}
_STORED_BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "I8": 8, "U8": 8, "I64": 64,
}  # fmt: skip
_QUANTIZED_BITS = {"nf4": 4.25, "int8": 8.25}  # a weight, with its share of the scales
_IN_FULL = re.compile(r"embed|wte|wpe|lm_head")  # what bitsandbytes leaves as it is
_BYTES_PER_TOKEN = (
    3.0  # of UTF-8 text: fewer than in English, so that the estimate is no smaller than the truth
)


@dataclass(frozen=True, slots=True)
class Device:
    """The device for weights: "cuda" or "cpu", its name for people, and its memory in bytes."""

    kind: str
    name: str
    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes for one base with all its models; `row` is the tokens of the longest row.

    `token` is the size of one token's keys and values, None when the configuration does not say. `measured`
    are the log-probabilities of the longest text whose likelihood is measured, which has no keys and values.
    `packed`: the weights stay as they are in a GGUF file.
    """

    weights: int
    adapters: int
    token: int | None
    row: int
    activations: int
    measured: int = 0
    packed: bool = False

    @property
    def loaded(self) -> int:
        return self.weights + self.adapters + LIBRARY

    @property
    def least(self) -> int:
        """The memory for answering one example, or measuring one text, at a time."""
        return self.loaded + self.activations + max((self.token or 0) * self.row, self.measured)

    def slots(self, device: Device) -> int | None:
        """How many rows fit at a time on the device; None when that is not known."""
        if not self.token:
            return None
        rows = int(SHARE * (device.free - self.loaded)) // (self.token * self.row)
        return max(1, min(rows // 2, SLOTS.get(device.kind, SLOTS_ELSEWHERE)))


def memory(plan: Plan, examples: Sequence[Example]) -> Iterator[Finding]:
    """The base that takes most, against the memory of its device; different bases take turns.

    Each that is spread over several devices has a finding of its own. `examples` are all that the run asks:
    its own, those of suites, and variants.
    """
    needs = _needs(plan, examples)
    for need, models, _ in needs:
        if models[0].device_map:
            yield _spread(need, models)
    needs = [entry for entry in needs if not entry[1][0].device_map]
    if needs:
        found = _weighed(*max(needs, key=lambda entry: entry[0].least))
        untold = "; benchmarks are not counted: lm-eval alone knows how long their texts are"
        yield replace(found, message=found.message + untold) if plan.benchmarks else found


def gpu_need(plan: Plan, examples: Sequence[Example]) -> int | None:
    """The bytes that a plan's largest base or local judge takes at least of a GPU; 0 where none is loaded.

    `examples` as for `memory`, which finds the same. None where the plan itself says which GPUs it takes: it
    names one, spreads a model over them, or has Ray share them out.
    """
    if plan.generation.engine in _TAKERS and (gpus := [one for one in devices() if one.kind == "cuda"]):
        # They take that share of each GPU, however small the model is.
        return ceil((plan.compute.gpu_memory_utilization or _SHARE) * max(one.total for one in gpus))
    judges = [judge for judge in plan.judges if judge.local]
    local = [*(model for model in plan.models if model.path is not None), *map(judge_model, judges)]
    if plan.compute.engine == "ray" or any(model.device_map or ":" in model.device for model in local):
        return None
    needs = [(need, device) for need, _, device in _needs(plan, examples)]
    for judge in judges:
        with suppress(BadInput):
            need, _, device = _judge_need(plan, judge, examples)
            needs.append((need, device))
    return max((need.least for need, device in needs if device.kind == "cuda"), default=0)


def _needs(plan: Plan, examples: Sequence[Example]) -> list[tuple[Need, list[Model], Device]]:
    """What each base takes with its models, and where; one whose files cannot be read is left out."""
    system = max((_tokens(model.system or "") for model in plan.models), default=0)
    row = _longest(examples, plan.generation.max_new_tokens) + system
    needs: list[tuple[Need, list[Model], Device]] = []
    for models in _on_one_base(plan):
        device = device_of(models[0].device)
        try:
            engine = answering(plan, models[0])
            text = _longest_text(plan, examples) if engine is None else 0
            need = need_of(models, device, row, text=text, packed=isinstance(engine, Llama))
            needs.append((need, models, device))
        except BadInput:
            continue  # told as a finding on that model
    return needs


def _judge_need(plan: Plan, judge: Judge, examples: Sequence[Example]) -> tuple[Need, list[Model], Device]:
    """As `_needs`, of a judge on this machine. Raises BadInput when its files cannot be read."""
    answers = (1 if judge.kind == "pointwise" else 2) * plan.generation.max_new_tokens
    row = _longest(examples, answers) + _JUDGE_PROMPT + judge.max_tokens
    model, device = judge_model(judge), device_of(judge.device)
    return need_of([model], device, row), [model], device


def local_judge(
    plan: Plan,
    judge: Judge,
    examples: Sequence[Example],
    asked: Sequence[Example],
    past: Sequence[Any],
) -> Finding:
    """The calls, time and memory of a judge on this machine. Raises BadInput when its files cannot be read.

    It judges answers to the `examples`; `asked` are all that the run asks, as for `memory`. `past` are rows
    of `store.read.live.judge_speeds`.
    """
    found = estimate_of(plan, judge, examples)
    fits = _weighed(*_judge_need(plan, judge, asked))
    said = "time unknown: it has not judged here before"
    for known in past:
        details = known.details or {}
        if (details.get("server"), details.get("model")) == (None, judge.local):
            judged = known.answers * details.get("repeat", 1)  # one rating is of so many calls
            taken = in_words(found.calls * known.seconds / judged)
            said = f"about {taken} at the pace of run {known.run_id}"
            break
    return replace(fits, subject=f"judge {judge.name}", message=f"{found.counted}, {said}; {fits.message}")


def judge_model(judge: Judge) -> Model:
    """A judge on this machine as a model of a plan."""
    return Model.model_construct(
        name=judge.name, role="baseline", path=judge.local, dtype=judge.dtype, device=judge.device
    )


def need_of(
    models: Sequence[Model], device: Device, row: int, *, text: int = 0, packed: bool = False
) -> Need:
    """The memory of models of one base together; `text` is the tokens of the longest text whose likelihood
    they measure, and `packed` weights stay as they are in a GGUF file.

    Raises BadInput when their files cannot be read.
    """
    folder = base_of(models[0])
    dtype = "float16" if packed else memory_dtype(models[0].dtype, device)
    config = read_config(folder)
    config = config.get("text_config") or config
    context = _number(config, "max_position_embeddings", "n_positions") or row
    adapters = {adapter for model in models if (adapter := adapter_of(model))}
    weights = folder.stat().st_size if packed else weight_bytes(folder, dtype, models[0].quantize)
    copy = _copied_head(config) if device.kind == "cpu" and dtype == "float32" else 0
    return Need(
        weights=weights,
        adapters=sum(weight_bytes(adapter, dtype) for adapter in adapters),
        token=_token_bytes(config, _BYTES[dtype]),
        row=min(row, context),
        activations=_activations(config, device.kind, _BYTES[dtype]) + copy,
        measured=min(text, context) * (_number(config, "vocab_size") or 0) * _MEASURED_BYTES[dtype],
        packed=packed,
    )


def memory_dtype(dtype: str, device: Device) -> str:
    """The dtype of "auto" on a device."""
    if dtype != "auto":
        return dtype
    return "bfloat16" if device.kind == "cuda" else "float32"


def weight_bytes(folder: Path, dtype: str, quantize: str | None = None) -> int:
    """The size in memory of the weights in a folder at a dtype; a quantised model keeps its own.

    A GGUF file is unpacked. `quantize` leaves embeddings, the head, and what is no matrix at the dtype.
    """
    kept = (folder / "config.json").is_file() and quantisation(folder) is not None
    bits = 0.0
    for name, (stored, shape) in weight_shapes(folder).items():
        each: float = 8 * _BYTES[dtype]
        if quantize and len(shape) == 2 and not _IN_FULL.search(name):
            each = _QUANTIZED_BITS[quantize]
        elif kept or (not is_gguf(folder) and stored.startswith(("I", "U"))):
            each = _STORED_BITS.get(stored, 32)
        bits += prod(shape) * each
    return ceil(bits / 8)


def device_of(name: str) -> Device:
    """The device of a plan's `device` on this machine."""
    place = f"GPU {name.partition(':')[2] or 0}"
    *gpus, machine = devices()
    return next((gpu for gpu in gpus if name != "cpu" and gpu.name == place), machine)


def devices() -> list[Device]:
    """The GPUs of this machine, and the machine itself."""
    import psutil

    machine = psutil.virtual_memory()
    return [
        *(
            Device("cuda", row["device"], row["memory_total"], row["memory_total"] - row["memory_used"])
            for row in Sensors().read()
            if row["device"].startswith("GPU ") and row["memory_total"] is not None
        ),
        Device("cpu", "this machine", int(machine.total), int(machine.available)),
    ]


def _spread(need: Need, models: Sequence[Model]) -> Finding:
    """Where the weights of a base with a `device_map` will be: on the devices in turn, then on the disk."""
    *gpus, machine = devices()
    most = {name: _size(size) for name, size in models[0].max_memory.items()}
    left, parts, slow = need.weights, [], False
    for device in (*gpus, machine):
        limit = most.get("cpu" if device is machine else device.name.removeprefix("GPU "), 0)
        here = min(left, limit if most else device.free)
        left -= here
        slow = slow or bool(here and gpus and device is machine)
        parts += [f"{in_units(here)} on {device.name}"] if here else []
    parts += [f"{in_units(left)} on the disk"] if left else []
    message = f"{_weights_said(need, models, gpus[0] if gpus else machine)}: about {', '.join(parts)}"
    if not (left or slow):
        return Finding("ok", "memory", message)
    return Finding(
        "warning",
        "memory",
        message,
        "what waits on the disk or beside a GPU is read again for every token"
        + ("; a smaller model" if _is_quantised(models[0]) else '; quantize = "nf4"')
        + " takes less",
    )


def _is_quantised(model: Model) -> bool:
    return quantisation(base_of(model), model.quantize) is not None


def _size(said: str) -> int:
    """Bytes of a size such as "20GiB"."""
    number, unit = said.rstrip("KMGiB "), said.lstrip("0123456789 ")
    step = 1024 if "i" in unit else 1000
    return int(number) * {"K": step, "M": step**2, "G": step**3}[unit[0]]


def _weights_said(need: Need, models: Sequence[Model], device: Device) -> str:
    names = ", ".join(model.name for model in models[:3]) + (", …" if len(models) > 3 else "")
    if need.packed:
        return f"{names}: weights {in_units(need.weights)} as in the file"
    first = models[0]
    kind = memory_dtype(first.dtype, device)
    kind = kind if first.quantize is None else f"{first.quantize} and {kind}"
    return f"{names}: weights {in_units(need.weights)} as {kind}"


def _weighed(need: Need, models: Sequence[Model], device: Device) -> Finding:
    parts = [_weights_said(need, models, device)]
    if need.adapters:
        parts.append(f"adapters {in_units(need.adapters)}")
    if need.token:
        parts.append(f"keys and values {in_units(need.token)} a token in rows of up to {need.row:,}")
    parts.append(f"activations {in_units(need.activations)}")
    if need.measured:
        parts.append(f"or, instead of keys and values, likelihoods of a text {in_units(need.measured)}")
    taken = f"{', '.join(parts)}: at least about {in_units(need.least)} in all"
    if need.weights + need.adapters > device.total:
        return Finding(
            "error",
            "memory",
            f"{taken}; {device.name} has {in_units(device.total)}",
            _way_out(need, models[0], device),
        )
    message = f"{taken}, of {in_units(device.free)} free on {device.name}"
    if need.least > device.free:
        less = 'dtype = "bfloat16"' + ("" if _is_quantised(models[0]) else ' or quantize = "nf4"')
        hint = f"free some of that memory, set {less}, or serve the model and name its `server`"
        return Finding("warning", "memory", message, hint)
    slots = need.slots(device)
    return Finding("ok", "memory", message if slots is None else f"{message}: room for {slots} slots")


def _way_out(need: Need, model: Model, device: Device) -> str:
    if device.kind != "cuda":
        return "use a machine with more memory, or serve the model there and name its `server` in the plan"
    gpus = 1 << ceil(need.least / device.total - 1).bit_length()
    less = "" if _is_quantised(model) else ', or quantize = "nf4"'
    return (
        f'set device_map = "auto" to use all GPUs and this machine\'s memory{less}; or serve it: '
        f"`vllm serve {model.path} --tensor-parallel-size {gpus}`; then name its `server` in the plan "
        "instead of `path`"
    )


def _on_one_base(plan: Plan) -> list[list[Model]]:
    """The plan's local models, those that share loaded weights together."""
    bases = by_key((base_key(model), model) for model in plan.models if model.path is not None)
    return list(bases.values())


def _longest(examples: Sequence[Example], room: int) -> int:
    """The tokens of the longest prompt with its answers, each of `room` or the example's own, roughly."""
    return max((_prompt(example) + _answers(example, room) for example in examples), default=room)


def _prompt(example: Example) -> int:
    return _tokens(*_contents(example), *example.turns[1:])


def _answers(example: Example, room: int) -> int:
    own = example.extra.get("max_new_tokens")
    return max(1, len(example.turns)) * max(room, own if type(own) is int else 0)


def _longest_text(plan: Plan, examples: Sequence[Example]) -> int:
    """The tokens of the longest text whose likelihood is measured: a reference, or a text of a corpus."""
    lengths = [0]
    if PERPLEXITY.name in plan.metrics.use:
        lengths += [_tokens(text) for example in examples for text in example.references]
    for corpus in plan.metrics.corpora.values():
        with suppress(BadInput):  # told as a finding on that corpus
            lengths += map(_tokens, read_corpus(corpus))
    return max(lengths)


def _tokens(*texts: str) -> int:
    return ceil(sum(len(text.encode(errors="replace")) for text in texts) / _BYTES_PER_TOKEN)


def _contents(example: Example) -> list[str]:
    return [message["content"] for message in example.messages]


def _token_bytes(config: dict[str, Any], size: int) -> int | None:
    layers = _number(config, "num_hidden_layers", "n_layer")
    heads = _number(config, "num_attention_heads", "n_head")
    hidden = _number(config, "hidden_size", "n_embd")
    if not (layers and heads and hidden):
        return None
    head = _number(config, "head_dim") or hidden // heads
    return 2 * layers * (_number(config, "num_key_value_heads") or heads) * head * size


def _activations(config: dict[str, Any], kind: str, size: int) -> int:
    """A prefill's widest layer, and the logits of a step."""
    hidden = _number(config, "hidden_size", "n_embd") or 0
    inner = _number(config, "intermediate_size", "n_inner") or 4 * hidden
    prefill = PREFILL.get(kind, PREFILL_ELSEWHERE) * (4 * hidden + 3 * inner) * size
    vocabulary = _number(config, "vocab_size") or 0
    return prefill + 2 * 4 * SLOTS.get(kind, SLOTS_ELSEWHERE) * vocabulary


def _copied_head(config: dict[str, Any]) -> int:
    """The copy of the output layer with which a processor multiplies in 32 bits.

    Those of other layers are not counted: they take a share of what is left, so they never decide whether a
    model fits.
    """
    return 4 * (_number(config, "vocab_size") or 0) * (_number(config, "hidden_size", "n_embd") or 0)


def _number(config: dict[str, Any], *names: str) -> int | None:
    return next((config[name] for name in names if type(config.get(name)) is int and config[name] > 0), None)


def disk_bytes(plan: Plan, examples: Sequence[Example]) -> int:
    """The bytes that the run will write, with answers of full length: its rows, and the caches."""
    prompts = sum(len(text.encode(errors="replace")) for example in examples for text in _contents(example))
    answer = (4 * plan.generation.max_new_tokens + 500) * plan.generation.samples
    pairs = len(plan.candidates) * len(plan.baselines) * len(plan.judges)
    rows = len(plan.models) * (2 * answer + 100 * len(plan.metrics.use)) + pairs * 2 * 2 * 4096
    return prompts + len(examples) * rows


def time_needed(plan: Plan, count: int, past: Sequence[Any]) -> Finding | None:
    """How long the answers to so many examples will take, by what the same models took on this hardware.

    `past` are rows of `store.read.live`, newest first. None when the plan's models need no time here.
    """
    asked = [model for model in plan.models if model.kind != "recorded"]
    if not asked:
        return None
    seconds, together, runs, unknown = 0.0, 0.0, set(), []
    for model in asked:
        engine = plan.generation.engine if model.kind == "local" else "transformers"
        known = next((row for row in past if _same(model, row) and engine_of(row) == engine), None)
        if known is None:
            unknown.append(model.name)
        else:
            taken = count * plan.generation.samples * known.seconds / known.answers
            runs.add(known.run_id)
            # A server has all models of a base at once.
            together, seconds = (
                (max(together, taken), seconds) if engine in KINDS else (together, seconds + taken)
            )
    if not runs:
        return Finding(
            "ok",
            "time",
            "unknown: none of the models has run here before; --measure runs a few prompts",
        )
    what = "examples and variants" if plan.robustness else "examples"
    message = f"about {in_words(seconds + together)} for the answers to {count:,} {what}, at the pace of "
    message += f"run{'s' * (len(runs) > 1)} {', '.join(map(str, sorted(runs)))}"
    return Finding("ok", "time", message + (f"; not counting {', '.join(unknown)}" if unknown else ""))


def engine_of(row: Any) -> str:
    """The engine that answered in a previous run."""
    named = str((row.details or {}).get("engine"))
    return next((key for key in KINDS if named.startswith(key)), "transformers")


def gain(engine: str, models: Sequence[Model], past: Sequence[Any]) -> str | None:
    """How many times as fast an engine answered as transformers, by the newest run of each with the models.

    Loading counts in both; a server has the models all at once, transformers one after another.
    """
    rows = [(model.name, row) for model in models for row in past if _same(model, row)]
    newest = {
        one: max((row.run_id for _, row in rows if engine_of(row) == one), default=None)
        for one in (engine, "transformers")
    }
    own, other = ({name: row for name, row in rows if row.run_id == run} for run in newest.values())
    both = own.keys() & other.keys()
    if not both:
        return None
    served = sum(own[name].answers for name in both) / max(own[name].seconds for name in both)
    here = sum(other[name].answers for name in both) / sum(other[name].seconds for name in both)
    said = "fast" if served >= here else "slow"
    times = max(served / here, here / served)
    of = f"by run {newest[engine]} against run {newest['transformers']}"
    return f"about {times:.2g} times as {said} as transformers for {', '.join(sorted(both))}, {of}"


def _same(model: Model, row: Any) -> bool:
    """Whether a previous run's model has the same speed as this one."""
    details = row.details or {}
    if model.kind == "server":
        return (details.get("kind"), details.get("model")) == ("server", model.model)
    adapter = (details.get("adapter") or {}).get("path")
    own = str(model.adapter) if model.adapter else None
    hardware = Sensors().gpus if str(details.get("device")).startswith("cuda") else ["cpu"]
    ran_on = set((row.environment or {}).get("devices") or [])
    same = (model.path, own, model.quantize, "auto" if model.device_map else None)
    then = (details.get("path"), adapter, details.get("quantize"), details.get("device_map"))
    return then == same and bool(ran_on & set(hardware))
