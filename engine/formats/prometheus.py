"""Prometheus 2's files: responses graded on a rubric, or two compared by one.

Columns as its data sets have them (`orig_instruction`, `orig_response` …) or plain (`instruction`,
`response`, `response_A`, `response_B`), with the judge's answer under `output` or `feedback`.
"""

from pathlib import Path

from engine.data.example import Example, query_id
from engine.formats.records import FileRecord, Game, Grade, Grader, Imported, ImportedMatch, Side, rows
from engine.judges.published import Graded, parse_prometheus

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
