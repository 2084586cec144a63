"""What runs in Spark's workers: DuckDB on one source file, by the SQL that the driver wrote for all of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import ibis
import pyarrow as pa

from graphmill.engine.files import ROW, Files, opened

BATCH = 1 << 14
"""Rows that are handed to Spark at once."""


@dataclass(frozen=True)
class Scan:
    """One expression over one source."""

    files: Files
    view: str
    """The name by which the SQL knows the source."""
    types: tuple[tuple[str, str], ...]
    """Name and DuckDB type of each column over all files; a single file may lack some or be narrower."""
    sql: str
    schema: pa.Schema
    """What the SQL gives."""
    first: tuple[int, ...]
    """What ``row__`` of each file begins with."""
    memory_limit: str

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Rows of the files whose places stand in the first column of the batches."""
        for batch in batches:
            for place in batch.column(0).to_pylist():
                yield from self._file(place)

    def _file(self, place: int) -> Iterator[pa.RecordBatch]:
        connection = ibis.duckdb.connect(threads=1, memory_limit=self.memory_limit)
        try:
            self._open(connection, Files((self.files.names[place],), self.files.kind, self.files.delimiter))
            numbered = f" REPLACE ({quoted(ROW)} + {self.first[place]} AS {quoted(ROW)})" * (ROW in self.schema.names)
            reader = connection.con.sql(f"SELECT *{numbered} FROM ({self.sql})").to_arrow_reader(BATCH)
            for batch in reader:
                yield from pa.Table.from_batches([batch]).cast(self.schema).combine_chunks().to_batches()
        finally:
            connection.disconnect()

    def _open(self, connection: Any, files: Files) -> None:
        """The file under the name of the whole source, with the columns of all files."""
        alone = quoted(opened(connection, files).get_name())
        there = {line[0].lower() for line in connection.con.execute(f"DESCRIBE {alone}").fetchall()}
        columns = ", ".join(
            f"CAST({quoted(name) if name.lower() in there else 'NULL'} AS {kind}) AS {quoted(name)}"
            for name, kind in self.types
        )
        connection.con.execute(f"CREATE VIEW {quoted(self.view)} AS SELECT {columns} FROM {alone}")


def quoted(name: str) -> str:
    """A name as SQL reads it whatever its letters."""
    return '"' + name.replace('"', '""') + '"'
