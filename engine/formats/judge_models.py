"""Files of judge models: Prometheus 2's and BiGGen Bench's responses graded on a rubric, JudgeLM's reviews.

Columns as its data sets have them (`orig_instruction`, `orig_response` …) or plain (`instruction`,
`response`, `response_A`, `response_B`), with the judge's answer under `output` or `feedback`.
"""

import re
from contextlib import suppress
from pathlib import Path

from engine.data.example import Example, query_id
from engine.data.textfile import read_text
from engine.errors import BadInput
from engine.formats.records import (
    FileRecord,
    Game,
    Grade,
    Grader,
    Imported,
    ImportedMatch,
    Side,
    document,
    rows,
)
from engine.judges.answers import verdict
from engine.judges.judge import Order
from engine.judges.published import Graded, TwoScores, parse_judgelm, parse_prometheus

JUDGE = "judgelm"


def read_judgelm(path: Path) -> Imported:
    """Judgments with `pred_text`, one a line, from one file or a folder of them.

    A second line on the same question with the two answers exchanged is the other order. JudgeLM's reversed
    runs exchange the answers and not the model ids: a file with "revers" in its name, as in its own examples,
    is read so. Raises BadInput naming file and line, also where the order cannot be told.
    """
    found = Imported("judgelm")
    files = sorted([*path.rglob("*.jsonl"), *path.rglob("*.json")]) if path.is_dir() else [path]
    files.sort(key=_is_reversed)
    if not files:
        raise BadInput(f"{path}: holds no .jsonl files")
    orders: dict[str, dict[Order, Side | None]] = {}
    for file in files:
        for row in rows(file):
            _read(found, row, orders)
    for key, winners in orders.items():
        _decide(found, (JUDGE, *_sides(found), key), winners)
    return found


def _is_reversed(file: Path) -> bool:
    return "revers" in file.name.lower()


def _read(found: Imported, row: FileRecord, orders: dict[str, dict[Order, Side | None]]) -> None:
    key, question = row.text("question_id"), row.text("question_body")
    names = row.optional("answer1_model_id") or "answer 1", row.optional("answer2_model_id") or "answer 2"
    if names[0] == names[1]:
        raise row.wrong("answer2_model_id", "is the same model as answer1_model_id")
    texts = row.text("answer1_body"), row.text("answer2_body")
    if not found.models:
        # Of the first line: the first answer is the one that the others are measured against.
        found.baselines = [names[0]]
        found.models = list(names)
    if set(names) != set(found.models):
        raise row.wrong("answer1_model_id", f"compares {names[0]} and {names[1]}, unlike the lines before")
    found.add_example(_judgelm_example(row, key, question), row, "question_id")
    if _ids_are_exchanged(found, row, key, names, texts):
        names = names[::-1]
    for name, text in zip(names, texts, strict=True):
        found.answers[name, key] = (text,)
    details = {"kind": "pairwise", "model": row.optional("pred_model_id") or JUDGE, "server": None}
    found.graders.setdefault(
        JUDGE, Grader(JUDGE, "pairwise", details | {"note": "read from JudgeLM's files"})
    )
    order: Order = "baseline_first" if names[0] == found.baselines[0] else "candidate_first"
    if order in orders.setdefault(key, {}):
        raise row.wrong("question_id", f"question {key} was judged in this order before")
    orders[key][order] = _game(found, row, key, order)


def _ids_are_exchanged(
    found: Imported, row: FileRecord, key: str, names: tuple[str, str], texts: tuple[str, str]
) -> bool:
    """Whether the first model id belongs to the second answer, by the question's answers in other lines."""
    known = [found.answers[name, key][0] for name in names if (name, key) in found.answers]
    if known and known not in ([*texts], [*texts[::-1]]):
        raise row.wrong("answer1_body", f"question {key} has other answers in a line before")
    if _is_reversed(row.path):
        return not known or known == [*texts[::-1]]
    if known and known != [*texts]:
        raise row.wrong(
            "answer1_body",
            f"the answers to question {key} have changed places since a line before, and the model ids have "
            'not: whose is whose cannot be told; put "reversed" into the name of the reversed file',
        )
    return False


def _judgelm_example(row: FileRecord, key: str, question: str) -> Example:
    reference = row.values.get("reference")
    text = reference.get("text") if isinstance(reference, dict) else reference
    references = (text,) if isinstance(text, str) and text else ()
    return Example(key, question, ({"role": "user", "content": question},), references)


