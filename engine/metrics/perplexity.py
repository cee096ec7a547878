"""Perplexity and bits per byte of the references or of plain text under a model.

Bits per byte are comparable between tokenizers. Source: Hugging Face's "Perplexity of fixed-length models"
for the strided window; bits per byte as in The Pile (Gao et al., 2020). Only local weights can be measured.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.data.example import Example
from engine.data.files import data_suffix
from engine.data.reading import read_records
from engine.data.textfile import read_text
from engine.errors import BadInput
from engine.metrics.metric import Measure, Score, Sums, mean, missing
from engine.models.model import Response
from store.read.trends import is_per_token as is_per_token
from store.read.trends import same_tokenizer as same_tokenizer

if TYPE_CHECKING:
    from engine.models.local import LocalModel

NEEDS_WEIGHTS = "perplexity needs the model's weights on this machine"
NEEDS_LOGPROBS = 'llama.cpp\'s server tells no likelihood of a text; engine = "transformers" does'
WINDOW = 2048  # tokens, for models that name no context, or a longer one
PASSAGE = 2000  # characters
FIELD = "text"
_PLAIN = {".txt", ".md", ".text", ".rst", ""}
_AT_ONCE = 128  # texts tokenized at a time, so that memory does not grow with the corpus


def _exponential_of_mean(sums: Sums) -> Sums:
    perplexity: Sums = np.exp(mean(sums))
    return perplexity


PERPLEXITY = Measure(
    name="perplexity",
    direction="lower",
    low=1.0,
    high=None,
    unit="",
    needs=frozenset({"references", "weights"}),
    version="2",
    source="exp of the mean negative log-likelihood per predicted token",
    meaning="how many tokens the model hesitates between, on average, at each token of the reference, "
    "its end token left out",
    combine=_exponential_of_mean,
)
BITS_PER_BYTE = Measure(
    name="bits_per_byte",
    direction="lower",
    low=0.0,
    high=None,
    unit="bits/byte",
    needs=frozenset({"references", "weights"}),
    version="2",
    source="The Pile (Gao et al., 2020)",
    meaning="bits that the model needs per UTF-8 byte of the reference; comparable between tokenizers",
)
EVAL_LOSS = Measure(
    name="eval_loss",
    direction="lower",
    low=0.0,
    high=None,
    unit="nats/token",
    needs=frozenset({"references", "weights"}),
    version="1",
    source="transformers' own loss, the prompt masked",
    meaning="mean negative log-likelihood of the reference's tokens and its end token, as trainers report",
)
MEASURES = (PERPLEXITY, BITS_PER_BYTE, EVAL_LOSS)
VALIDATION = "validation"
VALIDATION_LOSS = replace(
    EVAL_LOSS,
    name=f"{EVAL_LOSS.name}:{VALIDATION}",
    meaning="mean negative log-likelihood of the references of the whole validation split, each with its end "
    "token, as trainers report",
)
DIFFERENT_TOKENIZERS = (
    "values per token under different or unknown tokenizers are not comparable; bits per byte are"
)


NO_END = "neither the chat template nor the tokenizer has an end token"


@dataclass(frozen=True, slots=True)
class Nll:
    """The negative log-likelihood of one reference under one model.

    `nll` in nats, summed over the `tokens` that were predicted; `bytes` is the UTF-8 length of their text.
    `nll` None means it could not be computed, and `reason` says why. `end` are the nats of the end token
    after them, None where there is none; `cached`: an earlier run measured it.
    """

    example_id: str
    nll: float | None
    tokens: int
    bytes: int
    reason: str | None = None
    end: float | None = None
    cached: bool = False


class Perplexity:
    """The measures of a reference's likelihood. Responses alone give none: see `conditional_nll`."""

    measures = MEASURES

    def score(self, example: Example, response: Response) -> list[Score]:
        return missing_scores(NEEDS_WEIGHTS)


def missing_scores(reason: str) -> list[Score]:
    """All measures missing, for one reason."""
    return missing(MEASURES, reason)


