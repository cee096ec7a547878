"""Evaluation examples whose words stand in the training data: nearly the same text, or a long run of it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

from engine.data.answers import same_answer
from engine.data.example import Example, normalise
from engine.data.leak import (
    DISTINCTIVE_LENGTH,
    EXCERPT_LENGTH,
    TIERS,
    Leak,
    answers,
    question_key,
    questions,
    training_text,
    turns_of,
)
from engine.data.near import QUOTE_WORDS, Match, NearIndex
from engine.data.words import placed_words, words

Side = Literal["question", "answer"]
PIECE = 1_000_000  # characters
_PIECE_OVERLAP = 20_000


class _Text(NamedTuple):
    """A text of an example: whose, and on which side."""

    owner: int
    side: Side
    content: str


class Lexical:
    """The evaluation set by the words of its questions and answers, and what was found so far.

    A near match counts between question and question, or answer and answer; a long run of words wherever it
    stands. As for identical texts, an answer alone counts only when it is distinctive, and in neither set the
    answer to several different questions. A question is judged with its answer, as `engine.data.leak` says.
    """

    def __init__(self, evaluation: Sequence[Example]) -> None:
        self._examples = evaluation
        self._texts = list(_evaluated(evaluation))
        self._index = NearIndex([text.content for text in self._texts])
        self._best: dict[int, Leak] = {}
        # Answers found without their question, and the training question that each stood under.
        self._answers: dict[int, tuple[Leak, str]] = {}
        self._stock = _shared_answers(evaluation, self._texts)
        # Answers that a passage quotes: no stock answers, however many passages do.
        self._quoted: dict[int, Leak] = {}
        self._shared = frozenset(self._stock)

    def look_up(self, rows: Sequence[Example]) -> None:
        """Compares some training rows."""
        documents = [text for place, row in enumerate(rows) for text in _trained(place, row)]
        found: dict[tuple[int, int], list[Match]] = {}
        for start, batch in _batches(documents):
            for match in self._index.search([document.content for document in batch]):
                document, text = batch[match.document], self._texts[match.text]
                if match.tier == "ngram" or document.side == text.side:
                    placed = replace(match, document=start + match.document)
                    found.setdefault((document.owner, text.owner), []).append(placed)
        for (place, number), matches in found.items():
            self._judge(rows[place], number, matches, documents)

    def _judge(self, row: Example, number: int, matches: Sequence[Match], documents: Sequence[_Text]) -> None:
        asked = [match for match in matches if self._texts[match.text].side == "question"]
        answered = [match for match in matches if self._texts[match.text].side == "answer"]
        if asked:
            leaks = [self._asked(row, number, match, documents, bool(answered)) for match in _telling(asked)]
            self._best[number] = min([*leaks, self._best.get(number, leaks[0])], key=rank)
            return
        whole = {(match.document, match.text) for match in answered if match.tier == "near"}
        for match in answered:
            # A run of words in an answer that is nearly the same as a whole says nothing more.
            if match.tier == "ngram" and (match.document, match.text) in whole:
                continue
            document = documents[match.document]
            leak = self._leak(row, number, match, document.content)
            if document.side == "answer":
                self._keep_answer(match.text, leak, normalise(row.query))
            elif match.text not in self._shared:
                self._quoted[match.text] = min(self._quoted.get(match.text, leak), leak, key=rank)

    def _asked(
        self, row: Example, number: int, match: Match, documents: Sequence[_Text], answered: bool
    ) -> Leak:
        """What a question found in a row is: a near one under another answer is similar, no leak."""
        leak = self._leak(row, number, match, documents[match.document].content)
        if match.tier == "near":
            same = same_answer(self._examples[number], row)
            return replace(leak, similar=same is False, field="both" if same else "query")
        return replace(leak, field="both") if answered else leak

    def _leak(self, row: Example, number: int, match: Match, document: str) -> Leak:
        text = self._texts[match.text]
        found = excerpt(document, text.content)
        return Leak(
            self._examples[number].id,
            match.tier,
            round(match.score, 4),
            row.line,
            "query" if text.side == "question" else "reference",
            found,
            training_text(row, found),
        )

    def _keep_answer(self, text: int, leak: Leak, under: str) -> None:
        if text in self._stock:
            return
        kept, first = self._answers.get(text, (leak, under))
        if under != first:
            self._stock.add(text)
            del self._answers[text]
        else:
            self._answers[text] = min(kept, leak, key=rank), first

    def leaks(self) -> Iterator[tuple[int, Leak]]:
        """What was found, with the example's place in the evaluation set; several for one example."""
        yield from self._best.items()
        for text, (leak, _) in self._answers.items():
            yield self._texts[text].owner, leak
        for text, leak in self._quoted.items():
            yield self._texts[text].owner, leak


