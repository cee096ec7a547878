"""Imports runs from elsewhere into the history: they are shown, compared and reported like runs done here."""

from collections.abc import Callable
from pathlib import Path

from engine.errors import BadInput
from engine.formats.alpaca_eval import read_alpaca_eval
from engine.formats.judge_models import read_judgelm, read_prometheus
from engine.formats.lm_eval import BenchmarkedModel, read_lm_eval, write_run
from engine.formats.mt_bench import read_mt_bench
from engine.formats.records import Imported
from engine.formats.writer import Writer
from store.write import one_transaction

LM_EVAL = "lm-eval"

KINDS: dict[str, Callable[[Path], Imported]] = {
    "mt-bench": read_mt_bench,
    "alpaca-eval": read_alpaca_eval,
    "prometheus": read_prometheus,
    "judgelm": read_judgelm,
}


def import_run(kind: str, path: Path, store: Path, name: str | None = None, *, all_rows: bool = False) -> int:
    """Reads another tool's files and stores them as a finished run; returns its id.

    `all_rows` lets MT-Bench's rows that a later one supersedes count too. All of it becomes visible at once,
    or nothing. Raises BadInput for files that are not of that kind.
    """
    if kind not in KINDS:
        raise BadInput(f"there is no import of {kind!r}", f"known kinds: {', '.join((*KINDS, LM_EVAL))}")
    if not path.exists():
        raise BadInput(f"{path}: no such file or folder")
    imported = read_mt_bench(path, all_rows=True) if all_rows else KINDS[kind](path)
    with one_transaction(store) as transaction:
        return Writer(transaction, imported).write(name or f"{kind} {path.stem}", path)


def import_benchmarks(
    path: Path, store: Path, name: str | None = None, *, samples: bool = False, baseline: str | None = None
) -> list[int]:
    """Stores lm-eval's results as finished runs, one for each model; returns their ids.

    With `samples` the questions are stored too, so that runs compare question by question. A `baseline` puts
    all models into one run, compared with that one. Raises BadInput for files that are not lm-eval's.
    """
    if not path.exists():
        raise BadInput(f"{path}: no such file or folder")
    models = read_lm_eval(path, samples)
    if baseline is not None:
        _require_baseline(models, baseline, path)
    with one_transaction(store) as transaction:
        if baseline is not None:
            return [write_run(transaction, name or f"{LM_EVAL} {path.stem}", path, models, baseline)]
        return [
            write_run(transaction, name or f"{LM_EVAL} {model.name}", path, [model], None) for model in models
        ]


def _require_baseline(models: list[BenchmarkedModel], baseline: str, path: Path) -> None:
    names = [model.name for model in models]
    if baseline not in names:
        raise BadInput(f"{path}: no results of a model {baseline!r}", f"its models: {', '.join(names)}")
    if len(names) == 1:
        raise BadInput(f"{path}: has only {baseline!r}", "leave out --baseline")
