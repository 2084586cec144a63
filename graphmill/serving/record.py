"""The prediction log: what was answered, to Parquet files or as CloudEvents, never in a request's way."""

import asyncio
import hashlib
import logging
import os
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import httpx
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from graphmill.serving.instance import Answer, GraphVersion, Instance

_LOG = logging.getLogger(__name__)
SCHEMA = pa.schema({
    "request": pa.string(), "node": pa.string(), "key": pa.string(), "time": pa.int64(), "answered_at": pa.float64(),
    "score": pa.float64(), "decision": pa.bool_(), "known": pa.bool_(), "model": pa.string(), "snapshot": pa.string(),
    "offset": pa.int64(), "input": pa.string(),
})  # fmt: skip
"""One row an answer. ``time``: the moment judged, in the schema's clock; ``input``: SHA-256 of the instance."""
QUEUE = 100_000
"""Rows that wait at the most; what comes on top is counted and lost."""
ROWS, SECONDS = 50_000, 60.0
"""A file is finished after so many rows, or so long."""
EVENT_TYPE = "io.graphmill.prediction"

Row = tuple[Any, ...]


class Sink(Protocol):
    """Where rows go."""

    def write(self, rows: list[Row]) -> None:
        """Keep rows; raises OSError or httpx.HTTPError where that fails."""


class Record:
    """Takes rows in at once and writes them in a thread of its own.

    Args:
        target: a folder, or a URL that takes CloudEvents.
        share: share of the requests that are recorded, chosen by their id.
        node: the task's node type.
        model: the beginning of the model's digest.
        keep: newest files that are kept in a folder.

    Attributes:
        dropped: rows lost since the start: the target was slower than the answers, or could not be written.
    """

    def __init__(self, target: str, share: float, node: str, model: str, keep: int = 1_000) -> None:
        self._sink: Sink = Posted(target) if "://" in target else Files(Path(target), keep)
        self._share, self._node, self._model = share, node, model
        self._rows: list[Row] = []
        self._thread = ThreadPoolExecutor(1, "record")
        self._task: asyncio.Task[None] | None = None
        self._filled = asyncio.Event()
        self._writing: asyncio.Future[None] | None = None
        self.dropped = 0

    def start(self) -> None:
        """Begin to write what comes."""
        self._task = asyncio.create_task(self._run())

    def offer(self, request: str, asked: Sequence[Instance], answers: Sequence[Answer], graph: GraphVersion) -> None:
        """Record the answers to a request; never waits, never fails."""
        if not _chosen(request, self._share):
            return
        if len(self._rows) + len(answers) > QUEUE:
            self.dropped += len(answers)
            return
        now = time.time()
        self._rows += [
            (request, self._node, one.id, one.at, now, one.score, one.decision, one.known, self._model,
             graph.snapshot, graph.offset, digest(instance))
            for instance, one in zip(asked, answers, strict=True)
        ]  # fmt: skip
        if len(self._rows) >= ROWS:
            self._filled.set()

    async def stop(self) -> None:
        """Write what is there, and end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
        await self._flush()
        self._thread.shutdown()

    async def _run(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._filled.wait(), SECONDS)
            except TimeoutError:
                pass
            self._filled.clear()
            await self._flush()

    async def _flush(self) -> None:
        rows, self._rows = self._rows, []
        if not rows:
            return
        self._writing = asyncio.get_running_loop().run_in_executor(self._thread, self._sink.write, rows)
        try:
            await asyncio.shield(self._writing)
        except (OSError, httpx.HTTPError) as error:
            self.dropped += len(rows)
            _LOG.error("%d predictions could not be recorded: %s", len(rows), error)


class Files:
    """Parquet files in a folder, each there when it is whole; the oldest go."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder, keep
        self._number = 0

    def write(self, rows: list[Row]) -> None:
        """Write one file."""
        self._folder.mkdir(parents=True, exist_ok=True)
        columns = list(zip(*rows, strict=True))
        arrays = [pa.array(column, kind) for column, kind in zip(columns, SCHEMA.types, strict=True)]
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        file = self._folder / f"predictions-{stamp}-{os.getpid()}-{self._number}.parquet"
        partial = file.with_name(f".{file.name}.partial")
        try:
            pq.write_table(pa.table(arrays, SCHEMA), partial, compression="zstd")
            partial.rename(file)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        self._number += 1
        for old in sorted(self._folder.glob("predictions-*.parquet"))[: -self._keep]:
            old.unlink(missing_ok=True)


class Posted:
    """CloudEvents 1.0 in binary mode: one request a batch, the rows as JSON."""

    def __init__(self, url: str) -> None:
        self._url, self._client = url, httpx.Client(timeout=10)

    def write(self, rows: list[Row]) -> None:
        """Post the rows; tried three times."""
        headers = {
            "ce-specversion": "1.0", "ce-type": EVENT_TYPE, "ce-source": "graphmill/serving", "ce-id": uuid.uuid4().hex,
            "ce-time": datetime.now(UTC).isoformat(), "content-type": "application/json",
        }  # fmt: skip
        body = orjson.dumps([dict(zip(SCHEMA.names, row, strict=True)) for row in rows])
        for attempt in range(3):
            try:
                self._client.post(self._url, content=body, headers=headers).raise_for_status()
                return
            except httpx.HTTPError:
                if attempt == 2:
                    raise
                time.sleep(0.2 * 2**attempt)


def digest(instance: Instance) -> str:
    """SHA-256 of what was asked, as JSON with sorted keys."""
    content = orjson.dumps(instance.model_dump(exclude_defaults=True), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()


def _chosen(request: str, share: float) -> bool:
    """The same for the same request, on every replica."""
    return share >= 1 or int.from_bytes(hashlib.blake2b(request.encode(), digest_size=4).digest()) < share * 2**32