def scores_from_nll(nll: Nll) -> list[Score]:
    """The measures of one reference, with the parts from which a whole set's value is made.

    A set's perplexity is exp(Σ nll / Σ predicted tokens): weighted by predicted tokens, not a mean of means.
    """
    if nll.nll is None:
        return missing_scores(nll.reason or "the likelihood could not be computed")
    bits = nll.nll / math.log(2)
    per_token = nll.nll / nll.tokens
    # Beyond this a float has no exponential; the parts still carry the value into the set's.
    value = math.exp(per_token) if per_token < 700 else None
    perplexity = Score("perplexity", value, parts=(nll.nll, float(nll.tokens)))
    if value is None:
        perplexity = Score("perplexity", None, "the perplexity is too large for a number")
    loss = Score("eval_loss", None, NO_END)
    if nll.end is not None:
        total, tokens = nll.nll + nll.end, nll.tokens + 1
        loss = Score("eval_loss", total / tokens, parts=(total, float(tokens)))
    return [perplexity, Score("bits_per_byte", bits / nll.bytes, parts=(bits, float(nll.bytes))), loss]


def conditional_nll(
    model: "LocalModel", items: Sequence[tuple[Example, str]], batch_tokens: int | None = None
) -> Iterator[Nll]:
    """The likelihood of each reference as the model's answer to its example's prompt, longest first.

    Every token of the reference is predicted, the first one from the prompt, and the end token after them
    apart. A text beyond the context is read in windows that overlap by half, each token predicted once, each
    window after the tokenizer's own beginning (BOS) where the prompt has it. A batch holds at most
    `batch_tokens`, padding included; out of memory halves that.
    """
    from engine.models.likelihood import BUDGET, Text, known_likelihoods
    from engine.models.prompt import PromptError, beginning

    begins = beginning(model.tokenizer)
    ending = [] if model.end_of_answer is None else [model.end_of_answer]
    texts: list[Text] = []
    for example, reference in items:
        try:
            prompt = model.prompt(example)
        except PromptError as error:
            yield Nll(example.id, None, 0, 0, str(error))
            continue
        ids = model.tokenizer(reference, add_special_tokens=False, verbose=False)["input_ids"]
        if not ids:
            yield Nll(example.id, None, 0, 0, "the reference is empty")
            continue
        if reason := model.unknown_token([*prompt, *ids]):
            yield Nll(example.id, None, 0, 0, reason)
            continue
        # As the prompt itself begins: a template may leave out what the tokenizer would put there.
        own = begins if prompt[: len(begins)] == begins else []
        size = len(reference.encode("utf-8"))
        texts.append(Text(example.id, [*prompt, *ids], len(ids), size, own, ending))
    for place, found, cached in known_likelihoods(model, texts, model.context, batch_tokens or BUDGET):
        yield _nll(texts[place], found, cached)


def _nll(text: Any, found: tuple[float, float] | None, cached: bool) -> Nll:
    if found is None:
        return Nll(text.example_id, None, 0, 0, f"out of memory with a text of {len(text.ids)} tokens")
    if not all(map(math.isfinite, found)):
        return Nll(text.example_id, None, 0, 0, "the model's log-probabilities are not finite numbers")
    end = found[1] if text.ending else None
    return Nll(text.example_id, found[0], text.predicted, text.bytes, end=end, cached=cached)


@dataclass(frozen=True, slots=True)
class CorpusNll:
    """The negative log-likelihood of one text under one model: `nll` in nats over `tokens` predicted ones.

    `text` is its place in the corpus, `bytes` the UTF-8 length of the whole of it. `nll` None means missing,
    and `reason` says why. `cached`: an earlier run measured it.
    """

    text: int
    nll: float | None
    tokens: int
    bytes: int
    reason: str | None = None
    cached: bool = False


def corpus_measures(corpus: str) -> tuple[Any, Any]:
    """The perplexity and the bits per byte of a corpus, as measures: "perplexity:general" and so on."""
    what = f"each token of the corpus {corpus!r}"
    return (
        replace(
            PERPLEXITY,
            name=f"{PERPLEXITY.name}:{corpus}",
            needs=frozenset({"weights"}),
            meaning=f"how many tokens the model hesitates between, on average, at {what}",
        ),
        replace(
            BITS_PER_BYTE,
            name=f"{BITS_PER_BYTE.name}:{corpus}",
            needs=frozenset({"weights"}),
            meaning=f"bits per byte of the corpus {corpus!r}; comparable between tokenizers",
        ),
    )


