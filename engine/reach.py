"""Whether the servers that a plan names answer, asked for their list of models with a short timeout."""

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Server:
    """What of the plan needs a server: its name there, the address, and the model it asks for."""

    subject: str
    address: str
    model: str | None
    key_env: str | None


@dataclass(frozen=True, slots=True)
class Reached:
    """How a server answered; `hint` is the way out where it did not as it should."""

    server: Server
    level: Literal["error", "warning", "ok"]
    message: str
    hint: str = ""


def reach(servers: Sequence[Server]) -> list[Reached]:
    """Asks all servers at once, so that several silent ones cost one timeout."""
    if not servers:
        return []
    with ThreadPoolExecutor(len(servers)) as threads:
        return list(threads.map(_ask, servers))


def _ask(server: Server) -> Reached:
    key = os.environ.get(server.key_env) if server.key_env else None
    if server.key_env and not key:
        return Reached(
            server,
            "error",
            f"the environment variable {server.key_env} is not set",
            f"export {server.key_env}=…",
        )
    request = urllib.request.Request(
        f"{server.address.rstrip('/')}/models",
        headers={"Authorization": f"Bearer {key}"} if key else {},
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return _listed(server, answer.read(10_000_000))
    except urllib.error.HTTPError as error:
        return _refused(server, error.code)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        return Reached(
            server,
            "error",
            f"{server.address} cannot be reached: {reason}",
            "start the server, or correct its address in the plan",
        )


def _refused(server: Server, status: int) -> Reached:
    if status in (401, 403):
        way_out = (
            f"correct the key in {server.key_env}" if server.key_env else "name its key with api_key_env"
        )
        return Reached(server, "error", f"{server.address} refuses access ({status})", way_out)
    if status in (404, 405):
        return Reached(server, "ok", f"{server.address} answers, but lists no models")
    return Reached(
        server, "warning", f"{server.address} answers with status {status}", "look at the server's log"
    )


def _listed(server: Server, body: bytes) -> Reached:
    try:
        names = [str(entry["id"]) for entry in json.loads(body)["data"]]
    except (ValueError, KeyError, TypeError):
        return Reached(
            server,
            "warning",
            f"{server.address} answers, but not like an OpenAI server",
            "does it end in /v1?",
        )
    if server.model is None or server.model in names or not names:
        return Reached(server, "ok", f"{server.address} answers")
    return Reached(
        server,
        "warning",
        f"{server.address} does not list the model {server.model!r}",
        f"it lists: {', '.join(names[:10])}",
    )
