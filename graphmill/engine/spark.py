"""The engine for tables that outgrow one machine; the one module that knows pyspark.

What is kept are Parquet folders below the scratch folder, which driver and workers must both see.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import ibis
import ibis.expr.operations as ops
import pyarrow as pa
import pyarrow.parquet as pq

from graphmill.engine import database
from graphmill.engine.files import ROW, Files, opened
from graphmill.engine.params import EngineParams
from graphmill.engine.session import broken, check, options, said_by_duckdb
from graphmill.engine.worker import Scan, quoted
from graphmill.errors import UserError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@ibis.udf.scalar.builtin(name="to_timestamp_ltz")
def _zoned(time: datetime) -> datetime:  # type: ignore[empty-body]
    """A timestamp in the zone of the session, which is UTC."""


@ibis.udf.scalar.builtin(name="unix_micros")
def _microseconds(time: datetime) -> int:  # type: ignore[empty-body]
    """Microseconds since 1970 of a timestamp with a zone."""


class Spark:
    """Sources are scanned by DuckDB in the workers; what is kept is joined, grouped and ordered by Spark."""

    def __init__(self, session: "SparkSession", local: Any, scratch: Path, memory_limit: str) -> None:
        self.local = local
        self.session = session
        # a timestamp has no zone, as in DuckDB: with one, Spark would shift those before its calendar's reform
        self.connection = ibis.pyspark.connect(session, **{"spark.sql.timestampType": "TIMESTAMP_NTZ"})
        self.scratch = scratch
        self.memory_limit = memory_limit
        self.sources: dict[str, Scan] = {}
        self.kept: dict[str, list[Path]] = {}
        self.numbers = itertools.count()

    def open(self, files: Files) -> Any:
        if files.kind not in ("parquet", "csv"):
            raise UserError(f"{files.names[0]}: engine spark reads Parquet and CSV; convert it, or use engine duckdb")
        rows = opened(self.local, files)
        view = rows.get_name()
        described = self.local.con.execute(f"DESCRIBE {quoted(view)}").fetchall()
        types = tuple((line[0], line[1]) for line in described)
        first = (0,) * len(files.names)
        source = Scan(files, view, types, "", pa.schema([]), first, self.memory_limit)
        if len(files.names) > 1:
            source = dataclasses.replace(source, first=self._first(source))
        self.sources[view] = source
        return rows

    def _first(self, source: Scan) -> tuple[int, ...]:
        """Where each file's rows begin among all rows."""
        schema = pa.schema({"rows": pa.int64(), ROW: pa.int64()})
        sql = f"SELECT count(*)::BIGINT AS rows, 0::BIGINT AS {ROW} FROM {quoted(source.view)}"
        places = tuple(range(len(source.files.names)))
        with _in_workers():
            counted = self._scanned(dataclasses.replace(source, sql=sql, schema=schema, first=places)).collect()
        rows = [line["rows"] for line in sorted(counted, key=lambda line: line[ROW])]
        return tuple(itertools.accumulate(rows[:-1], initial=0))

    def _scanned(self, scan: Scan) -> "DataFrame":
        """A task a file."""
        from pyspark.sql.pandas.types import from_arrow_schema

        schema = from_arrow_schema(scan.schema, prefer_timestamp_ntz=True)
        count = len(scan.files.names)
        return self.session.range(0, count, 1, count).mapInArrow(scan, schema)

    def scan(self, name: str, rows: Any) -> Any:
        (view,) = {item.name for item in rows.op().find(ops.DatabaseTable)}
        given = pa.schema([pa.field(field.name, field.type) for field in rows.schema().to_pyarrow()])
        scan = dataclasses.replace(self.sources[view], sql=self.local.compile(rows), schema=given)
        with _in_workers():
            return self._save(name, self._scanned(scan))

    def keep(self, name: str, rows: Any) -> Any:
        return self._save(name, self._frame(rows))

    def add(self, name: str, rows: Any) -> int:
        self._save(name, self._frame(rows))
        return sum(pq.read_metadata(file).num_rows for file in _parts(self.kept[name][-1]))

    def table(self, name: str) -> Any:
        return self.connection.table(name)

    def read(self, file: Path) -> Any:
        frame = self.session.read.parquet(_uri(file))
        view = f"file_{next(self.numbers)}"
        frame.selectExpr("*", f"_metadata.row_index AS {ROW}").createOrReplaceTempView(view)
        return self.connection.table(view)

    def microseconds(self, time: Any) -> Any:
        return _microseconds(_zoned(time))

    def bring(self, rows: Any) -> Any:
        return self.local.read_parquet(self._written(self._frame(rows)))

    def arrow(self, rows: Any) -> Any:
        return pa.concat_tables([pq.read_table(file) for file in self._written(self._frame(rows))])

    def batches(self, rows: Any) -> Iterator[Any]:
        for file in self._written(self._frame(rows)):  # in the order of their numbers, which is that of the rows
            with pq.ParquetFile(file) as stream:
                yield from stream.iter_batches(database.BATCH)

    def _frame(self, rows: Any) -> "DataFrame":
        return self.session.sql(self.connection.compile(rows))

    def _save(self, name: str, frame: "DataFrame") -> Any:
        self.kept.setdefault(name, []).append(self._stored(frame))
        self.session.read.parquet(*map(_uri, self.kept[name])).createOrReplaceTempView(name)
        return self.table(name)

    def _written(self, frame: "DataFrame") -> list[str]:
        return [str(file) for file in _parts(self._stored(frame))]

    def _stored(self, frame: "DataFrame") -> Path:
        folder = self.scratch / f"part_{next(self.numbers)}"
        frame.write.parquet(_uri(folder))
        return folder


def _parts(folder: Path) -> list[Path]:
    """The files that Spark wrote, in the order of its rows."""
    return sorted(folder.glob("part-*"))


def _uri(path: Path) -> str:
    """A path of this machine, also where Spark would look in another store first."""
    return f"file://{path.absolute()}"


@contextmanager
def _in_workers() -> Iterator[None]:
    """What DuckDB said in a worker, as it would have said it here."""
    from pyspark.errors import PySparkException

    try:
        yield
    except PySparkException as error:
        said = said_by_duckdb(error)
        if said is None:
            raise
        raise duckdb.Error(said) from None


@contextmanager
def connect(params: EngineParams, scratch: Path, stage: str) -> Iterator[Spark]:
    """A session of the user's options; one that was there before is used and left running.

    Raises:
        UserError: when pyspark or Java is missing, for options that Spark refuses, and when a job fails.
    """
    check(params, scratch, stage)
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    there = SparkSession.getActiveSession()
    with database.connect(params, scratch, stage) as local:
        session = None
        try:
            # a session of its own beside the one that is there: options and views of that stay as they are
            session = there.newSession() if there else _started(params, scratch)
            yield Spark(session, local.local, scratch, params.memory_limit)
        except (PySparkException, Py4JError) as error:
            raise broken(error, stage) from None
        finally:
            if session is not None and there is None:
                session.stop()


def _started(params: EngineParams, scratch: Path) -> "SparkSession":
    from pyspark.sql import SparkSession

    builder = SparkSession.builder
    for name, value in options(params, scratch).items():
        builder = builder.config(name, value)
    return builder.getOrCreate()
