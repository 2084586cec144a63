"""The default engine: DuckDB on this machine, spilling to disk."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import ibis

from graphmill.engine.files import ROW, Files, literally, opened
from graphmill.engine.params import EngineParams
from graphmill.errors import UserError

BATCH = 1 << 16
"""Rows that are handed over at once."""
SHOWN = 500
"""Letters of the database's message that an error repeats."""


class Database:
    """All is kept in one database file."""

    def __init__(self, connection: Any) -> None:
        self.local = connection

    def open(self, files: Files) -> Any:
        return opened(self.local, files)

    def scan(self, name: str, rows: Any) -> Any:
        return self.keep(name, rows)

    def keep(self, name: str, rows: Any) -> Any:
        return self.local.create_table(name, rows)

    def add(self, name: str, rows: Any) -> int:
        before = self.table(name).count().execute()
        self.local.insert(name, rows)
        return int(self.table(name).count().execute() - before)

    def table(self, name: str) -> Any:
        return self.local.table(name)

    def read(self, file: Path) -> Any:
        return self.local.read_parquet(literally(file), file_row_number=True).rename({ROW: "file_row_number"})

    def microseconds(self, time: Any) -> Any:
        return time.delta(ibis.timestamp("1970-01-01"), unit="microsecond")

    def bring(self, rows: Any) -> Any:
        return rows

    def arrow(self, rows: Any) -> Any:
        return rows.to_pyarrow()

    def batches(self, rows: Any) -> Iterator[Any]:
        yield from self.local.con.sql(self.local.compile(rows)).to_arrow_reader(BATCH)


def _limited(scratch: Path, params: EngineParams) -> Any:
    """A database on disk within the limits."""
    limits = {"memory_limit": params.memory_limit, "threads": params.threads}
    connection = ibis.duckdb.connect(scratch / "work.duckdb", temp_directory=str(scratch / "temporary"), **limits)
    connection.settings["enable_progress_bar"] = False  # `progress` has its own, and not on standard output
    return connection


@contextmanager
def connect(params: EngineParams, scratch: Path, stage: str) -> Iterator[Database]:
    """A database that is gone afterwards; its errors are told as the user's.

    Raises:
        UserError: when memory or disk is too small.
    """
    try:
        connection = _limited(scratch, params)
        try:
            yield Database(connection)
        finally:
            with suppress(duckdb.Error):
                connection.disconnect()
    except duckdb.Error as error:
        raise UserError(f"{stage}: {lacking(error, stage) or short(error)}") from None


def short(error: Exception) -> str:
    """The database's message without its advice, which does not fit here."""
    return re.split(r"\s(?:LINE \d+:|Possible |Try )", " ".join(str(error).split()))[0][:SHOWN]


def lacking(error: Exception, stage: str) -> str | None:
    """What to tell when memory or disk is too small; None for other errors."""
    message = short(error)
    if isinstance(error, duckdb.OutOfMemoryException):
        return f"more memory or disk is needed; raise {stage}.memory_limit ({message})"
    if "No space left" in message:
        return f"the disk is full; make room and run it again ({message})"
    return None
