"""Evaluation examples that appear in the training data, in four tiers from identical to the same meaning."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Literal, NamedTuple

from engine.data.example import Example, normalise, query_id
from engine.data.examples import data_rows
from engine.data.final import DISTINCTIVE_LENGTH
from engine.data.leak import (
    EXCERPT_LENGTH,
    TIERS,
    Field,
    Leak,
    Search,
    answers,
    question_key,
    questions,
    same_answer,
    training_text,
    turns_of,
)
from engine.data.near import QUOTE_WORDS, NearIndex, NearMatch
from engine.data.words import placed_words, words


class Identical:
    """The evaluation set by normalised question and by normalised reference, and what was found so far."""

    def __init__(self, evaluation: Sequence[Example]) -> None:
        self._examples = evaluation
        self._questions: defaultdict[str, list[int]] = defaultdict(list)
        self._answers: defaultdict[str, list[int]] = defaultdict(list)
        for number, example in enumerate(evaluation):
            self._questions[question_key(example)].append(number)
            for answer in {normalise(reference) for reference in example.references} - {""}:
                self._answers[answer].append(number)
        self._by_question: dict[int, Leak] = {}
        # By answer: line, what was found, and the training example and its question that it answered there.
        self._by_answer: dict[str, tuple[int, str, str, str]] = {}
        self._stock = {
            answer for answer, numbers in self._answers.items() if self._several_questions(numbers)
        }

    def _several_questions(self, numbers: Sequence[int]) -> bool:
        return len({question_key(self._examples[number]) for number in numbers}) > 1

    def look_up(self, rows: Sequence[Example]) -> None:
        """Compares some training rows."""
        for row in rows:
            self._look_up(row)

    def _look_up(self, row: Example) -> None:
        asked_keys, answer_keys = _user_turns(row), _answers(row)
        asked = {number: text for key, text in asked_keys.items() for number in self._questions.get(key, ())}
        answered = {key: text for key, text in answer_keys.items() if key in self._answers}
        both = {number for key in answered for number in self._answers[key]} & asked.keys()
        for number, text in asked.items():
            self._keep(number, "both" if number in both else "query", row, text)
        for key, text in answered.items():
            self._keep_answer(key, row, text)

    def _keep(self, number: int, field: Field, row: Example, text: str) -> None:
        kept = self._by_question.get(number)
        if kept is None or (field == "both" and kept.field == "query"):
            whole = training_text(row, text[:EXCERPT_LENGTH])
            self._by_question[number] = _leak(self._examples[number], row.line, field, text, whole)

    def _keep_answer(self, key: str, row: Example, text: str) -> None:
        if key in self._stock or len(key) < DISTINCTIVE_LENGTH:
            return
        question = normalise(row.query)
        if key not in self._by_answer:
            excerpt = text[:EXCERPT_LENGTH]
            self._by_answer[key] = row.line, excerpt, training_text(row, excerpt), question
        *_, first_question = self._by_answer[key]
        if first_question != question:
            self._stock.add(key)
            del self._by_answer[key]

    def leaks(self) -> Iterator[tuple[int, Leak]]:
        """What was found, with the example's place in the evaluation set."""
        for number in range(len(self._examples)):
            if leak := self._leak(number):
                yield number, leak

    def _leak(self, number: int) -> Leak | None:
        example = self._examples[number]
        if number in self._by_question:
            return self._by_question[number]
        found = [
            self._by_answer[key] for ref in example.references if (key := normalise(ref)) in self._by_answer
        ]
        if not found:
            return None
        line, text, whole, _ = min(found)
        return _leak(example, line, "reference", text, whole)


def _leak(example: Example, line: int, field: Field, text: str, whole: str) -> Leak:
    return Leak(example.id, "identical", 1.0, line, field, text[:EXCERPT_LENGTH], whole)


