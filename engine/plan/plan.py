"""The plan's tables and keys. Reading a plan reports all its errors as one BadInput."""

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from engine.data.example import TEMPLATE
from engine.data.perturb import PERTURBATIONS
from engine.data.suites import ALL
from engine.data.suites import SUITES as PUBLIC
from engine.data.textfile import read_text
from engine.errors import BadInput, install
from engine.plan import paths as paths
from engine.plan.checks import NOT_METRICS, cross_checks, metric_checks
from engine.plan.errors import (
    Problem,
    bad_plan,
    found,
    hidden_secrets,
    key_path,
    listed,
    nearest,
    secrets,
    unknown_keys,
    validation_problems,
)
from engine.plan.metrics import REGISTRY, is_own, make_built_in, of_samples
from engine.plan.overrides import override
from engine.plan.paths import (
    Adapter,
    Count,
    Dataset,
    EnvironmentName,
    File,
    FileOrFolder,
    Flag,
    Folder,
    Fraction,
    Name,
    Seconds,
    Seed,
    Table,
    Temperature,
    Url,
)
from engine.plan.rubric import BUILT_IN
from engine.plan.sweep import FEWEST_FOLDS, MOST_FOLDS, Follow, Members, expand, select_fold
from engine.plan.sweep import Sweep as Sweep
from engine.plan.toml import plan_text


def _rubric(value: Any, info: ValidationInfo) -> Any:
    """A built-in rubric's name as it stands, else the file of one."""
    if isinstance(value, str) and value in BUILT_IN:
        return value
    try:
        return paths.existing_file(value, info)
    except ValueError as error:
        raise ValueError(f"{error}; a built-in rubric is one of {listed(BUILT_IN)}") from None


class Judge(Table):
    """A judge: a model on an OpenAI-compatible server or (`local`) on this machine, or the embedded rule.

    `kind`: pairs of responses in both orders, or each response alone ("pointwise"), on a `scale` or by a
    rubric. `rubric` is a file or a built-in one's name, `prompt` a user template or a folder of templates.
    `sample` is the maximum number of examples for this judge, `max_calls` that of questions: both are seeded
    samples. `repeat` is how often a pointwise judge is asked about an answer, with the criteria of its rubric
    in another order each time; the score is the mean. `stop_early` ends judging when the verdict on the gate
    is certain. `format`: what kind of
    model is asked ("chat": any that follows instructions). `constant_probe`: on how many examples a constant
    answer is judged as a candidate, to see whether the judge is fooled. `batch`: by the provider's batch
    API, at half the price and within a day (without the cache: as usual). `answer`: whether a local chat
    model writes its verdict or is scored by the verdict's tokens (None: written, unless its first answers
    cannot be read).
    """

    name: Name
    kind: Literal["pairwise", "pointwise"] = "pairwise"
    server: Url | None = None
    local: Annotated[str, BeforeValidator(paths.model_path)] | None = None
    model: Name | None = None
    api_key_env: EnvironmentName | None = None
    format: Literal["chat", "prometheus", "judgelm", "mt-bench"] = "chat"
    scale: Literal["1-10", "1-5"] = "1-10"
    rubric: Annotated[Path | str, BeforeValidator(_rubric)] | None = None
    prompt: FileOrFolder | None = None
    use_references: Flag = True
    answer: Literal["written", "tokens"] | None = None
    sample: Count | None = None
    max_calls: Count | None = None
    repeat: Annotated[int, Field(strict=True, ge=1, le=20)] = 1
    stop_early: Flag = False
    constant_probe: Count | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    batch: Flag = False
    concurrency: Count = 8
    max_tokens: Count = 1024
    timeout_s: Seconds = 60.0
    retries: Annotated[int, Field(strict=True, ge=0, le=20)] = 4
    seed: Seed = 0
    temperature: Temperature = 0.0
    embedded: Flag = False

    @model_validator(mode="before")
    @classmethod
    def _reference_needs_no_server(cls, table: Any) -> Any:
        if (
            isinstance(table, dict)
            and table.get("name") == "reference"
            and not {"server", "local"} & table.keys()
        ):
            return {**table, "embedded": True}
        return table

    @property
    def by_turn(self) -> bool:
        """Whether conversations are judged turn by turn alone, and count with the mean of their turns."""
        return self.format == "mt-bench"

    @property
    def grades(self) -> tuple[int, int]:
        """The lowest and the highest score of a pointwise judge without a rubric."""
        return (1, 5) if self.scale == "1-5" else (1, 10)


