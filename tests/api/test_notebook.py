"""The notebook of the manual: every cell runs, and what it ends with can be shown."""

import ast
import json
from pathlib import Path

import pytest

from engine.run import launch
from tests.engine.runs import work_here

NOTEBOOK = Path(__file__).parents[2] / "docs/python.ipynb"


def test_every_cell_of_the_notebook_runs_and_shows_its_last_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSAY_STORE", raising=False)
    monkeypatch.setattr(launch, "start", work_here)
    cells = [
        cell["source"] for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"
    ]
    names: dict[str, object] = {}
    shown = []
    for source in cells:
        tree = ast.parse(source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "notebook", "exec"), names)  # noqa: S102  # our own notebook
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "notebook", "eval"), names)  # noqa: S307
            shown.append(getattr(value, "_repr_html_", lambda value=value: repr(value))())
    assert len(cells) > 6
    assert len(shown) > 5
    assert "exact_match" in shown[0]
    assert "tuned" in shown[-1]