def _game(found: Imported, row: FileRecord, key: str, order: Order) -> Side | None:
    raw = row.optional("pred_text") or row.optional("text") or ""
    parsed = parse_judgelm(raw)
    candidate, baseline = _sides(found)
    winner: Side | None = None
    scores: dict[str, float] = {}
    if isinstance(parsed, TwoScores):
        places: tuple[Side, Side] = (
            ("candidate", "baseline") if order == "candidate_first" else ("baseline", "candidate")
        )
        winner = {"A": places[0], "B": places[1], "tie": "tie"}[parsed.winner]
        scores = dict(zip(places, (parsed.first, parsed.second), strict=True))
    found.games.append(
        Game(
            JUDGE,
            candidate,
            baseline,
            key,
            turn=0,
            order=order,
            winner=winner,
            raw=raw,
            failure=None if isinstance(parsed, TwoScores) else parsed.reason,
            candidate_score=scores.get("candidate"),
            baseline_score=scores.get("baseline"),
        )
    )
    return winner


def _decide(found: Imported, about: tuple[str, str, str, str], winners: dict[Order, Side | None]) -> None:
    both = len(winners) == 2
    first, *others = winners.values()
    second = others[0] if both else first  # one order alone stands for itself
    consistent = first == second if both and None not in winners.values() else None
    found.matches.append(ImportedMatch(*about, 0, verdict(first, second), consistent))


def _sides(found: Imported) -> tuple[str, str]:
    baseline = found.baselines[0]
    return next(name for name in found.models if name != baseline), baseline


Pairs = dict[tuple[str, str], dict[str, dict[Order, Side | None]]]  # by candidate and baseline, by example
ABSOLUTE, RELATIVE = "prometheus", "prometheus (pairs)"
FIRST, SECOND = "response A", "response B"


def read_prometheus(path: Path) -> Imported:
    """Gradings of both kinds, and BiGGen Bench's, one a record. Raises BadInput naming file and line.

    An instruction with several answers of one model is an example for each of them. A second row on a pair
    with the two models exchanged is the other order.
    """
    found = Imported("prometheus")
    pairs: Pairs = {}
    for row in _graded(path):
        if row.has("input", "response") and not row.has("instruction"):
            _read_biggen(found, row)
        elif row.has("response_A") or _has_original(row, "response_A"):
            _read_pair(found, row, pairs)
        else:
            _read_grade(found, row)
    for sides, played in pairs.items():
        for key, winners in played.items():
            _decide(found, (RELATIVE, *sides, key), winners)
    baselines = {base for _, base in pairs} - {candidate for candidate, _ in pairs}
    found.baselines = [name for name in found.models if name in baselines]
    return found


def _graded(path: Path) -> list[FileRecord]:
    """The records of a file; BiGGen Bench's scripts write one object with a record for each id."""
    if path.suffix == ".json" and read_text(path).lstrip().startswith("{"):
        with suppress(BadInput):  # lines, which are no one value
            whole = document(path)
            if all(isinstance(record, dict) for record in whole.values()):
                return [FileRecord(path, place, record) for place, record in enumerate(whole.values(), 1)]
    return rows(path)


def _key(found: Imported, row: FileRecord, instruction: str, model: str) -> str:
    """The example's id: its own, or one for each of the model's answers to the instruction."""
    own = row.optional("id")
    key = own or query_id(instruction)
    number = 1
    while (model, key) in found.answers:
        if own is not None:
            raise row.wrong("id", f"{model} was graded on {own} before; give each line an id of its own")
        number += 1
        key = f"{query_id(instruction)}-{number}"
    found.add_example(_example(row, key, instruction), row, "id")
    return key


def _model(row: FileRecord) -> str:
    names = ("model", "generator", "response_model_name", "model_name")
    return next((row.text(name) for name in names if row.has(name)), "model")


def _read_grade(found: Imported, row: FileRecord) -> None:
    model = _model(row)
    key = _key(found, row, _text(row, "instruction"), model)
    found.add_model(model)
    found.answers[model, key] = (_text(row, "response"),)
    _add_grader(found, row, ABSOLUTE, "1-5")
    raw = _answer(row)
    parsed = parse_prometheus(raw, "12345")
    score = float(parsed.result) if isinstance(parsed, Graded) else None
    failure = None if isinstance(parsed, Graded) else parsed.reason
    found.grades.append(Grade(ABSOLUTE, model, key, turn=0, score=score, raw=raw, failure=failure))


