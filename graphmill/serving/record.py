"""Logs of what was answered: rows are written or posted behind the answers, never in a request's way."""

import asyncio
import contextlib
import hashlib
import logging
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import orjson

from graphmill.serving.drawn import drawn
from graphmill.serving.instance import Answer, GraphVersion, Instance
from graphmill.serving.sinks import PREDICTIONS, Layout, Row, sink

_LOG = logging.getLogger(__name__)
QUEUE = 100_000
"""Rows that wait at the most; what comes on top is counted and lost."""
ROWS, SECONDS = 50_000, 60.0
"""Rows are written when there are so many, or after so long. Who kills the server loses those that waited."""
KEEP = 10 * 1024**3
"""Bytes that are kept in a folder."""


class Rows:
    """Takes rows in at once and has them written in a thread of its own.

    Args:
        target: a folder, or a URL that takes CloudEvents.
        layout: of the rows.
        keep: bytes that are kept in a folder.

    Raises:
        UserError: when the target is none.

    Attributes:
        dropped: rows lost since the start: the target was slower than the answers, or could not be written.
    """

    def __init__(self, target: str, layout: Layout, keep: int = KEEP) -> None:
        self._sink, self._layout = sink(target, keep, layout), layout
        self._rows: list[Row] = []
        self._thread = ThreadPoolExecutor(1, "record")
        self._task: asyncio.Task[None] | None = None
        self._filled = asyncio.Event()
        self._stopping = False
        self.dropped = 0

    def start(self) -> None:
        """Begin to write what comes."""
        self._task = asyncio.create_task(self._run())

    def add(self, rows: list[Row]) -> None:
        """Have rows written, or count them as lost; never waits."""
        if self._stopping or len(self._rows) + len(rows) > QUEUE:
            self.dropped += len(rows)
            return
        self._rows += rows
        if len(self._rows) >= ROWS:
            self._filled.set()

    async def stop(self) -> None:
        """Write what is there, and end."""
        self._stopping = True
        self._filled.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown()
        self._sink.close()

    async def _run(self) -> None:
        while not self._stopping or self._rows:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._filled.wait(), 0 if self._stopping else SECONDS)
            self._filled.clear()
            await self._flush()

    async def _flush(self) -> None:
        rows, self._rows = self._rows, []
        lost, left = await asyncio.get_running_loop().run_in_executor(self._thread, self._write, rows)
        room = 0 if self._stopping else max(QUEUE - len(self._rows), 0)
        self._rows[:0] = left[:room]
        self.dropped += lost + len(left[room:])

    def _write(self, rows: list[Row]) -> tuple[int, list[Row]]:
        """Write rows part by part up to a failure: how many it lost, and those that were not tried. In the thread."""
        for first in range(0, len(rows), self._sink.most):
            part = rows[first : first + self._sink.most]
            try:
                self._sink.write(part)
            except Exception as error:  # whatever it is, those behind it wait for the next time
                _LOG.error("%d %s could not be recorded: %s", len(part), self._layout.name, error)
                return len(part), rows[first + len(part) :]
        return 0, []


class Record(Rows):
    """The prediction log.

    Args:
        target: a folder, or a URL that takes CloudEvents.
        share: share of the requests that are recorded, chosen by their id.
        node: the task's node type.
        model: the beginning of the model's digest.
        keep: bytes that are kept in a folder.

    Raises:
        UserError: when the target is none.
    """

    def __init__(self, target: str, share: float, node: str, model: str, keep: int = KEEP) -> None:
        super().__init__(target, PREDICTIONS, keep)
        self._share, self._node, self._model = share, node, model

    def offer(self, request: str, asked: Sequence[Instance], answers: Sequence[Answer], graph: GraphVersion) -> None:
        """Record the answers to a request; never waits, never fails. A request without an id is given one."""
        try:
            request = request or uuid.uuid4().hex
            if drawn(request, self._share):
                self.add(self._rows_of(request, asked, answers, graph))
        except Exception:  # an answer is worth more than its record
            _LOG.exception("answers cannot be recorded")
            self.dropped += len(answers)

    def _rows_of(
        self, request: str, asked: Sequence[Instance], answers: Sequence[Answer], graph: GraphVersion
    ) -> list[Row]:
        now = time.time()
        return [
            (request, self._node, one.id, int(one.at), now, float(one.score), bool(one.decision), bool(one.known),
             self._model, graph.snapshot, int(graph.offset), digest(instance))
            for instance, one in zip(asked, answers, strict=True)
        ]  # fmt: skip


def digest(instance: Instance) -> str:
    """SHA-256 of what was asked, as JSON with sorted keys."""
    content = orjson.dumps(instance.model_dump(exclude_defaults=True), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()
