"""Files of judge models: Prometheus 2's responses graded on a rubric or compared by one, JudgeLM's reviews.

Columns as its data sets have them (`orig_instruction`, `orig_response` …) or plain (`instruction`,
`response`, `response_A`, `response_B`), with the judge's answer under `output` or `feedback`.
"""

from pathlib import Path

from engine.data.example import Example, query_id
from engine.errors import BadInput
from engine.formats.records import FileRecord, Game, Grade, Grader, Imported, ImportedMatch, Side, rows
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
        _decide(found, key, winners)
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
    found.examples.setdefault(key, _judgelm_example(row, key, question))
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


def _decide(found: Imported, key: str, winners: dict[Order, Side | None]) -> None:
    candidate, baseline = _sides(found)
    both = len(winners) == 2
    first, *others = winners.values()
    second = others[0] if both else first  # one order alone stands for itself
    consistent = first == second if both and None not in winners.values() else None
    found.matches.append(
        ImportedMatch(JUDGE, candidate, baseline, key, 0, verdict(first, second), consistent)
    )


def _sides(found: Imported) -> tuple[str, str]:
    baseline = found.baselines[0]
    return next(name for name in found.models if name != baseline), baseline


ABSOLUTE, RELATIVE = "prometheus", "prometheus (pairs)"
FIRST, SECOND = "response A", "response B"


def read_prometheus(path: Path) -> Imported:
    """Gradings of both kinds, one a line. Raises BadInput naming file and line."""
    found = Imported("prometheus")
    for row in rows(path):
        instruction = _text(row, "instruction")
        key = row.optional("id") or query_id(instruction)
        found.examples.setdefault(key, _example(row, key, instruction))
        if _has(row, "response_A"):
            _read_pair(found, row, key)
        else:
            _read_grade(found, row, key)
    return found


def _read_grade(found: Imported, row: FileRecord, key: str) -> None:
    model = row.optional("model") or row.optional("generator") or "model"
    found.add_model(model)
    if (model, key) in found.answers:
        raise row.wrong("instruction", f"{model} was graded on it before; give each line an id of its own")
    found.answers[model, key] = (_text(row, "response"),)
    _add_grader(found, row, ABSOLUTE, "1-5")
    raw = _answer(row)
    parsed = parse_prometheus(raw, "12345")
    graded = isinstance(parsed, Graded)
    found.grades.append(
        Grade(
            ABSOLUTE,
            model,
            key,
            turn=0,
            score=float(parsed.result) if isinstance(parsed, Graded) else None,
            raw=raw,
            failure=None if graded else getattr(parsed, "reason", None),
        )
    )


def _read_pair(found: Imported, row: FileRecord, key: str) -> None:
    names = row.optional("model_A") or FIRST, row.optional("model_B") or SECOND
    for name, column in zip(names, ("response_A", "response_B"), strict=True):
        found.add_model(name)
        found.answers[name, key] = (_text(row, column),)
    if names[1] not in found.baselines:
        found.baselines.append(names[1])
    _add_grader(found, row, RELATIVE, None)
    raw = _answer(row)
    parsed = parse_prometheus(raw, "AB")
    winner: Side | None = None
    if isinstance(parsed, Graded):
        winner = "candidate" if parsed.result == "A" else "baseline"
    failure = None if isinstance(parsed, Graded) else parsed.reason
    found.games.append(Game(RELATIVE, *names, key, 0, "candidate_first", winner, raw, failure))
    outcome = "failed" if winner is None else "win" if winner == "candidate" else "loss"
    found.matches.append(ImportedMatch(RELATIVE, *names, key, 0, outcome, None))  # type: ignore[arg-type]  # a Verdict


def _add_grader(found: Imported, row: FileRecord, name: str, scale: str | None) -> None:
    kind = "pointwise" if scale else "pairwise"
    details = {"kind": kind, "model": row.optional("judge") or "prometheus", "server": None, "scale": scale}
    note = {"note": "read from Prometheus' files", "criteria": row.optional("orig_criteria")}
    found.graders.setdefault(name, Grader(name, "pointwise" if scale else "pairwise", details | note))


def _example(row: FileRecord, key: str, instruction: str) -> Example:
    reference = row.optional("orig_reference_answer") or row.optional("reference_answer")
    message = {"role": "user", "content": instruction}
    return Example(key, instruction, (message,), (reference,) if reference else ())


def _answer(row: FileRecord) -> str:
    """The judge's text; separate feedback and score are joined as it writes them."""
    whole = row.optional("output")
    if whole is not None:
        return whole
    result = next(
        (row.optional(key) for key in ("score", "orig_score", "orig_preference") if row.has(key)), None
    )
    feedback = row.optional("feedback") or row.optional("orig_feedback") or ""
    return feedback if result is None else f"{feedback} [RESULT] {result}"


def _text(row: FileRecord, key: str) -> str:
    return row.text(f"orig_{key}") if _has_original(row, key) else row.text(key)


def _has(row: FileRecord, key: str) -> bool:
    return row.has(key) or _has_original(row, key)


def _has_original(row: FileRecord, key: str) -> bool:
    return row.has(f"orig_{key}")