def _read_biggen(found: Imported, row: FileRecord) -> None:
    """One answer with one judge's `score`, or with a column for each judge, as `gpt4_score`."""
    model = _model(row)
    key = _key(found, row, row.text("input"), model)
    found.add_model(model)
    found.answers[model, key] = (row.text("response"),)
    columns = {name.removesuffix("_score"): name for name in row.values if name.endswith("_score")}
    if "score" in row.values:
        columns[row.optional("eval_model_name") or ABSOLUTE] = "score"
    if not columns:
        raise row.wrong("score", "is missing, and there is no column such as gpt4_score")
    for judge, column in columns.items():
        details = {"kind": "pointwise", "model": judge, "server": None, "scale": "1-5"}
        note = {"note": "read from BiGGen Bench's files"}
        found.graders.setdefault(judge, Grader(judge, "pointwise", details | note, judge != "human"))
        score = row.number_or_text(column)
        valid = score is not None and 1 <= score <= 5
        failure = (
            None if valid else "no score" if score is None else f"the score {score:g} is not from 1 to 5"
        )
        raw = row.optional("feedback") or ""
        found.grades.append(Grade(judge, model, key, 0, score if valid else None, raw, failure))


def _read_pair(found: Imported, row: FileRecord, pairs: Pairs) -> None:
    names = row.optional("model_A") or FIRST, row.optional("model_B") or SECOND
    if names[0] == names[1]:
        raise row.wrong("model_B", "is the same model as model_A")
    sides = names[::-1] if names[::-1] in pairs else names
    order: Order = "candidate_first" if sides == names else "baseline_first"
    played = pairs.setdefault(sides, {})
    instruction = _text(row, "instruction")
    answers = {
        name: (_text(row, column),) for name, column in zip(names, ("response_A", "response_B"), strict=True)
    }
    own = row.optional("id")
    key, number = own or query_id(instruction), 1
    while order in played.get(key, ()) or any(
        found.answers.get((name, key), given) != given for name, given in answers.items()
    ):
        if own is not None:
            raise row.wrong(
                "id", f"the pair of {own} was judged in this order before, or has other answers there"
            )
        number += 1
        key = f"{query_id(instruction)}-{number}"
    found.add_example(_example(row, key, instruction), row, "id")
    for name, given in answers.items():
        found.add_model(name)
        found.answers[name, key] = given
    _add_grader(found, row, RELATIVE, None)
    raw = _answer(row)
    parsed = parse_prometheus(raw, "AB")
    winner: Side | None = None
    if isinstance(parsed, Graded):
        winner = "candidate" if (parsed.result == "A") == (order == "candidate_first") else "baseline"
    failure = None if isinstance(parsed, Graded) else parsed.reason
    found.games.append(Game(RELATIVE, *sides, key, 0, order, winner, raw, failure))
    played.setdefault(key, {})[order] = winner


def _add_grader(found: Imported, row: FileRecord, name: str, scale: str | None) -> None:
    kind = "pointwise" if scale else "pairwise"
    details = {"kind": kind, "model": row.optional("judge") or "prometheus", "server": None, "scale": scale}
    note = {"note": "read from Prometheus' files", "criteria": row.optional("orig_criteria")}
    found.graders.setdefault(name, Grader(name, "pointwise" if scale else "pairwise", details | note))


def _example(row: FileRecord, key: str, instruction: str) -> Example:
    reference = row.optional("orig_reference_answer") or row.optional("reference_answer")
    messages = [{"role": "user", "content": instruction}]
    if row.has("system_prompt"):
        messages.insert(0, {"role": "system", "content": row.text("system_prompt")})
    rubric = row.values.get("score_rubric") or {
        name.removeprefix("orig_"): value
        for name, value in row.values.items()
        if value is not None and re.fullmatch(r"(?:orig_)?(?:criteria|score[1-5]_description)", name)
    }
    return Example(
        key, instruction, tuple(messages), (reference,) if reference else (),
        category=row.optional("capability"), extra={"rubric": rubric} if rubric else {},
    )  # fmt: skip


def _answer(row: FileRecord) -> str:
    """The judge's text; separate feedback and score are joined as it writes them."""
    whole = row.optional("output")
    if whole is not None:
        return whole
    result = next(
        (row.values[key] for key in ("score", "orig_score", "orig_preference") if row.has(key)), None
    )
    feedback = row.optional("feedback") or row.optional("orig_feedback") or ""
    # 4.0, as a column with gaps writes it, is 4.
    shown = f"{result:g}" if isinstance(result, float) else result
    return feedback if result is None else f"{feedback} [RESULT] {shown}"


def _text(row: FileRecord, key: str) -> str:
    return row.text(f"orig_{key}") if _has_original(row, key) else row.text(key)


def _has_original(row: FileRecord, key: str) -> bool:
    return row.has(f"orig_{key}")
