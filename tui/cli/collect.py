"""The command that takes production traffic over HTTP."""

import os
from typing import Annotated

import typer

from engine.errors import BadInput, CannotRun, install
from engine.servers.address import held, read_key
from store import database
from store.errors import StoreError
from tui.cli.common import Store, store_folder
from tui.text.gate import printable
from tui.text.output import err

TOKEN = "ASSAY_COLLECT_TOKEN"
LOCK = "collector.lock"


def collect(
    context: typer.Context,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; beyond this machine a token is needed.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Its port; 0: one that is free.")] = 4319,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Take events from everybody on this machine.")
    ] = False,
    mask: Annotated[
        bool, typer.Option("--mask", help="Put personal data's kind, as [email], in its place.")
    ] = False,
    rate: Annotated[float, typer.Option(min=1, help="Requests a second that one address may send.")] = 1000,
    store: Store = None,
) -> int:
    """Take events and feedback of production over HTTP into the store, until SIGTERM or Ctrl-C.

    $ASSAY_COLLECT_TOKEN holds the token that clients send as "Authorization: Bearer …". A request that was
    answered with 202 is on disk.
    """
    try:
        from engine.traffic.collector import CollectorSettings, is_loopback, listen, serve
    except ImportError as error:
        raise BadInput(f"assay collect needs the package {error.name}", install("collect")) from error
    if no_token and not is_loopback(host):
        raise BadInput(f"--no-token: {host} can be reached from elsewhere", f"export {TOKEN}=… without it")
    token = None if no_token else _token()
    folder = store_folder(context, store)
    database.prepare(folder)
    if not database.is_writable(folder):
        raise StoreError(f"the store {folder} can only be read here", "use another with --store DIR")
    database.connect(folder).close()
    lock = database.hold(folder / LOCK)
    if lock is None:
        raise BadInput(f"another collector writes into {folder}", "stop it first, or use another --store DIR")
    with os.fdopen(lock), listen(host, port) as listening:
        address, number = listening.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        err(f"collecting into {printable(str(folder))} at http://{shown}:{number}")
        serve(
            CollectorSettings(folder, token, mask, rate),
            listening,
            lambda line: err(f"assay: {printable(line)}"),
        )
    err("stopped; everything that was answered with 202 is stored")
    return 0


def _token() -> str | None:
    if not held(TOKEN):
        raise BadInput(
            f"the environment variable {TOKEN} is not set",
            f"export {TOKEN}=$(openssl rand -hex 32), or --no-token on this machine alone",
        )
    try:
        return read_key("assay collect", TOKEN)
    except CannotRun as error:
        raise BadInput(error.message, error.hint) from error