def _user_turns(row: Example) -> dict[str, str]:
    """Each of the user's turns, alone and with those before it, as key and text."""
    texts = turns_of(row, "user")
    if len(texts) == 1:
        key = normalise(texts[0])
        return {key: texts[0]} if key else {}
    keys = [normalise(text) for text in texts]
    found = {"\0".join(keys[: end + 1]): text for end, text in enumerate(texts)}
    return {key: text for key, text in {**found, **dict(zip(keys, texts, strict=True))}.items() if key}


def _answers(row: Example) -> dict[str, str]:
    return {key: text for text in answers(row) if (key := normalise(text))}


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
        found: dict[tuple[int, int], list[NearMatch]] = {}
        for start, batch in _batches(documents):
            for match in self._index.search([document.content for document in batch]):
                document, text = batch[match.document], self._texts[match.text]
                if match.tier == "ngram" or document.side == text.side:
                    placed = NearMatch(start + match.document, match.text, match.tier, match.score)
                    found.setdefault((document.owner, text.owner), []).append(placed)
        for (place, number), matches in found.items():
            self._judge(rows[place], number, matches, documents)

    def _judge(
        self, row: Example, number: int, matches: Sequence[NearMatch], documents: Sequence[_Text]
    ) -> None:
        asked = [match for match in matches if self._texts[match.text].side == "question"]
        answered = [match for match in matches if self._texts[match.text].side == "answer"]
        if asked:
            for match in _telling(asked):
                leak = self._asked(row, number, match, bool(answered))
                if number not in self._best or rank(leak) < rank(self._best[number]):
                    self._best[number] = self._quoting(leak, row, match, documents)
            return
        whole = {(match.document, match.text) for match in answered if match.tier == "near"}
        for match in answered:
            # A run of words in an answer that is nearly the same as a whole says nothing more.
            if match.tier == "ngram" and (match.document, match.text) in whole:
                continue
            document = documents[match.document]
            if document.side == "answer" and match.text in self._stock:
                continue
            leak = self._quoting(self._leak(row, number, match, "reference"), row, match, documents)
            if document.side == "answer":
                self._keep_answer(match.text, leak, normalise(row.query))
            elif match.text not in self._shared:
                self._quoted[match.text] = min(self._quoted.get(match.text, leak), leak, key=rank)

    def _asked(self, row: Example, number: int, match: NearMatch, answered: bool) -> Leak:
        """What a question found in a row is: a near one under another answer is similar, no leak."""
        if match.tier == "near":
            same = same_answer(self._examples[number], row)
            return self._leak(row, number, match, "both" if same else "query", similar=same is False)
        return self._leak(row, number, match, "both" if answered else "query")

    def _leak(self, row: Example, number: int, match: NearMatch, field: Field, similar: bool = False) -> Leak:
        found = self._examples[number].id
        return Leak(found, match.tier, round(match.score, 4), row.line, field, "", similar=similar)

    def _quoting(self, leak: Leak, row: Example, match: NearMatch, documents: Sequence[_Text]) -> Leak:
        """With the texts, which cost more than all the rest: for a leak that is kept."""
        found = excerpt(documents[match.document].content, self._texts[match.text].content)
        return replace(leak, excerpt=found, train_text=training_text(row, found))

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


_COMPARED = 4_000_000  # pairs of words: time grows with those that are equal


