"""Commands that move runs between this store and another machine's: pull, push, and the other side."""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tui.cli.common import Json, Store, store_folder
from tui.cli.progress import PhaseProgress, view
from tui.cli.transfer import told_merged
from tui.text.gate import printable
from tui.text.output import err, out, print_json

if TYPE_CHECKING:
    from engine.run.remote import Moved, Moving

Place = Annotated[
    str,
    typer.Argument(
        metavar="HOST[:FOLDER]",
        help="The machine as ssh takes it, and the store there or the folder that has it as .assay "
        "[default: what assay finds in the home folder].",
    ),
]
OnlyRuns = Annotated[
    list[str],
    typer.Option("--run", metavar="RUN", help="Only this run: its id or name, or last. Repeatable."),
]
Program = Annotated[
    str, typer.Option("--assay", metavar="PATH", help="Assay on the other machine, as ~/venv/bin/assay.")
]


def pull(
    context: typer.Context,
    place: Place,
    runs: OnlyRuns = [],  # noqa: B006  # typer takes an option's default from here, and nobody adds to it
    assay: Program = "assay",
    json: Json = False,
    store: Store = None,
) -> None:
    """Copy the finished runs of another machine's store into this one, over ssh.

    Runs that are here already are skipped. After a broken link the same command goes on where it was.
    """
    from engine.run import remote

    with _Bars() as bars:
        found = remote.pull(place, store_folder(context, store), runs, assay, bars.update, _said)
    _print(found, "added to this store", ("here", "there"), as_json=json)


def push(
    context: typer.Context,
    place: Place,
    runs: OnlyRuns = [],  # noqa: B006  # the same
    assay: Program = "assay",
    json: Json = False,
    store: Store = None,
) -> None:
    """Copy the finished runs of this store into another machine's, over ssh, as pull does the other way."""
    from engine.run import remote

    with _Bars() as bars:
        found = remote.push(place, store_folder(context, store), runs, assay, bars.update, _said)
    _print(found, "added to the store there", ("there", "here"), as_json=json)


def serve(side: Annotated[str, typer.Argument(metavar="send|receive")]) -> int:
    """What pull and push start on the other machine."""
    from engine.errors import BadInput
    from engine.run import remote

    if side not in ("send", "receive"):
        raise BadInput(f"{side!r} is no side", "`assay pull` and `assay push` start this themselves")
    return remote.serve("send" if side == "send" else "receive")


def _said(line: str) -> None:
    err(printable(line))


def _print(found: "Moved", added: str, sides: tuple[str, str], *, as_json: bool) -> None:
    """`sides`: where the runs are now, and where they come from."""
    if as_json:
        more = {"bytes": found.bytes, "traffic": found.traffic, "behind": list(found.behind)}
        print_json({**asdict(found.merged), **more})
        return
    taker, origin = sides
    told_merged(found.merged, added, origin, f"{taker} already")
    for run in found.behind:
        out(f"run {run} is {taker} as it was when it came, and has finished {origin} since")
    if found.behind:
        out(f"to take it anew, remove it {taker}: `assay delete RUN`, then `assay delete --purge`")
    if found.traffic:
        out(
            f"not moved: {found.traffic:,} events of production traffic; `assay import store` takes these too"
        )


class _Bars:
    """One bar, of the run under way, with the bytes a second and the time left for all of them."""

    def __init__(self) -> None:
        self._view = view()
        self._begun = time.monotonic()
        self._last: Moving | None = None
        self._moved = self._sizes = 0  # bytes of the runs before this one: moved by this try, and in all

    def __enter__(self) -> "_Bars":
        return self

    def __exit__(self, *_: object) -> None:
        self._view.close()

    def update(self, now: "Moving") -> None:
        if self._last and self._last.place != now.place:
            self._moved += self._last.size - self._last.kept
            self._sizes += self._last.size
        self._last = now
        moved = self._moved + now.done - now.kept
        rate = moved / max(time.monotonic() - self._begun, 1e-3)
        # What the runs that follow weigh is not known before they are packed: as much as these, then.
        left = now.size - now.done + (now.runs - now.place) * (self._sizes + now.size) / now.place
        size, unit = (_MB, "MB") if now.size >= _FINE * _MB else (_KB, "kB")
        self._view.update(
            [
                PhaseProgress(
                    f"run {now.run}", (), now.done // size, max(1, now.size // size), unit, rate / size,
                    left / rate if rate else None, f"{now.place}/{now.runs} runs",
                )
            ]
        )  # fmt: skip


_KB, _MB = 10**3, 10**6
_FINE = 20  # up to so many MB are shown in kB
