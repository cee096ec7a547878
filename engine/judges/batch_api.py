"""Judging through a provider's batch API: half the price, answers within a day.

OpenAI's protocol: a file of requests (POST /files), a batch of it (POST /batches), its state (GET
/batches/ID), its answers as a file (GET /files/ID/content).
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from engine.data.textfile import write_text
from engine.errors import CannotRun
from engine.judges.asking import Answered, JudgmentCache, Question, ServerAsker, request
from engine.servers.address import read_address, read_key
from engine.servers.client import BACKOFF_S, Access, refused_access
from engine.servers.control import server_at
from engine.servers.costs import cost_of, current_ledger, worst_cost
from engine.servers.transport import FILE_END, Broken, NoConnection, RawAnswer, TooLong, Transport
from engine.servers.wire import NoReply, Reply, complaint_of, read_reply, without

if TYPE_CHECKING:
    from engine.plan import plan

MOST_REQUESTS = 50_000  # OpenAI's limits on one batch: requests, bytes
MOST_BYTES = 100_000_000
POLL_S = 15.0
_OVER = {"completed", "failed", "expired", "cancelled"}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it is stored on disk until its answers are cached; `id` None: not submitted yet.

    `digest` identifies its content, here and in the batch's own metadata. It finds a batch again whose id
    was never written down.
    """

    server: str
    digest: str
    file: str
    id: str | None = None


