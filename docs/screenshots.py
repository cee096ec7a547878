"""Draws the pictures of README.md and docs/.

    python -m docs.screenshots [--store .assay]

From the newest finished run of a store (`make demo` makes one), with made-up labels of two people. The
failure log takes several runs: it is drawn from the tests' store. Monitor is drawn from the samples' traffic.
"""

import argparse
import asyncio
import random
import re
import shutil
import sqlite3
import tempfile
from pathlib import Path

from store import database, reviewing
from store.read import evidence, history, judging
from tests.traffic.played import play
from tests.tui.history import build
from tui.app.app import AssayApp

FOLDER = Path(__file__).parent
SHOTS = {"decision": (), "compare": ("c",), "review": ("c",), "alerts": (), "judges": ()}  # screens and keys
MONITOR = ("j",) * 7  # to thumbs up
LABELLED = 60  # examples
# By run: failure tags, each with the places of the examples.
TAGGED = {
    1: {"ignores a negation": (0, 1), "too short": (4,)},
    2: {"ignores a negation": (0, 3, 7), "wrong tone": (2, 4), "too short": (5,)},
    3: {"ignores a negation": (0, 1, 2), "wrong tone": (3,), "made-up order number": (1, 4)},
}
FONT_FACE = re.compile(r"@font-face \{.*?\}", re.DOTALL)


def label(connection: sqlite3.Connection, run_id: int) -> None:
    """Two people's labels, most as the judge's verdicts, on the pair that it splits most evenly."""
    drawn = random.Random(0)
    rate = max(history.win_rates(connection, run_id), key=lambda row: min(row.wins, row.losses))
    ids = {model.name: model.id for model in history.models(connection, run_id)}
    candidate, baseline = ids[rate.candidate], ids[rate.baseline]
    (judge,) = [judge.id for judge in judging.judges(connection, run_id) if judge.name == rate.judge]
    side = {"win": "left", "loss": "right"}
    verdicts = evidence.outcomes(connection, judge, candidate, baseline)
    for verdict in drawn.sample(verdicts, LABELLED):
        for person in ("ann", "bob"):
            agrees = drawn.random() < 0.8
            value = side.get(verdict.outcome, "tie") if agrees else drawn.choice(("left", "right", "tie"))
            reviewing.annotate(
                connection, run_id, verdict.example_id, "preference", value,
                annotator=person, queue="random", left_id=candidate, right_id=baseline,
            )  # fmt: skip


def tag(connection: sqlite3.Connection) -> None:
    for run_id, tags in TAGGED.items():
        ids = {model.name: model.id for model in history.models(connection, run_id)}
        examples = [example.id for example in evidence.run_examples(connection, run_id)]
        for name, places in tags.items():
            reviewing.make_tag(connection, name, "ann")
            for place in places:
                reviewing.annotate(
                    connection, run_id, examples[place], "tag", name,
                    annotator="ann", left_id=ids["good"], right_id=ids["base"],
                )  # fmt: skip


async def shoot(store: Path, run_id: int | None, screen: str, keys: tuple[str, ...] = ()) -> None:
    app = AssayApp(store, run_id, screen)
    async with app.run_test(size=(120, 34)) as pilot:
        await pilot.pause(2.0)
        await app.workers.wait_for_complete()
        if keys:
            await pilot.press(*keys)
        await pilot.pause(1.0)
        drawn = app.export_screenshot(title=f"assay · {screen}")
    # The reader's own fixed-width font: a picture must not fetch anything.
    drawn = FONT_FACE.sub("", drawn).replace("Fira Code", "Menlo, Consolas, DejaVu Sans Mono")
    picture = FOLDER / f"{screen}.svg"
    picture.write_text(drawn)
    print(picture)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--store")
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        shutil.copytree(database.locate(parser.parse_args().store, Path.cwd()), store)
        connection = history.attach(database.connect(store))
        run_id = history.find_run(connection, "last")
        for screen, keys in SHOTS.items():
            asyncio.run(shoot(store, run_id, screen, keys))
        label(connection, run_id)
        asyncio.run(shoot(store, run_id, "agreement"))
        several = build(Path(folder) / "several")
        tag(history.attach(database.connect(several)))
        asyncio.run(shoot(several, 3, "failures"))
        asyncio.run(shoot(play(Path(folder) / "traffic"), None, "monitor", MONITOR))


if __name__ == "__main__":
    main()
