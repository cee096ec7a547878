"""`python -P -m engine.run --store DIR RUN`: the worker, after checking where its modules come from."""

import atexit
import gc
import importlib.util
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
FOREIGN = 3  # the exit code


def main() -> None:
    # To look for garbage among all that the model libraries define took a fourth of a short run.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    spec = importlib.util.find_spec("store")
    if spec is None or spec.origin is None or Path(spec.origin).resolve() != _ROOT / "store" / "__init__.py":
        origin = spec.origin if spec and spec.origin else "another folder"
        sys.stderr.write(f"assay: the module `store` comes from {origin}, not from {_ROOT}\n")
        sys.exit(FOREIGN)
    from engine.run.worker import main as work

    work()


if __name__ == "__main__":
    main()
