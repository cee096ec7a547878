"""MT-Bench's files (FastChat `llm_judge`): questions, answers, and judgments of both kinds.

A folder is laid out as FastChat's `data/mt_bench`: `question.jsonl`, `model_answer/*.jsonl`,
`reference_answer/*.jsonl`, `model_judgment/*_single.jsonl` and `*_pair.jsonl`. A judgment file alone can be
read too; then there are no texts beside the judgments' own.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from engine.data.example import Example
from engine.errors import BadInput
from engine.formats.records import (
    UNKNOWN_QUESTION,
    FileRecord,
    Game,
    Grade,
    Grader,
    Imported,
    ImportedMatch,
    Side,
    rows,
)
from engine.judges.answers import verdict
from engine.judges.judge import Order

_UNPARSED, _ERROR = -1, "$ERROR$"
_QUESTION = re.compile(r"\[Question\]\s*(.*?)\s*\[The Start of", re.DOTALL)


def read_mt_bench(path: Path, *, all_rows: bool = False) -> Imported:
    """Everything in a folder, or in one judgment file. Raises BadInput naming file and line.

    FastChat appends when it is run again. The last valid row on an answer or a pair stands, and the others
    are noted; `all_rows` lets each count once more in means and win rates, as FastChat's own do.
    """
    found = Imported("mt-bench")
    files = sorted((path / "model_judgment").glob("*.jsonl")) if path.is_dir() else [path]
    if path.is_dir():
        _read_questions(found, path)
        for file in sorted((path / "model_answer").glob("*.jsonl")):
            _read_answers(found, file)
    if not files and not found.answers:
        raise BadInput(
            f"{path}: holds no MT-Bench answers or judgments",
            "Name FastChat's data/mt_bench folder, or a model_judgment/*_single.jsonl or *_pair.jsonl file.",
        )
    standing, superseded = _latest(row for file in files for row in rows(file))
    for row in standing:
        if _is_single(row):
            found.grades.append(_grade(found, row))
        else:
            found.matches.append(_match(found, row))
            found.games += _games(found, row)
    if superseded and all_rows:
        found.repeated_grades = [_grade(found, row) for row in superseded if _is_single(row)]
        found.repeated_matches = [_match(found, row) for row in superseded if not _is_single(row)]
    if superseded:
        count = "1 row was" if len(superseded) == 1 else f"{len(superseded)} rows were"
        also = "; all count in means and win rates" if all_rows else ""
        found.notes.append(f"{count} superseded: of judgments of the same, the last valid one stands{also}")
    _name_baselines(found)
    return found


def _is_single(row: FileRecord) -> bool:
    return row.has("model", "score")


def _latest(judged: Iterable[FileRecord]) -> tuple[list[FileRecord], list[FileRecord]]:
    """The rows that stand, the last valid one on each answer or pair, and those that they supersede."""
    kept: dict[tuple[str, ...], FileRecord] = {}
    superseded = []
    for row in judged:
        if _is_single(row):
            sides: tuple[str, ...] = (row.text("model"),)
            valid = _is_rating(row.number("score"))
        elif row.has("model_1", "model_2", "g1_winner", "g2_winner"):
            sides = row.text("model_1"), row.text("model_2")
            if sides[0] == sides[1]:
                raise row.wrong("model_2", "is the same model as model_1")
            valid = "error" not in (row.text("g1_winner"), row.text("g2_winner"))
        else:
            raise BadInput(f"{row.path}:{row.line}: is no MT-Bench judgment, neither single nor pair")
        key = (_named(row)[0], *sides, row.text("question_id"), str(_turn(row)))
        if key in kept:
            superseded.append(kept[key] if valid else row)
        if valid or key not in kept:
            kept[key] = row
    return list(kept.values()), superseded


def _is_rating(score: float | None) -> bool:
    return score is not None and 0 <= score <= 10


def _turn(row: FileRecord) -> int:
    turn = row.whole("turn") if row.has("turn") else 1
    if not 1 <= turn < 10_000:
        raise row.wrong("turn", f"found {turn!r:.20}, expected 1 for the first turn, 2 for the second …")
    return turn


def _read_questions(found: Imported, folder: Path) -> None:
    if not (folder / "question.jsonl").is_file():
        raise BadInput(f"{folder}: has no question.jsonl")
    references = _references(folder)
    for row in rows(folder / "question.jsonl"):
        key, turns = row.text("question_id"), row.texts("turns")
        if not turns:
            raise row.wrong("turns", "is empty")
        own = row.texts("reference") if row.has("reference") else ()
        example = _example(key, turns, references.get(key, own), row.optional("category"))
        found.add_example(example, row, "question_id")


def _references(folder: Path) -> dict[str, tuple[str, ...]]:
    """The reference answers, every turn's, of the first file that has some."""
    for file in sorted((folder / "reference_answer").glob("*.jsonl")):
        return {row.text("question_id"): _turns(row) for row in rows(file)}
    return {}


