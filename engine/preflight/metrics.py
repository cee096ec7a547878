"""What metrics and corpora need that is not there, told before a run rather than in its middle."""

from collections.abc import Iterator

from engine.errors import BadInput
from engine.metrics.perplexity import read_corpus
from engine.plan.finding import Finding
from engine.plan.plan import Plan

WITH_MODEL = ("bertscore", "embedding", "toxicity", "sentiment")


def metric_findings(plan: Plan) -> Iterator[Finding]:
    """Metrics that read with a model and name none, corpora that cannot be read, and those that can.

    A model that is named and not at hand is told where the metric is made.
    """
    for name in WITH_MODEL:
        if name in plan.metrics.use and not plan.metrics.settings.get(name, {}).get("model"):
            yield Finding(
                "error",
                f"metrics.{name}",
                "names no model, so that every value would be missing",
                f'set {name} = {{ model = "FOLDER or hub id" }} under [metrics], or take it out of `use`',
            )
    for corpus, path in plan.metrics.corpora.items():
        subject = f"metrics.corpora.{corpus}"
        try:
            texts = read_corpus(path)
        except BadInput as error:
            yield Finding("error", subject, error.message, error.hint)
            continue
        if any(model.kind == "local" for model in plan.models):
            yield Finding("ok", subject, f"{len(texts)} texts can be read")
        else:
            yield Finding(
                "warning", subject, "no model of the plan has its weights here, so none can be measured on it"
            )
