"""Copies of a model's weights in the layout that oneDNN multiplies fastest, for answers on a processor.

The plain product rearranges the weights each time, which with the few rows of a step takes a sixth of its
time, and a third with a large vocabulary's output layer. A copy takes the weights' memory once more.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import torch

# What the copies may take, and their share of the free memory; the output layer always has one.
MOST_BYTES = 1 << 30
SHARE = 1 / 8
# Weights of a layer for which a copy pays.
LEAST = 1 << 16


class PackedLayers:
    """A model's plain linear layers with their copies; `rows` is how many a product usually has.

    The products differ from the plain ones in rounding alone.
    """

    def __init__(self, model: Any, rows: int) -> None:
        head = model.get_output_embeddings()
        room = min(MOST_BYTES, int(SHARE * psutil.virtual_memory().available))
        self._packed: list[tuple[torch.nn.Linear, _Product]] = []
        for layer in [head, *(module for module in model.modules() if module is not head)]:
            if not suits(layer) or layer.weight.numel() < LEAST:
                continue
            room -= layer.weight.nbytes
            if room >= 0 or layer is head:
                self._packed.append((layer, _Product(layer, rows)))

    @contextmanager
    def used(self) -> Iterator[None]:
        """Lets the layers compute with their copies."""
        for layer, product in self._packed:
            vars(layer)["forward"] = product
        try:
            yield
        finally:
            for layer, _ in self._packed:
                del vars(layer)["forward"]


class _Product:
    """One layer's product with its packed copy."""

    def __init__(self, of: torch.nn.Linear, rows: int) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(of.weight.detach(), rows)
        self._bias = of.bias

    def __call__(self, given: Any) -> Any:
        return torch.ops.mkldnn._linear_pointwise(given, self._weight, self._bias, "none", [], "")


def suits(layer: Any) -> bool:
    """Whether it is a plain layer, not an adapter's, hooked or quantised, in 32 bits on the processor."""
    return (
        type(layer) is torch.nn.Linear
        and "forward" not in vars(layer)
        and layer.weight.device.type == "cpu"
        and layer.weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
    )
