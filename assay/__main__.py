"""The command `assay`: starts it after checking that the modules are those of the installed product.

`tui`, `engine` and `store` are names that others use too: a file or a folder on the path may stand before
ours, and a package that is installed into the same folder writes over ours.
"""

import atexit
import gc
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("tui", "engine", "store")
FOREIGN = 3  # the exit code
INSTALL_AGAIN = "install assay again with --force-reinstall --no-deps"


def main() -> None:
    """The console script."""
    # To look for garbage among all that modules define took a fifth of a command's time.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    _leave_out_current_folder()
    foreign = next(shadowed(), None)
    if shell := os.environ.pop("_ASSAY_COMPLETE", ""):  # a key was pressed: nothing more is looked at or told
        from tui.cli.completion import main as complete

        sys.exit(complete(shell, sys.argv[-1]) if foreign is None else FOREIGN)
    if problem := foreign or written_over(ROOT):
        sys.stderr.write("assay: " + "".join(c if c.isprintable() else "?" for c in problem) + "\n")
        sys.exit(FOREIGN)
    from tui.cli.main import main as run_command

    run_command()


def _leave_out_current_folder() -> None:
    """A user's `queue.py` or `store/` must not be imported in place of ours, here or in child processes."""
    os.environ["PYTHONSAFEPATH"] = "1"
    if not sys.flags.safe_path and sys.path and Path(sys.path[0] or ".").resolve() == Path.cwd() != ROOT:
        del sys.path[0]


def shadowed() -> Iterator[str]:
    """What stands before our modules on the path, without importing it."""
    for name in FLOORS:
        spec = importlib.util.find_spec(name)
        origin = spec.origin if spec else None
        if origin is None or Path(origin).resolve() != ROOT / name / "__init__.py":
            owner = _owner(Path(origin)) if origin else None
            out = f"uninstall {owner} here" if owner else "rename that file"
            whose = f", which the package {owner} installed" if owner else ""
            yield (
                f"the module `{name}` comes from {origin or 'another folder'}{whose}, not from {ROOT}; "
                f"{out} or take its folder out of PYTHONPATH"
            )


def written_over(root: Path) -> str | None:
    """Which of the installed files another package wrote over, or took away with it; None where all are ours.

    A wheel lists its files with their sizes. From a folder of sources there is no such list. A file that a
    person changed is theirs to change.
    """
    for record in root.glob("assay-*.dist-info/RECORD"):
        for line in record.read_text(encoding="utf-8").splitlines():
            name, _, size = line.rsplit(",", 2)
            if not name.endswith(".py") or not size:
                continue
            try:
                ours = (root / name).stat().st_size == int(size)
            except FileNotFoundError:
                return f"{root / name} is missing; {INSTALL_AGAIN}"
            if not ours and (owner := _owner(root / name)):
                return (
                    f"{root / name} is a file of the package {owner}, which wrote over Assay's; "
                    f"uninstall {owner}, then {INSTALL_AGAIN}"
                )
    return None


def _owner(file: Path) -> str | None:
    """The other package that installed a file, by the lists of the packages installed in its folder."""
    from importlib.metadata import distributions

    for place in file.parents:
        name = str(file.relative_to(place))
        for other in distributions(path=[str(place)]):
            listed = (other.read_text("RECORD") or "").splitlines()
            if other.name != "assay" and any(line.rsplit(",", 2)[0] == name for line in listed):
                return other.name
    return None


if __name__ == "__main__":
    main()
