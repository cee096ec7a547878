"""What people and judges of any tool said of two answers, or of one: verdicts for a run, labels on a run.

Read as they are: rows with a winner (JSONL, JSON, CSV, Parquet), among them LMSYS' human judgments of
MT-Bench and Arena, PandaLM, LLMBar and AlpacaFarm; FairEval's lines; exports of Label Studio and Argilla;
users' thumbs and corrections. `fields` maps other columns to the names of COLUMNS, `values` other words for a
winner or a thumb.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine.data.example import Example, query_id
from engine.data.shapes import QUERIES, example_from
from engine.data.textfile import text_lines
from engine.errors import BadInput
from engine.formats.records import (
    UNKNOWN_QUESTION,
    FileRecord,
    Game,
    Grader,
    Imported,
    ImportedMatch,
    Side,
    rows,
)
from engine.judges.answers import verdict
from engine.judges.judge import Order

COLUMNS: dict[str, tuple[str, ...]] = {
    "id": ("id", "question_id", "example_id", "item_id"),
    "query": (),  # as in examples, or `input`
    "category": ("category",),
    "turn": ("turn",),
    "model_a": ("model_a", "model_1", "generator_1"),
    "model_b": ("model_b", "model_2", "generator_2"),
    "response_a": ("response_a", "output_1", "response1", "answer_a", "conversation_a"),
    "response_b": ("response_b", "output_2", "response2", "answer_b", "conversation_b"),
    "winner": ("winner", "preference", "label"),
    "winner_ab": ("winner_ab",),
    "winner_ba": ("winner_ba",),
    "judge": ("judge",),
    "annotator": ("annotator", "annotator_index", "annotator_id", "user"),
    "model": ("model",),
    "response": ("response", "output", "answer"),
    "rating": ("rating", "score"),
    "criterion": ("criterion",),
    "thumbs": ("thumbs", "feedback"),
    "tag": ("tag", "tags"),
    "note": ("note", "comment"),
    "correction": ("correction", "corrected"),
}
_WINNERS = ("winner", "winner_ab", "winner_ba")
_OF_ONE = ("rating", "thumbs", "tag", "note", "correction")

Said = Literal["first", "second", "tie", "both_bad", "failed"]
_SHOWN: dict[str, Said] = {
    "a": "first", "1": "first", "first": "first", "left": "first",
    "b": "second", "2": "second", "second": "second", "right": "second",
}  # fmt: skip
_NAMED: dict[str, Said] = {
    "model_a": "first", "model_1": "first", "response_a": "first", "output_1": "first",
    "model_b": "second", "model_2": "second", "response_b": "second", "output_2": "second",
}  # fmt: skip
_NEITHER: dict[str, Said] = {
    "tie": "tie", "draw": "tie", "equal": "tie", "same": "tie", "c": "tie",
    "tie (bothbad)": "both_bad", "bothbad": "both_bad", "both_bad": "both_bad", "both bad": "both_bad",
    "": "failed", "error": "failed", "failed": "failed", "none": "failed", "nan": "failed",
}  # fmt: skip
_OTHER: dict[Said, Said] = {"first": "second", "second": "first"}
THUMBS = {
    **dict.fromkeys(("up", "1", "true", "yes", "good", "like", "+", "+1", "positive", "👍"), "up"),
    **dict.fromkeys(("down", "0", "-1", "false", "no", "bad", "dislike", "-", "negative", "👎"), "down"),
}
_PEOPLE = re.compile(r"(?:expert|author|arena_user|human|annotator)[_-]?\w*")
_TAG_WORDS = 4  # of a text; more are a note


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as the file names it: by its model, its text (turn by turn), or both."""

    model: str | None
    turns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Vote:
    """One statement about two answers, or about one (`second` is None).

    Only a preference is about two; anything else beside two answers does not say which of them it is about.
    `value` of a preference is one of Said, for the answers as the row lists them; `swapped` is the same from
    the other order. `place` is the question's place in a file that names no questions.
    """

    row: FileRecord
    by: str | None
    is_person: bool
    kind: str
    value: str
    first: Answer
    second: Answer | None = None
    swapped: Said | None = None
    criterion: str | None = None
    example: str | None = None
    asked: tuple[str, ...] = ()
    category: str | None = None
    turn: int = 0
    place: int | None = None