class BatchAsker(ServerAsker):
    """Asks all questions in batches, then those without a parsable answer one by one.

    A batch is recorded before it is submitted, and its record is deleted after its answers are cached. A
    killed worker finds it again, and nothing is paid for twice.
    """

    def __init__(
        self, spec: "plan.Judge", cache: JudgmentCache, backoff_s: float = BACKOFF_S, poll_s: float = POLL_S
    ) -> None:
        super().__init__(spec, cache, backoff_s)
        self._kept = cache
        self._poll_s = poll_s
        self._notes = cache.folder.parent / "batches"
        self._place = server_at(self._access.server, self._access.key_variable)
        self._ledger = current_ledger()
        self._price = self._ledger.prices.of(spec.model or "", str(spec.server))

    def ask(self, questions: Iterable[Question[T]]) -> Generator[Answered[T], None, None]:
        """As `Asker.ask`, but reads all questions before it answers the first that is not known yet."""
        self._place.start()
        asked: dict[str, list[Question[T]]] = {}
        for question in questions:
            key = self._key(question)
            if (known := self._known(key, question)) is not None:
                yield Answered(question, known, None, cached=True)
            else:
                asked.setdefault(key, []).append(question)
        if not asked:
            return
        for batch in self._standing():
            yield from self._collected(asyncio.run(self._finish(batch)), asked)
        for part in self._parts({key: found[0] for key, found in asked.items()}):
            yield from self._collected(asyncio.run(self._make(part)), asked)
        unanswered = [question for found in asked.values() for question in found]
        yield from super().ask(unanswered)

    def _standing(self) -> list[Batch]:
        """Batches that were begun and not collected, by this run or one before it."""
        kept = [Batch(**json.loads(path.read_text())) for path in sorted(self._notes.glob("*.json"))]
        return [batch for batch in kept if batch.server == self._server]

    def _parts(self, asked: dict[str, Question[T]]) -> Iterator[dict[str, Question[T]]]:
        """Parts that the provider takes, and that the money left covers even at their worst."""
        part: dict[str, Question[T]] = {}
        size, worst = 0, 0.0
        for key, question in asked.items():
            length, price = len(self._line(key, question)), self._worst(question)
            cap = self._ledger.max_cost
            dear = cap is not None and worst + price > cap - self._ledger.spent
            if part and (len(part) == MOST_REQUESTS or size + length > MOST_BYTES or dear):
                yield part
                part, size, worst = {}, 0, 0.0
            part[key] = question
            size, worst = size + length, worst + price
        if part:
            yield part

    def _worst(self, question: Question[Any]) -> float:
        if self._price is None:
            return 0.0
        whole = worst_cost(self._price, question.messages, self._spec.max_tokens)
        return whole * (1 - self._ledger.prices.batch_discount)

    def _line(self, key: str, question: Question[Any]) -> bytes:
        question_body = request(self._spec, question.messages, question.response_format, question.repeat)
        body = {"model": self._spec.model, **without(question_body, self._rejected)}
        line = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}
        return json.dumps(line).encode() + b"\n"

    def _collected(
        self, replies: dict[str, Reply], asked: dict[str, list[Question[T]]]
    ) -> Iterator[Answered[T]]:
        for key, reply in replies.items():
            found = asked.get(key, [])
            if found and found[0].problem(reply) is None:
                del asked[key]
                for index, question in enumerate(found):
                    yield Answered(question, reply, None, cached=index > 0)

    async def _make(self, part: dict[str, Question[T]]) -> dict[str, Reply]:
        """Makes a batch and waits for its answers."""
        content = b"".join(self._line(key, question) for key, question in part.items())
        digest = hashlib.sha256(content).hexdigest()[:32]
        worst = sum(map(self._worst, part.values())) if self._price is not None else None
        async with self._ledger.hold(worst):
            async with _Endpoint(self._access, self._backoff_s) as endpoint:
                batch = Batch(self._server, digest, await endpoint.upload(content))
                self._note(batch)
                batch = replace(batch, id=await endpoint.create(batch))
                self._note(batch)
            return await self._finish(batch)

    async def _finish(self, batch: Batch) -> dict[str, Reply]:
        """Waits for a batch and caches its answers; missing ones are asked again later."""
        async with _Endpoint(self._access, self._backoff_s) as endpoint:
            if batch.id is None:
                batch = replace(batch, id=await endpoint.find(batch) or await endpoint.create(batch))
                self._note(batch)
            try:
                state = await self._over(endpoint, str(batch.id))
            finally:
                self._place.awaited = None
            lines = await endpoint.content(state.get("output_file_id"))
        replies = dict(self._replies(endpoint, lines))
        for key, reply in replies.items():
            # Killed just here before, this run has booked it already.
            if self._kept.get(key) is None:
                self._ledger.book(reply.cost or 0.0)
                await asyncio.to_thread(self._kept.put, key, reply)
        self._path(batch).unlink(missing_ok=True)
        return replies

    async def _over(self, endpoint: "_Endpoint", batch_id: str) -> dict[str, Any]:
        while True:
            state = await endpoint.state(batch_id)
            if state.get("status") in _OVER:
                return state
            counts = state.get("request_counts") or {}
            done = f"{counts.get('completed', 0)} of {counts.get('total', '?')} done"
            self._place.awaited = f"{self._server}: batch {batch_id} is {state.get('status')}, {done}"
            left = self._poll_s
            while left > 0:
                self._place.check()
                await asyncio.sleep(min(1.0, left))
                left -= 1.0

    def _replies(self, endpoint: "_Endpoint", lines: Iterable[dict[str, Any]]) -> Iterator[tuple[str, Reply]]:
        for entry in lines:
            try:
                response = entry["response"]
                if response["status_code"] != 200:
                    continue
                reply = read_reply(json.dumps(response["body"]).encode(), 0.0, endpoint.http.redact)
            except (ValueError, LookupError, TypeError, NoReply):
                continue  # asked again one by one, where it fails with its reason
            cost = cost_of(self._price, reply)
            half = None if cost is None else cost * (1 - self._ledger.prices.batch_discount)
            yield str(entry["custom_id"]), replace(reply, cost=half, rejected=sorted(self._rejected) or None)

    def _path(self, batch: Batch) -> Path:
        return self._notes / f"{batch.digest}.json"

    def _note(self, batch: Batch) -> None:
        write_text(self._path(batch), json.dumps(asdict(batch)), "free some space, then resume")


def _names_it(found: Any) -> bool:
    return isinstance(found, dict) and isinstance(found.get("id"), str)


def _is_there(found: Any) -> bool:
    return found is not None


