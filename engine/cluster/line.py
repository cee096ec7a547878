"""Models that wait for an actor, given out so that bases are loaded as seldom as can be."""

import threading
from collections import Counter
from collections.abc import Sequence

from engine.errors import CannotRun
from engine.models.holder import BaseKey, base_key
from engine.plan.plan import Model

MOST_DEATHS = 3  # of actors with one model, in a row: then the model is what kills them


class Line:
    """Given to the threads of a fleet: each takes a model at a time, until none is left or one has failed."""

    def __init__(self, models: Sequence[Model]) -> None:
        self._waiting = list(models)
        self._held: Counter[BaseKey] = Counter()
        self._deaths: Counter[str] = Counter()
        self._under_way = 0
        self._changed = threading.Condition()
        self.failed = False

    @property
    def over(self) -> bool:
        """Whether nothing is left to do, or to wait for."""
        return self.failed or not (self._waiting or self._under_way)

    def take(self, holding: BaseKey | None, patience: float) -> Model | None:
        """The next model for an actor: of the base that it holds, else of one that no actor is at, else any.

        None when there is none: for now, after so many seconds, or for good where the line is over.
        """
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self.over, timeout=patience)
            if self.failed or not self._waiting:
                return None
            ranks = [(base_key(model) != holding, self._held[base_key(model)] > 0) for model in self._waiting]
            model = self._waiting.pop(ranks.index(min(ranks)))
            self._held[base_key(model)] += 1
            self._under_way += 1
            return model

    def done(self, model: Model) -> None:
        with self._changed:
            self._leave(model)

    def again(self, model: Model, reason: str, *, moved: bool) -> None:
        """Puts back a model whose actor has died, in front; `moved` when it got on before.

        Raises CannotRun when it has taken too many actors with it without getting on.
        """
        with self._changed:
            self._deaths[model.name] = 1 if moved else self._deaths[model.name] + 1
            if self._deaths[model.name] >= MOST_DEATHS:
                raise CannotRun(
                    f"{model.name}: {MOST_DEATHS} actors died in a row before it got on: {reason}",
                    "A model that does not fit into the memory of one GPU or machine is for a server that "
                    "splits it (vLLM, tensor parallelism): name the server in the plan.",
                )
            self._waiting.insert(0, model)
            self._leave(model)

    def fail(self) -> None:
        """Gives out nothing any more."""
        with self._changed:
            self.failed = True
            self._changed.notify_all()

    def _leave(self, model: Model) -> None:
        self._held[base_key(model)] -= 1
        self._under_way -= 1
        self._changed.notify_all()
