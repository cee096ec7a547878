"""Draws the README's pictures from the newest finished run of a store.

    python -m docs.screenshots [--store .assay]

`make demo` makes such a run.
"""

import argparse
import asyncio
import re
from pathlib import Path

from store import database
from store.read import history
from tui.app.app import AssayApp

FOLDER = Path(__file__).parent
SHOTS = {
    "decision": ("decision", ()),
    "compare": ("compare", ("c",)),
    "review": ("review", ("c",)),
    "alerts": ("alerts", ()),
    "judges": ("judges", ()),
}
FONT_FACE = re.compile(r"@font-face \{.*?\}", re.DOTALL)


async def shoot(store: Path, run_id: int, screen: str, keys: tuple[str, ...]) -> str:
    app = AssayApp(store, run_id, screen)
    async with app.run_test(size=(120, 34)) as pilot:
        await pilot.pause(2.0)
        if keys:
            await pilot.press(*keys)
            await pilot.pause(1.0)
        drawn = app.export_screenshot(title=f"assay · {screen}")
        # The reader's own fixed-width font: a picture must not fetch anything.
        return FONT_FACE.sub("", drawn).replace("Fira Code", "Menlo, Consolas, DejaVu Sans Mono")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--store")
    store = database.locate(parser.parse_args().store, Path.cwd())
    connection = history.attach(database.connect(store))
    run_id = history.find_run(connection, "last")
    for name, (screen, keys) in SHOTS.items():
        picture = FOLDER / f"{name}.svg"
        picture.write_text(asyncio.run(shoot(store, run_id, screen, keys)))
        print(picture)


if __name__ == "__main__":
    main()
