"""Rules of a plan about several keys together.

They read the raw tables, so that errors elsewhere do not hide errors here.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from engine.data.example import MAPPABLE
from engine.errors import is_secret
from engine.plan.errors import Problem, key_path, listed, nearest
from engine.plan.metrics import REGISTRY, installed, is_own

# What a key of a judge presupposes: it would be without effect, silently, beside another source.
_JUDGE_ONLY_WITH = {
    "model": "server",
    "api_key_env": "server",
    "batch": "server",
    "concurrency": "server",
    "timeout_s": "server",
    "retries": "server",
    "dtype": "local",
    "device": "local",
    "answer": "local",
}
_NOT_EMBEDDED = ("model", "api_key_env", "rubric", "prompt", "format", "scale", "repeat", "dtype", "device")
_ONE_KIND = {
    "scale": "pointwise",
    "repeat": "pointwise",
    "stop_early": "pairwise",
    "constant_probe": "pairwise",
}

# What a format has of its own, so that a plan cannot give it.
_FIXED = {
    "prometheus": ("prompt", "scale"),
    "judgelm": ("prompt", "scale", "rubric"),
    "mt-bench": ("scale", "rubric"),
}

Judge = tuple[int, Mapping[str, Any]]


def judge_checks(raw: Mapping[str, Any], judges: list[Judge]) -> list[Problem]:
    """Everything wrong with how the keys of judges go together, and those of [judging] with them."""
    each = [
        Problem(key_path(raw, ("judges", index, *key)), message)
        for index, judge in judges
        for key, message in _judge(judge)
    ]
    return [*each, *_cascade(raw, judges)]


Found = tuple[tuple[str, ...], str]


def _judge(judge: Mapping[str, Any]) -> Iterator[Found]:
    if "server" in judge and "local" in judge:
        yield (), "has server and local; allowed: one of the two"
    elif "server" in judge or "local" in judge:
        yield from _language_model(judge)
    elif judge.get("name") == "reference":
        yield from _embedded(judge)
    else:
        yield (), 'server is missing, or local (only the embedded judge, name = "reference", needs neither)'


def _embedded(judge: Mapping[str, Any]) -> Iterator[Found]:
    for key in _NOT_EMBEDDED:
        if key in judge:
            yield (key,), "does not apply to the embedded judge, which is a rule"
    if judge.get("kind") == "pointwise":
        yield ("kind",), "the embedded judge only compares pairs; to score against the reference, use metrics"


def _language_model(judge: Mapping[str, Any]) -> Iterator[Found]:
    place = "server" if "server" in judge else "local"
    if place == "server" and "model" not in judge:
        yield (), "model is missing: the judge's name on the server"
    for key, only in _JUDGE_ONLY_WITH.items():
        if key in judge and only != place:
            yield (key,), f"does not apply with {place}; it belongs with {only}"
    kind = judge.get("kind", "pairwise")
    for key, only in _ONE_KIND.items():
        if key in judge and kind != only:
            yield (key,), f'does not apply to kind = "{kind}"; it belongs with "{only}"'
    if "scale" in judge and "rubric" in judge:
        yield ("scale",), "does not apply with rubric, whose criteria have scales of their own"
    if judge.get("answer") == "tokens" and (
        judge.get("format", "chat") != "chat" or (kind == "pointwise" and "rubric" in judge)
    ):
        yield (
            ("answer",),
            '"tokens" needs format = "chat" and a single verdict: a winner, or a score without rubric',
        )
    yield from _format(judge, kind)


def _format(judge: Mapping[str, Any], kind: object) -> Iterator[Found]:
    form = judge.get("format", "chat")
    for key in _FIXED.get(str(form), ()):
        if key in judge:
            yield (key,), f'does not apply with format = "{form}", which has its own'
    if form == "judgelm" and kind == "pointwise":
        yield (
            ("format",),
            '"judgelm" compares two answers; allowed for kind = "pointwise": chat, prometheus, mt-bench',
        )


def _cascade(raw: Mapping[str, Any], judges: list[Judge]) -> list[Problem]:
    judging = raw.get("judging")
    names = judging.get("cascade") if isinstance(judging, Mapping) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not names:
        return []
    where = "judging.cascade"
    kinds = {judge.get("name"): judge.get("kind", "pairwise") for _, judge in judges}
    known = [str(name) for name in kinds]
    problems = [
        Problem(
            where,
            f'"{name[:60]}" is not a judge of the plan{nearest(name, known)}; it has {listed(known)}',
        )
        for name in names
        if name not in kinds
    ]
    problems += [
        Problem(where, f'"{name}" rates single responses; a cascade takes pairwise judges')
        for name in names
        if kinds.get(name, "pairwise") != "pairwise"
    ]
    if len(names) < 2 or len(set(names)) < len(names):
        problems.append(Problem(where, "must name at least two judges, each once, the cheapest first"))
    return problems


NOT_METRICS = ("use", "corpora", "pass_k")  # keys of [metrics] that name no metric
_SOURCES = ("path", "server", "outputs", "run")
# What a key of a model presupposes: it would be without effect, silently, beside another source.
_ONLY_WITH = {
    "adapter": {"path"},
    "dtype": {"path"},
    "device": {"path"},
    "quantize": {"path"},
    "device_map": {"path"},
    "max_memory": {"path"},
    "revision": {"path"},
    "adapter_revision": {"path"},
    "trust_remote_code": {"path"},
    "system": {"path", "server"},
    "model": {"server", "run"},
    "api": {"server"},
    "api_key_env": {"server"},
    "chat_template_kwargs": {"path", "server"},
}


def cross_checks(raw: Mapping[str, Any], *, waits: bool = False) -> list[Problem]:
    """Everything wrong with how a plan's keys go together; one that `waits` has no candidate yet."""
    models, judges = _entries(raw, "models"), _entries(raw, "judges")
    return [
        *([] if waits else _roles(raw, models)),
        *_unique_names(raw, "models", models),
        *_unique_names(raw, "judges", judges),
        *(problem for index, model in models for problem in _sources(raw, index, model)),
        *judge_checks(raw, judges),
        *_data(raw),
        *_samples(raw, models),
        *_gates(raw),
    ]


