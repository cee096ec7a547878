"""Checks that a plan's servers answer, by asking for their list of models with a short timeout."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from engine.errors import CannotRun
from engine.servers.address import read_address, read_key
from engine.servers.transport import Broken, NoConnection, RawAnswer, Transport

TIMEOUT_S = 5.0
_LISTED = 10  # of a server's models that are named


@dataclass(frozen=True, slots=True)
class NamedServer:
    """A part of the plan that needs a server: its name there, the address, and the model it asks for."""

    subject: str
    address: str
    model: str | None
    key_env: str | None


@dataclass(frozen=True, slots=True)
class Reached:
    """How a server answered; `hint` is the fix where it did not answer as expected."""

    server: NamedServer
    level: Literal["error", "warning", "ok"]
    message: str
    hint: str = ""


def reach(servers: Sequence[NamedServer]) -> list[Reached]:
    """Asks all servers at once, so that several silent ones cost one timeout."""
    if not servers:
        return []

    async def ask_all() -> list[Reached]:
        return await asyncio.gather(*map(_ask, servers))

    # In a thread of its own: whoever checks a plan may have an event loop running.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, ask_all()).result()


async def _ask(server: NamedServer) -> Reached:
    address = read_address(server.address)
    try:
        transport = Transport(address, read_key(server.subject, server.key_env))
    except CannotRun as error:
        return Reached(server, "error", error.message, error.hint)
    try:
        answer = await transport.get("/models", TIMEOUT_S)
    except (NoConnection, Broken, TimeoutError) as error:
        reason = str(error) or f"no answer within {TIMEOUT_S:g} s"
        message = f"{address.shown} cannot be reached: {reason}"
        return Reached(server, "error", message, "start the server, or correct its address in the plan")
    finally:
        await transport.close()
    return _heard(server, address.shown, answer)


def _heard(server: NamedServer, shown: str, answer: RawAnswer) -> Reached:
    status = answer.status
    if status < 300:
        return _listed(server, shown, answer)
    if status < 400:
        message = f"{shown} redirects ({status}) to {answer.leads_to}"
        way_out = "correct its address in the plan: redirects are not followed"
        return Reached(server, "error", message, way_out)
    if status in (401, 403):
        way_out = (
            f"correct the key in {server.key_env}" if server.key_env else "name its key with api_key_env"
        )
        return Reached(server, "error", f"{shown} refuses access ({status})", way_out)
    if status in (404, 405):
        return Reached(server, "ok", f"{shown} answers, but lists no models")
    return Reached(server, "warning", f"{shown} answers with status {status}", "check the server's log")


def _listed(server: NamedServer, shown: str, answer: RawAnswer) -> Reached:
    try:
        names = [str(entry["id"]) for entry in answer.json()["data"]]
    except (KeyError, TypeError):
        message = f"{shown} answers, but not like an OpenAI server"
        return Reached(server, "warning", message, "does it end in /v1?")
    if server.model is None or server.model in names or not names:
        return Reached(server, "ok", f"{shown} answers")
    hint = f"it lists: {', '.join(names[:_LISTED])}"
    return Reached(server, "warning", f"{shown} does not list the model {server.model!r}", hint)