def read_votes(path: Path, fields: Mapping[str, str], values: Mapping[str, str]) -> list[Vote]:
    """All that a file says. Raises BadInput naming line and key, and for what it does not understand."""
    if path.suffix == ".txt":
        return _fair_eval(path, values)
    records = rows(path)
    for name, column in fields.items():
        if not any(column in _data(row.values) for row in records):
            known = ", ".join(_data(records[0].values))
            raise BadInput(f"{path}: has no column {column!r} for {name}", f"its columns: {known}")
    ties, found = _ties(records), []
    for row in records:
        try:
            said = _statements(row, fields, values, ties)
            found += [vote for each in said for vote in _votes(row, each, values)]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadInput(f"{path}:{row.line}: has not the shape that its keys promise: {error}") from error
    return found


def _ties(records: list[FileRecord]) -> tuple[str, ...]:
    """The ties of a `preference`: 0 is one in AlpacaFarm's, which goes from 1 to 2, not in one of 0 and 1."""
    given = {_word(_data(row.values).get("preference")) for row in records}
    return ("0", "1.5") if given & {"1.5", "2"} else ("1.5",)


def _data(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where a record has its own columns: Label Studio and Argilla keep them apart."""
    inner = record.get("data", record.get("fields"))
    return {**record, **inner} if isinstance(inner, dict) else record


def _column(row: FileRecord, name: str, fields: Mapping[str, str]) -> tuple[str, Any]:
    """The filled column that holds a value, and the value; ("", None) where there is none.

    A task's own id counts where its data has none. Raises BadInput where two columns say different things.
    """
    record, inner = row.values, row.values.get("data", row.values.get("fields"))
    places = [inner, record] if isinstance(inner, dict) and name == "id" else [_data(record)]
    for place in places:
        known = [fields[name]] if name in fields else COLUMNS[name]
        filled = [(column, place[column]) for column in known if _filled(place.get(column))]
        for column, value in filled[1:]:
            if _said_alike(name, value) != _said_alike(name, filled[0][1]):
                raise BadInput(
                    f"{row.path}:{row.line}: {filled[0][0]} and {column} say different things",
                    f"Name the one that is meant: --field {name}={filled[0][0]}, or {name}={column}.",
                )
        if filled:
            return filled[0]
    return "", None


def _filled(value: object) -> bool:
    """Not an empty cell, nor the NaN of a column with gaps."""
    return value is not None and value == value and not (isinstance(value, str) and not value.strip())


def _said_alike(name: str, value: Any) -> object:
    return _turns(value)[-1:] if name.startswith("response") else _word(value)


def _fair_eval(path: Path, values: Mapping[str, str]) -> list[Vote]:
    """One winner a line, in the order of the questions."""
    said = [(line, text.strip()) for line, text in text_lines(path) if text.strip()]
    words = {values.get(text, text) for _, text in said}
    models = sorted(word for word in words if word.lower() not in _NEITHER)
    if len(models) != 2:
        raise BadInput(f"{path}: names {len(models)} winners ({', '.join(models)}), expected two and TIE")
    pair = {"model_a": models[0], "model_b": models[1]}
    return [
        vote
        for place, (line, text) in enumerate(said)
        for vote in _votes(
            FileRecord(path, line, {}), {**pair, "winner": text, "place": place, "person": True}, values
        )
    ]


def _statements(
    row: FileRecord, fields: Mapping[str, str], values: Mapping[str, str], ties: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    """The statements of one record, by our names for their columns."""
    record = row.values
    base: dict[str, Any] = {}
    for name in COLUMNS:
        column, value = _column(row, name, fields)
        if column:
            base[name] = value
            if column == "preference":
                base["ties"] = ties
    # A winner that is empty is a failed verdict.
    empty = (name for name in _WINNERS if {fields.get(name), *COLUMNS[name]} & {*_data(record)})
    base = dict.fromkeys(empty, "") | base
    base["asked"] = _asked(row, fields)
    if "rating" in fields and "criterion" not in base:
        base["criterion"] = fields["rating"]
    # What a task shows of others' verdicts is not what the person said.
    shown = {name: value for name, value in base.items() if name not in (*_WINNERS, *_OF_ONE, "annotator")}
    if isinstance(record.get("data"), dict) and ("annotations" in record or "completions" in record):
        given = _label_studio(row)
    elif ("responses" in record and "fields" in record) or any(
        name.endswith(".responses") for name in record
    ):
        given = _argilla(row)
    elif "cmp_key" in record:
        yield from _panda_lm(row, base)
        return
    else:
        yield base
        return
    for who, question, value in given:
        yield from _answered(row, shown, who, question, value, values)


def _panda_lm(row: FileRecord, base: dict[str, Any]) -> Iterator[dict[str, Any]]:
    first, _, second = row.text("cmp_key").partition("_")
    for name, value in row.values.items():
        if re.fullmatch(r"annotator\d+", name) and value is not None:
            yield base | {
                "model_a": first, "model_b": second, "annotator": name, "winner": value, "ties": ("0",),
            }  # fmt: skip


def _label_studio(row: FileRecord) -> Iterator[tuple[object, str, Any]]:
    """Person, question and answer of each annotation."""
    for annotation in row.values.get("annotations", row.values.get("completions")) or ():
        if annotation.get("was_cancelled"):
            continue
        who = annotation.get("completed_by", "annotator")
        if isinstance(who, dict):
            who = who.get("email") or who.get("id")
        for result in annotation.get("result") or ():
            value = result.get("value") or {}
            given = value.get("selected", value.get("rating"))
            given = next((value[name] for name in ("choices", "text") if value.get(name)), given)
            yield who, str(result.get("from_name")), given


def _argilla(row: FileRecord) -> Iterator[tuple[object, str, Any]]:
    """As `_label_studio`, of nested and of flat records; what was not submitted is no answer."""
    record = row.values
    for question, responses in (record.get("responses") or {}).items():
        for each in responses:
            if each.get("status") in (None, "submitted"):
                yield each.get("user_id") or "annotator", question, each.get("value")
    for column, given in record.items():
        if column.endswith(".responses") and given is not None:
            parts = [record.get(f"{column}.{name}") or [None] * len(given) for name in ("users", "status")]
            for value, user, status in zip(given, *parts, strict=True):
                if status in (None, "submitted"):
                    yield user or "annotator", column.removesuffix(".responses"), value


def _answered(
    row: FileRecord, shown: dict[str, Any], who: object, question: str, given: Any, values: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """What a person's answer to a question of an annotation tool says."""
    for value in _chosen(row, shown, question, given, values) if isinstance(given, list) else [given]:
        said = shown | {"annotator": who}
        if _is_winner(shown, value, values):
            yield said | {"winner": value}
        elif values.get(_word(value)) in ("up", "down"):
            yield said | {"thumbs": value}
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield said | {"rating": value, "criterion": question}
        elif value is not None and "correct" in question:
            yield said | {"correction": value}
        elif value is not None:
            long = len(str(value).split()) > _TAG_WORDS or "note" in question or "comment" in question
            yield said | {"note" if long else "tag": value}


def _chosen(
    row: FileRecord, shown: Mapping[str, Any], question: str, given: list[Any], values: Mapping[str, str]
) -> list[Any]:
    """The first of two ranked answers, a tie where both have one rank; other lists as they are.

    Argilla's Python package drops the ranks of a ranking, and its server keeps the values in the order of the
    question's options, not of the ranks: nothing tells which is better (argilla-io/argilla#5712).
    """
    options = [each.get("value") if isinstance(each, dict) else each for each in given]
    ranks = [each.get("rank") if isinstance(each, dict) else None for each in given]
    if len(given) < 2 or (None in ranks and not all(_is_winner(shown, each, values) for each in options)):
        return options
    if None in ranks:
        raise BadInput(
            f"{row.path}:{row.line}: {question}: lists {len(given)} answers without their ranks",
            "Argilla's Python package leaves a ranking's ranks out, and its order is that of the options. "
            'Export the records from its server, as {"value": …, "rank": …}, or ask with a label question.',
        )
    if len(given) != 2:
        raise row.wrong(question, f"ranks {len(given)} answers; only a ranking of two is a preference")
    one, other = (float(str(rank)) for rank in ranks)
    return ["tie" if one == other else options[one > other]]


def _is_winner(shown: Mapping[str, Any], value: object, values: Mapping[str, str]) -> bool:
    """Whether an answer in a task with two answers names one; a number does only where `values` says so."""
    if not _filled(value):
        return False
    if value in ("left", "right"):
        return True
    word = _word(value)
    if not {"model_b", "response_b"} & {*shown} or (isinstance(value, int | float) and word not in values):
        return False
    meant = values.get(word, word)
    models = (shown.get("model_a"), shown.get("model_b"))
    return meant in models or meant.lower() in {**_SHOWN, **_NAMED, **_NEITHER}


def _votes(row: FileRecord, said: dict[str, Any], values: Mapping[str, str]) -> Iterator[Vote]:
    judge, person = said.get("judge"), said.get("annotator")
    by = person if person is not None else judge[0] if isinstance(judge, list) and judge else judge
    turn = _word(said.get("turn") or 0)
    if not re.fullmatch(r"\d{1,4}", turn):
        raise row.wrong("turn", f"found {turn!r:.60}, expected a whole number")
    shared: dict[str, Any] = {
        "row": row,
        "by": _name(by),
        "is_person": person is not None or bool(said.get("person") or _PEOPLE.fullmatch(str(by or ""))),
        "example": _name(said.get("id")),
        "asked": said.get("asked", ()),
        "category": _name(said.get("category")),
        "turn": int(turn),
        "place": said.get("place"),
    }
    pair = [Answer(_name(said.get(f"model_{side}")), _turns(said.get(f"response_{side}"))) for side in "ab"]
    orders = [name for name in _WINNERS if name in said]
    given = [name for name in _OF_ONE if said.get(name) not in (None, "", [])]
    # Beside one answer, a `label` is no winner.
    if orders and (pair[1] != Answer(None) or not given):
        words = {**dict.fromkeys(said.get("ties", ()), "tie"), **values}
        told = {name: _preference(row, name, said[name], pair, words) for name in orders}
        first = told.get("winner", told.get("winner_ab"))
        if first is None:
            raise row.wrong("winner_ab", "is missing beside winner_ba")
        yield Vote(kind="preference", value=first, first=pair[0], second=pair[1],
                   swapped=told.get("winner_ba"), **shared)  # fmt: skip
        return
    one = Answer(_name(said.get("model")), _turns(said.get("response")))
    about = (pair[0], pair[1]) if one == Answer(None) and pair[1] != Answer(None) else (one, None)
    if not given:
        known = ", ".join(("winner", "winner_ab", *_OF_ONE))
        raise BadInput(
            f"{row.path}:{row.line}: says nothing of an answer",
            f"Name the column that does: --field NAME=COLUMN, with NAME one of {known}.",
        )
    for kind in given:
        for value in said[kind] if isinstance(said[kind], list) else [said[kind]]:
            criterion = str(said.get("criterion") or "overall") if kind == "rating" else None
            yield Vote(
                kind=kind, value=_single(row, kind, value, values), first=about[0], second=about[1],
                criterion=criterion, **shared,
            )  # fmt: skip


def _preference(
    row: FileRecord, key: str, value: object, pair: list[Answer], values: Mapping[str, str]
) -> Said:
    """Letters, numbers and sides mean the answer as it was shown; the names of models and columns do not.

    Raises BadInput for a word that means neither, and for a model's name that means something else as well.
    """
    shown = _word(value)
    given = _meant(shown, values)
    word = given.lower().removeprefix("[[").removesuffix("]]")  # [[A]], as judges are told to answer
    side = _SHOWN.get(word)
    places: tuple[Said, Said] = ("first", "second")
    found = {
        _NEITHER.get(word) or _NAMED.get(word) or (_OTHER[side] if side and key == "winner_ba" else side),
        *(place for answer, place in zip(pair, places, strict=True) if given == answer.model),
    } - {None}
    if len(found) == 1:
        return found.pop()  # type: ignore[return-value]  # None is taken out
    named = value if given in ("?", shown) else given
    what = (
        "which is no winner" if not found else "which is a model's name, and means the other side or no side"
    )
    raise BadInput(
        f"{row.path}:{row.line}: {key}: found {named!r:.60}, {what}",
        f"Say what it means: --value {shown:.20}=model_a (or model_b, tie, both_bad, failed)."
        if found
        else f"Say what it means: --value {shown:.20}=a (or b, tie, both_bad, failed, a model's name).",
    )


def _meant(shown: str, values: Mapping[str, str]) -> str:
    """What a value stands for; "?" for 1 and 2 where 0 or -1 is one of the answers and leaves them open.

    Otherwise they are the first and the second answer: with 0 as the one, 1 is the other.
    """
    lowest = next((values[number].lower() for number in ("-1", "0") if number in values), "tie")
    if shown in values or shown not in ("1", "2") or lowest in _NEITHER:
        return values.get(shown, shown)
    others = {"first": "b", "second": "a"} if lowest in _SHOWN else {"first": "model_b", "second": "model_a"}
    side = _SHOWN.get(lowest) or _NAMED.get(lowest)
    return others.get(side or "", "?") if shown == "1" else "?"


def _single(row: FileRecord, kind: str, value: object, values: Mapping[str, str]) -> str:
    text = _word(value)
    if kind == "thumbs":
        text = values.get(text, text)
        if text.lower() not in THUMBS:
            raise row.wrong(kind, f"found {text!r:.60}, expected up or down; --value {text:.20}=up says so")
        return THUMBS[text.lower()]
    if kind == "rating":
        number = FileRecord(row.path, row.line, {kind: text}).number_or_text(kind)
        if number is None:
            raise row.wrong(kind, f"found {text!r:.60}, expected a number")
        return f"{number:.15g}"
    return text if kind != "correction" else str(value)


def _word(value: object) -> str:
    return (_text(value) or "").strip()


def _name(value: object) -> str | None:
    return _word(value) or None


def _text(value: object) -> str | None:
    """A value as text; 1.0, as a column with gaps writes it, is 1."""
    return None if value is None else f"{value:.15g}" if isinstance(value, float) else str(value)


def _turns(value: object) -> tuple[str, ...]:
    """An answer's text, or the assistant's turns of a conversation."""
    if isinstance(value, list):
        return tuple(str(turn.get("content")) for turn in value if turn.get("role") == "assistant")
    return () if value is None else (str(value),)


def _asked(row: FileRecord, fields: Mapping[str, str]) -> tuple[str, ...]:
    """The user's turns: of the conversations that were compared, or the question as of an example."""
    record = _data(row.values)
    conversation = record.get("conversation_a")
    if isinstance(conversation, list):
        return tuple(str(turn.get("content")) for turn in conversation if turn.get("role") == "user")
    columns = (fields["query"],) if "query" in fields else (*QUERIES, "input")
    found = {name: record[name] for name in columns if _filled(record.get(name))}
    if len(found) == 1:
        found = {"query": next(iter(found.values()))}
    return (example_from(row.path, (row.line, found), {}).query,) if found else ()


def read_verdicts(
    path: Path, fields: Mapping[str, str], values: Mapping[str, str], baseline: str | None = None
) -> Imported:
    """The verdicts on pairs as a run: of each pair of models the first that is named first is the candidate.

    A second row on the same with the models exchanged is the other order. With `baseline` that model is the
    one that the others are measured against. Raises BadInput naming line and key.
    """
    found = Imported("verdicts")
    votes = [vote for vote in read_votes(path, fields, values) if vote.kind == "preference"]
    if not votes:
        raise BadInput(
            f"{path}: holds no verdicts on two answers", "Name the winner's column: --field winner=…"
        )
    sides: dict[frozenset[str], tuple[str, str]] = {}
    played: dict[tuple[str, str, str, str, int], dict[Order, Side | None]] = defaultdict(dict)
    superseded = 0
    for vote in votes:
        assert vote.second is not None
        names = vote.first.model or "answer A", vote.second.model or "answer B"
        if names[0] == names[1]:
            raise vote.row.wrong("model_b", f"is {names[0]!r:.60} like model_a")
        key = _example(found, vote, names)
        pair = sides.setdefault(frozenset(names), names[::-1] if names[0] == baseline else names)
        judge = vote.by or path.stem
        note = f"verdicts read from {path.name}"
        details = {"kind": "pairwise", "model": judge, "server": None, "note": note}
        found.graders.setdefault(judge, Grader(judge, "pairwise", details, not vote.is_person))
        orders = played[judge, *pair, key, vote.turn]
        for said, shown in ((vote.value, names), (vote.swapped, names[::-1])):
            if said is None:
                continue
            order: Order = "candidate_first" if shown[0] == pair[0] else "baseline_first"
            winner = _side(said, names, pair)
            superseded += order in orders
            if winner is not None or order not in orders:
                orders[order] = winner
    for (judge, candidate, base, key, turn), orders in played.items():
        about = (judge, candidate, base, key, turn)
        for order, winner in orders.items():
            found.games.append(Game(*about, order, winner, "", None if winner else "no winner in the file"))
        first, second = orders.get("candidate_first"), orders.get("baseline_first")
        both = len(orders) == 2
        alone = next(iter(orders.values()))  # one order stands for itself
        consistent = first == second if both and first is not None and second is not None else None
        outcome = verdict(first, second) if both else verdict(alone, alone)
        found.matches.append(ImportedMatch(*about, outcome, consistent))
    if superseded:
        count = "1 verdict was" if superseded == 1 else f"{superseded:,} verdicts were"
        found.notes.append(f"{count} superseded: the last valid one of the same stands")
    seconds = {base for _, base in sides.values()}
    firsts = {candidate for candidate, _ in sides.values()}
    found.baselines = sorted(seconds) if len(seconds) == 1 and not seconds & firsts else []
    if baseline is not None:
        if baseline not in found.models:
            raise BadInput(
                f"{path}: no verdicts on a model {baseline!r}", f"its models: {', '.join(found.models)}"
            )
        found.baselines = [baseline]
    return found


def _side(said: str, names: tuple[str, str], pair: tuple[str, str]) -> Side | None:
    if said in ("tie", "both_bad"):
        return "tie"
    if said == "failed":
        return None
    return "candidate" if names[said == "second"] == pair[0] else "baseline"


def _example(found: Imported, vote: Vote, names: tuple[str, str]) -> str:
    """The vote's example, with both answers; where a file has no ids, other answers make it another one.

    Of rows without id and question only the same answers tell that two are about the same.
    """
    assert vote.second is not None
    texts = vote.asked[:1] or sorted(vote.first.turns + vote.second.turns)
    key = start = vote.example or (query_id("\n".join(texts)) if texts else str(vote.row.line))
    answers = dict(zip(names, (vote.first.turns, vote.second.turns), strict=True))
    number = 1
    while any(not _same(found.answers.get((name, key)), turns) for name, turns in answers.items()):
        if vote.example:
            raise vote.row.wrong("id", f"the answers to {key} are not those of the lines before")
        number += 1
        key = f"{start}-{number}"
    asked = vote.asked or (UNKNOWN_QUESTION,)
    message = {"role": "user", "content": asked[0]}
    turns = asked if len(asked) > 1 else ()
    example = Example(key, asked[0], (message,), category=vote.category, turns=turns)
    found.add_example(example, vote.row, "id")
    for name, given in answers.items():
        found.add_model(name)
        if given and len(given) >= len(found.answers.get((name, key), ())):
            found.answers[name, key] = given
    return key


def _same(known: tuple[str, ...] | None, given: tuple[str, ...]) -> bool:
    """Whether one of two conversations begins with the other."""
    return known is None or all(one == other for one, other in zip(known, given, strict=False))
