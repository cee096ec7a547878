"""`assay`, also `python -m tui`: checks that our modules are those of the installed product."""

import importlib.util
import os
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
FOREIGN = 3  # the exit code


def main() -> None:
    """The console script."""
    _leave_out_current_folder()
    for name in ("engine", "store"):
        spec = importlib.util.find_spec(name)
        origin = spec.origin if spec else None
        if origin is None or Path(origin).resolve() != _ROOT / name / "__init__.py":
            sys.stderr.write(
                f"assay: the module `{name}` comes from {origin or 'another folder'}, not from {_ROOT}; "
                "rename that file or take its folder out of PYTHONPATH\n"
            )
            sys.exit(FOREIGN)
    if shell := os.environ.pop("_ASSAY_COMPLETE", ""):
        from tui.cli.completion import main as complete

        sys.exit(complete(shell, sys.argv[-1] if len(sys.argv) > 1 else ""))
    from tui.cli.main import main as run_command

    run_command()


def _leave_out_current_folder() -> None:
    """A user's `queue.py` or `store/` must not be imported in place of ours, here or in child processes."""
    os.environ["PYTHONSAFEPATH"] = "1"
    if not sys.flags.safe_path and sys.path and Path(sys.path[0] or ".").resolve() == Path.cwd() != _ROOT:
        del sys.path[0]


if __name__ == "__main__":
    main()
