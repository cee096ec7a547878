"""What a model is at while it answers, as progress that screens can show."""

from engine.models.model import Generator, Load, Response
from engine.phases.work import Meter


class Gauge:
    """Moves a meter with each batch of responses, and with what its generator says of itself."""

    def __init__(self, meter: Meter, generator: Generator) -> None:
        self._meter = meter
        self._generator = generator
        self._seen = Load(0, 0)

    def advance(self, batch: list[Response]) -> None:
        """To be called with every batch, an empty one too.

        Tokens are those of unfinished answers too where the generator counts them, else of the finished ones.
        """
        fresh = [response for response in batch if not response.cached]
        tokens = sum(response.tokens_out or 0 for response in fresh)
        load = self._generator.load()
        if load is not None:
            tokens = load.tokens - self._seen.tokens
            self._meter.observe(
                slots=load.slots,
                busy=load.busy,
                prompt_tokens=load.prompt_tokens - self._seen.prompt_tokens,
                prompt_seconds=load.prompt_seconds - self._seen.prompt_seconds,
            )
            self._seen = load
        self._meter.advance(len(batch), tokens=tokens, remembered=len(batch) - len(fresh))
