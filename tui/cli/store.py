"""Commands that maintain a store, doctor and cache, and the settings of the app: keys."""

import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import BadInput
from store.transfer.doctor import StoreCheck, examine, repair
from tui.cli.common import Json, Store, print_findings, store_folder
from tui.text.output import Column, moment, number, out, paragraph, print_json, print_table

Repair = Annotated[
    bool, typer.Option("--repair", help="Repair what can be repaired; the store is copied first.")
]


Install = Annotated[
    bool, typer.Option("--install", help="Examine the installation instead: packages, GPU, terminal, disk.")
]


def doctor(
    context: typer.Context,
    mend: Repair = False,
    installed: Install = False,
    json: Json = False,
    store: Store = None,
) -> int:
    """Examine the store: damage, lost rows, stuck runs, leftovers, disk space, permissions.

    Exit codes: 0 no problem, 1 a problem, 2 no store that this Assay knows.
    """
    folder = store_folder(context, store)
    if installed:
        return _install(folder, mend=mend, json=json)
    found = examine(folder)
    done = repair(folder, found) if mend else []
    after = examine(folder) if done else found
    healthy = all(item.ok for item in after)
    if json:
        print_json({"findings": [asdict(item) for item in after], "done": done, "healthy": healthy})
        return 0 if healthy else 1
    out(f"store {folder}")
    for item in found:
        _print_finding(item)
    for line in done:
        paragraph(line, "  ", "repaired: ")
    if done:
        out("no problem is left" if healthy else "still wrong:")
        for item in after:
            if not item.ok:
                _print_finding(item)
    elif any(not item.ok and item.repair for item in found):
        out("`assay doctor --repair` repairs this; it copies the store first")
    return 0 if healthy else 1


def _install(folder: Path, *, mend: bool, json: bool) -> int:
    from engine.preflight.install import install_findings

    if mend:
        raise BadInput("--install examines, and repairs nothing", "leave out --repair")
    found = []
    for finding in install_findings(folder):
        found.append(finding)
        if not json:
            print_findings([finding])
    healthy = all(finding.level != "error" for finding in found)
    if json:
        print_json({"findings": [asdict(finding) for finding in found], "healthy": healthy})
    return 0 if healthy else 1


def _print_finding(item: StoreCheck) -> None:
    paragraph(item.words, " " * 16, f"{'ok' if item.ok else '!!'}  {item.check:12}")
    if not item.ok and item.repair:
        paragraph(f"--repair: {item.repair}", " " * 16)


OlderThan = Annotated[
    str | None,
    typer.Option("--older-than", metavar="AGE", help="Answers older than this: 45m, 12h, 30d, 8w."),
]
MaxSize = Annotated[
    str | None,
    typer.Option("--max-size", metavar="SIZE", help="The oldest, until this much is left: 500MB, 2GB."),
]

_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

cache = typer.Typer(
    help="Report on the cached answers, and remove old ones.",
    invoke_without_command=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@cache.callback()
def report(context: typer.Context, json: Json = False, store: Store = None) -> None:
    """Report on the cached answers: how many, how large, how old, and how often used.

    `assay run PLAN --no-cache` neither reads nor writes the cache.
    """
    if context.invoked_subcommand is not None:
        return
    from store.cache import kept
    from store.read.history import as_values

    found = kept(store_folder(context, store) / "cache")
    if json:
        print_json([as_values(kind) for kind in found])
        return
    if not found:
        out("nothing is cached yet; a run caches the answers of models and judges")
        return
    columns = [Column("kind"), Column("answers", True), Column("size", True), Column("oldest (UTC)")]
    columns += [Column("newest (UTC)"), Column("hits", True), Column("misses", True)]
    print_table(
        columns,
        [
            [
                *(
                    kind.kind,
                    f"{kind.entries:,}",
                    _size(kind.bytes),
                    moment(kind.oldest),
                    moment(kind.newest),
                ),
                *(f"{kind.hits:,}", f"{kind.misses:,}"),
            ]
            for kind in found
        ],
    )
    for kind in found:
        if kind.unreadable:
            out(f"{kind.kind}: {kind.unreadable:,} entries have no answer; `assay cache prune` removes them")


@cache.command()
def prune(
    context: typer.Context,
    older_than: OlderThan = None,
    max_size: MaxSize = None,
    json: Json = False,
    store: Store = None,
) -> None:
    """Remove old cached answers. Runs and their stored responses are not touched."""
    from store.cache import prune as take_out
    from store.read.history import as_values

    if older_than is None and max_size is None:
        raise BadInput("it is not clear what to remove", "give --older-than 30d, or --max-size 2GB")
    # `assay cache --store DIR prune` means that store, too.
    store = store or (context.parent.params.get("store") if context.parent else None)
    before = None if older_than is None else time.time() - _amount("--older-than", older_than, _SECONDS)
    most = None if max_size is None else round(_amount("--max-size", max_size, _BYTES))
    gone = take_out(store_folder(context, store) / "cache", before, most)
    if json:
        print_json([as_values(kind) for kind in gone])
        return
    for kind in gone:
        out(f"{kind.kind}: {kind.entries:,} answers removed, {_size(kind.bytes)}")
    if not gone:
        out("nothing is cached yet")


def _amount(option: str, text: str, units: dict[str, int]) -> float:
    """A number with its unit, as 30d or 2GB."""
    names = {name.casefold(): factor for name, factor in units.items()}
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.strip().casefold())
    if found is None or found[2] not in names:
        raise BadInput(f"{option} {text}: is not a number with a unit", f"the units are {', '.join(units)}")
    return float(found[1]) * names[found[2]]


def _size(count: int) -> str:
    """Bytes for people, in the units of --max-size."""
    unit = next((name for name in ("TB", "GB", "MB", "KB") if count >= _BYTES[name]), "B")
    return f"{count} B" if unit == "B" else f"{number(count / _BYTES[unit])} {unit}"


def keys(
    write: Annotated[
        bool, typer.Option("--write", help="Write a settings file with all keys, commented out.")
    ] = False,
    as_json: Json = False,
) -> int:
    """List the app's actions and their keys."""
    from engine.data.textfile import write_text
    from tui.app.settings import read_settings, registry_with, settings_file, template

    file = settings_file()
    if write:
        write_text(
            file, template(), "edit or delete it, or name another folder in $XDG_CONFIG_HOME", new=True
        )
        paragraph(f"wrote {file}")
        return 0
    registry = registry_with(read_settings().keys)
    if as_json:
        actions = [
            {"action": name, "keys": key.keys.split(","), "does": key.help} for name, key in registry.items()
        ]
        print_json({"file": str(file), "actions": actions})
        return 0
    rows = [[name, key.shown or key.keys.replace(",", " "), key.help] for name, key in registry.items()]
    print_table([Column("action"), Column("key"), Column("does")], rows)
    out()
    paragraph(f"to change them: {file} ({'in use' if file.exists() else '`assay keys --write` creates it'})")
    return 0
