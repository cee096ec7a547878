"""The metrics that a plan may name, and the validation of their settings."""

import importlib
import inspect
from collections.abc import Mapping, Sequence, Set
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from engine.errors import BadInput
from engine.plan.errors import listed, nearest

GROUP = "assay.metrics"

REGISTRY: dict[str, str] = {
    "rouge": "engine.metrics.overlap:Rouge",
    "bleu": "engine.metrics.overlap:Bleu",
    "bleu_orders": "engine.metrics.overlap:BleuOrders",
    "sacrebleu": "engine.metrics.overlap:SacreBleu",
    "chrf": "engine.metrics.overlap:ChrF",
    "meteor": "engine.metrics.meteor:Meteor",
    "exact_match": "engine.metrics.exact:ExactMatch",
    "token_f1": "engine.metrics.exact:TokenF1",
    "contains": "engine.metrics.exact:Contains",
    "regex": "engine.metrics.exact:Regex",
    "numeric": "engine.metrics.exact:Numeric",
    "edit_similarity": "engine.metrics.exact:EditSimilarity",
    "classification": "engine.metrics.classification:Classification",
    "entities": "engine.metrics.extraction:Entities",
    "tags": "engine.metrics.extraction:Tags",
    "set_f1": "engine.metrics.extraction:SetF1",
    "json_fields": "engine.metrics.json_values:JsonFields",
    "format": "engine.metrics.json_values:FormatCompliance",
    "tool_calls": "engine.metrics.tool_calls:ToolCalls",
    "checks": "engine.metrics.checks:Instructions",
    "length": "engine.metrics.efficiency:Length",
    "efficiency": "engine.metrics.efficiency:Efficiency",
    "perplexity": "engine.metrics.perplexity:Perplexity",
    "calibration": "engine.metrics.calibration:AnswerCalibration",
    "code": "engine.metrics.code:Code",
    "refusals": "engine.metrics.refusals:Refusals",
    "bbq": "engine.metrics.bbq:SocialBias",
    "personal_data": "engine.metrics.safety:PersonalData",
    "toxicity": "engine.metrics.text_models:Toxicity",
    "toxic_words": "engine.metrics.safety:ToxicWords",
    "sentiment": "engine.metrics.text_models:Sentiment",
    "bertscore": "engine.metrics.text_models:BertScore",
    "embedding": "engine.metrics.text_models:EmbeddingCosine",
}


def of_samples(needs: Set[str], n: int, ks: Sequence[int]) -> list[tuple[str, int]]:
    """What n samples of an answer tell of a verdict with these needs: kinds and numbers, as ("pass@", 4).

    A measure of them is named by both and the verdict's: "pass@4:exact_match". The vote is over final answers
    in texts, so programs and calls have none.
    """
    if n == 1:
        return []
    found = [(kind, k) for k in dict.fromkeys(ks or (n,)) for kind in ("pass@", "pass^")]
    return found if needs & {"tests", "calls"} else [*found, ("maj@", n)]


def is_own(name: str) -> bool:
    """Whether a metric's name is a place in a Python file, "my_metrics.py:polite"."""
    return name.partition(":")[0].endswith(".py") and ":" in name


def installed() -> dict[str, EntryPoint]:
    """The metrics of installed packages, by the names of their entry points."""
    return {point.name: point for point in entry_points(group=GROUP)}


def make_built_in(name: str, settings: Mapping[str, Any]) -> Any:
    """The metric of that name in REGISTRY, with its settings. Raises BadInput for a setting that it lacks."""
    module, attribute = REGISTRY[name].split(":")
    return make(name, getattr(importlib.import_module(module), attribute), settings)


def make(name: str, kind: Any, settings: Mapping[str, Any]) -> Any:
    """`kind(**settings)`. Raises BadInput for an unknown setting, with the nearest that is known."""
    parameters = inspect.signature(kind).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for key in settings.keys() - parameters.keys():
            known = listed(parameters)
            hint = f"Settings: {known}." if known else f'The metric "{name}" has no settings.'
            raise BadInput(f"unknown setting metrics.{name}.{key}{nearest(key, parameters)}", hint)
    return kind(**settings)
