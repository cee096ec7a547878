"""What can be known of a plan's judges before any is asked: can they ask at all, and about which examples."""

from collections import Counter
from collections.abc import Iterator, Sequence

from engine.data.example import Example
from engine.errors import BadInput
from engine.judges.interview import C, Form, P
from engine.judges.judge import Call, Item, Pair, RatingCall
from engine.judges.load import pairwise_form, scoring_form
from engine.plan.finding import Finding
from engine.plan.plan import Judge, Plan


def judge_findings(plan: Plan, examples: Sequence[Example]) -> Iterator[Finding]:
    """Rubrics and prompts that cannot be used, and examples that lack what a judge needs."""
    for spec in plan.judges:
        if spec.embedded:
            continue
        try:
            lacking = _tried(spec, examples)
        except BadInput as error:
            yield Finding("error", f"judge {spec.name}", error.message, error.hint)
            continue
        for reason, count in lacking.items():
            yield Finding(
                "warning",
                f"judge {spec.name}",
                f"{count} of {len(examples)} examples will not be judged: {reason}",
                "add it to the examples, or judge by another rubric",
            )


def _tried(spec: Judge, examples: Sequence[Example]) -> Counter[str]:
    """How many examples cannot be judged, by the reason; one question is made, and thrown away."""
    if spec.kind == "pointwise":
        return _lacking(scoring_form(spec), [RatingCall(Item(example, "", "x")) for example in examples])
    pairs = [Pair(example, "", "x", "", "y") for example in examples]
    return _lacking(pairwise_form(spec), [Call(pair, "candidate_first") for pair in pairs])


def _lacking(form: Form[C, P], calls: Sequence[C]) -> Counter[str]:
    reasons = [form.lacks(call) for call in calls]
    if None in reasons:
        form.messages(calls[reasons.index(None)])
    return Counter(reason for reason in reasons if reason is not None)
