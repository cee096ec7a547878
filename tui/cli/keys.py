"""The keys of the app, and the settings file that changes them: `assay keys`."""

from typing import Annotated

import typer

from tui.cli.common import Json
from tui.text.output import Column, out, paragraph, print_json, print_table


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
