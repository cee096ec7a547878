"""Records the walk of docs/app.md: from an empty folder to a report, key by key.

    python -m docs.walk

It starts the bundled sample run in a new folder, drives the app as a person would, and writes what stands on
the screen after each step to docs/walk.txt, and some of it as pictures.
"""

import asyncio
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from docs.screenshots import FONT_FACE
from tests.tui.driver import Driver, driven
from tui.app.app import AssayApp

FOLDER = Path(__file__).parent
SIZE = (100, 30)


class Step(NamedTuple):
    """Keys as they are pressed, what they are for, and what is on the screen once they have done it."""

    keys: tuple[str, ...]
    what: str
    shows: tuple[str, ...]
    picture: str = ""


STEPS = (
    Step((), "an empty folder", ("Assay asks your fine-tuned models",)),
    Step(("s",), "the plans here, and the bundled sample", ("quickstart", "bundled sample")),
    Step(("enter",), "the plan is checked before anything is computed", ("can run",)),
    Step(("enter",), "it runs, in a process of its own", ("assay  quickstart", "generate"), "live"),
    Step((), "it has ended, with the decision", ("Decision  H: why",)),
    Step(("H",), "ship or not, and why; the best first", ("Better than base?",)),
    Step(("j",), "another candidate is in hand, on every screen", ("DON'T SHIP",)),
    Step(("f",), "the examples that it got wrong and the base right, then the other way round", ("flips",)),
    Step(("d",), "what they have in common", ("turned wrong",), "flips"),
    Step(("escape", "f"), "a failure tag of one's own", ("a new tag",)),
    Step((*"made up", "enter"), "the answer is tagged", ("#made up",)),
    Step(("H", "i"), "what if the gates were others", ("max_benchmark_drop",)),
    Step(("j", "j", *["right"] * 3), "a limit moves, and the decisions with it", ("tab figures",), "what-if"),
    Step(("escape", "W", "enter"), "the report, to share", ("is written",)),
)


async def walk(ui: Driver, steps: Sequence[Step], pictures: Path | None = None) -> list[str]:
    """What stands on the screen after each step, under the step's keys."""
    frames = []
    for number, step in enumerate(steps, 1):
        await ui.tap(*step.keys)
        await ui.shows(*step.shows)
        if step.picture and pictures is not None:
            drawn = FONT_FACE.sub("", ui.app.export_screenshot(title="assay"))
            drawn = drawn.replace("Fira Code", "Menlo, Consolas, DejaVu Sans Mono")
            (pictures / f"walk-{step.picture}.svg").write_text(drawn)
        keys = " ".join(step.keys) or "-"
        shown = [line.rstrip() for line in ui.lines]
        frames.append("\n".join([f"{number:2}  {keys}  {step.what}", "=" * SIZE[0], *shown, ""]))
    return frames


async def record(folder: Path) -> list[str]:
    os.chdir(folder)
    async with driven(AssayApp(folder / ".assay"), SIZE) as ui:
        return await walk(ui, STEPS, FOLDER)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="walk-") as folder:
        frames = asyncio.run(record(Path(folder)))
    text = "\n".join(frames)
    for place, name in ((r"\S*/walk-\w+", "~/tickets"), (re.escape(str(FOLDER.parent)), "~/assay")):
        text = re.sub(place, name, text)
    (FOLDER / "walk.txt").write_text(text)


if __name__ == "__main__":
    main()
