"""Precision, recall and F1 of the refusal rules on the tests' labelled answers, by language.

    python -m bench.refusals

A full or a partial refusal counts as found where the rules give either; the classes are counted apart below.
"""

import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from engine.metrics.refusals import classify

ANSWERS = Path(__file__).resolve().parents[1] / "tests" / "metrics" / "refusals.tsv"


def labelled() -> list[tuple[str, str, str]]:
    """Language, class and text of each labelled answer."""
    with ANSWERS.open(encoding="utf-8") as file:
        rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(language, kind, text.replace("\\n", "\n")) for language, kind, text in rows]


def precision_recall_f1(pairs: Iterable[tuple[bool, bool]]) -> tuple[float, float, float]:
    """Of pairs (labelled a refusal, found to be one)."""
    counts = Counter(pairs)
    right, extra, missed = counts[True, True], counts[False, True], counts[True, False]
    return right / (right + extra), right / (right + missed), 2 * right / (2 * right + extra + missed)


def main() -> None:
    found = [(language, kind, classify(text)) for language, kind, text in labelled()]
    print(f"{'language':10}{'n':>5}{'precision':>11}{'recall':>8}{'F1':>7}")
    for language in ["all", *dict.fromkeys(language for language, _, _ in found)]:
        pairs = [
            (kind != "compliance", said != "compliance")
            for own, kind, said in found
            if language in ("all", own)
        ]
        precision, recall, f1 = precision_recall_f1(pairs)
        print(f"{language:10}{len(pairs):>5}{precision:>11.3f}{recall:>8.3f}{f1:>7.3f}")
    print("\nlabelled → found")
    for (kind, said), count in sorted(Counter((kind, said) for _, kind, said in found).items()):
        print(f"{kind:>10} → {said:10}{count:>5}")


if __name__ == "__main__":
    main()