def _example(
    key: str, turns: tuple[str, ...], references: tuple[str, ...] = (), category: str | None = None
) -> Example:
    return Example(
        id=key,
        query=turns[0],
        messages=({"role": "user", "content": turns[0]},),
        references=references,
        category=category,
        turns=turns,
    )


def _read_answers(found: Imported, file: Path) -> None:
    for row in rows(file):
        model, key = row.optional("model_id") or file.stem, row.text("question_id")
        found.add_model(model)
        turns = _turns(row)
        found.examples.setdefault(key, _example(key, (UNKNOWN_QUESTION,)))
        found.answers[model, key] = turns


def _turns(row: FileRecord) -> tuple[str, ...]:
    choices = row.values.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise row.wrong("choices", "expected a list of {index, turns}")
    return FileRecord(row.path, row.line, choices[0]).texts("turns")


def _grade(found: Imported, row: FileRecord) -> Grade:
    judge, model, key = _judge(found, row, "pointwise"), row.text("model"), row.text("question_id")
    found.add_model(model)
    _ensure_example(found, key, row.optional("user_prompt"))
    score = row.number("score")
    parsed = _is_rating(score)
    raw = row.optional("judgment") or ""
    unread = (
        "no rating could be read"
        if score in (None, _UNPARSED)
        else f"the score {score:g} is not from 0 to 10"
    )
    failure = None if parsed else _failure(raw, unread)
    return Grade(judge, model, key, _turn(row), score if parsed else None, raw, failure)


def _failure(raw: str, otherwise: str) -> str:
    return "the judge's server failed" if raw == _ERROR else otherwise


def _match(found: Imported, row: FileRecord) -> ImportedMatch:
    judge, key = _judge(found, row, "pairwise"), row.text("question_id")
    sides = row.text("model_1"), row.text("model_2")
    for model in sides:
        found.add_model(model)
    _ensure_example(found, key, row.optional("g1_user_prompt"))
    winners = _winner(row, "g1_winner"), _winner(row, "g2_winner")
    consistent = None if None in winners else winners[0] == winners[1]
    return ImportedMatch(judge, *sides, key, _turn(row), verdict(*winners), consistent)


def _games(found: Imported, row: FileRecord) -> Iterable[Game]:
    judge, sides = _judge(found, row, "pairwise"), (row.text("model_1"), row.text("model_2"))
    orders: tuple[Order, Order] = ("candidate_first", "baseline_first")
    for game, order in zip(("g1", "g2"), orders, strict=True):
        winner, raw = _winner(row, f"{game}_winner"), row.optional(f"{game}_judgment") or ""
        failure = None if winner else _failure(raw, "no winner could be read")
        yield Game(judge, *sides, row.text("question_id"), _turn(row), order, winner, raw, failure)


def _winner(row: FileRecord, key: str) -> Side | None:
    sides: dict[str, Side | None] = {
        "model_1": "candidate", "model_2": "baseline", "tie": "tie", "error": None,
    }  # fmt: skip
    value = row.text(key)
    if value not in sides:
        raise row.wrong(key, f"found {value!r:.60}; allowed: model_1, model_2, tie, error")
    return sides[value]


def _judge(found: Imported, row: FileRecord, kind: str) -> str:
    """The judge's name; its prompt, which differs by category and turn, is kept with it."""
    model, prompt = _named(row)
    name = model if kind == "pointwise" else f"{model} (pairs)"
    details = {"kind": kind, "model": model, "server": None, "note": "judgments read from MT-Bench's files"}
    scale = {"scale": "1-10"} if kind == "pointwise" else {}
    grader = found.graders.setdefault(
        name,
        Grader(name, "pointwise" if kind == "pointwise" else "pairwise", details | scale | {"prompts": []}),
    )
    if prompt and prompt not in grader.details["prompts"]:
        grader.details["prompts"].append(prompt)
    return name


def _named(row: FileRecord) -> tuple[str, str | None]:
    """The judge's model and its prompt."""
    named = row.values.get("judge")
    if not isinstance(named, list) or not named:
        return str(named or "unknown"), None
    return str(named[0]), str(named[1]) if len(named) > 1 else None


def _ensure_example(found: Imported, key: str, prompt: str | None) -> None:
    """A question known only from what a judge was asked about it."""
    if key not in found.examples:
        asked = _QUESTION.search(prompt or "")
        found.examples[key] = _example(key, (asked[1] if asked else f"question {key}",))


def _name_baselines(found: Imported) -> None:
    """FastChat puts the baseline in the second place of every pair; with all pairs there is none."""
    seconds = {match.baseline for match in found.matches}
    firsts = {match.candidate for match in found.matches}
    found.baselines = sorted(seconds) if len(seconds) == 1 and not seconds & firsts else []
