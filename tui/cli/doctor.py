"""The command that examines a store: doctor."""

from dataclasses import asdict
from typing import Annotated

import typer

from store.transfer.doctor import Finding, examine, repair
from tui.cli.common import Json, Store, store_folder
from tui.text.output import out, paragraph, print_json

Repair = Annotated[
    bool, typer.Option("--repair", help="Repair what can be repaired, after a copy of the store was made.")
]


def doctor(context: typer.Context, mend: Repair = False, json: Json = False, store: Store = None) -> int:
    """Examine the store: damage, lost rows, stuck runs, leftovers, room and rights.

    Exit codes: 0 nothing is wrong, 1 something is, 2 there is no store that this Assay knows.
    """
    folder = store_folder(context, store)
    found = examine(folder)
    done = repair(folder, found) if mend else []
    after = examine(folder) if done else found
    healthy = all(item.ok for item in after)
    if json:
        print_json({"findings": [asdict(item) for item in after], "done": done, "healthy": healthy})
        return 0 if healthy else 1
    out(f"store {folder}")
    for item in found:
        _print(item)
    for line in done:
        paragraph(line, "  ", "repaired: ")
    if done:
        out("now nothing is wrong" if healthy else "still wrong:")
        for item in after:
            if not item.ok:
                _print(item)
    elif any(not item.ok and item.repair for item in found):
        out("`assay doctor --repair` repairs this, after a copy of the store was made")
    return 0 if healthy else 1


def _print(item: Finding) -> None:
    paragraph(item.words, " " * 16, f"{'ok' if item.ok else '!!'}  {item.check:12}")
    if not item.ok and item.repair:
        paragraph(f"--repair: {item.repair}", " " * 16)
