"""Makes judges from a plan: the model to ask, the format, and the questions."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import BadInput
from engine.judges.answers import Parsed
from engine.judges.asking import Asker, JudgmentCache, ServerAsker
from engine.judges.chat import Form, PairwiseJudge, PointwiseJudge, ScoringForm
from engine.judges.judge import Call, PairJudge
from engine.judges.prompt import PairwisePrompt, PointwisePrompt
from engine.judges.reference import ReferenceJudge
from engine.plan.rubric import Rubric, find_rubric

if TYPE_CHECKING:
    from engine.plan import plan

# Which class asks and reads in a format of its own: made from the rubric (or None) and `use_references`.
_FORMATS = {
    ("pairwise", "prometheus"): "engine.judges.prometheus:RelativeGrading",
    ("pointwise", "prometheus"): "engine.judges.prometheus:AbsoluteGrading",
    ("pairwise", "judgelm"): "engine.judges.published:PairGrading",
    ("pairwise", "mt-bench"): "engine.judges.mt_bench:PairPrompt",
    ("pointwise", "mt-bench"): "engine.judges.mt_bench:SinglePrompt",
}


def load_judge(
    spec: "plan.Judge", cache_folder: Path | None, *, patient: bool = True
) -> PairJudge | PointwiseJudge:
    """The judge that a plan names: a PointwiseJudge (a Rater) for kind "pointwise", else a PairJudge.

    Answers are kept in `cache_folder` if given. Unless `patient`, no outage of a server is waited for. Raises
    BadInput when its rubric or prompt cannot be read.
    """
    if spec.embedded:
        return ReferenceJudge(spec.name)
    asker = _asker(spec, JudgmentCache(cache_folder / "judgments") if cache_folder else None, patient)
    if spec.kind == "pointwise":
        return PointwiseJudge(spec.name, asker, scoring_form(spec), spec.repeat)
    return PairwiseJudge(spec.name, asker, pairwise_form(spec))


def _asker(spec: "plan.Judge", cache: JudgmentCache | None, patient: bool) -> Asker:
    if spec.batch and cache is not None:
        from engine.judges.batch_api import BatchAsker

        return BatchAsker(spec, cache)
    if spec.local is None:
        return ServerAsker(spec, cache, patient=patient)
    # Torch and transformers come with it: nobody else shall pay for them.
    from engine.judges.local import LocalAsker

    return LocalAsker(spec, cache)


def pairwise_form(spec: "plan.Judge") -> Form[Call, Parsed]:
    """How a judge of pairs asks and reads. Raises BadInput when its rubric or prompt cannot be read, or the
    rubric does not tell which of two responses is better.
    """
    rubric = _rubric(spec)
    if rubric is not None and not rubric.compares:
        raise BadInput(
            f"the rubric {spec.rubric} grades single responses: the better of two does not follow from it",
            'set kind = "pointwise" on the judge',
        )
    if spec.format == "chat":
        return PairwisePrompt(rubric, spec.seed, spec.prompt, spec.use_references)
    form: Form[Call, Parsed] = _form_of(spec, rubric)
    return form


def scoring_form(spec: "plan.Judge") -> ScoringForm:
    """How a pointwise judge asks and reads. Raises BadInput when its rubric or prompt cannot be read."""
    rubric = _rubric(spec)
    if spec.format == "chat":
        return PointwisePrompt(rubric, spec.seed, spec.prompt, spec.use_references, spec.grades)
    form: ScoringForm = _form_of(spec, rubric)
    return form


def _rubric(spec: "plan.Judge") -> Rubric | None:
    """Raises BadInput for one that grades by the references which the judge is not to see."""
    if spec.rubric is None:
        return None
    rubric = find_rubric(spec.rubric)
    if rubric.needs in ("reference", "answers") and not spec.use_references:
        raise BadInput(
            f"use_references = false: the rubric {spec.rubric} grades by references: nothing is graded",
            "leave use_references out, or choose another rubric",
        )
    return rubric


def _form_of(spec: "plan.Judge", rubric: Rubric | None) -> Any:
    module, name = _FORMATS[spec.kind, spec.format].split(":")
    own = (spec.prompt,) if spec.format == "mt-bench" else ()
    return getattr(import_module(module), name)(rubric, spec.use_references, *own)
