"""What each event of production traffic says by itself, by the rules that score runs.

An event is measured once, and anew where the rules have another version or more was told of it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_context

from engine.data.example import Example
from engine.data.schemas import TooSlow
from engine.metrics.batch import prepare, useful_processes
from engine.metrics.checks import Check, Instructions, make_check
from engine.metrics.language import UnknownLanguage, detect, is_in
from engine.metrics.refusals import Refusals
from engine.metrics.slices import features
from engine.models.model import Response, without_reasoning
from store import monitor as writing
from store.read import monitor
from store.read.history import Connection
from store.records import TrafficEvent, TrafficMeasures

RULES = 2  # this file's; the metrics have versions of their own
_AT_ONCE = 4_000  # events of one transaction
_SHORT = 15  # characters, under which a language is not told: a name may be in any
_READ = 20_000  # characters of a turn that are searched for the format that it asks for
# What servers say of an answer that ended at its limit of tokens.
_CUT = frozenset({"length", "max_tokens", "max_output_tokens", "model_length", "max_new_tokens"})
_ASKS: Mapping[str, re.Pattern[str]] = {
    "json": re.compile(
        r"\b(?:as|in|with|valid|als|im|gültiges|au format|en|en formato|em formato|in formato)"
        r" (?:an? |one |a single |the |ein |un )?(?:single |valid |raw |strict |plain |gültiges )?JSON\b"
        r"(?!L|\s*(?:file|schema|parser|library|column|field)s?\b)"
        r"|\b(?:return|output|respond|reply|answer|produce|emit|antworte|gib|réponds|responde)\b[^.?!\n]{0,40}"
        r"\bJSON\b(?!L|\s*(?:file|parser|library|column)s?\b)"
        r"|\bJSON (?:object|array|format|only)\b",
        re.IGNORECASE,
    ),
    "numbered_list": re.compile(r"\b(?:as|in) (?:a |the form of a )?numbered list\b", re.IGNORECASE),
    "code_block": re.compile(r"\bin (?:a |one |a single )?(?:fenced )?code block\b", re.IGNORECASE),
    "max_words": re.compile(
        r"\b(?:at most|no more than|fewer than|less than|maximum(?: of)?|max\.?|up to|under|within)"
        r" (\d{1,4}) words\b",
        re.IGNORECASE,
    ),
}


@cache
def version() -> str:
    """The version of all the rules together."""
    checks = {measure.name: measure.version for measure in Instructions().measures}
    told = [f"check_{name}" for name in (*_ASKS, "language")]
    return "-".join([str(RULES), Refusals.measures[0].version, *(checks[name] for name in told)])


def measure(event: TrafficEvent) -> TrafficMeasures:
    """What can be told of one event. A call of tools without a text has no format, language or refusal, and
    nor has a reasoning trace without an answer.
    """
    example = example_of(event)
    cut = None if event.finish_reason is None else event.finish_reason.casefold() in _CUT
    answer = Response(event.id, event.response, None, None, "length" if cut else None, None)
    said = without_reasoning(answer).text
    said = said if said or not event.calls else None
    language = detect(said) if said is not None and len(said.strip()) >= _SHORT else None
    return TrafficMeasures(
        event_id=event.id,
        version=version(),
        characters=None if said is None else len(said),
        cut=cut,
        refused=_refused(example, said),
        well_formed=_well_formed(example, said),
        language=language,
        same_language=_same_language(example, said, language),
        traits=list(features(example)),
    )


def example_of(event: TrafficEvent) -> Example:
    """An event's question as an example."""
    turns = [turn["content"] for turn in event.messages if turn["role"] == "user"]
    query = turns[-1] if turns else event.messages[-1]["content"]
    return Example(event.id, query, tuple(event.messages))


def _refused(example: Example, said: str | None) -> bool | None:
    if said is None:
        return None
    refusal = Refusals().score(example, Response(example.id, said, None, None, None, None))[0]
    return None if refusal.value is None else refusal.value > 0


def _well_formed(example: Example, said: str | None) -> bool | None:
    """Whether an answer has every form that the system's turn or the last question asks for."""
    checks = list(_asked(example)) if said is not None else []
    try:
        return all(check(said or "") is None for check in checks) if checks else None
    except TooSlow:
        return None


def _asked(example: Example) -> Iterator[Check]:
    system = [turn["content"] for turn in example.messages if turn["role"] == "system"]
    for text in (*system, example.query):
        for name, pattern in _ASKS.items():
            if found := pattern.search(text[:_READ]):
                told: object = int(found[1]) if name == "max_words" else "fenced" if name == "json" else True
                yield make_check(name, told, name)


def _same_language(example: Example, said: str | None, language: str | None) -> bool | None:
    if said is None or language is None or len(example.query.strip()) < _SHORT:
        return None
    wanted = detect(example.query)
    try:
        return None if wanted is None else wanted == language or is_in(said, wanted)[0]
    except UnknownLanguage:
        return None


def bring_up_to_date(connection: Connection, progress: Callable[[int], None] | None = None) -> int:
    """Measures the events that these rules have not measured; returns how many there were.

    Whoever is killed has lost one portion of them, and the next call goes on.
    """
    waiting = monitor.count_unmeasured(connection, version())
    done = place = 0
    with _measuring(waiting) as measured:
        while done < waiting:
            events, place = monitor.unmeasured(connection, version(), place, _AT_ONCE)
            if not events:
                break
            writing.keep(connection, list(measured(events)))
            done += len(events)
            if progress:
                progress(done)
    return done


Measured = Callable[[list[TrafficEvent]], Iterator[TrafficMeasures]]


@contextmanager
def _measuring(events: int) -> Iterator[Measured]:
    """What measures events: on all processors, where they are many enough."""
    processes = useful_processes((), events)
    if processes == 1:
        yield lambda found: map(measure, found)
        return
    pool = ProcessPoolExecutor(processes, get_context("spawn"), prepare)
    try:
        yield lambda found: pool.map(measure, found, chunksize=200)
    finally:
        pool.shutdown(cancel_futures=True)
