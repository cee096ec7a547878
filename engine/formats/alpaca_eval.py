"""AlpacaEval's files: outputs and annotations, old and new."""

import hashlib
from pathlib import Path

from engine.data.example import Example, query_id
from engine.errors import BadInput
from engine.formats.records import FileRecord, Game, Grader, Imported, ImportedMatch, Side, rows
from engine.judges.answers import Verdict

_TIE = 1.5
_OLD_DRAW, _MISSING = 0.0, -1.0


def read_alpaca_eval(path: Path) -> Imported:
    """An `annotations.json` or `model_outputs.json`, or a folder that holds them.

    `preference` runs from 1 (the baseline, output_1) to 2 (the model, output_2); 1.5, and 0 in old files, is
    a draw; -1 and missing ones are failed judgments. A model's points on an instruction are preference - 1.
    A baseline judged against itself is imported as a second model. An instruction that stands there twice is
    two examples, as in AlpacaEval's mean.
    """
    found = Imported("alpaca-eval")
    played = set[tuple[str, str, str, str]]()
    for file in _files(path):
        for row in rows(file):
            if row.has("output_1", "output_2"):
                _read_annotation(found, row, played)
            elif row.has("instruction", "output"):
                _add_answer(
                    found, row, _key(found, row), row.optional("generator") or file.stem, row.text("output")
                )
            else:
                raise BadInput(f"{file}:{row.line}: is neither an AlpacaEval output nor an annotation")
    return found


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    # Annotations last: their outputs are those of the other files.
    files = sorted(path.rglob("*.json"), key=lambda file: ("annotations" in file.name, str(file)))
    found = [file for file in files if "annotations" in file.name or "outputs" in file.name]
    if not found:
        raise BadInput(f"{path}: holds no model_outputs.json and no annotations.json")
    return found


def _read_annotation(found: Imported, row: FileRecord, played: set[tuple[str, str, str, str]]) -> None:
    baseline = row.optional("generator_1") or "output_1"
    candidate = row.optional("generator_2") or "output_2"
    if baseline == candidate:
        candidate = f"{candidate} (itself)"
    judge = row.optional("annotator") or "alpaca_eval"
    key = start = _key(found, row)
    number = 1
    while (judge, candidate, baseline, key) in played:
        number += 1
        key = f"{start}-{number}"
    played.add((judge, candidate, baseline, key))
    _add_answer(found, row, key, baseline, row.text("output_1"))
    _add_answer(found, row, key, candidate, row.text("output_2"))
    if baseline not in found.baselines:
        found.baselines.append(baseline)
    details = {
        "kind": "pairwise",
        "model": judge,
        "server": None,
        "note": "annotations read from AlpacaEval's files",
    }
    found.graders.setdefault(judge, Grader(judge, "pairwise", details))
    points = _points(row)
    glm = row.number("glm_preference")
    if glm is not None and not 0 <= glm <= 1:
        raise row.wrong("glm_preference", f"found {glm}; allowed: 0 to 1")
    found.glm_preferences.setdefault((judge, candidate, baseline), []).append(glm)
    raw = _either(row, "raw_completion")
    winner = _winner(points)
    found.games.append(
        Game(
            judge,
            candidate,
            baseline,
            key,
            turn=0,
            order="baseline_first",
            winner=winner,
            raw="" if raw is None else str(raw),
            failure=None if winner else "no preference",
            candidate_score=points,
            baseline_score=None if points is None else 1 - points,
            confidence=None if points is None else abs(2 * points - 1),
            cost=_figure(row, "price_per_example"),
            latency_s=_figure(row, "time_per_example"),
        )
    )
    outcomes: dict[Side | None, Verdict] = {
        "candidate": "win",
        "baseline": "loss",
        "tie": "tie",
        None: "failed",
    }
    # One call on each pair, in an order drawn by chance: nothing is known of the other.
    found.matches.append(ImportedMatch(judge, candidate, baseline, key, 0, outcomes[winner], None, points))


def _points(row: FileRecord) -> float | None:
    preference = row.number_or_text("preference")
    if preference is None or preference == _MISSING:
        return None
    if preference == _OLD_DRAW:
        preference = _TIE
    if not 1 <= preference <= 2:
        raise row.wrong("preference", f"found {preference}; allowed: 1 to 2, 0 (a draw in old files), -1")
    return preference - 1


def _winner(points: float | None) -> Side | None:
    if points is None:
        return None
    return "candidate" if points > 0.5 else "baseline" if points < 0.5 else "tie"


def _either(row: FileRecord, key: str) -> object:
    """A value under its new or its old name."""
    return row.values.get(f"preference_{key}", row.values.get(key))


def _figure(row: FileRecord, key: str) -> float | None:
    value = _either(row, key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if value >= 0 else None


def _add_answer(found: Imported, row: FileRecord, key: str, model: str, text: str) -> None:
    instruction = row.text("instruction")
    dataset = row.optional("dataset")
    found.examples.setdefault(
        key,
        Example(key, instruction, ({"role": "user", "content": instruction},), category=dataset),
    )
    found.add_model(model)
    found.answers[model, key] = (text,)


def _key(found: Imported, row: FileRecord) -> str:
    """An id by the instruction's words; a hash of its very text where two differ in case or space alone."""
    instruction = row.text("instruction")
    key = query_id(instruction)
    known = found.examples.get(key)
    if known is None or known.query == instruction:
        return key
    return f"{key}-{hashlib.sha256(instruction.encode('utf-8', 'replace')).hexdigest()[:6]}"
