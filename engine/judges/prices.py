"""What a judge's tokens cost, from a file that people can edit."""

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from engine.data.textfile import read_text
from engine.errors import BadInput

SHIPPED = Path(__file__).with_name("prices.toml")
_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|latest)$")
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens; `cached` is input that the provider has read before."""

    input: float
    output: float
    cached: float

    def cost(self, tokens_in: int, tokens_out: int, cached: int = 0) -> float:
        """US dollars of one answer; `cached` of its `tokens_in` were read before."""
        read = (tokens_in - cached) * self.input + cached * self.cached
        return (read + tokens_out * self.output) / _MILLION


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices by model: a person's own, and those shipped, which do not hold for servers on this machine."""

    own: Mapping[str, Price]
    shipped: Mapping[str, Price]
    updated: str
    batch_discount: float

    def of(self, model: str, server: str) -> Price | None:
        """The price of a model on a server; None when no list has it.

        A name is found without its provider ("openai/gpt-4o") and without its date ("gpt-4o-2024-08-06").
        """
        table = self.own if is_local(server) else {**self.shipped, **self.own}
        plain = model.rpartition("/")[2]
        for name in (model, plain, _DATED.sub("", plain)):
            if name in table:
                return table[name]
        return None


def read_prices(path: Path | None = None) -> Prices:
    """The shipped prices, with a person's own on top. Raises BadInput that names file and model."""
    shipped, standard = _read(SHIPPED)
    own, settings = _read(path) if path is not None else ({}, {})
    settings = {**standard, **settings}
    return Prices(own, shipped, str(settings["updated"]), float(settings["batch_discount"]))


def is_local(server: str) -> bool:
    """Whether an address is this machine's own."""
    host = urlsplit(server).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


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
        raise BadInput(f"{path}: models is no table", _FORM)
    if unknown := sorted(set(data) - {"updated", "batch_discount"}):
        raise BadInput(f"{path}: {unknown[0]} is unknown", _FORM)
    return {name: _price(path, name, entry) for name, entry in models.items()}, data


_FORM = 'write [models] and under it: "name" = { input = 2.5, cached = 1.25, output = 10 }'


def _price(path: Path, name: str, entry: object) -> Price:
    if not isinstance(entry, dict) or not {"input", "output"} <= set(entry) <= {"input", "output", "cached"}:
        raise BadInput(f"{path}: models.{name} needs input and output, and may have cached", _FORM)
    for key, value in entry.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise BadInput(f"{path}: models.{name}.{key} is {value!r}", "give US dollars per million tokens")
    cached = entry["cached"] if "cached" in entry else entry["input"]
    return Price(input=entry["input"], output=entry["output"], cached=cached)
