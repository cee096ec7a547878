"""The app's process never pays for model libraries, nor for SQLAlchemy and pydantic."""

import json
import subprocess
import sys
from pathlib import Path

HEAVY = {
    "torch", "transformers", "peft", "lm_eval", "datasets", "pandas", "numpy", "scipy", "sklearn", "nltk",
    "openai", "sqlalchemy", "sqlmodel", "alembic", "pydantic", "typer", "jinja2",
}  # fmt: skip

VISIT = """
import asyncio, json, sys
from pathlib import Path
import tui.screens.start
from tui.app.app import AssayApp

async def visit(folder):
    app = AssayApp(Path(folder))
    async with app.run_test(size=(120, 36)) as pilot:
        for key in "LCVSJKEARZM":
            await pilot.press(key)
            await pilot.pause()
            await app.workers.wait_for_complete()

asyncio.run(visit(sys.argv[1]))
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_no_screen_loads_a_heavy_library(store_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", VISIT, str(store_folder)], capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "textual" in loaded
    assert loaded & HEAVY == set()
