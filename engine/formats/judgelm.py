"""JudgeLM's files: pairs of answers with the judge's verdicts."""

from pathlib import Path

from engine.data.example import Example
from engine.errors import BadInput
from engine.formats.records import FileRecord, Game, Grader, Imported, ImportedMatch, Side, rows
from engine.judges.answers import verdict
from engine.judges.judge import Order
from engine.judges.published import TwoScores, parse_judgelm

JUDGE = "judgelm"


def read_judgelm(path: Path) -> Imported:
    """Judgments with `pred_text`, one a line, from one file or a folder of them.

    A second line on the same question with the two answers exchanged is the other order. Raises BadInput
    naming file and line.
    """
    found = Imported("judgelm")
    files = sorted([*path.rglob("*.jsonl"), *path.rglob("*.json")]) if path.is_dir() else [path]
    if not files:
        raise BadInput(f"{path}: holds no .jsonl files")
    orders: dict[str, dict[Order, Side | None]] = {}
    for file in files:
        for row in rows(file):
            _read(found, row, orders)
    for key, winners in orders.items():
        _decide(found, key, winners)
    return found


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
    found.examples.setdefault(key, _example(row, key, question))
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


def _example(row: FileRecord, key: str, question: str) -> Example:
    reference = row.values.get("reference")
    text = reference.get("text") if isinstance(reference, dict) else None
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