def parts(nll: float, tokens: int, size: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """The additive parts of both measures from one text's nll, predicted tokens and bytes."""
    return (nll, float(tokens)), (nll / math.log(2), float(size))


def read_corpus(path: Path) -> list[str]:
    """The texts of a corpus: each record's `text`, or the passages of plain text; of a folder, all files.

    A plain text is cut between paragraphs into passages of PASSAGE characters or more, so that the spread
    over them gives an interval; the cuts depend on the file alone, and are the same for every model. Raises
    BadInput for what cannot be read or holds no text.
    """
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    texts = [text for file in files for text in _texts(file)]
    if not texts:
        raise BadInput(f"{path}: holds no text", "Give a text file, JSON lines with a `text`, or a folder.")
    return texts


def corpus_hash(texts: Sequence[str]) -> str:
    """12 hex digits of the SHA-256 over the texts in order."""
    joined = "\0".join(texts).encode("utf-8")
    return hashlib.sha256(joined).hexdigest()[:12]


def _texts(file: Path) -> Iterator[str]:
    if data_suffix(file) in _PLAIN:
        yield from passages(read_text(file))
        return
    for line, record in read_records(file):
        text = record.get(FIELD)
        if not isinstance(text, str):
            raise BadInput(f"{file}:{line}: has no {FIELD!r}", f'Each line is {{"{FIELD}": "…"}}.')
        if text.strip():
            yield text


def passages(text: str) -> Iterator[str]:
    """Whole paragraphs, put together up to PASSAGE characters at least; together they are the text."""
    passage = ""
    for paragraph in text.split("\n\n"):
        passage = f"{passage}\n\n{paragraph}" if passage else paragraph
        if len(passage) >= PASSAGE:
            yield passage
            passage = ""
    if passage.strip():
        yield passage


def corpus_nll(
    model: "LocalModel", texts: Sequence[tuple[int, str]], batch_tokens: int | None = None
) -> Iterator[CorpusNll]:
    """The likelihood of each (place, text), in windows of the context that overlap by half.

    Every token is predicted once, with at least half a window before it where there is that much. A window
    begins as the tokenizer begins any text, with BOS where it has one: without, a model that was trained with
    BOS is out of its depth. Where there is none the first token is context. No chat template, no end token. A
    batch holds at most `batch_tokens`; out of memory halves that.
    """
    for start in range(0, len(texts), _AT_ONCE):
        yield from _block_nll(model, texts[start : start + _AT_ONCE], batch_tokens)


def _block_nll(
    model: "LocalModel", block: Sequence[tuple[int, str]], batch_tokens: int | None
) -> Iterator[CorpusNll]:
    from engine.models.likelihood import BUDGET, Text, known_likelihoods
    from engine.models.prompt import beginning

    begins = beginning(model.tokenizer)
    asked: list[tuple[int, Text]] = []
    for place, text in block:
        size = len(text.encode("utf-8"))
        ids = [*begins, *model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]]
        context = max(len(begins), 1)
        reason = "the text has too few tokens" if len(ids) <= context else model.unknown_token(ids)
        if reason:
            yield CorpusNll(place, None, 0, size, reason)
        else:
            asked.append((place, Text("", ids, len(ids) - context, size, begins)))

    window = min(model.context or WINDOW, WINDOW)
    texts = [text for _, text in asked]
    for index, found, cached in known_likelihoods(model, texts, window, batch_tokens or BUDGET):
        place, asked_text = asked[index]
        if found is not None and math.isfinite(found[0]):
            yield CorpusNll(place, found[0], asked_text.predicted, asked_text.bytes, cached=cached)
        else:
            why = "a window does not fit into memory, or is not a finite number"
            yield CorpusNll(place, None, 0, asked_text.bytes, why)
