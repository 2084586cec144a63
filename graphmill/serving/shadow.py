"""Shadow traffic: a sample of what was answered is asked of a candidate too, and both answers are compared.

No answer waits for it: the questions stand in a bounded queue, a few are on their way at a time, and what does not
fit is skipped and counted. Where the candidate runs is told by a small file that may change at any time.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from pydantic import Field

from graphmill.errors import UserError
from graphmill.params import Section
from graphmill.serving import metrics
from graphmill.serving.drawn import drawn, place
from graphmill.serving.exchange import MIRRORED
from graphmill.serving.failure import Kind
from graphmill.serving.instance import Answer, Instance
from graphmill.serving.record import Rows
from graphmill.serving.sinks import COMPARISONS

_LOG = logging.getLogger(__name__)
WATCH = 2.0
"""Seconds between looks at the file."""
QUEUE = 10_000
"""Nodes and edges that wait at the most, whatever the number of requests."""
FLIGHTS = 4
"""Requests that are on their way to the candidate at the most."""
TIMEOUT, CONNECT = 2.0, 1.0
"""Seconds that the candidate has to answer, and to take the connection."""
PAUSE, LONGEST = 1.0, 30.0
"""Seconds without questions when the candidate cannot be reached: twice as long each time, up to the longest."""
_REASONS = {kind.status: kind.label for kind in Kind}


class Destination(Section):
    """What the file says: which candidate is asked, where, and how much of what."""

    champion: str = Field(pattern=r"^[0-9a-f]{16}$")
    """The beginning of the digest of the model that mirrors; all others leave it."""
    candidate: str = Field(pattern=r"^[0-9a-f]{16}$")
    """The beginning of the candidate's digest."""
    url: str = Field(pattern=r"^https?://[^/\s]+/\S+$")
    """Of the candidate's ``:predict``."""
    share: float = Field(gt=0, le=1)
    """Share of the answered requests that are mirrored, chosen by their id."""


class _Question(NamedTuple):
    to: Destination
    request: str
    instances: Sequence[Instance]
    answers: Sequence[Answer]
    answered_at: float
    size: int


