"""Optional parameters of a request, and the fallback where a server does not accept one.

A parameter is dropped only when the server names it as unsupported and answers without it.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

# OpenAI's reasoning models know the limit by another name than all other servers.
LENGTH, NEW_LENGTH = "max_tokens", "max_completion_tokens"
PENALTY, LLAMA_PENALTY = "repetition_penalty", "repeat_penalty"
EXTRA = ("top_k", "min_p", PENALTY, "chat_template_kwargs")  # beyond OpenAI's API
# What an answer can be had without, by the names that complaints call it.
_OPTIONAL = {
    "response_format": r"response[_ ]format|json_schema",
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    LENGTH: LENGTH,
    NEW_LENGTH: NEW_LENGTH,
    LLAMA_PENALTY: LLAMA_PENALTY,
    **{name: name for name in EXTRA},
}
_CODES = {"unsupported_parameter", "unsupported_value", "unknown_parameter", "extra_forbidden"}
_BEFORE = r"(?:unsupported|unknown|unrecogni[sz]ed|unexpected|invalid)"
_AFTER = (
    r"(?:unsupported|(?:is|are|does|do)?\s*not\s+(?:currently\s+)?(?:support\w*|permitted|allowed|accepted)"
    r"|unrecogni[sz]ed|unexpected|unavailable|extra (?:fields|inputs))"
)
_UNSUPPORTED = re.compile(rf"{_BEFORE}|{_AFTER}", re.IGNORECASE)
# The parameter and the verdict on it in one clause: "Unsupported value: 'temperature' does not support 0",
# "['body', 'seed'] Extra inputs are not permitted", "unknown field `seed`".
_NAMED = {
    name: re.compile(
        rf"\b{_BEFORE}\b(?:\W+(?:\w+\W+){{0,3}}?)(?:{said})\b|\b(?:{said})\b[^.;\n]{{0,60}}?\b{_AFTER}",
        re.IGNORECASE,
    )
    for name, said in _OPTIONAL.items()
}
_INSTEAD = re.compile(rf"\b{NEW_LENGTH}\b.*\binstead\b", re.IGNORECASE | re.DOTALL)


def without(body: Mapping[str, Any], refused: Collection[str]) -> dict[str, Any]:
    """A request's body without the refused parameters; a refused `max_tokens` goes under its newer name."""
    kept = {name: value for name, value in body.items() if name not in refused}
    if LENGTH in body and LENGTH in refused and NEW_LENGTH not in refused:
        kept[NEW_LENGTH] = body[LENGTH]
    return kept


def named_unsupported(body: Mapping[str, Any], code: object, param: object, complaint: str) -> set[str]:
    """The optional parameters of a body that a server's complaint names as unsupported.

    By the `param` of OpenAI's errors where there is one, else by the wording. A word that occurs in the
    complaint is not enough: servers repeat prompts.
    """
    if isinstance(param, str) and param:
        name = param.partition(".")[0]
        return {name} & _OPTIONAL.keys() & body.keys() if _says_so(code, name, complaint) else set()
    return {
        name
        for name in _OPTIONAL.keys() & body.keys()
        if _NAMED[name].search(complaint) or (name == LENGTH and _INSTEAD.search(complaint))
    }


def _says_so(code: object, name: str, complaint: str) -> bool:
    instead = name == LENGTH and _INSTEAD.search(complaint)
    return code in _CODES or bool(_UNSUPPORTED.search(complaint) or instead)


def dropped(refused: Collection[str]) -> list[str]:
    """The dropped parameters; one that only has another name is not one."""
    lost = set(refused)
    for name, other in ((LENGTH, NEW_LENGTH), (PENALTY, LLAMA_PENALTY)):
        if name in lost and other not in lost:
            lost.discard(name)
        elif name in lost or other == LLAMA_PENALTY:
            lost.discard(other)
    return sorted(lost)
