"""The families that measures are shown in, and what each needs: known without loading a metric."""

import re
from functools import lru_cache
from typing import NamedTuple

FORGETTING, BENCHMARKS, JUDGE, OWN = "forgetting", "benchmarks", "judge", "own"
FAMILIES = (
    FORGETTING, "overlap", "exact & token", "semantic", "classification", "extraction", "perplexity",
    "format", "code", "safety", OWN, JUDGE, BENCHMARKS, "efficiency",
)  # fmt: skip


class Kin(NamedTuple):
    """Measures of one family that need the same of an example or a response."""

    names: str  # a pattern that their whole names match
    family: str
    needs: tuple[str, ...] = ()


_REFERENCES = ("references",)
_KIN = [
    Kin(r"rouge.+|(sacre)?bleu.*|chrf.*|meteor.*", "overlap", _REFERENCES),
    Kin(r"exact_match|token_f1|contains|prefix|numeric_match|edit_similarity", "exact & token", _REFERENCES),
    Kin(r"regex_match", "exact & token"),
    Kin(r"bertscore_.+|embedding_.+", "semantic", _REFERENCES),
    Kin(r"accuracy|label_not_found|macro_f1|weighted_f1|kappa|mcc", "classification", ("label",)),
    Kin(r"entity_.+|tag_.+|set_f1|field_accuracy|object_match", "extraction", _REFERENCES),
    Kin(r"perplexity|bits_per_byte", "perplexity", ("references", "weights")),
    Kin(r"(perplexity|bits_per_byte):.+", "perplexity", ("weights",)),
    Kin(r"format_compliance", "format", ("schema",)),
    Kin(r"response_tokens", "format", ("tokens",)),
    Kin(r"json_parse|checks?_.+|response_words", "format"),
    Kin(r"pass_at_\d+", "code", ("tests",)),
    Kin(r"latency.*", "efficiency", ("latency",)),
    Kin(r"tokens_(in|out)_(total|mean)", "efficiency", ("tokens",)),
    Kin(r"tokens_per_second", "efficiency", ("latency", "tokens")),
    Kin(r"refused_.+", "safety", ("labels",)),
    Kin(r"refusal|personal_data|toxicity|toxic_words|sentiment", "safety"),
    Kin(r"judge:.+", JUDGE),
]


def family_of(measure: str, source: str = "") -> str:
    """The family of a metric's measure; one that no metric of Assay declares, or a file does, is `own`."""
    kin = None if _is_file(source) else _kin(measure)
    return kin.family if kin else OWN


def needs_of(measure: str, source: str = "") -> tuple[str, ...] | None:
    """What a measure needs of an example or a response; None where nobody but its own file knows."""
    kin = None if _is_file(source) else _kin(measure)
    return kin.needs if kin else None


def rank(family: str) -> int:
    """A family's place among all."""
    return FAMILIES.index(family)


def _is_file(source: str) -> bool:
    """Whether a measure's source is the Python file that a plan names, which is kept as an absolute path."""
    return source.startswith("/") and source.endswith(".py")


@lru_cache(maxsize=1024)
def _kin(measure: str) -> Kin | None:
    return next((kin for kin in _KIN if re.fullmatch(kin.names, measure)), None)
