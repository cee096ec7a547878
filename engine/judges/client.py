"""One judge's calls to an OpenAI-compatible server: patient, within its limits, with a kept secret."""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.errors import CannotRun, Paused
from engine.judges.costs import Ledger, cost_of, current_ledger, worst_cost
from engine.judges.http import Answer, Broken, Http, NoConnection, read_key
from engine.judges.limiter import Overloaded
from engine.judges.servers import LONGEST_PAUSE, Fault, call_number, server_at
from engine.judges.servers import public_url as public_url
from engine.judges.wire import (
    NoReply,
    Reply,
    complaint_of,
    is_too_long,
    quota_wait,
    read_reply,
    rejected_names,
    retry_after,
)

if TYPE_CHECKING:
    from collections.abc import Collection, MutableSet

    from engine.plan import plan

_LONGEST_BACKOFF = 30.0
_BACKOFF = 0.5
_DOWN_TRIES = 10  # of one call, at a server that answers nobody


class CallFailed(Exception):
    """One call came to no answer after its retries; the reason is for people, and holds no key."""

    def __init__(self, reason: str, attempts: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.attempts = attempts


class _Transient(Exception):
    """Worth another try, after `wait` seconds if the server said so; `down`: it may be for everybody."""

    def __init__(self, reason: str, wait: float | None = None, *, down: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        self.down = down


class _Unreachable(_Transient):
    """No connection could be made at all; `wrong`: nor will it, by the address or the certificate."""

    def __init__(self, error: NoConnection) -> None:
        super().__init__(str(error))
        self.wrong = error.wrong


class _Busy(_Transient, Overloaded):
    """Worth another try, with less at once."""


class _Rejected(Exception):
    """The server does not take these parameters."""

    def __init__(self, names: set[str]) -> None:
        self.names = names


class _Final(Exception):
    """Another try would end the same."""


def chat_body(
    spec: "plan.Judge",
    rejected: "Collection[str]",
    messages: list[dict[str, str]],
    response_format: dict[str, Any] | None,
) -> dict[str, Any]:
    """A chat completion's request, without the optional parameters that the server has refused."""
    length = "max_completion_tokens" if "max_tokens" in rejected else "max_tokens"
    optional = {
        length: spec.max_tokens,
        "response_format": response_format,
        "temperature": spec.temperature,
        "seed": spec.seed,
    }
    kept = {name: value for name, value in optional.items() if value is not None and name not in rejected}
    return {"model": spec.model, "messages": messages, **kept}


def wrong_key(spec: "plan.Judge", status: int) -> CannotRun:
    """The error for a server that refuses access: one for all calls."""
    address, variable = public_url(str(spec.server)), spec.api_key_env
    if variable is None:
        return CannotRun(
            f"judge {spec.name}: {address} wants a key ({status})",
            "name the environment variable that holds it in the judge's api_key_env",
        )
    return CannotRun(
        f"judge {spec.name}: {address} does not accept the key in {variable} ({status})",
        f"put a valid key in {variable}; what was judged is kept",
    )


class ChatServer:
    """Chat completions from one server, for use in one event loop; to be closed there.

    How many calls are under way is decided for the whole process, `spec.concurrency` being this judge's own
    ceiling (see `servers`); what they cost is booked in `ledger`, by default the process's own. `rejected`
    collects the names of optional parameters that the server refuses; they are left out from then on, also by
    a later ChatServer that is given the same set. `backoff_s` is the wait before the first retry where the
    server names none; it doubles with each.
    """

    def __init__(
        self,
        spec: "plan.Judge",
        rejected: "MutableSet[str]",
        backoff_s: float = _BACKOFF,
        ledger: Ledger | None = None,
    ) -> None:
        self._spec = spec
        self._address = public_url(str(spec.server))
        self._http = Http(str(spec.server), read_key(spec.api_key_env))
        self._server = server_at(str(spec.server), spec.api_key_env, backoff_s / _BACKOFF)
        self._server.start()
        self._server.clients += 1
        self._own_places = asyncio.Semaphore(spec.concurrency)
        self._ledger = ledger or current_ledger()
        self._price = self._ledger.prices.of(spec.model or "", str(spec.server))
        self._rejected = rejected
        self._backoff_s = backoff_s
        self._jitter = random.Random(spec.seed)

    async def close(self) -> None:
        self._server.clients -= 1
        await self._http.close()

    async def complete(self, messages: list[dict[str, str]], response_format: dict[str, Any] | None) -> Reply:
        """One answer. Raises CallFailed when this call fails for good, CannotRun when every call would.

        Raises Paused, a CannotRun, when a person has to do something before calls can succeed again.
        """
        worst = worst_cost(self._price, messages, self._spec.max_tokens) if self._price else None
        with self._server.call():
            async with self._ledger.hold(worst) as bill:
                reply = await self._answered(messages, response_format)
                # Where the server counts no tokens, the purse assumes the worst.
                bill.cost = reply.cost if reply.cost is not None else worst
                return reply

    async def _answered(
        self, messages: list[dict[str, str]], response_format: dict[str, Any] | None
    ) -> Reply:
        call = call_number()
        attempts = retries = down = 0
        while True:
            attempts += 1
            try:
                async with self._own_places, self._server.slot(call) as fault:
                    reply = await self._attempt(messages, response_format, fault)
                return replace(reply, attempts=attempts, cost=cost_of(self._price, reply))
            except _Rejected as error:
                self._rejected |= error.names
            except _Final as error:
                raise CallFailed(str(error), attempts) from None
            except _Transient as error:
                if error.wait is not None and error.wait > LONGEST_PAUSE:
                    raise self._too_long(error, error.wait) from None
                if isinstance(error, _Unreachable) and error.wrong and not self._server.contacted:
                    raise self._given_up(error, attempts) from None
                if self._server.is_down and error.down:
                    # Not this call's fault: it waits with all others, and comes to an end all the same.
                    down += not isinstance(error, _Unreachable)
                    if down > _DOWN_TRIES:
                        raise self._given_up(error, attempts) from None
                    continue
                retries += not isinstance(error, _Unreachable)
                if retries > self._spec.retries:
                    raise self._given_up(error, attempts) from None
                await self._wait(error, attempts - 1)

    def _given_up(self, error: _Transient, attempts: int) -> Exception:
        # One call may fail for what is in it; a server that never was there fails them all.
        if not self._server.contacted:
            return CannotRun(
                f"judge {self._spec.name}: {self._address} cannot be reached: {error.reason}",
                "start the server, or correct the judge's server in the plan; what was judged is kept",
            )
        return CallFailed(f"{error.reason} ({attempts} attempts)", attempts)

    def _too_long(self, error: _Transient, wait: float) -> Paused:
        return self._server.give_up(
            f"judge {self._spec.name}: {self._address} asks to wait {wait:.0f} s: {error.reason}",
            "resume when that time is over; what was judged is kept",
        )

    async def _wait(self, error: _Transient, waits: int) -> None:
        """Waits as long as the server says, all calls together; else alone, twice as long each time."""
        if error.wait is not None:
            self._server.pause(error.wait, error.reason)
            return
        backoff = min(_LONGEST_BACKOFF, self._backoff_s * 2**waits)
        await asyncio.sleep(backoff * self._jitter.uniform(0.5, 1.0))

    async def _attempt(
        self, messages: list[dict[str, str]], response_format: dict[str, Any] | None, fault: Fault
    ) -> Reply:
        body = chat_body(self._spec, self._rejected, messages, response_format)
        started = time.monotonic()
        try:
            answer = await self._http.post("/chat/completions", body, self._spec.timeout_s)
            self._server.contacted = True
            if answer.status >= 300:
                raise self._status_fault(answer, body)
        except TimeoutError:
            fault.reason = f"no answer within {self._spec.timeout_s:g} s"
            raise _Busy(fault.reason) from None
        except NoConnection as error:
            fault.reason, fault.refused = str(error), True
            raise _Unreachable(error) from None
        except Broken as error:
            fault.reason = str(error)
            raise _Transient(str(error)) from None
        except _Transient as error:
            fault.reason = error.reason if error.down else None
            raise
        reply = self._read(answer, time.monotonic() - started)
        if wait := quota_wait(answer.headers, (reply.tokens_in or 0) + (reply.tokens_out or 0)):
            self._server.pause(wait, "its quota is used up")
        return reply

    def _status_fault(self, answer: Answer, body: Mapping[str, Any]) -> Exception:
        status, data = answer.status, answer.json()
        error = data.get("error", data) if isinstance(data, dict) else None
        details = error if isinstance(error, dict) else {}
        if status in (401, 403):
            return wrong_key(self._spec, status)
        if status == 404 or 300 <= status < 400:
            return self._wrong_address(status)
        complaint = complaint_of(error) or answer.content.decode("utf-8", "replace")
        reason = self._http.clean(f"{status} {complaint}")
        if status == 402 or details.get("code") == "insufficient_quota":
            return self._server.give_up(
                f"judge {self._spec.name}: {self._address} wants to be paid first: {reason}",
                "see to the account, then resume; what was judged is kept",
            )
        param = details.get("param")
        if status in (400, 422) and not is_too_long(details.get("code"), complaint):
            names = rejected_names(param if isinstance(param, str) else None, complaint, body)
            if names:
                return _Rejected(names)
        if status == 429 or status >= 500:
            return _Busy(reason, _wait_of(answer, status), down=status != 429)
        return _Transient(reason, down=False) if status in (408, 409, 425) else _Final(reason)

    def _wrong_address(self, status: int) -> CannotRun:
        said = f"has no model {self._spec.model}, or no chat" if status == 404 else "sends elsewhere"
        return CannotRun(
            f"judge {self._spec.name}: {self._address} {said} ({status})",
            "correct the judge's server or model in the plan; what was judged is kept",
        )

    def _read(self, answer: Answer, latency_s: float) -> Reply:
        content = answer.content
        try:
            return read_reply(self._http.redact(content.decode("utf-8", "replace")), latency_s)
        except NoReply:
            start = self._http.redact(content.decode("utf-8", "replace"))
            reason = self._http.clean(f"the server's answer is no chat completion: {start}")
            raise _Transient(reason, down=False) from None


def _wait_of(answer: Answer, status: int) -> float | None:
    """How long a refusal says to wait: in so many words, or by the quota that it says is used up."""
    wait = retry_after(answer.headers)
    return quota_wait(answer.headers, 0) if wait is None and status == 429 else wait
