"""One queue, and one forward pass for all that wait: a flush a turn of the event loop, and no added delay.

Explanations take so long that they wait in a queue of their own: after the others, and one request a turn, so
that what arrived meanwhile is answered in between.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from graphmill.serving import metrics
from graphmill.serving.failure import Failure, Kind, invalid
from graphmill.serving.instance import Answer, GraphVersion, Instance, Options, Refusal

_LOG = logging.getLogger(__name__)
_RETRY = ((b"retry-after", b"1"),)


class Predictor(Protocol):
    """Judges nodes of a live graph; every call comes from the thread of the event loop."""

    name: str
    """Name under which the model is served."""
    version: str
    """Version of the model: its digest, or the registry's."""

    def answer(self, instances: Sequence[Instance], options: Options) -> list[Answer | Refusal]:
        """One answer for each instance, from one forward pass over one state of the graph."""

    def record(self, request: str, asked: Sequence[Instance], answers: Sequence[Answer], graph: GraphVersion) -> None:
        """Keep what was answered to a request, where that is wanted; never waits, never fails."""

    def mirror(self, request: str, asked: Sequence[Instance], answers: Sequence[Answer]) -> None:
        """Ask another version the same, where that is wanted; never waits, never fails."""

    def moment(self, at: int) -> str | int:
        """A moment as answers tell it: text, or a step."""

    def graph(self) -> GraphVersion:
        """The state of the graph that `answer` would see now; asked at any time, also before it is ready."""

    def problem(self) -> str | None:
        """Why the server is not ready; None when it is."""

    def blocked(self) -> str | None:
        """Why questions cannot be answered now; None when they can, although events may not be taken."""

    async def accept(self, events: list[dict[str, Any]]) -> list[int | None]:
        """The offset of each event once it is on disk; None for one that was accepted before.

        Raises:
            UserError: naming the index of a bad event; then none of them was accepted.
            Failure: when none can be taken now.
        """

    async def compact(self) -> dict[str, Any]:
        """Write the live graph as a snapshot."""

    async def reload(self) -> dict[str, Any]:
        """Read the model and the snapshot again."""

    async def start(self) -> None:
        """Get ready: replay the log, catch up with the stream."""

    async def stop(self) -> None:
        """Flush and close what must not be lost."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The answers to one request, and what they were computed from."""

    answers: list[Answer]
    graph: GraphVersion
    name: str
    version: str
    moment: Callable[[int], str | int]
    """A moment as answers tell it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    instances: Sequence[Instance]
    options: Options
    deadline: float
    received: float
    future: asyncio.Future[Answered]


class Batcher:
    """The queue in front of a predictor."""

    def __init__(self, predictor: Predictor, queue_limit: int, batch_limit: int) -> None:
        """At most ``queue_limit`` instances wait; a forward pass takes ``batch_limit``, or one larger request."""
        self._predictor = predictor
        self._queue_limit = queue_limit
        self._batch_limit = batch_limit
        self._plain: deque[_Job] = deque()
        self._slow: deque[_Job] = deque()
        self._scheduled = self._slow_scheduled = self._told = False
        self.waiting = 0

    async def ask(self, instances: Sequence[Instance], options: Options, deadline: float) -> Answered:
        """The answers; ``deadline`` is in seconds of the event loop's clock.

        Raises:
            Failure: when the queue is full, the deadline passes before the turn comes, or an instance is refused.
        """
        if self.waiting + len(instances) > self._queue_limit:
            raise Failure(Kind.OVERLOADED, f"{self.waiting} instances wait already; try again later", _RETRY)
        loop = asyncio.get_running_loop()
        job = _Job(instances, options, deadline, loop.time(), loop.create_future())
        self.waiting += len(instances)
        (self._slow if options.explanation else self._plain).append(job)
        self._schedule(loop)
        return await job.future

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._plain and not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._turn, loop)
        if self._slow and not self._slow_scheduled:
            self._slow_scheduled = True
            loop.call_later(0, self._slow_turn, loop, False)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer what waits, up to the batch limit: one forward pass for each kind of options."""
        self._scheduled, self._told = False, bool(self._plain)
        groups: dict[Options, list[_Job]] = {}
        room = self._batch_limit
        while self._plain and (room == self._batch_limit or len(self._plain[0].instances) <= room):
            job = self._take(self._plain, loop.time())
            if job is not None:
                groups.setdefault(job.options, []).append(job)
                room -= len(job.instances)
        for options, jobs in groups.items():
            self._answer(jobs, options)
        self._schedule(loop)

    def _slow_turn(self, loop: asyncio.AbstractEventLoop, yielded: bool) -> None:
        """One explanation; where others were just answered, after one more turn, in which those answers go out."""
        if self._told and not yielded:
            loop.call_later(0, self._slow_turn, loop, True)
            return
        self._slow_scheduled = self._told = False
        job = self._take(self._slow, loop.time())
        if job is not None:
            self._answer([job], job.options)
        self._schedule(loop)

    def _take(self, queue: deque[_Job], now: float) -> _Job | None:
        """The next job, or None for one whose client is gone or whose time is up: it costs nothing more."""
        job = queue.popleft()
        self.waiting -= len(job.instances)
        if job.future.done():
            return None
        metrics.STAGE["queue"].observe(now - job.received)
        if now > job.deadline:
            job.future.set_exception(Failure(Kind.LATE, "the deadline passed before the request had its turn"))
            return None
        return job

    def _answer(self, jobs: list[_Job], options: Options) -> None:
        instances = jobs[0].instances if len(jobs) == 1 else [one for job in jobs for one in job.instances]
        try:
            found = self._predictor.answer(instances, options)
            graph = self._predictor.graph()
        except Exception as error:
            self._failed(jobs, options, error)
            return
        metrics.BATCH.observe(len(instances))
        first = 0
        for job in jobs:
            self._settle(job, found[first : first + len(job.instances)], graph)
            first += len(job.instances)

    def _failed(self, jobs: list[_Job], options: Options, error: Exception) -> None:
        """One request must not spoil its neighbours: each is tried alone before it fails."""
        if len(jobs) > 1:
            for job in jobs:
                self._answer([job], options)
            return
        _LOG.error("a request could not be answered", exc_info=error)
        jobs[0].future.set_exception(Failure(Kind.INTERNAL, "an error of the server; its log has the details"))

    def _settle(self, job: _Job, found: Sequence[Answer | Refusal], graph: GraphVersion) -> None:
        answers: list[Answer] = []
        for place, one in enumerate(found):
            if isinstance(one, Refusal):
                job.future.set_exception(invalid(f"instances[{place}]: {one.reason}"))
                return
            answers.append(one)
        known = 0
        for answer in answers:
            known += answer.known
            metrics.SCORE.observe(answer.score)
        metrics.KNOWN.inc(known)
        metrics.UNKNOWN.inc(len(answers) - known)
        job.future.set_result(
            Answered(answers, graph, self._predictor.name, self._predictor.version, self._predictor.moment)
        )