class Shadow:
    """Mirrors what the served model answers. All of it runs on the thread of the event loop.

    Args:
        file: where the candidate is told; missing or empty, nothing is mirrored.
        model: the beginning of the served model's digest.
        node: the task's node type.
        log: folder or URL that comparisons are written to; None keeps their counts alone.

    Raises:
        UserError: when the log is no place to write to.
    """

    def __init__(self, file: Path, model: str, node: str, log: str | None) -> None:
        self._file, self._model, self._node = file, model, node
        self._log = None if log is None else Rows(log, COMPARISONS)
        self._content = b""
        self._to: Destination | None = None
        self._waiting: asyncio.Queue[_Question] = asyncio.Queue()
        self._size = 0
        self._pause, self._until = 0.0, 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._session: Any = None

    async def start(self) -> None:
        """Read the file once, and go on watching it."""
        import aiohttp  # half a second, which only those pay who mirror

        timeout = aiohttp.ClientTimeout(total=TIMEOUT, sock_connect=CONNECT)
        self._session = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        if self._log is not None:
            self._log.start()
        await self._look()
        self._tasks = [asyncio.create_task(work) for work in (self._watch(), *(self._send() for _ in range(FLIGHTS)))]

    def offer(self, request: str, asked: Sequence[Instance], answers: Sequence[Answer]) -> None:
        """Mirror an answered request, if it is drawn and there is room; never waits, never fails."""
        to = self._to
        if to is None or not drawn(request, to.share, b"shadow"):
            return
        size = len(asked) + sum(len(instance.edges) for instance in asked)
        if self._size + size > QUEUE or time.monotonic() < self._until:
            _skip(to)
            return
        self._size += size
        self._waiting.put_nowait(_Question(to, request, asked, answers, time.time(), size))

    async def stop(self) -> None:
        """End at once; comparisons that were made are written."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        if self._log is not None:
            await self._log.stop()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH)
            await self._look()

    async def _look(self) -> None:
        """Take over what the file says; what is wrong with it is told once."""
        try:
            content = await asyncio.to_thread(self._file.read_bytes)
        except FileNotFoundError:
            content = b""
        except OSError as error:
            content = str(error).encode()
        if content == self._content:
            return
        self._content, self._to = content, None
        self._pause = self._until = 0.0
        try:
            found = _parsed(content)
        except UserError as error:
            _LOG.warning("%s: nothing is mirrored: %s", self._file, error)
            return
        if found is not None and found.champion == self._model != found.candidate:
            self._to = found
            for counter in metrics.SHADOW:
                counter.labels(found.candidate)  # there from the beginning, so that it has a rate
            _LOG.info("%g of the requests are mirrored to %s at %s", found.share, found.candidate, found.url)

    async def _send(self) -> None:
        while True:
            question = await self._waiting.get()
            self._size -= question.size
            if question.to is not self._to or time.monotonic() < self._until:
                _skip(question.to)
                continue
            try:
                await self._ask(question)
            except Exception:  # the next one may go better
                _LOG.exception("request %s: cannot be mirrored", question.request)
                self._failed(question, "error")

    async def _ask(self, question: _Question) -> None:
        import aiohttp

        asked = [instance.model_dump(exclude_defaults=True) for instance in question.instances]
        headers = {
            "content-type": "application/json", MIRRORED: "1", "x-request-id": question.request,
            "x-request-timeout-ms": str(int(TIMEOUT * 1000)),
        }  # fmt: skip
        body = orjson.dumps({"instances": asked})
        try:
            async with self._session.post(
                question.to.url, data=body, headers=headers, allow_redirects=False
            ) as response:
                content = await response.read()
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            self._unreachable(question, error)
        except TimeoutError:
            self._failed(question, Kind.LATE.label)
        else:
            self._pause = 0.0
            if response.status == 200:
                self._compare(question, content)
            else:
                self._failed(question, _REASONS.get(response.status, f"status_{response.status}"))

    def _unreachable(self, question: _Question, error: Exception) -> None:
        """Leave the candidate alone for a while."""
        if not self._pause:
            _LOG.warning("%s cannot be reached: %s", question.to.url, error)
        now = time.monotonic()
        if now >= self._until:  # those that fail together count once
            self._pause = min(max(2 * self._pause, PAUSE), LONGEST)
            self._until = now + self._pause
        self._failed(question, "unreachable")

    def _compare(self, question: _Question, content: bytes) -> None:
        """Count whether both decided alike.

        A request counts once, by one of its instances that its id draws: a request of a thousand is no evidence of
        a thousand. The log has them all.
        """
        answers = question.answers
        try:
            found = [(float(one["score"]), bool(one["decision"])) for one in orjson.loads(content)["predictions"]]
        except (ValueError, KeyError, TypeError):
            found = []
        if len(found) != len(answers):
            self._failed(question, "malformed")
            return
        drawn_one = int(place(question.request, b"instance") * len(answers))
        metrics.COMPARED.labels(question.to.candidate).inc()
        if found[drawn_one][1] != answers[drawn_one].decision:
            metrics.DISAGREED.labels(question.to.candidate).inc()
        self._keep(question, [(score, decision, None) for score, decision in found])

    def _failed(self, question: _Question, reason: str) -> None:
        metrics.UNANSWERED.labels(question.to.candidate).inc()
        self._keep(question, [(None, None, reason)] * len(question.answers))

    def _keep(self, question: _Question, found: Sequence[tuple[float | None, bool | None, str | None]]) -> None:
        if self._log is None:
            return
        to = question.to
        self._log.add([
            (question.request, self._node, one.id, int(one.at), question.answered_at, to.champion, to.candidate,
             float(one.score), bool(one.decision), *theirs)
            for one, theirs in zip(question.answers, found, strict=True)
        ])  # fmt: skip


def _parsed(content: bytes) -> Destination | None:
    if not content.strip():
        return None
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise UserError(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise UserError("must be an object with champion, candidate, url and share")
    return Destination.parse(document) if document else None


def _skip(to: Destination) -> None:
    metrics.SKIPPED.labels(to.candidate).inc()
