"""Rules of a plan's judges that concern several keys at once."""

from collections.abc import Iterator, Mapping
from typing import Any

from engine.plan.errors import Problem, key_path, listed, nearest

# What a key of a judge presupposes: it would be without effect, silently, beside another source.
_ONLY_WITH = {
    "model": "server",
    "api_key_env": "server",
    "batch": "server",
    "concurrency": "server",
    "timeout_s": "server",
    "retries": "server",
    "dtype": "local",
    "device": "local",
}
_NOT_EMBEDDED = ("model", "api_key_env", "rubric", "prompt", "format", "scale", "dtype", "device")
_ONE_KIND = {"scale": "pointwise", "stop_early": "pairwise", "constant_probe": "pairwise"}

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
            yield (key,), "has no meaning for the embedded judge, which is a rule"
    if judge.get("kind") == "pointwise":
        yield ("kind",), "the embedded judge compares; a score against the reference is what metrics are for"


def _language_model(judge: Mapping[str, Any]) -> Iterator[Found]:
    place = "server" if "server" in judge else "local"
    if place == "server" and "model" not in judge:
        yield (), "model is missing: the name that the server knows the judge by"
    for key, only in _ONLY_WITH.items():
        if key in judge and only != place:
            yield (key,), f"has no meaning beside {place}; it goes with {only}"
    kind = judge.get("kind", "pairwise")
    for key, only in _ONE_KIND.items():
        if key in judge and kind != only:
            yield (key,), f'has no meaning for kind = "{kind}"; it goes with "{only}"'
    if "scale" in judge and "rubric" in judge:
        yield ("scale",), "has no meaning beside rubric, whose criteria have scales of their own"
    yield from _format(judge, kind)


def _format(judge: Mapping[str, Any], kind: object) -> Iterator[Found]:
    form = judge.get("format", "chat")
    for key in _FIXED.get(str(form), ()):
        if key in judge:
            yield (key,), f'has no meaning beside format = "{form}", which has its own'
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
            where, f'"{name[:60]}" is no judge of this plan{nearest(name, known)}; there are: {listed(known)}'
        )
        for name in names
        if name not in kinds
    ]
    problems += [
        Problem(where, f'"{name}" rates single responses; a cascade is of judges of pairs')
        for name in names
        if kinds.get(name, "pairwise") != "pairwise"
    ]
    if len(names) < 2 or len(set(names)) < len(names):
        problems.append(Problem(where, "names two judges or more, each once, the cheapest first"))
    return problems