class Judging(Table):
    """Settings for all judges of a run.

    `max_cost`: US dollars, at which the run pauses; `prices` a price file instead of the shipped
    one. `judge_identical`: two identical answers are judged like any others, and are no tie without a call.
    `all_pairs`: candidates also play each other, not only the baselines. `cascade`: names of pairwise
    judges, the cheapest first; each sees only the pairs where the previous one is uncertain. `panel`: whether
    several judges also form a panel (None: when there are several of a kind).
    """

    max_cost: Annotated[float, Field(strict=True, gt=0)] | None = None
    prices: File | None = None
    judge_identical: Flag = False
    all_pairs: Flag = False
    cascade: tuple[Name, ...] = ()
    panel: Flag | None = None


# What fine-tuning is known to cost: reasoning, common sense, knowledge, truthfulness, arithmetic.
SUITES: dict[str, tuple[str, ...]] = {
    "forgetting": ("arc_challenge", "hellaswag", "mmlu", "truthfulqa_mc2", "winogrande", "gsm8k")
}


def _batch_size(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError('expected a whole number from 1, or "auto"')


BatchSize = Annotated[int | Literal["auto"], PlainValidator(_batch_size)]


class Benchmarks(Table):
    """lm-evaluation-harness tasks and groups, by name or by a `suite` of them.

    `include` is a folder of local task files; `shots` None is each task's own number. `tasks` has those of
    the suite too, which come first. A batch size of "auto" is the largest that fits, found during the run.
    `calibration`: whether the probabilities of multiple-choice tasks are measured too.
    """

    tasks: Annotated[tuple[Name, ...], Field(min_length=1)]
    suite: Literal["forgetting"] | None = None
    include: Folder | None = None
    limit: Count | None = None
    shots: Annotated[int, Field(strict=True, ge=0)] | None = None
    batch_size: BatchSize = 16
    apply_chat_template: Flag = True
    calibration: Flag = False

    @model_validator(mode="before")
    @classmethod
    def _suite_is_tasks(cls, table: Any) -> Any:
        if not isinstance(table, dict) or not isinstance(table.get("suite"), str):
            return table
        suite = SUITES.get(table["suite"], ())
        tasks = table.get("tasks", ())
        if (
            not suite
            or not isinstance(tasks, list | tuple)
            or not all(isinstance(name, str) for name in tasks)
        ):
            return table
        return {**table, "tasks": list(dict.fromkeys([*suite, *tasks]))}


class Compute(Table):
    """Where the plan's local models run.

    `address` is for Ray: "auto" is this machine's cluster, "local" one that is started here
    for the run, else "host:port" of a cluster's head. `workers` is the maximum number of models at a time;
    None is one per GPU, or one per machine without GPUs. `vllm`, `sglang` and `llama_server` are the programs
    of the engines that a run starts, where they are not on PATH; the keys after them are handed on to the
    engine under its names for them.
    """

    engine: Literal["local", "ray"] = "local"
    address: Name = "auto"
    workers: Count | None = None
    vllm: File | None = None
    sglang: File | None = None
    llama_server: File | None = None
    tensor_parallel_size: Count | None = None
    data_parallel_size: Count | None = None
    quantization: Name | None = None
    gpu_memory_utilization: Annotated[float, Field(strict=True, gt=0, le=1)] | None = None
    max_model_len: Count | None = None


# The keys of each engine that a run starts: where its program is, then what is handed on to it.
_PARALLEL = "tensor_parallel_size", "data_parallel_size", "quantization"
ENGINES: Mapping[str, tuple[str, ...]] = {
    "vllm": ("vllm", *_PARALLEL, "gpu_memory_utilization", "max_model_len"),
    "sglang": ("sglang", *_PARALLEL, "max_model_len"),
    "llama.cpp": ("llama_server", "max_model_len"),
}


def _engine(raw: Mapping[str, Any]) -> str | None:
    """The engine that a plan has a run start, if any."""
    generation = raw.get("generation")
    named = generation.get("engine") if isinstance(generation, Mapping) else None
    return named if isinstance(named, str) and named in ENGINES else None


def engine_checks(raw: Mapping[str, Any]) -> list[Problem]:
    """Settings that an engine would apply in another way."""
    if _engine(raw) != "sglang":
        return []
    why = {
        "temperature": "SGLang draws samples that a seed does not repeat; allowed: 0",
        "repetition_penalty": "SGLang's reaches over the answer alone; allowed: 1",
    }
    generation, neutral = raw["generation"], {"temperature": 0, "repetition_penalty": 1}
    return [
        Problem(f"generation.{name}", why[name])
        for name, value in neutral.items()
        if generation.get(name, value) != value
    ]


def compute_checks(raw: Mapping[str, Any]) -> list[Problem]:
    """Keys that would be without effect, and what a cluster cannot do."""
    compute, served = raw.get("compute"), _engine(raw)
    if not isinstance(compute, Mapping):
        return []
    problems = []
    for key in dict.fromkeys(key for keys in ENGINES.values() for key in keys):
        if key in compute and key not in ENGINES.get(served or "", ()):
            engines = " or ".join(f'"{name}"' for name, keys in ENGINES.items() if key in keys)
            message = f"does not apply without engine = {engines} under [generation]"
            problems.append(Problem(f"compute.{key}", message))
    if compute.get("engine", "local") == "local":
        return problems + [
            Problem(f"compute.{key}", 'does not apply without engine = "ray"')
            for key in ("address", "workers")
            if key in compute
        ]
    if served:
        message = f'a run has engine = "{served}" or Ray; leave one of the two out'
        problems.append(Problem("compute.engine", message))
    if str(compute.get("address", "")).startswith("ray://"):
        message = (
            "Ray's client protocol cannot stream answers: start the run on a machine of the cluster "
            'with "auto", or give the head as "host:port"'
        )
        problems.append(Problem("compute.address", message))
    models = raw.get("models")
    for place, model in enumerate(models if isinstance(models, list) else ()):
        if isinstance(model, Mapping) and str(model.get("device", "")).startswith("cuda:"):
            where = key_path(raw, ("models", place, "device"))
            problems.append(Problem(where, 'Ray chooses the GPU; allowed: "auto", "cuda" or "cpu"'))
    return problems


def _suite(value: Any) -> Any:
    """A public suite's name, or that of all together."""
    known = (ALL, *PUBLIC)
    if value in known:
        return value
    raise ValueError(
        f"there is no suite {found(value)}{nearest(str(value), known)}; allowed: {listed(known)}"
    )


SuiteName = Annotated[str, PlainValidator(_suite)]


class Data(Table):
    """The data to evaluate on.

    `fields` maps our names to the file's columns; `group` is a group key's column, found in `fields` too.
    `template` is a Jinja2 text that makes the query of a record's columns, or a file of it; it is in `fields`
    too, under its own name.
    `folds` divides the examples into as many parts, of which a run evaluates `fold`; without `folds`, the
    examples are that fold already, or there are none.
    `earlier` are eval sets from before, in which the examples are searched, `queries` a log of
    production's queries, and `embedding_model` the folder of a sentence-transformers model, which finds
    questions in `train` with the same meaning: a cosine of `meaning_least`, by default what was measured for
    the model. `skip_bad` leaves out unreadable examples, and counts them. `suites` are public ones, added to
    the store before, that are asked beside the examples and measured apart from them.
    """

    examples: Dataset
    suites: tuple[SuiteName, ...] = ()
    train: Dataset | None = None
    earlier: tuple[Dataset, ...] = ()
    queries: Dataset | None = None
    embedding_model: Folder | None = None
    meaning_least: Fraction | None = None
    split: Literal["all", "train", "validation", "test"] = "all"
    ratios: tuple[Fraction, Fraction, Fraction] = (0.8, 0.1, 0.1)
    sample: Count | None = None
    seed: Seed = 0
    fields: dict[str, Name] = Field(default_factory=dict)
    group: Name | None = None
    final: Flag = False
    skip_bad: Flag = False
    template: Annotated[str, BeforeValidator(paths.text_or_file)] | None = None
    folds: Annotated[int, Field(strict=True, ge=FEWEST_FOLDS, le=MOST_FOLDS)] | None = None
    fold: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _group_is_a_field(cls, table: Any) -> Any:
        # One mapping for those who read the examples, whichever of the two ways the plan uses.
        if isinstance(table, dict) and isinstance(table.get("group"), str):
            fields = table.get("fields", {})
            if isinstance(fields, dict):
                return {**table, "fields": {**fields, "group": table["group"]}}
        return table

    @model_validator(mode="after")
    def _least_has_a_model(self) -> "Data":
        if self.meaning_least is not None and self.embedding_model is None:
            raise ValueError("meaning_least applies to a search by meaning: name its embedding_model")
        return self

    @field_validator("template")
    @classmethod
    def _template_compiles(cls, template: str | None) -> str | None:
        from engine.data.template import problem_of

        if template is not None and (problem := problem_of(template)):
            raise ValueError(problem)
        return template

    @model_validator(mode="after")
    def _template_is_a_field(self) -> "Data":
        if self.template is not None:
            self.fields[TEMPLATE] = self.template
        return self


MemoryPlace = Annotated[str, Field(pattern=r"^(cpu|\d+)$")]
MemorySize = Annotated[str, Field(pattern=r"^\d+ ?[KMG]i?B$")]
# What `apply_chat_template` itself takes: no variables of a template.
_NOT_VARIABLES = (
    "conversation", "messages", "tools", "documents", "chat_template", "add_generation_prompt",
    "continue_final_message", "tokenize", "sanitize_control_tokens", "padding", "truncation", "max_length",
    "return_tensors", "return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs",
)  # fmt: skip


def _variables(value: Any) -> Any:
    """Variables of a chat template: names, and values that JSON has too."""
    if not isinstance(value, dict):
        raise ValueError(f"found {found(value)}; allowed: a table such as {{ enable_thinking = false }}")
    for name in value:
        if name in _NOT_VARIABLES or not name.isidentifier():
            raise ValueError(f'"{name[:60]}" is no variable of a chat template, such as enable_thinking')
    try:
        json.dumps(value)
    except TypeError:
        raise ValueError("a date or a time cannot be sent to a chat template; write it as a text") from None
    return value


Variables = Annotated[dict[str, Any], BeforeValidator(_variables)]


class Model(Table):
    """A model: local weights (`path`), a `server`, recorded `outputs` or an earlier `run`: one of them.

    `path` is absolute for a folder or GGUF file that exists, else a hub id, as a relative `adapter` is one;
    the revisions are of those on the hub. `quantize` is how bitsandbytes loads the base. `device_map` spreads
    it over the GPUs, the processor and the disk, with at most `max_memory` by GPU number and "cpu". `system`
    is the text itself, also where the plan names a file. `api` is the endpoint of a server: "completions" for
    a model without a chat template. `chat_template_kwargs` are the template's own variables, those of all
    models (`Generation`) too. `sweep` is the pattern that found a checkpoint, which the funnel may cut.
    """

    name: Name
    role: Literal["baseline", "candidate"]
    path: Annotated[str, BeforeValidator(paths.model_path)] | None = None
    server: Url | None = None
    outputs: File | None = None
    run: Name | None = (
        None  # an earlier run's id or name, or "accepted": the answers of its candidate, or `model`
    )
    revision: Name | None = None
    adapter: Adapter | None = None
    adapter_revision: Name | None = None
    system: Annotated[str, BeforeValidator(paths.text_or_file)] | None = None
    model: Name | None = None
    api: Literal["chat", "completions"] = "chat"
    chat_template_kwargs: Variables = Field(default_factory=dict)
    api_key_env: EnvironmentName | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    quantize: Literal["nf4", "int8"] | None = None
    device_map: Literal["auto"] | None = None
    max_memory: dict[MemoryPlace, MemorySize] = Field(default_factory=dict)
    training_config: File | None = None
    trust_remote_code: Flag = False
    sweep: str | None = None

    @property
    def kind(self) -> Literal["local", "server", "recorded"]:
        if self.path is not None:
            return "local"
        return "server" if self.server is not None else "recorded"

    @property
    def weights(self) -> tuple[object, ...]:
        """What decides the weights: models that agree in it differ in their prompts alone.

        Without a dtype the device decides it.
        """
        dtype = self.dtype if self.dtype != "auto" else f"auto on {self.device}"
        return (self.path, self.revision, dtype, self.quantize, self.adapter, self.adapter_revision)


class Generation(Table):
    """How answers are generated; temperature 0 is greedy decoding.

    `deterministic` answers each prompt alone, so that no batch can flip a near tie; `noise_floor` measures on
    that many examples how often one does. `overflow`: a prompt beyond the context is refused, or cut.
    `reasoning`: traces are taken off the answers before these are scored and judged, or kept as their text;
    `reasoning_delimiters` open and close a trace beside the usual tags.
    `samples` is the number of answers to each prompt. `top_k` 0 and `min_p` 0 leave every token possible.
    `engine` is what generates: transformers here, or a server that the run starts for each base.
    """

    engine: Literal["transformers", "vllm", "sglang", "llama.cpp"] = "transformers"
    max_new_tokens: Count = 256
    temperature: Temperature = 0.0
    top_p: Annotated[float, Field(strict=True, gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(strict=True, ge=0)] = 0
    min_p: Fraction = 0.0
    repetition_penalty: Annotated[float, Field(strict=True, gt=0, le=10)] = 1.0
    seed: Seed = 0
    samples: Annotated[int, Field(strict=True, ge=1, le=1000)] = 1
    chat_template_kwargs: Variables = Field(default_factory=dict)
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    batch_size: Count = 16
    deterministic: Flag = False
    overflow: Literal["refuse", "truncate"] = "refuse"
    reasoning: Literal["strip", "keep"] = "strip"
    reasoning_delimiters: (
        tuple[Annotated[str, Field(min_length=1)], Annotated[str, Field(min_length=1)]] | None
    ) = None
    noise_floor: Count | None = None
    cache: Flag = True
    timeout_s: Seconds = 120.0
    concurrency: Count = 8


class Metrics(Table):
    """The metrics in use, and settings for those that have some; a table puts its metric in use.

    `corpora` are plain texts, by name, whose perplexity is measured under every local model. `pass_k` are the
    k of pass@k and pass^k where answers have several samples; left out, the number of samples.
    """

    use: tuple[Annotated[str, BeforeValidator(paths.metric_name)], ...] = (
        "rouge",
        "bleu",
        "exact_match",
        "token_f1",
        "length",
        "efficiency",
    )
    settings: Annotated[dict[str, dict[str, Any]], BeforeValidator(paths.metric_settings)] = Field(
        default_factory=dict
    )
    corpora: dict[Name, FileOrFolder] = Field(default_factory=dict)
    pass_k: tuple[Count, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _tables_are_settings(cls, table: Any) -> Any:
        if not isinstance(table, dict) or "settings" in table:
            return table
        others = {key: table[key] for key in ("corpora", "pass_k") if key in table}
        settings = {key: value for key, value in table.items() if key not in NOT_METRICS}
        use = table.get("use", cls.model_fields["use"].default)
        if isinstance(use, list | tuple):
            use = (
                list(dict.fromkeys([*use, *settings])) if all(isinstance(name, str) for name in use) else use
            )
        return {"use": use, "settings": settings, **others}


def _perturbation(value: Any) -> Any:
    if isinstance(value, str) and value in PERTURBATIONS:
        return value
    said = nearest(value, PERTURBATIONS) if isinstance(value, str) else ""
    raise ValueError(f"found {found(value)}{said}; allowed: {listed(PERTURBATIONS)}")


class Robustness(Table):
    """How answers hold when the same thing is asked in other forms (engine.data.perturb).

    `rate` is the share of words that "typos" and "lookalikes" touch, `sample` the number of examples that get
    variants (None: all). `measure` is what robustness is told by; None: the first of the plan's measures that
    is right or wrong, else the first from 0 to 1 where higher is better. `paraphrase` names the plan's model
    that also asks in other words.
    """

    perturbations: Annotated[tuple[Annotated[str, BeforeValidator(_perturbation)], ...], Field(min_length=1)]
    rate: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.1
    seed: Seed = 0
    sample: Count | None = None
    measure: Name | None = None
    paraphrase: Name | None = None

    @field_validator("perturbations")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(names))


Share = Annotated[float, Field(strict=True, ge=0)]
# Measures that a run takes of all answers together, of a corpus, or of a judge: named by what the plan holds.
_NAMED_ELSEWHERE = (
    "judge:",
    "perplexity:",
    "bits_per_byte:",
    "eval_loss:",
    "brier:",
    "ece:",
    "accuracy@80%:",
    "latency_p",
    "tokens_in_",
    "tokens_out_",
    "robust:",
    "drop:",
    "invariance",
)


class MetricLimit(Table):
    """How far one measure may drop, as a share of the baseline's value; `warn` None gives no warning."""

    max: Share
    warn: Share | None = None


def _limit(value: Any) -> Any:
    return {"max": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class Gates(Table):
    """Thresholds as fractions: drops are absolute on 0 to 1 measures, the perplexity rise is relative.

    Drops of measures on another bounded scale (a judge's 1 to 10) are fractions of its width. `metrics` sets
    limits for single measures by name, relative to the baseline's value: a number, or `{ max, warn }`. Drifts
    of length and latency are relative and only warn. `min_judge_agreement` is Cohen's kappa of a judge with
    people, checked once they labelled answers. `max_harmful_compliance_rise` is of harmful questions that are
    not refused, `max_over_refusal_rise` of harmless ones that are; None: as `max_metric_drop`. `max_leakage`
    is the share of the examples that may appear in the training data. `max_robustness_drop` is by how much
    more than a baseline a candidate may lose when a question is perturbed. None switches a gate off.
    """

    min_win_rate: Fraction | None = None
    warn_win_rate: Fraction | None = 0.55
    max_benchmark_drop: Fraction = 0.05
    warn_benchmark_drop: Fraction = 0.03
    max_metric_drop: Fraction = 0.05
    warn_metric_drop: Fraction = 0.03
    max_harmful_compliance_rise: Fraction | None = None
    max_over_refusal_rise: Fraction | None = None
    metrics: dict[Name, Annotated[MetricLimit, BeforeValidator(_limit)]] = Field(default_factory=dict)
    max_perplexity_rise: Share = 0.10
    min_format_compliance: Fraction | None = None
    max_judge_failures: Fraction = 0.10
    max_judge_inconsistency: Fraction = 0.30
    min_judge_agreement: Fraction | None = None
    max_disparity: Fraction | None = 0.10
    max_robustness_drop: Fraction | None = None
    warn_robustness_drop: Fraction | None = 0.10
    max_leakage: Fraction | None = 0.10
    warn_length_drift: Share | None = 0.50
    warn_latency_rise: Share | None = 0.50


def limit_checks(plan: "Plan") -> list[Problem]:
    """Limits on measures that nothing in the plan gives, or that warn above where they fail.

    Where a metric is the plan's own, its measures are known only when it runs; nothing is said of names then.
    """
    limits = plan.gates.metrics
    problems = [
        Problem(f"gates.metrics.{name}.warn", f"found {limit.warn:g}; allowed: at most max, {limit.max:g}")
        for name, limit in limits.items()
        if limit.warn is not None and limit.warn > limit.max
    ]
    unknown = [name for name in limits if not name.startswith(_NAMED_ELSEWHERE)]
    known = _measured(plan) if unknown else []
    return problems + [
        Problem(
            f"gates.metrics.{name}",
            f'no metric of the plan measures "{name}"{nearest(name, known)}; measured: {listed(known)}',
        )
        for name in unknown
        if known and name not in known
    ]


def _robustness_checks(plan: "Plan") -> list[Problem]:
    """A limit on what is not measured, a measure that the plan does not take, models that cannot be asked."""
    robustness = plan.robustness
    if robustness is None:
        if plan.gates.max_robustness_drop is None:
            return []
        message = "does not apply without [robustness], which names the perturbations"
        return [Problem("gates.max_robustness_drop", message)]
    problems = []
    known = _measured(plan)
    if robustness.measure and known and robustness.measure not in known:
        message = f'no metric of the plan measures "{robustness.measure}"{nearest(robustness.measure, known)}'
        problems.append(Problem("robustness.measure", f"{message}; measured: {listed(known)}"))
    asked = [model.name for model in plan.models if model.kind != "recorded"]
    if asked and robustness.paraphrase and robustness.paraphrase not in asked:
        message = f'"{robustness.paraphrase}" is no model of the plan that can be asked'
        message += f"{nearest(robustness.paraphrase, asked)}; it has {listed(asked)}"
        problems.append(Problem("robustness.paraphrase", message))
    if not asked:
        message = "applies to models that can be asked; recorded answers are to the plain questions alone"
        problems.append(Problem("robustness", message))
    return problems


def _measured(plan: "Plan") -> list[str]:
    """The measures of the plan's metrics; none where one of them can't be asked before it runs."""
    names: list[str] = []
    for name in plan.metrics.use:
        if name not in REGISTRY:
            return []
        try:
            metric = make_built_in(name, plan.metrics.settings.get(name, {}))
        except BadInput:  # its settings are wrong, which is said of them
            return []
        measures = metric.measures
        names += [measure.name for measure in (*measures, *getattr(metric, "of_all", ()))]
        n, ks = plan.generation.samples, plan.metrics.pass_k
        names += [
            f"{kind}{k}:{item.name}"
            for item in measures
            if item.verdict
            for kind, k in of_samples(item.needs, n, ks)
        ]
    return names


class Reviewing(Table):
    """What people who label need: a text of `guidelines`, and `qualification`: pairs with known answers.

    The items are labels of pairs in a form that `assay import labels` reads.
    """

    guidelines: File | None = None
    qualification: File | None = None


Tracker = Literal["mlflow", "wandb", "tensorboard", "trackio"]


class Tracking(Table):
    """Experiment trackers that a run is sent to once it has ended; their addresses and keys are in the
    environment.

    `project`: the experiment or project there; None: called like the plan. `folder`: where TensorBoard's
    event files go; None: into the store's folder. `examples`: whether questions and answers are sent too.
    """

    to: Annotated[tuple[Tracker, ...], Field(min_length=1)]
    project: Name | None = None
    folder: Annotated[Path, BeforeValidator(paths.own_folder)] | None = None
    examples: Flag = True


def lacking(tracker: str) -> tuple[str, str] | None:
    """What keeps this machine's runs from a tracker, and what to do about it; None where nothing is known."""
    if find_spec(tracker) is None:
        return f"the package {tracker} is not installed", install(tracker)
    if tracker == "mlflow" and not os.environ.get("MLFLOW_TRACKING_URI"):
        return "MLFLOW_TRACKING_URI names no server", "export MLFLOW_TRACKING_URI=http://127.0.0.1:5000"
    known = {"WANDB_API_KEY", "WANDB_MODE"} & os.environ.keys() or Path("~/.netrc").expanduser().exists()
    if tracker == "wandb" and not known:
        return "WANDB_API_KEY is not set", "export WANDB_API_KEY=…, or WANDB_MODE=offline"
    return None


class Plan(Table):
    """A plan, with its text, the folder that its paths are relative to, and its file's name."""

    name: Name
    data: Data
    models: tuple[Model, ...]
    generation: Generation = Generation()
    metrics: Metrics = Metrics()
    robustness: Robustness | None = None
    judges: tuple[Judge, ...] = (Judge(name="reference"),)
    judging: Judging = Judging()
    benchmarks: Benchmarks | None = None
    gates: Gates = Gates()
    review: Reviewing = Reviewing()
    sweep: Sweep = Sweep()
    follow: Follow = Follow()
    track: Tracking | None = None
    compute: Compute = Compute()
    text: str = ""
    folder: Path = Path()
    file: str = "plan.toml"

    @property
    def hash(self) -> str:
        """SHA-256 of the plan's text, 64 hex digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def has_own_code(self) -> bool:
        """Whether a run of it executes Python that is neither Assay's nor an installed package's."""
        return (
            any(is_own(name) for name in self.metrics.use)
            or any(model.trust_remote_code for model in self.models)
            or (self.benchmarks is not None and self.benchmarks.include is not None)
        )

    @property
    def baselines(self) -> tuple[Model, ...]:
        return tuple(model for model in self.models if model.role == "baseline")

    @property
    def candidates(self) -> tuple[Model, ...]:
        return tuple(model for model in self.models if model.role == "candidate")

    def model(self, name: str) -> Model:
        """The model of that name; KeyError when the plan has none."""
        for model in self.models:
            if model.name == name:
                return model
        raise KeyError(name)


def _keys(table: type[Table], *internal: str) -> frozenset[str]:
    return frozenset(table.model_fields) - set(internal)


_TABLES: Mapping[str, frozenset[str]] = {
    "": _keys(Plan, "text", "folder", "file"),
    "data": _keys(Data, "fold"),
    "models": _keys(Model),
    "generation": _keys(Generation),
    "robustness": _keys(Robustness),
    "judges": _keys(Judge, "embedded"),
    "judging": _keys(Judging),
    "benchmarks": _keys(Benchmarks),
    "gates": _keys(Gates),
    "review": _keys(Reviewing),
    "sweep": _keys(Sweep),
    "follow": _keys(Follow),
    "track": _keys(Tracking),
    "compute": _keys(Compute),
}


def read_plan(
    path: Path, fold: int | None = None, followed: str | None = None, settings: Sequence[str] = ()
) -> Plan:
    """The plan in a TOML file, of one of its folds where it has some; or without its candidates, in whose
    place the checkpoints of a training will be `followed` (see `parse_plan`).

    `settings` are values in place of the file's, see `engine.plan.overrides`; the plan's text has them.
    Raises BadInput that lists everything wrong: key, found, allowed, nearest.
    """
    text = override(read_text(path), settings, str(path))
    return _without_secrets(parse_plan(text, path.absolute().parent, str(path), fold=fold, followed=followed))


IN_PYTHON = "<python>"  # in place of a plan's file


def plan_of_tables(tables: Mapping[str, Any], folder: Path, fold: int | None = None) -> Plan:
    """The plan that was written in Python, in tables as its file has them; `folder` is where its relative
    paths start. What is None counts as not given. Raises BadInput like `read_plan`.
    """
    try:
        text = plan_text(_given(tables))
    except ValueError as error:
        raise BadInput(
            f"{IN_PYTHON}: {error}", "a plan holds texts, numbers, true, false, lists and tables"
        ) from error
    return _without_secrets(parse_plan(text, folder, IN_PYTHON, fold=fold))


def _given(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _given(each) for key, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [_given(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _without_secrets(plan: Plan) -> Plan:
    """The plan as it is. Raises BadInput where it holds the value of a key's variable."""
    variables = [model.api_key_env for model in plan.models] + [judge.api_key_env for judge in plan.judges]
    if problems := hidden_secrets(plan.text, filter(None, variables)):
        raise bad_plan(plan.file, problems)
    return plan


def parse_plan(
    text: str,
    folder: Path,
    file: str = "plan.toml",
    swept: Members | None = None,
    fold: int | None = None,
    followed: str | None = None,
) -> Plan:
    """The plan in a text; `folder` is where its relative paths start, `file` what errors call it.

    `swept` are the checkpoints that its sweeps found before, which replace a new search; `fold`
    is the evaluated fold. `followed` is the pattern of a training's checkpoints, of which `swept` may have
    none yet: then the plan has baselines alone. Raises BadInput like `read_plan`.
    """
    raw = _parse_toml(text, file)
    problems = [*secrets(raw), *unknown_keys(raw, _TABLES)]
    raw, unfolded = select_fold(raw, fold)
    problems += unfolded
    raw, unswept = expand(raw, folder.absolute(), swept, followed)
    found: list[Problem] = []
    try:
        plan = _validate(raw, text, folder, file)
        found += [*limit_checks(plan), *_robustness_checks(plan)]
    except ValidationError as error:
        found += validation_problems(raw, error)
    waits = followed is not None and not (swept or {}).get(followed)
    found += [*metric_checks(raw), *cross_checks(raw, waits=waits)]
    found += [*engine_checks(raw), *compute_checks(raw)]
    # Without the models of a broken sweep, what else is said of the models would be wrong.
    problems += [*unswept, *(item for item in found if not (unswept and item.where.startswith("models")))]
    if problems:
        raise bad_plan(file, list(dict.fromkeys(problems)))
    return plan


def _parse_toml(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{file}: is not TOML: {error}") from error
    except RecursionError as error:
        raise BadInput(f"{file}: is nested too deeply to be a plan") from error


def _validate(raw: dict[str, Any], text: str, folder: Path, file: str) -> Plan:
    known = {key: value for key, value in raw.items() if key in _TABLES[""]}
    context = paths.Context(folder.absolute())
    plan = Plan.model_validate(
        {**known, "text": text, "folder": folder.absolute(), "file": file}, context=context
    )
    if told := plan.generation.chat_template_kwargs:
        models = [
            model.model_copy(update={"chat_template_kwargs": told | model.chat_template_kwargs})
            if model.kind != "recorded"
            else model
            for model in plan.models
        ]
        plan = plan.model_copy(update={"models": tuple(models)})
    return plan
