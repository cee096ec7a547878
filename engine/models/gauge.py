"""How a model is doing while it answers: the figures of one batcher after another, added up."""

from dataclasses import replace

from engine.models.batcher import Figures
from engine.models.model import Load


class Gauge:
    """Reads a batcher's figures from time to time. `load` is None until there were any."""

    def __init__(self) -> None:
        self.load: Load | None = None
        self._seen = Figures()

    def begin(self) -> None:
        """To be called before a new batcher, which counts from zero."""
        self._seen = Figures()

    def read(self, now: Figures, finished: int) -> None:
        """Adds what happened since the last reading, in which as many answers were finished.

        An answer's first token comes with its prompt, not with a step; it is counted when the answer is
        finished, so that in the end the tokens are those of all answers.
        """
        seen, self._seen = self._seen, replace(now)
        before = self.load or Load(0, 0)
        steps = now.steps - seen.steps
        self.load = Load(
            slots=now.slots,
            busy=round((now.rows - seen.rows) / steps) if steps else before.busy,
            prompt_tokens=before.prompt_tokens + now.prompt_tokens - seen.prompt_tokens,
            prompt_seconds=before.prompt_seconds + now.prompt_seconds - seen.prompt_seconds,
            tokens=before.tokens + now.new_tokens - seen.new_tokens + finished,
        )
