"""A plan of two recorded models, quickly run."""

from pathlib import Path

from tests.engine.runs import recorded_plan

EXAMPLES = [{"id": f"e{n}", "query": f"Which is {n}?", "references": [str(n)]} for n in range(24)]
RIGHT = {f"e{n}": str(n) for n in range(24)}
WRONG = {f"e{n}": str(n) if n < 4 else "no" for n in range(24)}
REST = '[metrics]\nuse = ["exact_match"]\n[gates]\nmax_metric_drop = 0.05\n'


def write(folder: Path, candidate: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return recorded_plan(folder, EXAMPLES, {"base": RIGHT, "tuned": candidate}, REST)