def _entries(raw: Mapping[str, Any], section: str) -> list[tuple[int, Mapping[str, Any]]]:
    value = raw.get(section)
    return (
        [(i, item) for i, item in enumerate(value) if isinstance(item, Mapping)]
        if isinstance(value, list)
        else []
    )


def _roles(raw: Mapping[str, Any], models: list[tuple[int, Mapping[str, Any]]]) -> list[Problem]:
    if "models" not in raw:
        return []
    roles = [model.get("role") for _, model in models]
    return [
        Problem(
            "models",
            f'there is no {role}: a plan compares candidates with baselines; add one with role = "{role}"',
        )
        for role in ("baseline", "candidate")
        if role not in roles
    ]


def _unique_names(
    raw: Mapping[str, Any], section: str, entries: list[tuple[int, Mapping[str, Any]]]
) -> list[Problem]:
    first: dict[str, int] = {}
    problems = []
    for index, entry in entries:
        name = entry.get("name")
        if isinstance(name, str) and first.setdefault(name, index) != index:
            where = key_path(raw, (section, index, "name"))
            problems.append(
                Problem(where, f"is also the name of {section}[{first[name]}]; names must differ")
            )
    return problems


def _sources(raw: Mapping[str, Any], index: int, model: Mapping[str, Any]) -> list[Problem]:
    where = key_path(raw, ("models", index))
    given = [source for source in _SOURCES if source in model]
    if len(given) != 1:
        what = f"has {' and '.join(given)}" if given else "names no source of answers"
        return [Problem(where, f"{what}; allowed: exactly one of {', '.join(_SOURCES)}")]
    problems = [
        Problem(
            key_path(raw, ("models", index, key)),
            f"does not apply with {given[0]}; it belongs with {listed(sorted(only))}",
        )
        for key, only in _ONLY_WITH.items()
        if key in model and given[0] not in only
    ]
    if given == ["server"] and "model" not in model:
        problems.append(Problem(where, "model is missing: the model's name on the server"))
    problems += [Problem(key_path(raw, ("models", index, key)), message) for key, message in _loading(model)]
    return problems