def rank(leak: Leak) -> tuple[bool, bool, bool, int, bool, float, int]:
    """Sorts the leaks of one example, the gravest first.

    What counts as a leak goes first and what is only similar last, a question found before an answer alone,
    then the stricter tier, then question and answer together, then the higher score, then the earlier line.
    """
    return (
        not leak.counts,
        leak.similar,
        leak.field == "reference",
        TIERS.index(leak.tier),
        leak.field != "both",
        -leak.score,
        leak.train_line,
    )


def excerpt(document: str, text: str) -> str:
    """The part of the document where its longest stretch of the text's words begins."""
    if len(document) <= EXCERPT_LENGTH:
        return document
    own = placed_words(document)
    block = SequenceMatcher(None, [word for word, _ in own], words(text), False).find_longest_match()
    start = own[block.a][1] if block.size else 0
    return document[start : start + EXCERPT_LENGTH]


def _telling(asked: Sequence[Match]) -> list[Match]:
    """Of a question's matches in one row the best, and where that is near, the whole question quoted too.

    Parts of nearly the same question say no more than that it is nearly the same.
    """
    near = [match for match in asked if match.tier == "near"]
    runs = [match for match in asked if match.tier == "ngram" and (not near or match.score == 1)]
    return [max(found, key=lambda match: match.score) for found in (near, runs) if found]


def _evaluated(evaluation: Sequence[Example]) -> Iterator[_Text]:
    for number, example in enumerate(evaluation):
        yield _Text(number, "question", "\n".join(turns_of(example, "user")))
        for reference in dict.fromkeys(example.references):
            if len(reference) >= DISTINCTIVE_LENGTH and len(words(reference)) >= QUOTE_WORDS:
                yield _Text(number, "answer", reference)


def _trained(place: int, row: Example) -> Iterator[_Text]:
    for content in questions(row):
        if len(content) <= PIECE:
            yield _Text(place, "question", content)
        else:
            yield from _pieces(place, "question", content)
    for content in answers(row):
        if len(content) <= PIECE:
            yield _Text(place, "answer", content)
        else:
            yield from _pieces(place, "answer", content)


def _pieces(place: int, side: Side, content: str) -> Iterator[_Text]:
    """Overlapping parts of a text that is too long to be held as words at once."""
    for start in range(0, len(content) - _PIECE_OVERLAP, PIECE - _PIECE_OVERLAP):
        yield _Text(place, side, content[start : start + PIECE])


def _batches(documents: Sequence[_Text]) -> Iterator[tuple[int, Sequence[_Text]]]:
    """The documents in stretches of a few PIECEs, each with the place of its first."""
    start = characters = 0
    for place, document in enumerate(documents):
        characters += len(document.content)
        if characters >= 4 * PIECE:
            yield start, documents[start : place + 1]
            start, characters = place + 1, 0
    if start < len(documents):
        yield start, documents[start:]


def _shared_answers(evaluation: Sequence[Example], texts: Sequence[_Text]) -> set[int]:
    """The answers, as places in `texts`, that several different evaluation questions have."""
    under: dict[str, set[str]] = {}
    keys = {place: normalise(text.content) for place, text in enumerate(texts) if text.side == "answer"}
    for place, key in keys.items():
        under.setdefault(key, set()).add(question_key(evaluation[texts[place].owner]))
    return {place for place, key in keys.items() if len(under[key]) > 1}