def _lists(found: Any) -> bool:
    return isinstance(found, dict) and isinstance(found.get("data"), list)


class _Endpoint:
    """One server's batch API, with retries for temporary failures."""

    def __init__(self, access: Access, backoff_s: float) -> None:
        self._access = access
        self._backoff_s = backoff_s
        self.http = Transport(read_address(access.server), read_key(access.who, access.key_variable))

    async def __aenter__(self) -> "_Endpoint":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.http.close()

    async def upload(self, content: bytes) -> str:
        fields = {"purpose": "batch"}
        answer = await self._patient(
            lambda: self.http.upload("/files", fields, content, self._access.timeout_s)
        )
        return str(answer["id"])

    async def create(self, batch: Batch) -> str:
        body = {
            "input_file_id": batch.file,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {"assay": batch.digest},
        }
        # Asked once: a second try after a broken connection could make, and cost, a second batch.
        try:
            answer = self._checked(await self.http.post("/batches", body, self._access.timeout_s))
            reason = "its answer has no id"
        except (NoConnection, Broken, TimeoutError) as error:
            answer, reason = None, str(error) or "no answer"
        if answer is not None and _names_it(made := answer.json()):
            return str(made["id"])
        if (found := await self.find(batch)) is not None:
            return found
        raise self._cannot(reason)

    async def find(self, batch: Batch) -> str | None:
        """The id of a batch that was made before its id could be written down."""
        answer = await self._patient(lambda: self.http.get("/batches", self._access.timeout_s), _lists)
        for entry in answer["data"]:
            if _names_it(entry) and (entry.get("metadata") or {}).get("assay") == batch.digest:
                return str(entry["id"])
        return None

    async def state(self, batch_id: str) -> dict[str, Any]:
        path = f"/batches/{batch_id}"
        found: dict[str, Any] = await self._patient(lambda: self.http.get(path, self._access.timeout_s))
        return found

    async def content(self, file_id: object) -> list[dict[str, Any]]:
        """The lines of a file; none where there is no file."""
        if not isinstance(file_id, str):
            return []
        path = f"/files/{file_id}{FILE_END}"
        found: list[dict[str, Any]] = await self._patient(
            lambda: self.http.get(path, self._access.timeout_s), _is_there, RawAnswer.json_lines
        )
        return found

    async def _patient(
        self,
        request: Callable[[], Awaitable[RawAnswer]],
        fits: Callable[[Any], bool] = _names_it,
        read: Callable[[RawAnswer], Any] = RawAnswer.json,
    ) -> Any:
        """What an answer holds; a proxy's page, which does not fit, is a temporary failure."""
        reason = ""
        for attempt in range(self._access.retries + 1):
            try:
                answer = await request()
            except (NoConnection, Broken, TimeoutError) as error:
                reason = str(error) or f"no answer within {self._access.timeout_s:g} s"
            except TooLong as error:
                raise self._cannot(str(error)) from None
            else:
                if answer.status != 429 and answer.status < 500:
                    if fits(found := read(self._checked(answer))):
                        return found
                    reason = f"no answer of its API: {answer.content.decode('utf-8', 'replace')}"
                else:
                    reason = str(answer.status)
            await asyncio.sleep(self._backoff_s * 2**attempt)
        raise self._cannot(reason)

    def _checked(self, answer: RawAnswer) -> RawAnswer:
        if answer.status in (401, 403):
            raise refused_access(self._access, answer.status)
        if 300 <= answer.status < 400:
            raise self._cannot(f"{answer.status}, it redirects to {answer.leads_to}")
        if answer.status >= 400:
            data = answer.json()
            error = data.get("error", data) if isinstance(data, dict) else None
            raise self._cannot(f"{answer.status} {complaint_of(error) or ''}")
        return answer

    def _cannot(self, reason: str) -> CannotRun:
        return CannotRun(
            f"{self._access.who}: its server accepts no batches: {self.http.clean(reason)}",
            "remove batch = true from the plan, or resume later; a submitted batch is found again",
        )
