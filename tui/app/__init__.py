"""The shell around the screens: settings, keys, themes, terminal. `open_workbench` opens the app."""

import os
from pathlib import Path
from typing import Any

from tui.app.settings import read_settings


def open_workbench(folder: Path, run: int | None = None, screen: str | None = None, **given: Any) -> int:
    """Opens the workbench on a store; returns the exit code. `given` are the command line's settings.

    Raises BadInput when a setting or a key is wrong.
    """
    settings = read_settings(**given)
    if settings.keys:
        from tui.app.settings import rebind

        rebind(settings.keys)
    if settings.theme is None:
        from tui.app.themes import fitting

        settings = settings._replace(theme=fitting(os.environ))
    from tui.app.app import run as run_app

    return run_app(folder, run, screen, settings)
