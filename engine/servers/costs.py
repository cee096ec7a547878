"""The cost of answers: prices that people can edit, and a running total that stays within the limit."""

import asyncio
import ipaddress
import json
import re
import threading
import tomllib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from engine.data.textfile import read_text
from engine.errors import BadInput, Paused
from engine.servers.wire import Reply

SHIPPED = Path(__file__).with_name("prices.json")
# Providers by their domains; those that make models, whose names alone tell the maker.
HOSTS = {
    "openai.com": "openai", "anthropic.com": "anthropic", "googleapis.com": "gemini", "mistral.ai": "mistral",
    "deepseek.com": "deepseek", "x.ai": "xai", "cohere.ai": "cohere", "cohere.com": "cohere",
    "groq.com": "groq", "together.xyz": "together_ai", "together.ai": "together_ai",
    "fireworks.ai": "fireworks_ai", "deepinfra.com": "deepinfra", "cerebras.ai": "cerebras",
    "perplexity.ai": "perplexity", "moonshot.ai": "moonshot", "moonshot.cn": "moonshot",
    "novita.ai": "novita", "nebius.com": "nebius", "azure.com": "azure", "aliyuncs.com": "dashscope",
    "sambanova.ai": "sambanova", "minimax.io": "minimax", "z.ai": "zai", "hyperbolic.xyz": "hyperbolic",
}  # fmt: skip
_PRIVATE = (
    ".local",
    ".localdomain",
    ".lan",
    ".home",
    ".home.arpa",
    ".internal",
    ".intranet",
    ".corp",
    ".private",
)
_MAKERS = ("openai", "anthropic", "gemini", "mistral", "deepseek", "xai", "cohere")
_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|latest)$")
_MILLION = 1_000_000
_FORM = 'write [models] and under it: "name" = { input = 2.5, cached = 1.25, output = 10 }'
_BYTES_PER_TOKEN = 3  # fewer than any common text has: what a call could cost, not what it will
_WRAPPING = 50  # tokens that a server's chat template adds


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens; `cached` is for input from the provider's prompt cache."""

    input: float
    output: float
    cached: float
    updated: str | None = field(
        default=None, compare=False
    )  # the date of the list that has it, where the list says one

    def cost(self, tokens_in: int, tokens_out: int, cached: int = 0) -> float:
        """US dollars of one answer; `cached` of its `tokens_in` were read before."""
        read = (tokens_in - cached) * self.input + cached * self.cached
        return (read + tokens_out * self.output) / _MILLION


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices by model: the user's own, and the shipped ones, which exclude private servers."""

    own: Mapping[str, Price]
    shipped: Mapping[str, Price]
    batch_discount: float

    def of(self, model: str, server: str) -> Price | None:
        """The price of a model on a server; None when no list has it.

        A name is found without its date ("gpt-4o-2024-08-06"), and without its provider ("openai/gpt-4o") but
        on the server of another one that is known: there it may cost something else.
        """
        plain = model.rpartition("/")[2]
        names = dict.fromkeys((model, _DATED.sub("", model), plain, _DATED.sub("", plain)))
        if own := next((self.own[name] for name in names if name in self.own), None):
            return own
        if is_private(server):
            return None
        provider = HOSTS.get(".".join((urlsplit(server).hostname or "").split(".")[-2:]))
        listed = [f"{each}/{name}" for name in names for each in ([provider] if provider else _MAKERS)]
        return next((self.shipped[name] for name in listed if name in self.shipped), None)


def read_prices(path: Path | None = None) -> Prices:
    """The shipped prices, with a person's own on top. Raises BadInput that names file and model."""
    shipped, standard = _shipped()
    own, settings = _read(path) if path is not None else ({}, {})
    settings = {**standard, **settings}
    return Prices(own, shipped, float(settings["batch_discount"]))


def is_local(server: str) -> bool:
    """Whether an address is this machine's own."""
    host = urlsplit(server).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def is_private(server: str) -> bool:
    """Whether an address is of no public server: then a model's maker asks no price for it."""
    host = (urlsplit(server).hostname or "").rstrip(".")
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return is_local(server) or "." not in host or host.endswith(_PRIVATE)


@cache
def _shipped() -> tuple[Mapping[str, Price], Mapping[str, Any]]:
    found = json.loads(read_text(SHIPPED))
    return _prices(SHIPPED, found["models"], found), found


