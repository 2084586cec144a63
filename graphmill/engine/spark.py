"""The engine for tables that outgrow one machine; the one module that knows pyspark.

What is kept are Parquet folders below the scratch folder, which driver and workers must both see.
"""

import dataclasses
import importlib.util
import itertools
import os
import re
import shutil
import sys
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
from graphmill.engine.worker import Scan, quoted
from graphmill.errors import UserError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PATTERN = re.compile(r"[\[\]{}*?\\]")
FROM_DUCKDB = re.compile(r"_?duckdb[\w.]*Exception: (.*(?:\n(?!\s*at |\n).*)*)")
CAUSE = re.compile(r"(\w+Exception|\w+Error): (.*)")


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
        self.kept: dict[str, list[str]] = {}
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
        return sum(pq.read_metadata(file).num_rows for file in Path(self.kept[name][-1]).glob("part-*"))

    def table(self, name: str) -> Any:
        return self.connection.table(name)

    def read(self, file: Path) -> Any:
        frame = self.session.read.parquet(str(file))
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
        folder = str(self.scratch / f"kept_{next(self.numbers)}")
        frame.write.parquet(folder)
        self.kept.setdefault(name, []).append(folder)
        self.session.read.parquet(*self.kept[name]).createOrReplaceTempView(name)
        return self.table(name)

    def _written(self, frame: "DataFrame") -> list[str]:
        folder = self.scratch / f"written_{next(self.numbers)}"
        frame.write.parquet(str(folder))
        return sorted(str(file) for file in folder.glob("part-*.parquet"))


@contextmanager
def _in_workers() -> Iterator[None]:
    """What DuckDB said in a worker, as it would have said it here."""
    from pyspark.errors import PySparkException

    try:
        yield
    except PySparkException as error:
        said = FROM_DUCKDB.findall(str(error))
        if not said:
            raise
        raise duckdb.Error(said[-1]) from None


@contextmanager
def connect(params: EngineParams, scratch: Path, stage: str) -> Iterator[Spark]:
    """A session of the user's options; one that was there before is used and left running.

    Raises:
        UserError: when pyspark or Java is missing, for options that Spark refuses, and when a job fails.
    """
    _check(params, scratch, stage)
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    there = SparkSession.getActiveSession()
    with database.connect(params, scratch, stage) as local:
        session = None
        try:
            # a session of its own beside the one that is there: options and views of that stay as they are
            session = there.newSession() if there else _session(SparkSession.builder, params, scratch)
            yield Spark(session, local.local, scratch, params.memory_limit)
        except (PySparkException, Py4JError) as error:
            raise _broken(error, stage) from None
        finally:
            if session is not None and there is None:
                session.stop()


def _check(params: EngineParams, scratch: Path, stage: str) -> None:
    if importlib.util.find_spec("pyspark") is None:
        raise UserError(f"{stage}.engine: spark needs pyspark; install graphmill[spark], or use engine duckdb")
    java = Path(os.environ["JAVA_HOME"], "bin", "java") if "JAVA_HOME" in os.environ else shutil.which("java")
    if java is None or not Path(java).exists():
        raise UserError(f"{stage}.engine: spark needs Java 17 or newer; install it and set JAVA_HOME, or use duckdb")
    if PATTERN.search(str(scratch)):
        raise UserError(f"{scratch.parent}: Spark takes some of these letters for a pattern; choose another folder")


def _session(builder: Any, params: EngineParams, scratch: Path) -> "SparkSession":
    size, unit = re.fullmatch(r"([\d.]+) ?([KMGT])i?B", params.memory_limit).groups()  # type: ignore[union-attr]
    options = {
        "spark.master": f"local[{params.threads}]",
        "spark.app.name": "graphmill",
        "spark.driver.memory": f"{max(512, round(float(size) * 1024 ** ('KMGT'.index(unit) - 1)))}m",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.local.dir": str(scratch / "shuffle"),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
    } | params.spark
    if options["spark.master"].startswith("local"):
        # on one machine Spark's 200 parts of a shuffle are 200 small files, and `python` may be another one
        options = {"spark.sql.shuffle.partitions": str(4 * params.threads)} | options
        options = {"spark.pyspark.python": sys.executable, "spark.pyspark.driver.python": sys.executable} | options
    for name, value in options.items():
        builder = builder.config(name, value)
    session: SparkSession = builder.getOrCreate()
    return session


def _broken(error: Exception, stage: str) -> UserError:
    """What a failed job says at its deepest."""
    causes = CAUSE.findall(str(error))
    told = ": ".join(causes[-1]) if causes else " ".join(str(error).split())
    if "JAVA_GATEWAY_EXITED" in str(error):
        return UserError(f"{stage}: Spark does not start; what Java says of it stands above; mend {stage}.spark")
    if "OutOfMemory" in str(error):
        return UserError(f"{stage}: Spark ran out of memory; raise spark.executor.memory or {stage}.memory_limit")
    return UserError(f"{stage}: Spark failed: {database.short(ValueError(told))}")
