"""General abilities of the models: benchmarks, plain-text corpora, and what a fine-tune forgot."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.compare.forgetting import Conclusion, ForgettingRow, conclusions, forgetting
from store.read.rows import BenchmarkRow, ComparisonRow
from store.read.slices import CorpusRow


@dataclass(frozen=True, slots=True)
class BenchmarksSection:
    """`models` are those that have a benchmark."""

    models: tuple[str, ...]
    rows: Sequence[BenchmarkRow]
    corpora: Sequence[CorpusRow]

    def reused(self) -> dict[tuple[str, int], list[str]]:
        """By model and previous run: the tasks whose result was reused from that run."""
        found: dict[tuple[str, int], dict[str, None]] = {}
        for row in self.rows:
            if row.reused_from is not None:
                found.setdefault((row.model, row.reused_from), {})[row.task] = None
        return {key: list(tasks) for key, tasks in found.items()}


@dataclass(frozen=True, slots=True)
class ForgettingSection:
    rows: Sequence[ForgettingRow]
    conclusions: Sequence[Conclusion]

    def by_baseline(self) -> dict[str, list[ForgettingRow]]:
        found: dict[str, list[ForgettingRow]] = {}
        for row in self.rows:
            found.setdefault(row.baseline, []).append(row)
        return found


def benchmarks(
    models: Sequence[str], rows: Sequence[BenchmarkRow], corpora: Sequence[CorpusRow]
) -> BenchmarksSection:
    measured = {row.model for row in rows}
    return BenchmarksSection(tuple(name for name in models if name in measured), rows, corpora)


def forgotten(comparisons: Sequence[ComparisonRow]) -> ForgettingSection:
    rows = forgetting(comparisons)
    return ForgettingSection(rows, conclusions(rows))
