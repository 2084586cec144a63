"""Raw matrices: every kind of column, read back as numbers."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graphmill.clock import ALWAYS
from graphmill.errors import UserError
from graphmill.features import columns
from graphmill.features.columns import (
    CALENDAR,
    NEVER,
    Field,
    calendar,
    fields,
    write_calendar,
    write_matrix,
    write_times,
)
from graphmill.schema import Column

NAN = np.nan
HOUR = 3_600_000_000
TABLE = pa.table(
    {
        "amount": pa.array([1.5, None, -2.0]),
        "amount [eur]": pa.array([1.0, 2.0, 3.0]),
        "huge": pa.array([1e300, -1e300, 1.0]),
        "open": pa.array([True, None, False]),
        "land": pa.array(["fr", None, "de"]),
        "empty": pa.array([None, None, None], pa.string()),
        "place": pa.array([[1.0, 2.0], None, [3.0, None]], pa.list_(pa.float32())),
        "at": pa.array([0, None, HOUR], pa.timestamp("us")),
        "step": pa.array([7, None, 9], pa.int64()),
    }
)


@pytest.fixture
def file(tmp_path):
    pq.write_table(TABLE, tmp_path / "items.parquet")
    return tmp_path / "items.parquet"


def matrix(file, kinds, extra=()):
    found = fields(file, {name: Column(kind=kind) for name, kind in kinds.items()}) + list(extra)
    output = file.parent / "nodes" / "item.npy"
    write_matrix(file, found, TABLE.num_rows, output)
    return found, np.load(output, mmap_mode="r")


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("amount", "numeric", [[1.5], [NAN], [-2]]),
        ("amount [eur]", "numeric", [[1], [2], [3]]),
        ("open", "boolean", [[1], [NAN], [0]]),
        ("land", "category", [[1], [NAN], [0]]),
        ("empty", "category", [[NAN], [NAN], [NAN]]),
        ("place", "vector", [[1, 2], [NAN, NAN], [3, NAN]]),
        ("at", "timestamp", [[], [], []]),
    ],
)
def test_every_kind(file, name, kind, expected):
    found, raw = matrix(file, {name: kind})
    assert raw.dtype == np.float32 and raw.shape == (3, len(found))
    np.testing.assert_array_equal(raw, np.array(expected, np.float32))


def test_many_columns_and_the_calendar(file):
    found, _ = matrix(file, {"place": "vector", "land": "category"}, [Field(name=n, kind="calendar") for n in CALENDAR])
    assert [field.name for field in found] == ["place[0]", "place[1]", "land", *CALENDAR]
    assert found[2].vocabulary == ["de", "fr"]
    output = file.parent / "nodes" / "item.npy"
    time = np.array([0, ALWAYS, 6 * HOUR])
    write_calendar(time, output)
    raw = np.load(output)
    assert raw[:, 2].tolist()[::2] == [1, 0]
    np.testing.assert_array_equal(raw[:, 3:], calendar(time))


def test_the_calendar_on_known_moments():
    assert calendar(np.array([0]))[0].tolist() == [0, 1, 0, 1]
    assert np.allclose(calendar(np.array([6 * HOUR]))[0, :2], [1, 0], atol=1e-6)
    assert np.allclose(calendar(np.array([-18 * HOUR]))[0, :2], [1, 0], atol=1e-6)
    assert np.allclose(calendar(np.array([84 * HOUR]))[0, 2:], [0, -1], atol=1e-6)
    assert calendar(np.array([ALWAYS])).tolist() == [[0, 0, 0, 0]]


def test_batches_join_without_a_seam(file, monkeypatch):
    whole = matrix(file, {"amount": "numeric", "land": "category"})[1].tolist()
    monkeypatch.setattr(columns, "BATCH", 2)
    np.testing.assert_array_equal(matrix(file, {"amount": "numeric", "land": "category"})[1].tolist(), whole)


def test_numbers_beyond_float32_stay_finite(file):
    raw = matrix(file, {"huge": "numeric"})[1]
    most = np.finfo(np.float32).max
    assert raw[:, 0].tolist() == [most, -most, 1]


def test_times(file):
    write_times(file, ["at", "step"], 3, file.parent / "times.npy")
    assert np.load(file.parent / "times.npy").tolist() == [[0, 7], [NEVER, NEVER], [HOUR, 9]]


def test_a_table_without_rows(tmp_path):
    pq.write_table(TABLE.slice(0, 0), tmp_path / "items.parquet")
    found = fields(tmp_path / "items.parquet", {"amount": Column(kind="numeric"), "land": Column(kind="category")})
    write_matrix(tmp_path / "items.parquet", found, 0, tmp_path / "item.npy")
    assert np.load(tmp_path / "item.npy").shape == (0, 2) and found[1].vocabulary == []
    with pytest.raises(UserError, match=r"items.parquet: vector column 'place' has no value at all"):
        fields(tmp_path / "items.parquet", {"place": Column(kind="vector")})