def _loading(model: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys of a local model that only have an effect beside another, or none beside another."""
    if "max_memory" in model and "device_map" not in model:
        yield "max_memory", 'belongs with device_map = "auto", which spreads a model over that memory'
    if "adapter_revision" in model and "adapter" not in model:
        yield "adapter_revision", "belongs with adapter"
    if model.get("device_map") == "auto" and model.get("device", "auto") != "auto":
        yield "device", "does not apply with device_map, which chooses the devices"
    if str(model.get("path")).casefold().endswith(".gguf"):
        if "quantize" in model:
            yield "quantize", "does not apply to a GGUF file, whose weights are quantised as they are"
        if "adapter" in model:
            yield "adapter", "does not apply to a GGUF file: name the folder of the adapter's base as path"


def _data(raw: Mapping[str, Any]) -> list[Problem]:
    data = raw.get("data")
    if not isinstance(data, Mapping):
        return []
    problems = []
    ratios = data.get("ratios", [1.0])
    numbers = isinstance(ratios, list) and all(isinstance(ratio, int | float) for ratio in ratios)
    if numbers and not math.isclose(sum(ratios), 1.0, abs_tol=1e-6):
        message = f"found a sum of {sum(ratios):g}; allowed: train, validation and test shares, sum 1"
        problems.append(Problem("data.ratios", message))
    fields = data.get("fields")
    for name in fields if isinstance(fields, Mapping) else ():
        if name not in MAPPABLE:
            hint = f'{nearest(name, MAPPABLE)}; allowed: {listed(MAPPABLE)} = "the column in the file"'
            problems.append(Problem(f"data.fields.{name}", f'unknown field "{name}"{hint}'))
    if (
        isinstance(fields, Mapping)
        and "group" in data
        and fields.get("group", data["group"]) != data["group"]
    ):
        problems.append(Problem("data.group", "differs from data.fields.group; name the column once"))
    return problems


def _samples(raw: Mapping[str, Any], models: list[tuple[int, Mapping[str, Any]]]) -> list[Problem]:
    """Samples that would all be the same, and k of pass@k of which there are not as many samples."""
    generation, metrics = raw.get("generation", {}), raw.get("metrics", {})
    if not isinstance(generation, Mapping) or not isinstance(metrics, Mapping):
        return []
    samples, ks = generation.get("samples", 1), metrics.get("pass_k", ())
    if type(samples) is not int or samples < 1:
        return []
    problems = []
    if (
        samples > 1
        and not generation.get("temperature")
        and any("outputs" not in model and "run" not in model for _, model in models)
    ):
        message = (
            f"{samples} samples at temperature 0 are {samples} times the same answer; set temperature = 0.7"
        )
        problems.append(Problem("generation.samples", message))
    if too_large := [k for k in ks if type(k) is int and k > samples] if isinstance(ks, list) else []:
        allowed = f"at most {samples}, the samples of each answer (generation.samples)"
        problems.append(Problem("metrics.pass_k", f"found {too_large[0]}; allowed: {allowed}"))
    return problems


def _gates(raw: Mapping[str, Any]) -> list[Problem]:
    """A warning above its critical threshold could never be raised."""
    gates = raw.get("gates")
    if not isinstance(gates, Mapping):
        return []
    problems = []
    for kind in ("benchmark", "metric"):
        warn, critical = gates.get(f"warn_{kind}_drop"), gates.get(f"max_{kind}_drop")
        if isinstance(warn, int | float) and isinstance(critical, int | float) and warn > critical:
            message = f"found {warn:g}; allowed: at most max_{kind}_drop, which is {critical:g}"
            problems.append(Problem(f"gates.warn_{kind}_drop", message))
    return problems


def metric_checks(raw: Mapping[str, Any]) -> list[Problem]:
    """Metric names that are not known, in `use` and as tables, each with the nearest known one.

    A metric in a Python file of the plan's is not imported to check its name.
    """

    metrics = raw.get("metrics")
    if not isinstance(metrics, Mapping):
        return []
    use = metrics.get("use")
    named = [(("metrics", "use", i), name) for i, name in enumerate(use)] if isinstance(use, list) else []
    tables = [(("metrics", key), key) for key in metrics if key not in NOT_METRICS]
    unknown = [
        (where, name)
        for where, name in [*named, *tables]
        if isinstance(name, str) and name not in REGISTRY and not is_own(name) and not is_secret(name)
    ]
    if not unknown:
        return []
    known = [*REGISTRY, *installed()]
    return [
        Problem(
            key_path(raw, where),
            f'unknown metric "{name[:60]}"{nearest(name, known)}; allowed: {listed(known)}',
        )
        for where, name in unknown
        if name not in known
    ]