def excerpt(document: str, text: str) -> str:
    """The part of the document where its longest stretch of the text's words begins."""
    if len(document) <= EXCERPT_LENGTH:
        return document
    own, looked_for = placed_words(document), words(text)
    if len(own) * len(looked_for) > _COMPARED:
        looked_for = looked_for[: _COMPARED // len(own) + 1]
    block = SequenceMatcher(None, [word for word, _ in own], looked_for, False).find_longest_match()
    start = own[block.a][1] if block.size else 0
    return document[start : start + EXCERPT_LENGTH]


def _telling(asked: Sequence[NearMatch]) -> list[NearMatch]:
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


__all__ = [
    "DISTINCTIVE_LENGTH", "EXCERPT_LENGTH", "Leak", "find_leaks", "leak_report", "read_training", "totals",
]  # fmt: skip

CHUNK_ROWS, CHUNK_CHARACTERS = 256, 4_000_000


def read_training(path: Path, fields: Mapping[str, str] | None = None) -> Iterator[Example]:
    """The examples of a training file, one at a time, so that memory stays flat however long the file is.

    Ids may repeat or be missing, references may be missing, and mapped columns apply where they are there.
    Raises BadInput naming file and line for a record that cannot be read.
    """
    for row in data_rows(path, fields):
        yield row if row.id else replace(row, id=query_id(row.query))


def find_leaks(
    train: Iterable[Example],
    evaluation: Sequence[Example],
    meaning: Search | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Leak]:
    """At most one Leak per example, the gravest (see `lexical.rank`), in the examples' order.

    Which of them count, and which are only similar or an answer seen, each says itself (`engine.data.leak`).
    A question matches any user turn, a conversation the same user turns in a row; an answer alone is told of
    only when it is distinctive, and in neither set the answer to several different questions. The tier of
    meaning is searched when `engine.data.meaning` gave the search for it. The training rows are read once, as
    a stream: time grows with them, memory with the evaluation set only.
    `progress` is called with the number of rows read so far.
    """
    searches: list[Search] = [Identical(evaluation), Lexical(evaluation), *([meaning] if meaning else [])]
    rows = 0
    for chunk in _chunks(train):
        for search in searches:
            search.look_up(chunk)
        rows += len(chunk)
        if progress:
            progress(rows)
    found: dict[int, list[Leak]] = {}
    for search in searches:
        for number, leak in search.leaks():
            found.setdefault(number, []).append(leak)
    return [_gravest(found[number]) for number in sorted(found)]


def _gravest(leaks: Sequence[Leak]) -> Leak:
    """The first by rank; an identical question whose answer nearly stands beside it is found in both."""
    first = min(leaks, key=rank)
    if any(leak.field == "both" and leak.train_line == first.train_line for leak in leaks):
        return replace(first, field="both")
    return first


def _chunks(rows: Iterable[Example]) -> Iterator[list[Example]]:
    chunk: list[Example] = []
    characters = 0
    for row in rows:
        chunk.append(row)
        characters += sum(len(turn["content"]) for turn in row.messages) + sum(map(len, row.references))
        if len(chunk) == CHUNK_ROWS or characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def totals(leaks: Sequence[Leak], examples: int) -> dict[str, Any]:
    """For JSON: how many of so many examples leaked, by tier and by field; every tier is named.

    `answers_seen` have a whole answer that stands under another question, `similar` nearly their question
    under another answer: neither counts as leaked.
    """
    counted = [leak for leak in leaks if leak.counts]
    tiers = Counter(leak.tier for leak in counted)
    similar = sum(leak.similar for leak in leaks)
    return {
        "examples": examples,
        "leaked": len(counted),
        "answers_seen": len(leaks) - len(counted) - similar,
        "similar": similar,
        "tiers": {tier: tiers[tier] for tier in TIERS},
        "fields": dict(Counter(leak.field for leak in counted)),
    }


def leak_report(leaks: Sequence[Leak], examples: int) -> dict[str, Any]:
    """For JSON: {"leaks": [{id, tier, score, train_line, field, excerpt, train_text, counts}], …}.

    `totals` counts them, `similar` lists what is alike and no leak, in the same shape; `counts` is false for
    an answer alone.
    """
    return {
        "leaks": [_values(leak) for leak in leaks if not leak.similar],
        "similar": [_values(leak) for leak in leaks if leak.similar],
        "totals": totals(leaks, examples),
    }


def _values(leak: Leak) -> dict[str, Any]:
    values = asdict(leak)
    del values["similar"]
    return {"id": values.pop("example_id"), **values, "counts": leak.counts}
