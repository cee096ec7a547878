"""Runs done elsewhere, put into the history: they read, compare and report like runs done here."""

from collections.abc import Callable
from pathlib import Path

from engine.errors import BadInput
from engine.protocols.alpaca_eval import read_alpaca_eval
from engine.protocols.imported import Imported
from engine.protocols.judgelm import read_judgelm
from engine.protocols.mt_bench import read_mt_bench
from engine.protocols.prometheus import read_prometheus
from engine.protocols.writer import Writer
from store.record import one_transaction

KINDS: dict[str, Callable[[Path], Imported]] = {
    "mt-bench": read_mt_bench,
    "alpaca-eval": read_alpaca_eval,
    "prometheus": read_prometheus,
    "judgelm": read_judgelm,
}


def import_run(kind: str, path: Path, store: Path, name: str | None = None) -> int:
    """Reads another tool's files and stores them as a finished run; returns its id.

    All of it becomes visible at once, or nothing. Raises BadInput for files that are not of that kind.
    """
    if kind not in KINDS:
        raise BadInput(f"there is no import of {kind!r}", f"known kinds: {', '.join(KINDS)}")
    if not path.exists():
        raise BadInput(f"{path}: no such file or folder")
    imported = KINDS[kind](path)
    with one_transaction(store) as transaction:
        return Writer(transaction, imported).write(name or f"{kind} {path.stem}", path)
