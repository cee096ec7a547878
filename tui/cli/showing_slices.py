"""Where a run's candidates got worse, in a terminal: forgetting, slices, corpora, groups of people."""

from engine.compare.forgetting import Conclusion, ForgettingRow, conclusions
from store.read.slices import CorpusRow, DisparityRow, SliceRow, worst
from tui.cli.showing_data import LEAKED, NOT_LEAKED
from tui.sections.summary import Summary
from tui.text.gate import MISSING
from tui.text.output import Column, heading, interval, number, paragraph, print_table

WORST = 5  # slices shown unless more are asked for
SIGNS = {"worse": "- ", "better": "+ ", "inconclusive": "= ", "no worse": "= ", "at the floor": "= "}


def print_forgetting(summary: Summary) -> None:
    """A row for each aspect and candidate, a table for each baseline."""
    by_baseline: dict[str, list[ForgettingRow]] = {}
    for row in summary.forgetting:
        by_baseline.setdefault(row.baseline, []).append(row)
    for baseline, rows in by_baseline.items():
        heading(f"Forgetting, against {baseline}")
        names = list(dict.fromkeys(row.candidate for row in rows))
        cells: dict[str, dict[str, str]] = {}
        for row in rows:
            word = SIGNS.get(row.standing, "") + row.word
            cells.setdefault(row.aspect, {"": number(row.baseline_value)})[row.candidate] = (
                f"{number(row.candidate_value)} {word}"
            )
        columns = [Column("aspect"), Column(baseline, True), *(Column(name) for name in names)]
        print_table(
            columns,
            [
                [aspect, values[""], *(values.get(name, MISSING) for name in names)]
                for aspect, values in cells.items()
            ],
        )
        for found in conclusions(rows):
            paragraph(f"{found.candidate}: {_concluded(found)}", "  ")


def _concluded(found: Conclusion) -> str:
    return f"{found.verdict} ({', '.join(found.aspects)})" if found.aspects else found.verdict


def print_slices(summary: Summary, *, everything: bool, find: str) -> None:
    """The slices that are clearly worse; `everything` shows all of them, the worse ones first."""
    found = [row for row in summary.slices if find.lower() in f"{row.slice} {row.measure}".lower()]
    if not found:
        if everything:
            heading("Slices")
            paragraph("no slices were computed" if not summary.slices else f"none is called {find!r}")
        return
    worse = sum(row.standing == "worse" for row in found)
    # Nearly all examples are among those that did not leak; what they tell stands under Data.
    telling = [row for row in found if find or row.slice not in (LEAKED, NOT_LEAKED)]
    shown = found if everything else worst(telling, WORST)
    heading(f"Slices: {worse} of {len(found)} clearly worse")
    pairs: dict[tuple[str, str], list[SliceRow]] = {}
    for row in shown:
        pairs.setdefault((row.candidate, row.baseline), []).append(row)
    for (candidate, baseline), rows in pairs.items():
        _print_pair(f"{candidate} / {baseline}", rows)
    if len(shown) < len(found):
        paragraph(
            "p is corrected for all slices and measures of a candidate (Holm); --slices shows all of them"
        )


def _print_pair(title: str, rows: list[SliceRow]) -> None:
    """One pair's slices, those of a measure below its name."""
    by_measure: dict[str, list[SliceRow]] = {}
    for row in rows:
        by_measure.setdefault(row.measure, []).append(row)
    lines = []
    for measure, found in by_measure.items():
        lines += [[measure, *[""] * 6], *(_slice(row) for row in found)]
    columns = [Column(title), Column("n", True), Column("from", True), Column("to", True), Column("change")]
    print_table([*columns, Column("95% CI", True), Column("p", True)], lines)
    for row in rows:
        if row.reason:
            paragraph(f"{row.slice}, {row.measure}: {row.reason}", "  ")


WORDS = {
    "worse": " worse",
    "better": " better",
    "more": " more",
    "less": " less",
    "inconclusive": " =",
    "no worse": " =",
    "at the floor": " =",
    "not tested": "",
    "missing": "",
}


def _slice(row: SliceRow) -> list[str]:
    return [
        f"  {row.slice}", str(row.n), number(row.baseline_value), number(row.candidate_value),
        number(row.delta, sign=True) + WORDS[row.standing], interval(row.low, row.high, sign=True),
        MISSING if row.p is None else "<0.001" if row.p < 0.001 else number(row.p),
    ]  # fmt: skip


def print_corpora(summary: Summary) -> None:
    """How well the models predict plain texts."""
    if not summary.corpora:
        return
    heading("Plain-text corpora")
    columns = [Column("corpus"), Column("model"), Column("perplexity", True), Column("bits per byte", True)]
    print_table([*columns, Column("texts", True)], [_corpus(row) for row in summary.corpora])
    gaps: dict[tuple[str, int, int, str], list[str]] = {}
    for row in summary.corpora:
        if row.missing:
            key = (row.corpus, row.missing, row.texts, row.reason or "no reason recorded")
            gaps.setdefault(key, []).append(row.model)
    for (corpus, missing, texts, reason), models in gaps.items():
        paragraph(f"{corpus}: {missing} of {texts} texts missing ({reason}): {', '.join(models)}", "  ")


def _corpus(row: CorpusRow) -> list[str]:
    counted = row.texts - row.missing
    return [row.corpus, row.model, number(row.perplexity), number(row.bits_per_byte), str(counted)]


def print_disparities(summary: Summary) -> None:
    """How far answers about different people are apart, where nothing else in the prompt differs."""
    if not summary.disparities:
        return
    heading("The same prompts about different people")
    columns = [Column("measure"), Column("first"), Column("second"), Column("model"), Column("gap", True)]
    print_table(
        [*columns, Column("95% CI", True), Column(""), Column("n", True)],
        [_disparity(row) for row in summary.disparities],
    )
    for row in summary.disparities:
        if row.delta is None:
            reason = row.reason or "no reason recorded"
            paragraph(f"{row.measure}, {row.first} and {row.second}, {row.model}: {reason}", "  ")


def _disparity(row: DisparityRow) -> list[str]:
    word = "unequal" if row.is_settled else "= inconclusive"
    if row.low is None:
        word = "missing" if row.delta is None else "not tested"
    gap, range_ = number(row.delta, sign=True), interval(row.low, row.high, sign=True)
    return [row.measure, row.first, row.second, row.model, gap, range_, word, str(row.n)]
