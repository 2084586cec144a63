"""Where recorded answers go: Parquet files in a folder, or CloudEvents to a URL. Both block; a thread calls them."""

import contextlib
import logging
import os
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from graphmill.errors import UserError

_LOG = logging.getLogger(__name__)
TRIES = 3
ABANDONED = 3600.0
"""Seconds after which an unfinished file is a dead writer's."""

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Layout:
    """What rows of one kind are: the beginning of their files' names, their columns, their type as CloudEvents."""

    name: str
    schema: pa.Schema
    event: str


PREDICTIONS = Layout("predictions", pa.schema({
    "request": pa.string(), "node": pa.string(), "key": pa.string(), "time": pa.int64(), "answered_at": pa.float64(),
    "score": pa.float64(), "decision": pa.bool_(), "known": pa.bool_(), "model": pa.string(), "snapshot": pa.string(),
    "offset": pa.int64(), "input": pa.string(),
}), "io.graphmill.prediction")  # fmt: skip
"""One row an answer. ``time``: the moment judged, in the schema's clock; ``answered_at``: seconds since 1970;
``input``: SHA-256 of the instance."""
COMPARISONS = Layout("comparisons", pa.schema({
    "request": pa.string(), "node": pa.string(), "key": pa.string(), "time": pa.int64(), "answered_at": pa.float64(),
    "champion": pa.string(), "candidate": pa.string(), "champion_score": pa.float64(), "champion_decision": pa.bool_(),
    "candidate_score": pa.float64(), "candidate_decision": pa.bool_(), "failure": pa.string(),
}), "io.graphmill.comparison")  # fmt: skip
"""One row an instance that two models were asked about; ``failure`` says why the candidate did not answer."""


class Sink(Protocol):
    """Where rows go."""

    most: int
    """Rows of one write at the most."""

    def write(self, rows: list[Row]) -> None:
        """Keep rows; whatever it raises means that none of them is kept."""

    def close(self) -> None:
        """No more rows come."""


def sink(target: str, keep: int, layout: Layout) -> Sink:
    """The sink that a folder or a URL means.

    Raises:
        UserError: when there is none, or the folder cannot be made.
    """
    if "://" not in target:
        return Files(Path(target), keep, layout)
    if urlsplit(target).scheme not in ("http", "https"):
        raise UserError(f"prediction_log: {target}: give a folder, or a URL of http or https")
    return Posted(target, layout)


class Files:
    """Parquet files in a folder, each there when it is whole and on the disk; several servers may share it.

    Args:
        folder: made when it is missing.
        keep: bytes of this layout that are kept; the oldest files go.
        layout: of the rows.
    """

    most = 50_000

    def __init__(self, folder: Path, keep: int, layout: Layout = PREDICTIONS) -> None:
        self._folder, self._keep, self._layout, self._number = folder, keep, layout, 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"prediction_log: {folder}: {error.strerror}") from None
        for partial in folder.glob(f".{layout.name}-*.partial"):
            with contextlib.suppress(OSError):
                if time.time() - partial.stat().st_mtime > ABANDONED:
                    partial.unlink()

    def write(self, rows: list[Row]) -> None:
        """Write one file."""
        columns = list(zip(*rows, strict=True))
        arrays = [pa.array(column, kind) for column, kind in zip(columns, self._layout.schema.types, strict=True)]
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        file = self._folder / f"{self._layout.name}-{stamp}-{os.getpid()}-{self._number}.parquet"
        partial = file.with_name(f".{file.name}.partial")
        try:
            with partial.open("wb") as output:
                pq.write_table(pa.table(arrays, self._layout.schema), output, compression="zstd")
                output.flush()
                os.fsync(output.fileno())
            partial.rename(file)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        self._number += 1
        self._tidy()

    def close(self) -> None:
        """Every file is whole already."""

    def _tidy(self) -> None:
        """Delete the oldest files beyond what is kept, never the newest."""
        try:
            sizes = {file: file.stat().st_size for file in sorted(self._folder.glob(f"{self._layout.name}-*.parquet"))}
            surplus = sum(sizes.values()) - self._keep
            for file in list(sizes)[:-1]:
                if surplus <= 0:
                    break
                file.unlink(missing_ok=True)
                surplus -= sizes[file]
        except OSError as error:  # another server tidies too; what was written stays
            _LOG.warning("%s: old %s cannot be deleted: %s", self._folder, self._layout.name, error)


class Posted:
    """CloudEvents 1.0 in binary mode to a URL: one request some rows, as a JSON list."""

    most = 1_000

    def __init__(self, url: str, layout: Layout) -> None:
        self._url, self._layout, self._client = url, layout, httpx.Client(timeout=5)

    def write(self, rows: list[Row]) -> None:
        """Post rows; tried again where that may help, under the same id."""
        headers = {
            "ce-specversion": "1.0", "ce-type": self._layout.event, "ce-source": "graphmill/serving",
            "ce-id": uuid.uuid4().hex, "ce-time": datetime.now(UTC).isoformat(), "content-type": "application/json",
        }  # fmt: skip
        body = orjson.dumps([dict(zip(self._layout.schema.names, row, strict=True)) for row in rows])
        for left in reversed(range(TRIES)):
            try:
                self._client.post(self._url, content=body, headers=headers).raise_for_status()
                return
            except httpx.HTTPError as error:
                if left == 0 or not _passing(error):
                    raise
                time.sleep(0.2 * 2 ** (TRIES - left))

    def close(self) -> None:
        """Close its connections."""
        self._client.close()


def _passing(error: httpx.HTTPError) -> bool:
    """Whether another attempt may go better."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    return True
