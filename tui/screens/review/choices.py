"""What Review's menus offer: queues with their counts, slices, measures."""

from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import TypeVar

from store.read.history import Connection
from store.read.queues import CATEGORY, QUEUES, SLICE
from store.read.rows import MetricRow
from tui.screens.review.blind import tells_nothing
from tui.screens.review.data import Review, read_counts
from tui.screens.review.slice_members import slices
from tui.widgets.menu import LETTERS, Choice

T = TypeVar("T")
SLICES, SEARCH = "slices", "search"  # what leads to more than a queue


def queue_choices(connection: Connection, run_id: int, review: Review) -> list[Choice[str]]:
    """The queues; in blind mode only those that tell nothing of how the models did."""
    counts = read_counts(connection, run_id, review)
    offered = [queue for queue in QUEUES.values() if not review.blind or tells_nothing(queue.name)]
    return [
        *(
            Choice(each.key, each.name, each.name, f"{counts[each.name]:>6,}  {each.meaning}")
            for each in offered
        ),
        Choice("c", "slice", SLICES, f"{'…':>6}  a category, a length, a feature of the prompt"),
        Choice("s", "search", SEARCH, f"{'…':>6}  what contains a text, also with /"),
    ]


def slice_choices(connection: Connection, run_id: int) -> list[Choice[str]]:
    """The slices of the run's examples, categories among them."""
    found = slices(connection, run_id)
    return [
        Choice(letter, name, name if name.startswith(CATEGORY) else SLICE + name, f"{len(found[name]):>6,}")
        for letter, name in _lettered(list(found))
    ]


def measure_choices(metrics: Sequence[MetricRow]) -> list[Choice[str]]:
    """The measures that have a better and a worse end."""
    return [
        Choice(letter, metric.measure, metric.measure, metric.meaning)
        for letter, metric in _lettered([metric for metric in metrics if metric.direction != "none"])
    ]


def _lettered(items: Sequence[T]) -> Iterator[tuple[str, T]]:
    """Each with a letter, as far as they go."""
    return zip(chain(LETTERS, repeat("")), items, strict=False)
