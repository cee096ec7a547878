"""The overlap metrics beside a plain loop over the libraries whose numbers they give.

    python -m bench.metrics [PAIRS]

10,000 pairs of about 100 words. ROUGE-1/2/L with stemming against rouge-score; the whole overlap family
(ROUGE with Lsum, BLEU, chrF, METEOR by stems) against rouge-score, nltk and sacrebleu; and the family on all
cores. Every value is compared with the library's; the largest difference is printed. The libraries are timed
on a part of the pairs, since they would take minutes.
"""

import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from engine.data.example import Example
from engine.metrics.batch import Pair, score_all
from engine.metrics.overlap import rouge
from engine.metrics.text import unicode_words, words
from engine.models.model import Response

# The libraries are imported where they are used: each process that scores imports this file anew.
if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics.chrf import CHRF

PAIRS = 10_000
LIBRARY_PAIRS = 500
WORDS_EACH = 100
ROUGE_BUDGET = 10.0
FAMILY_BUDGET = 5.0
FAMILY = ("rouge", "bleu", "chrf", "meteor")
STEMS = ("print", "work", "fail", "connect", "restart", "account", "ticket", "answer", "support", "customer")
ENDINGS = ("", "s", "ing", "ed", "er", "ers", "able", "ation", "ly", "ness")
PREFIXES = ("", "re", "un", "over", "under")
COMMON = ("the", "a", "of", "to", "and", "in", "is", "it", "that", "was", "for", "on", "not", "you", "please")

Texts = tuple[str, str]


class NoSynonyms:
    """WordNet switched off, for nltk to go by stems alone."""

    def synsets(self, word: str) -> list[object]:
        return []


def texts(count: int) -> list[Texts]:
    """Pairs of a reference and a response that shares a good part of it, in sentences on a few lines."""
    draw = random.Random(0)
    vocabulary = [prefix + stem + ending for prefix in PREFIXES for stem in STEMS for ending in ENDINGS]

    def word() -> str:
        return draw.choice(COMMON) if draw.random() < 0.4 else draw.choice(vocabulary)

    def written(tokens: Iterable[str]) -> str:
        return " ".join(token + draw.choices(("", ".", ",", ".\n"), (90, 4, 4, 2))[0] for token in tokens)

    pairs = []
    for _ in range(count):
        reference = [word() for _ in range(draw.randint(WORDS_EACH * 4 // 5, WORDS_EACH * 6 // 5))]
        response = [token if draw.random() < 0.6 else word() for token in reference]
        pairs.append((written(reference), written(response)))
    return pairs


def as_pair(place: int, pair: Texts) -> Pair:
    example = Example(
        str(place), "q", ({"role": "user", "content": "q"},), (pair[0],), extra={"language": "en"}
    )
    return example, Response(str(place), pair[1], 1, 1, "stop", 0.1)


def library_rouge(scorer: "RougeScorer", pair: Texts) -> list[float]:
    return [score.fmeasure for score in scorer.score(*pair).values()]


def library_family(scorer: "RougeScorer", chrf: "CHRF", pair: Texts) -> list[float]:
    """In the order in which the metrics of FAMILY give their values of a single response."""
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    from nltk.translate.meteor_score import single_meteor_score

    reference, response = pair
    bleu = sentence_bleu([words(reference)], words(response), smoothing_function=SmoothingFunction().method1)
    meteor = single_meteor_score(unicode_words(reference), unicode_words(response), wordnet=NoSynonyms())
    return [
        *library_rouge(scorer, pair),
        bleu,
        chrf.sentence_score(response, [reference]).score / 100,
        meteor,
    ]


def own_family(pairs: Sequence[Texts], processes: int = 1) -> list[list[float]]:
    given = (as_pair(place, pair) for place, pair in enumerate(pairs))
    return [
        [
            score.value
            for score in scores
            if score.value is not None and not score.measure.endswith("_corpus") and score.measure != "meteor"
        ]
        for scores in score_all(FAMILY, {}, given, processes)
    ]


def timed(work: Callable[[], list[list[float]]], count: int) -> tuple[list[list[float]], float]:
    """The values, and milliseconds a pair."""
    begun = time.perf_counter()
    values = work()
    return values, 1000 * (time.perf_counter() - begun) / count


def processor_seconds() -> float:
    """Processor time of this process and of those it started that are over: free of what else runs."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def largest_difference(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> float:
    return max(
        abs(one - other)
        for row, others in zip(first, second, strict=False)
        for one, other in zip(row, others, strict=True)
    )


def line(what: str, library: float, own: float, difference: float, budget: float) -> str:
    return (
        f"{what}: libraries {library:.3f} ms a pair, here {own:.3f} ms, {library / own:.1f}x "
        f"(budget {budget:.0f}x); largest difference {difference:.1e}"
    )


def main() -> None:
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics.chrf import CHRF

    count = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    pairs = texts(count)
    few = pairs[:LIBRARY_PAIRS]
    three = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    four = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=True)
    chrf = CHRF()
    own_family(few[:20])  # what is loaded once is not part of any figure

    theirs, library = timed(lambda: [library_rouge(three, pair) for pair in few], len(few))
    ours, own = timed(lambda: [list(rouge(*pair)) for pair in pairs], count)
    print(line("ROUGE-1/2/L", library, own, largest_difference(theirs, ours), ROUGE_BUDGET))

    theirs, library = timed(lambda: [library_family(four, chrf, pair) for pair in few], len(few))
    begun = processor_seconds()
    ours, own = timed(lambda: own_family(pairs), count)
    alone = processor_seconds() - begun
    print(line("Overlap family", library, own, largest_difference(theirs, ours), FAMILY_BUDGET))

    cores = os.cpu_count() or 1
    begun = processor_seconds()
    spread, many = timed(lambda: own_family(pairs, cores), count)
    print(
        f"The family on {cores} processes, start included: {many:.3f} ms a pair, {own / many:.1f}x; "
        f"largest difference {largest_difference(ours, spread):.1e}; "
        f"{processor_seconds() - begun:.1f} s of processor time against {alone:.1f} s on one"
    )


if __name__ == "__main__":
    main()
