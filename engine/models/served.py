"""Local weights in a server of the run's own: prompts, texts and cache as for any other weights."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from engine.data.example import Example
from engine.errors import CannotRun
from engine.models.fingerprint import FileHashes, ResponseCache, digest
from engine.models.folder import adapter_of, weight_shapes
from engine.models.likelihood import Surprise, Window
from engine.models.local import PARTING, PROBE_PROMPTS, LocalBase, LocalModel, Pending, Probe
from engine.models.model import Load, Response, Settings, missing
from engine.models.rows import Completion, DecodingRow, Request, Rules
from engine.plan.paths import read_adapter_config
from engine.plan.plan import ENGINES, Compute, Model
from engine.servers.client import CallFailed
from engine.servers.engines import Engine, Holding
from engine.servers.started import FOLLOWING, StartedServer, choice_of, distance, following
from engine.servers.wire import Reply
from store.cache import JsonCache


def holding(
    engine: Engine, models: Sequence[Model], compute: Compute, longest: int | None, slots: int | None = None
) -> Holding:
    """What a server holds for models of one base; `longest` is the most tokens of a prompt and its answer,
    `slots` the size that the plan gives batches.

    Raises BadInput when their files cannot be read.
    """
    base = open_base(models[0])
    adapters = sorted({adapter for model in models if (adapter := adapter_of(model, download=True))})
    ranks = [int(read_adapter_config(adapter)["r"]) for adapter in adapters]
    layers = {
        tensor.removesuffix(".weight").rpartition(".")[0].rpartition(".")[2]
        for adapter in adapters
        for tensor in weight_shapes(adapter)
    }
    limit = compute.max_model_len
    length = _length(base.context, limit or longest, 0 if limit else engine.least)
    _, *keys = ENGINES[engine.key]
    given = {name: value for name in keys if (value := getattr(compute, name)) is not None}
    given.pop("max_model_len", None)
    return Holding(
        base=base.folder.resolve(),
        adapters=tuple(adapters),
        rank=max(ranks, default=0),
        modules=tuple(sorted(layers)),
        dtype=base.dtype,
        length=length,
        limit=limit,
        device="cpu" if models[0].device == "cpu" else models[0].device.partition(":")[2] or None,
        trusted=any(model.trust_remote_code for model in models),
        slots=slots,
        options=given,
    )


def _length(context: int | None, longest: int | None, least: int) -> int:
    """A token more than the longest text: every one has to be followed by one."""
    needed = max(least, longest or 0)
    return 1 + (needed if context is None else context if longest is None else min(context, needed))


def open_base(model: Model) -> LocalBase:
    """A base for its tokenizer and configuration, without its weights."""
    assert model.path is not None
    base = LocalBase(model.path, dtype=model.dtype, device=model.device, revision=model.revision)
    base.trust(model)
    return base


def longest(models: Iterable[Model], examples: Collection[Example], room: int) -> int:
    """The most tokens that any of the models reads and writes for any of the examples.

    What is asked in later turns counts by its bytes, of which a token has one at least.
    """
    from engine.models.prompt import PromptError, Prompts

    most = 0
    for model in models:
        base = open_base(model)
        opened = LocalModel(base, model)
        prompts = Prompts(opened.tokenizer, model.system, model.chat_template_kwargs)
        for example in examples:
            try:
                prompt = len(prompts.ids(example))
            except PromptError:
                continue
            own = example.extra.get("max_new_tokens")
            answer = max(room, own if type(own) is int else 0)
            later = sum(len(turn.encode(errors="replace")) + _TURN for turn in example.turns[1:])
            references = max((len(text.encode(errors="replace")) for text in example.references), default=0)
            most = max(most, prompt + later + max(answer * max(1, len(example.turns)), references))
    return most


ENDS = ("stop", "length")  # of an answer that is whole; engines name others where they broke it off
TokenLogprob = tuple[float, int]  # and how many tokens are as likely at least
_TURN = 64  # tokens that a template writes around a turn


class ServedModel(LocalModel):
    """One of the plan's models on a server of the run's own; the weights are never loaded in this process.

    The server gets token ids and gives them back: prompts and texts are made here, as for weights that are.
    """

    def __init__(
        self,
        base: LocalBase,
        model: Model,
        server: StartedServer,
        cache: ResponseCache | None = None,
        likelihoods: JsonCache | None = None,
        hashes: FileHashes | None = None,
        timeout_s: float = 120.0,
    ) -> None:
        super().__init__(base, model, cache, likelihoods, hashes)
        self.server = server
        self._timeout_s = timeout_s
        self._on_server = server.holding.name(self.adapter)
        self._totals = [0, 0]  # tokens read and written

    @property
    def fingerprint(self) -> str:
        """As of the weights alone, with the engine, its version and how it quantises."""
        return digest([super().fingerprint, *self.server.engine.identity(self.server.holding)])

    def describe(self) -> dict[str, Any]:
        """Facts for the run: those of the weights, and `engine`, the server's flags in `engine_flags`."""
        found, engine = super().describe(), self.server.engine
        return found | {
            **engine.facts(),
            "engine_flags": engine.flags(self.server.holding),
            "fingerprint": self.fingerprint,
        }

    def without_cache(self) -> "ServedModel":
        return ServedModel(self.base, self._plan, self.server, hashes=self._hashes, timeout_s=self._timeout_s)

    @property
    def context(self) -> int | None:
        """The model's own, or less where the plan's `max_model_len` says so."""
        limits = [each for each in (self.base.context, self.server.holding.limit) if each is not None]
        return min(limits, default=None)

    def load(self) -> Load | None:
        limit, busy = self.server.load
        return Load(limit, busy, prompt_tokens=self._totals[0], tokens=self._totals[1])

    def _answered(self, pending: Sequence[Pending], settings: Settings) -> Iterator[list[Response]]:
        self._batching |= {"batching": "served", "batching_reason": None}
        rules = self._rules(self.base.generation_config, settings)
        questions = [question(item.request, rules) for item in pending]
        self._compare_tokens()
        # A size that the plan names is a limit here too.
        for batch in self.server.ask(self._on_server, questions, settings.slots, self._timeout_s):
            yield [self._read(pending[place], reply, rules) for place, reply in batch]

    def _compare_tokens(self) -> None:
        """Notes that the engine cuts a text otherwise than Assay, whose tokens it gets."""
        own = self.tokenizer(PARTING, add_special_tokens=False)["input_ids"]
        if (found := self.server.tokens(PARTING)) not in (None, own):
            place = next((n for n, pair in enumerate(zip(own, found, strict=False)) if len(set(pair)) > 1), 0)
            at = self.tokenizer.decode(own[place : place + 3])
            said = f"{self.server.engine.name} cuts texts into other tokens than transformers"
            self._note(f"{said}, which makes the prompts: its own begin to differ at {at!r}")

    def _read(self, item: Pending, reply: Reply | CallFailed, rules: Rules) -> Response:
        length = len(item.request.ids)
        if isinstance(reply, CallFailed):
            return missing(item.example, reply.reason, length)
        answer = completion(self.server.engine, reply, DecodingRow(0, item.request, rules))
        if answer is None:
            return missing(item.example, f"finish reason {reply.finish_reason}", length)
        self._totals[0] += length
        self._totals[1] += answer.tokens
        return self._response(item, answer)

    def probe(self, examples: Sequence[Example]) -> Probe:
        """Compares the log-probabilities of the token after each prompt, with the adapter and without."""
        if self.adapter is None:
            raise ValueError(f"{self.name} has no adapter to probe")
        prompts = list(islice(self._askable(examples), PROBE_PROMPTS))
        pairs = zip(*(self.server.next_logprobs(name, prompts) for name in self._both), strict=True)
        largest, total, count = [], 0.0, 0
        for own, bare in pairs:
            largest.append(distance(own, bare))
            total += sum(abs(value - bare.get(token, value)) for token, value in own.items())
            count += len(own)
        return Probe.of(largest, total, count)

    @property
    def _both(self) -> tuple[str, str]:
        return self._on_server, self.server.holding.name(None)

    def window_nll(self, windows: Sequence[Window]) -> list[Surprise]:
        """By the log-probabilities of the prompt's tokens; one token is generated, since one has to be."""
        told = self.logprobs([window.ids for window in windows])
        found = {place: _surprise(windows[place], values) for place, values in told}
        return [found[place] for place in range(len(windows))]

    def logprobs(self, texts: Sequence[Sequence[int]]) -> Iterator[tuple[int, list[TokenLogprob]]]:
        """Each text's place and the log-probabilities of its tokens after the first, as they come.

        A text may be a token longer than the model reads, which is then only predicted.
        """
        asked = {"max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
        engine, most = self.server.engine, self.server.holding.length - 1
        questions = [
            {"prompt": list(ids[:most]), **asked, **(FOLLOWING if len(ids) > most else {})} for ids in texts
        ]
        for batch in self.server.ask(self._on_server, questions):
            for place, reply in batch:
                found = token_logprobs(engine, reply, texts[place][:most])
                if len(texts[place]) > most:
                    (last,), told = texts[place][most:], following(engine, reply)
                    found.append((told[last], 1 + sum(value > told[last] for value in told.values())))
                yield place, found

    def continued(self, prompts: Sequence[Sequence[int]], how: Mapping[str, Any]) -> list[list[int]]:
        """The tokens that follow each prompt; `how` is the rest of a completion request."""
        questions = [{"prompt": list(ids), "return_token_ids": True, **how} for ids in prompts]
        found: dict[int, list[int]] = {}
        for batch in self.server.ask(self._on_server, questions):
            found |= {place: _continuation(self.server.engine, reply) for place, reply in batch}
        return [found[place] for place in range(len(prompts))]

    def active(self) -> Any:
        raise CannotRun(f"{self.name}: its weights are on a server, and not in this process")


def question(request: Request, rules: Rules) -> dict[str, Any]:
    """The completion request for a prompt's tokens."""
    settings = rules.settings
    body: dict[str, Any] = {
        "prompt": list(request.ids),
        "max_tokens": request.room,
        "temperature": settings.temperature,
        "stop_token_ids": sorted(rules.ends),
        "ignore_eos": True,  # the server's own end is not the adapter's; all ends are in the list
        "return_token_ids": True,
    }
    if settings.sampled:
        body |= {
            "top_p": settings.top_p,
            "seed": request.seed >> 1,
        }  # of 63 bits, as vLLM has it
        body |= {"top_k": settings.top_k} if settings.top_k else {}
        body |= {"min_p": settings.min_p} if settings.min_p else {}
    if settings.repetition_penalty != 1:
        body["repetition_penalty"] = settings.repetition_penalty
    if settings.stop:
        body["stop"] = list(settings.stop)
    return body


def token_ids(engine: Engine, reply: Reply | CallFailed) -> list[int]:
    """The answer's tokens, the end token included. Raises CannotRun where the server sent none.

    A number that no vocabulary has is no token.
    """
    tokens = choice_of(engine, reply).get("token_ids")
    if not isinstance(tokens, list) or not all(
        type(token) is int and 0 <= token < 1 << 31 for token in tokens
    ):
        raise CannotRun(f"{engine.name}'s answers have no token ids", engine.newer)
    return tokens


def _continuation(engine: Engine, reply: Reply | CallFailed) -> list[int]:
    tokens = token_ids(engine, reply)
    if isinstance(reply, Reply) and reply.finish_reason not in ENDS:
        raise CannotRun(f"{engine.name} broke an answer off: finish reason {reply.finish_reason}")
    return tokens


def completion(engine: Engine, reply: Reply, row: DecodingRow) -> Completion | None:
    """The answer by this program's rules: the server's text is not the decoded text of its tokens.

    None where the server broke it off. Raises CannotRun where it sent no tokens.
    """
    tokens = token_ids(engine, reply)
    row.started(reply.latency_s)
    for token in tokens:
        if (answer := row.add(token)) is not None:
            return answer
    return row.end(reply.finish_reason) if reply.finish_reason in ENDS else None


def token_logprobs(engine: Engine, reply: Reply | CallFailed, ids: Sequence[int]) -> list[TokenLogprob]:
    """The log-probability and the rank of each of a prompt's tokens after the first.

    Raises CannotRun where the server did not give them.
    """
    found = choice_of(engine, reply).get("prompt_logprobs")
    try:
        assert isinstance(found, list) and len(found) == len(ids)
        entries = [entry[str(token)] for entry, token in zip(found[1:], ids[1:], strict=True)]
        return [(float(entry["logprob"]), int(entry["rank"])) for entry in entries]
    except (AssertionError, KeyError, TypeError, ValueError):
        raise CannotRun(
            f"{engine.name}'s answer lacks log-probabilities of the prompt", engine.newer
        ) from None


def _surprise(window: Window, told: Sequence[TokenLogprob]) -> Surprise:
    values = [-value for value, _ in told]
    end = len(values) - window.ending
    return sum(values[end - window.predicted : end]), sum(values[end:])
