"""Where the models run: here one after another, or several at a time on a cluster."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from engine.phases.generate import Each, Loader, Step
from engine.phases.work import Work
from engine.plan.plan import Model


@contextmanager
def computing(work: Work) -> Iterator[Each]:
    """The plan's engine, ready to work; the weights that it has loaded are kept until the end.

    Raises CannotRun when the cluster of the plan cannot be had.
    """
    if work.plan.compute.engine == "ray":
        from engine.cluster.connection import connect

        connect(work.plan.compute.address)
        from engine.phases.fleet import Fleet

        with Fleet(work) as fleet:
            yield fleet.each
        return
    loader = Loader(work)

    def each(models: Sequence[Model], step: Step) -> None:
        for model in models:
            step(work, model, loader)

    try:
        yield each
    finally:
        loader.close()
