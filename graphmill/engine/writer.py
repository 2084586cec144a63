"""The one writer of tables: equal rows give equal bytes, whichever engine has them and in whatever pieces."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

GROUP = 1 << 17
"""Rows of a row group: fixed, so that the bytes depend on nothing but the rows."""


def write(batches: Iterable[Any], schema: Any, file: Path) -> None:
    """Write ordered Arrow batches as Parquet, with never more than two row groups in memory."""
    plain = pa.schema([pa.field(field.name, field.type) for field in schema])  # what engines add says nothing of rows
    with pq.ParquetWriter(file, plain, compression="zstd") as writer:
        for group in _groups(batches, plain):
            writer.write_table(group, row_group_size=GROUP)


def _groups(batches: Iterable[Any], schema: Any) -> Iterator[Any]:
    """Tables of ``GROUP`` rows each in one piece, the last one shorter: pages end where pieces do."""
    waiting = pa.Table.from_batches([], schema)
    for batch in batches:
        waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch]).cast(schema)])
        while len(waiting) >= GROUP:
            yield waiting[:GROUP].combine_chunks()
            waiting = waiting[GROUP:]
    yield waiting.combine_chunks()
