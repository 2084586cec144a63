"""The raw values of every column, as numbers: one float32 matrix a node type and edge table.

Values stay raw: missing is NaN, a category is its place in the vocabulary. The model carries the fitted
transforms and applies them as it gathers rows, so every model can read every features folder.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from graphmill.clock import ALWAYS
from graphmill.errors import UserError
from graphmill.params import Section
from graphmill.schema import Column

NEVER = np.iinfo(np.int64).max
"""The time of a missing timestamp: after every moment, so never visible."""
HOURS = 3_600_000_000
BATCH = 262_144
MOST = float(np.finfo(np.float32).max)
"""Larger numbers are cut to this: what float32 cannot hold would become infinite."""


class Field(Section):
    """One column of a raw matrix."""

    name: str
    """Name of the source column; parts of a vector carry their place, ``position[0]``."""
    kind: str
    """numeric, category, boolean, vector or calendar."""
    vocabulary: list[str] | None = None
    """The categories, sorted; a value is its place here."""
    scale: str | None = None
    """How the schema wants it scaled, where it says so."""


def fields(file: Path, columns: dict[str, Column]) -> list[Field]:
    """The fields that a table's columns become: vocabularies and vector lengths are read from the data."""
    found: list[Field] = []
    for name, column in columns.items():
        if column.kind == "category":
            found.append(Field(name=name, kind="category", vocabulary=_vocabulary(file, name)))
        elif column.kind == "vector":
            length = _vector_length(file, name)
            parts = [f"{name}[{place}]" for place in range(length)]
            found += [Field(name=part, kind="vector", scale=column.scale) for part in parts]
        elif column.kind in ("numeric", "boolean"):
            found.append(Field(name=name, kind=column.kind, scale=column.scale))
    return found


def write_matrix(file: Path, found: list[Field], rows: int, output: Path) -> None:
    """Write the raw matrix float32 ``[rows, fields]``, batch by batch, memory-mapped."""
    matrix = new_matrix(output, np.float32, (rows, len(found)))
    names = list(dict.fromkeys(_place(field)[0] for field in found if field.kind != "calendar"))
    at = 0
    for batch in _batches(file, names):
        for place, field in enumerate(found):
            matrix[at : at + len(batch), place] = _values(batch, field)
        at += len(batch)
    matrix.flush()


def write_times(file: Path, columns: list[str], rows: int, output: Path) -> None:
    """Write timestamp columns as int64 ``[rows, columns]``, ``NEVER`` where missing."""
    matrix = new_matrix(output, np.int64, (rows, len(columns)))
    at = 0
    for batch in _batches(file, columns):
        for place, name in enumerate(columns):
            values = batch.column(name).cast(pa.int64())
            matrix[at : at + len(batch), place] = values.fill_null(NEVER).to_numpy(zero_copy_only=False)
        at += len(batch)
    matrix.flush()


CALENDAR = ["hour_sine", "hour_cosine", "weekday_sine", "weekday_cosine"]


def calendar(time: NDArray[np.int64]) -> NDArray[np.float32]:
    """Hour of the day and day of the week on their circles: float32 ``[n, 4]``; 0 where there is no time."""
    safe = np.where(time == ALWAYS, 0, time)
    day = 2 * np.pi * (safe % (24 * HOURS)) / (24 * HOURS)
    week = 2 * np.pi * (safe % (168 * HOURS)) / (168 * HOURS)
    circles = np.stack([np.sin(day), np.cos(day), np.sin(week), np.cos(week)], axis=1)
    circles[time == ALWAYS] = 0
    return circles.astype(np.float32)


def write_calendar(time: NDArray[np.int64], output: Path) -> None:
    """Write ``calendar`` of every row to the last columns of the matrix at ``output``."""
    matrix = np.load(output, mmap_mode="r+")
    for first in range(0, len(time), BATCH):
        matrix[first : first + BATCH, -len(CALENDAR) :] = calendar(time[first : first + BATCH])
    matrix.flush()


def new_matrix(output: Path, kind: type[np.generic], shape: tuple[int, int]) -> Any:
    """A new matrix on disk, with its room taken: a full disk would else kill the process as it fills the pages."""
    output.parent.mkdir(parents=True, exist_ok=True)
    matrix = np.lib.format.open_memmap(output, "w+", np.dtype(kind), shape)
    if hasattr(os, "posix_fallocate"):
        with output.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, os.path.getsize(output))
    return matrix


def _batches(file: Path, names: list[str]) -> Iterator[pa.RecordBatch]:
    if names:
        yield from pq.ParquetFile(file).iter_batches(BATCH, columns=names)


def _vocabulary(file: Path, name: str) -> list[str]:
    values: set[str] = set()
    for batch in _batches(file, [name]):
        values.update(pc.unique(batch.column(name)).drop_null().to_pylist())
    return sorted(values)


def _vector_length(file: Path, name: str) -> int:
    for batch in _batches(file, [name]):
        lengths = pc.list_value_length(batch.column(name)).drop_null()
        if len(lengths):
            return int(lengths[0].as_py())
    raise UserError(f"{file.name}: vector column {name!r} has no value at all")


def _place(field: Field) -> tuple[str, int]:
    """The source column, and the place in it where it is a vector."""
    if field.kind != "vector":
        return field.name, 0
    name, _, place = field.name.rpartition("[")
    return name, int(place.rstrip("]"))


def _values(batch: pa.RecordBatch, field: Field) -> NDArray[np.float32] | float:
    if field.kind == "calendar":
        return 0.0
    name, place = _place(field)
    values: Any = batch.column(name)
    if field.kind == "category":
        values = pc.index_in(values, pa.array(field.vocabulary, pa.string()))
    elif field.kind == "vector":
        values = pc.list_element(values, place)
    numbers = values.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    return np.asarray(np.clip(numbers, -MOST, MOST), np.float32)
