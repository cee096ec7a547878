"""What screens and reports read of slices, plain-text corpora and counterfactual pairs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from store.read.history import Connection
from store.read.query import select
from store.records.results import GroupDifference, MeanValue, RuledDifference

# Slices about the eval set, not about what is asked.
LEAKED, NOT_LEAKED = "leaked", "not leaked"
SIMILAR, UNLIKE = "similar to training", "unlike training"
SYNTHETIC, NOT_SYNTHETIC = "synthetic", "not synthetic"
OF_THE_SET = (LEAKED, NOT_LEAKED, SIMILAR, UNLIKE, SYNTHETIC, NOT_SYNTHETIC)
# Forms of the question, not parts of the set: under each perturbation, on average over them, and at worst.
PERTURBED = "perturbed: "
AVERAGE, WORST = f"{PERTURBED}average", f"{PERTURBED}worst"
_ORDER = ("worse", "more", "less", "inconclusive", "no worse", "at the floor", "better")


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRow(RuledDifference):
    """Candidate against baseline on one measure over the examples of one slice."""

    candidate: str
    baseline: str
    measure: str
    slice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceScoreRow(MeanValue):
    """One model's value on one slice; `p` is that of the slice against the rest of the examples."""

    model: str
    measure: str
    slice: str
    p: float | None


@dataclass(frozen=True, slots=True)
class CorpusRow:
    """How well one model predicts a corpus, its texts summed up; `missing` of them have no value."""

    model: str
    corpus: str
    nll: float | None  # nats
    tokens: int
    bytes: int
    texts: int
    missing: int
    reason: str | None  # one text's, of those that are missing

    @property
    def perplexity(self) -> float | None:
        """exp(nll / tokens); None where that is no number."""
        if self.nll is None or not self.tokens or self.nll / self.tokens >= 700:
            return None
        return math.exp(self.nll / self.tokens)

    @property
    def bits_per_byte(self) -> float | None:
        """Comparable between tokenizers, unlike perplexity."""
        return None if self.nll is None or not self.bytes else self.nll / math.log(2) / self.bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DisparityRow(GroupDifference):
    """One model's measure for prompts about `first` less that for the same prompts about `second`."""

    model: str
    measure: str
    first: str
    second: str

    @property
    def is_settled(self) -> bool:
        """Whether the groups are told apart by more than chance."""
        return self.standing in ("more", "less")


@dataclass(frozen=True, slots=True, kw_only=True)
class LostVariantRow:
    """An example that a model answers worse in another form: both questions and both answers."""

    model: str
    perturbation: str
    example: str
    query: str
    answer: str | None
    perturbed_query: str
    perturbed_answer: str | None
    loss: float  # of the measure that robustness is told by


def lost_variants(connection: Connection, run_id: int, drop: str, each: int = 3) -> list[LostVariantRow]:
    """Of every model and perturbation the `each` examples that lost most; `drop` begins their measures."""
    return select(
        connection,
        LostVariantRow,
        """
        SELECT * FROM (
          SELECT m.name AS model, v.perturbation, e.example, e.query, r.text AS answer,
            v.query AS perturbed_query, a.text AS perturbed_answer, s.value AS loss, m.position,
            row_number() OVER (PARTITION BY m.id, v.perturbation ORDER BY s.value DESC, v.id) AS place
          FROM model m JOIN variant v ON v.run_id = m.run_id JOIN example e ON e.id = v.example_id
          JOIN score s ON s.model_id = m.id AND s.measure = ?2 || v.perturbation AND s.example_id = e.id
          LEFT JOIN response r ON r.model_id = m.id AND r.example_id = e.id
          LEFT JOIN variantanswer a ON a.model_id = m.id AND a.variant_id = v.id AND a.sample = 0
          WHERE m.run_id = ?1 AND s.value > 0)
        WHERE place <= ?3 ORDER BY position, perturbation, place
        """,
        run_id,
        drop,
        each,
    )