def _read(path: Path) -> tuple[dict[str, Price], dict[str, Any]]:
    try:
        data = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{path}: is not TOML: {error}") from error
    models = data.pop("models", {})
    discount = data.get("batch_discount", 0.0)
    if not (isinstance(discount, int | float) and 0 <= discount <= 1):
        raise BadInput(f"{path}: batch_discount is {discount!r}", "give a number from 0 to 1")
    if not isinstance(models, dict):
        raise BadInput(f"{path}: models is not a table", _FORM)
    if unknown := sorted(set(data) - {"updated", "batch_discount"}):
        raise BadInput(f"{path}: {unknown[0]} is unknown", _FORM)
    return _prices(path, models, data), data


def _prices(path: Path, models: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Price]:
    updated = str(settings["updated"]) if "updated" in settings else None
    return {name: _price(path, name, entry, updated) for name, entry in models.items()}


def _price(path: Path, name: str, entry: object, updated: str | None) -> Price:
    if not isinstance(entry, dict) or not {"input", "output"} <= set(entry) <= {"input", "output", "cached"}:
        raise BadInput(f"{path}: models.{name} needs input and output, and may have cached", _FORM)
    for key, value in entry.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise BadInput(f"{path}: models.{name}.{key} is {value!r}", "give US dollars per million tokens")
    cached = entry["cached"] if "cached" in entry else entry["input"]
    return Price(input=entry["input"], output=entry["output"], cached=cached, updated=updated)


@dataclass(slots=True)
class Bill:
    """The cost of one call; None when no answer was paid for, or the price is unknown."""

    cost: float | None = None


class Ledger:
    """One run's spending on judges, in US dollars; for use from any thread and event loop.

    `spent` starts with the run's earlier spending.
    """

    def __init__(self, prices: Prices, max_cost: float | None = None, spent: float = 0.0) -> None:
        self.prices = prices
        self.max_cost = max_cost
        self._lock = threading.Lock()
        self._spent = spent
        self._held = 0.0
        self._holders = 0
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    @property
    def spent(self) -> float:
        return self._spent

    @asynccontextmanager
    async def hold(self, worst: float | None) -> AsyncIterator[Bill]:
        """Reserves `worst` dollars while a call runs, then books its actual cost.

        Waits while running calls may still cost less than reserved. Raises Paused when the money
        that is left does not cover another call. None: the price is unknown, nothing is kept or booked.
        """
        if worst is None:
            yield Bill()
            return
        while not (granted := self._take(worst)):
            event = asyncio.Event()
            with self._lock:
                if not self._holders:
                    raise Paused(
                        f"cost cap of ${self.max_cost:,.2f} reached: "
                        f"${self._spent:,.2f} spent, another call could exceed it",
                        "raise max_cost, or resume with --max-cost; finished judgments are saved",
                    )
                self._waiting.append((asyncio.get_running_loop(), event))
            await event.wait()
        assert granted
        bill = Bill()
        try:
            yield bill
        finally:
            self._give_back(worst, bill.cost or 0.0)

    def _take(self, worst: float) -> bool:
        with self._lock:
            if self.max_cost is not None and self._spent + self._held + worst > self.max_cost:
                return False
            self._held += worst
            self._holders += 1
            return True

    def book(self, cost: float) -> None:
        """Adds what was spent otherwise."""
        with self._lock:
            self._spent += cost

    def _give_back(self, worst: float, cost: float) -> None:
        with self._lock:
            self._held -= worst
            self._holders -= 1
            self._spent += cost
            waiting, self._waiting = self._waiting, []
        for loop, event in waiting:
            # A loop that has closed has taken its tasks along.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)


def worst_cost(price: Price, messages: Sequence[object], max_tokens: int) -> float:
    """The most that one call could cost, in US dollars."""
    size = len(json.dumps(messages, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return price.cost(size // _BYTES_PER_TOKEN + _WRAPPING, max_tokens)


def cost_of(price: Price | None, reply: Reply) -> float | None:
    """The cost of an answer, in US dollars; None without a price, or where the server counted no tokens."""
    if price is None or reply.tokens_in is None or reply.tokens_out is None:
        return None
    return price.cost(reply.tokens_in, reply.tokens_out, min(reply.tokens_cached or 0, reply.tokens_in))


_current: Ledger | None = None


def open_ledger(ledger: Ledger) -> None:
    """Makes it this process's: a worker executes one run."""
    global _current  # one run, one process, one purse
    _current = ledger


def current_ledger() -> Ledger:
    """This process's ledger; without one that was opened: the shipped prices, no cap."""
    if _current is None:
        open_ledger(Ledger(read_prices()))
    assert _current is not None
    return _current