def with_variants(connection: Connection, run_id: int, name: str) -> frozenset[int]:
    """The store's ids of the examples that were asked in a form: the slice's `name` says in which."""
    found = connection.execute("SELECT example_id, perturbation FROM variant WHERE run_id = ?", (run_id,))
    return frozenset(
        row["example_id"] for row in found if name in (AVERAGE, WORST, PERTURBED + row["perturbation"])
    )


def slices(connection: Connection, run_id: int) -> list[SliceRow]:
    """Every slice of every pair of models: those settled as worse first, those settled as better last."""
    rows = select(
        connection,
        SliceRow,
        """
        SELECT c.*, a.name AS candidate, b.name AS baseline FROM slicecomparison c
        JOIN model a ON a.id = c.candidate_id JOIN model b ON b.id = c.baseline_id
        LEFT JOIN metric d ON d.run_id = a.run_id AND d.measure = c.measure
        WHERE a.run_id = ? ORDER BY a.position, b.position, d.position, c.measure, c.slice
        """,
        run_id,
    )
    return sorted(rows, key=_order)


def untested(scores: Sequence[SliceScoreRow], candidate: str, baseline: str) -> list[SliceRow]:
    """Two models' values on each slice, where nothing was compared."""
    theirs = {(row.measure, row.slice): row.value for row in scores if row.model == baseline}
    return [
        SliceRow(
            candidate=candidate, baseline=baseline, measure=row.measure, slice=row.slice, direction="none",
            candidate_value=row.value, baseline_value=theirs.get((row.measure, row.slice)), n=row.n,
            delta=None, low=None, high=None, p=None, reason="the run compared no slices",
            standing="not tested", family="", family_size=0, low_corrected=None, high_corrected=None,
            needed=None,
        )
        for row in scores
        if row.model == candidate
    ]  # fmt: skip


def worst(rows: Sequence[SliceRow], count: int) -> list[SliceRow]:
    """The first `count` that are settled as worse."""
    return [row for row in rows if row.standing == "worse"][:count]


def _order(row: SliceRow) -> tuple[int, float, float]:
    place = _ORDER.index(row.standing) if row.standing in _ORDER else len(_ORDER)
    return place, 1.0 if row.p is None else row.p, -(row.worsening or 0.0)


def slice_scores(connection: Connection, run_id: int) -> list[SliceScoreRow]:
    return select(
        connection,
        SliceScoreRow,
        """
        SELECT s.*, m.name AS model FROM slicescore s JOIN model m ON m.id = s.model_id
        WHERE m.run_id = ? ORDER BY s.measure, s.slice, m.position
        """,
        run_id,
    )


def corpora(connection: Connection, run_id: int) -> list[CorpusRow]:
    """Every model's likelihood of every corpus; a corpus of which no text has a value has no nll.

    The references that a followed training is validated on stand beside them, and are no corpus.
    """
    return select(
        connection,
        CorpusRow,
        """
        SELECT m.name AS model, s.corpus, sum(s.nll) AS nll,
          sum(CASE WHEN s.nll IS NULL THEN 0 ELSE s.tokens END) AS tokens,
          sum(CASE WHEN s.nll IS NULL THEN 0 ELSE s.bytes END) AS bytes,
          count(*) AS texts, sum(s.nll IS NULL) AS missing,
          min(CASE WHEN s.nll IS NULL THEN s.reason END) AS reason
        FROM corpusscore s JOIN model m ON m.id = s.model_id
        WHERE m.run_id = ?1 AND 'eval_loss:' || s.corpus NOT IN (
          SELECT measure FROM metric WHERE run_id = ?1)
        GROUP BY m.id, s.corpus ORDER BY s.corpus, m.position
        """,
        run_id,
    )


def disparities(connection: Connection, run_id: int) -> list[DisparityRow]:
    """Every model's differences between groups, the surest first."""
    return select(
        connection,
        DisparityRow,
        """
        SELECT s.*, m.name AS model FROM disparity s JOIN model m ON m.id = s.model_id
        WHERE m.run_id = ? ORDER BY s.p IS NULL, s.p, m.position, s.measure, s.first, s.second
        """,
        run_id,
    )
