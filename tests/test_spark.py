"""Both engines write the same bytes, whatever the tables hold."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graphmill import artifact, graph, ingest
from graphmill.schema import Schema
from graphmill.task import Task
from tests import tiny

MISSING = [name for name in ("pyspark", "java") if not (importlib.util.find_spec(name) or shutil.which(name))]
needs_spark = pytest.mark.skipif(bool(MISSING), reason=f"Spark needs {' and '.join(MISSING)}")
SPARK = {"spark.master": "local[2]", "spark.sql.shuffle.partitions": 3, "spark.ui.enabled": False}
TIMES = [
    "2025-01-01", "2025-1-2 10:00", "2025-01-03T10:00:00.5Z", "2025-01-04T10:00:00+02:00", "2025-01-05 11:00:00+0100",
    "1735977600", "1735977600.25", "2025/01/06", "0001-01-01", "1883-11-18 12:03:57", "2025-01-07T00:00:00.123456789",
]  # fmt: skip
BAD_TIMES = ["yesterday", "today", "T10:00", "2025-01", "infinity", "2025-02-30", "9999-12-31", "", None]
NUMBERS = ["1", "1.50", "-0.0", "1e3", " 7 ", "1e-7", "0.1", "+5", "1_000", "0x10", "1,5", "NaN", "inf", "12345678901234567890", "", None]  # fmt: skip # noqa: E501
TEXTS = [
    "web",
    "wéb",
    "it's",
    'say "x"',
    "a\nb ('c')",
    "True",
    "false",
    "1.0",
    "x" * 100,
    " ",
    "",
    "nan",
    "\\1$1",
    None,
]

SCHEMA = {
    "nodes": {
        "person": {
            "table": "people",
            "key": "id",
            "columns": {"größe ('x": "numeric", 'say "x"': "category", "nice": "boolean", "place": "vector"},
            "links": {"parent": "person", "phone": "phone"},
        },
        "phone": {},
        "order": {
            "table": "orders",
            "key": "Row",
            "time": "at",
            "columns": {
                "amount": {"kind": "numeric", "minimum": -1, "maximum": 1e6},
                "channel": "category",
                "seen": "timestamp",
            },
            "links": {"person": {"node": "person", "required": True}},
        },
    },
    "edges": {
        "knows": {"table": "friends", "source": {"person": "a"}, "target": {"person": "b"}, "undirected": True},
        "calls": {"table": "calls", "source": {"phone": "one"}, "target": {"phone": "other"}, "time": "at"},
    },
}
TASK = {
    "node": "order",
    "label": {"table": "labels", "key": "order", "column": "bad", "positive": "yes", "known_at": "told"},
    "split": {"kind": "temporal", "train_end": "2025-01-03", "validation_end": "2025-01-04"},
    "slices": ["shop"],
}


def drawn(state: np.random.Generator, values: list, count: int) -> list:
    return [values[place] for place in state.integers(0, len(values), count)]


def orders(state: np.random.Generator, count: int) -> pd.DataFrame:
    """Rows of every kind of trouble: keys twice in one file and in two, links to nobody, values of no kind."""
    return pd.DataFrame(
        {
            "Row": [str(key) for key in state.integers(0, 9 * count, count)],
            "at": drawn(state, TIMES * 9 + BAD_TIMES, count),
            "amount": drawn(state, NUMBERS[:8] * 9 + NUMBERS, count),
            "channel": drawn(state, TEXTS, count),
            "seen": drawn(state, TIMES * 9 + BAD_TIMES, count),
            "person": drawn(state, [*map(str, range(10, 54)), "3.0", "nobody", ""], count),
            "shop": drawn(state, TEXTS, count),
            "unused": drawn(state, TEXTS, count),
        }
    )


def people(state: np.random.Generator) -> pa.Table:
    """A typed table: floats as keys, vectors of odd lengths, a chain of parents that ends in nothing."""
    vectors = [[1.0, 2.0], [0.1, -0.0], None, [3.0], [float("nan"), 1.0], [1e300, 1e-300], [float("inf"), 0.0]]
    return pa.table(
        {
            "id": pa.array([*range(50), 7.0, 2.0**53, None, 0.5], pa.float64()),
            "größe ('x": pa.array(drawn(state, [1.5, None, float("nan"), float("inf"), -2.0], 54), pa.float32()),
            'say "x"': pa.array(drawn(state, [True, False, None], 54)),
            "nice": pa.array(drawn(state, TEXTS[:2] + ["yes", "No", "1.0", " TRUE "], 54)),
            "place": pa.array(drawn(state, vectors[:2] * 10 + vectors, 54)),
            "parent": pa.array([100, *range(9), *[None] * 10, *range(10, 40), None, 1, 2, 3], pa.int64()),
            "phone": pa.array([f"p{number % 9}" for number in range(54)]),
            "born": pa.array([pd.Timestamp("1950-01-01", tz="Asia/Tokyo")] * 54),
        }
    )


def nasty(folder: Path) -> Path:
    """Parquet and CSV, one file and many, files that differ in columns and types."""
    state = np.random.default_rng(0)
    (folder / "orders").mkdir(parents=True)
    for number, count in enumerate((300, 200, 100)):
        frame = orders(state, count)
        frame.to_csv(folder / "orders" / f"{number}.csv", index=False, columns=sorted(frame.columns[: 8 - number % 2]))
    pq.write_table(people(state), folder / "people.parquet", row_group_size=10)
    (folder / "friends.parquet").mkdir()
    for number, kind in enumerate(("int64", "str", "float64")):
        pairs = pd.DataFrame({"a": state.integers(5, 40, 30), "b": state.integers(0, 70, 30)}).astype(kind)
        pairs.to_parquet(folder / "friends.parquet" / f"part-{number}.snappy.parquet")
    (folder / "friends.parquet" / "_SUCCESS").touch()
    when = pd.to_datetime(drawn(state, TIMES[:2] + TIMES[2:3], 40), format="ISO8601", utc=True)
    calls = pd.DataFrame({"one": drawn(state, TEXTS, 40), "other": drawn(state, ["p1", "p2", None], 40), "at": when})
    calls.to_parquet(folder / "calls.parquet")
    labels = pd.DataFrame({"order": [str(key) for key in range(0, 2000, 2)]})
    labels["bad"] = drawn(state, ["yes", "no", "nan", " ", None], len(labels))
    labels["told"] = drawn(state, TIMES, len(labels))
    labels.to_csv(folder / "labels.csv.gz", index=False, sep="|")
    return folder


def both(root: Path, data: Path, schema: dict, task: dict, **params) -> list[artifact.Artifact]:
    """Tables and graph of each engine, opened."""
    found = []
    for engine in ("duckdb", "spark"):
        chosen = {"engine": engine, "spark": SPARK}
        folder = root / engine
        ingested = ingest.Params.parse(chosen | params, "ingest")
        ingest.run(data, folder / "tables", Schema.parse(schema), Task.parse(task), ingested)
        graph.run(folder / "tables", folder / "graph", graph.Params.parse(chosen, "graph"))
        found += [artifact.read(folder / kind, kind) for kind in ("tables", "graph")]
        assert sorted(item.name for item in folder.iterdir()) == ["graph", "tables"]
    return found


def same(root: Path, data: Path, schema: dict, task: dict, **params) -> artifact.Artifact:
    """The tables, after both engines gave the same bytes of tables and graph."""
    tables, graphs, spark_tables, spark_graphs = both(root, data, schema, task, **params)
    assert spark_tables.manifest == tables.manifest and spark_graphs.manifest == graphs.manifest
    assert (spark_tables.digest, spark_graphs.digest) == (tables.digest, graphs.digest)
    return tables


@pytest.fixture(scope="module", autouse=True)
def session():
    """One session for all tests: a stage uses one that is there, and leaves it."""
    if MISSING:
        yield None
        return
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.config("spark.log.level", "ERROR")
    for name, value in SPARK.items():
        builder = builder.config(name, str(value).lower())
    running = builder.getOrCreate()
    yield running
    assert SparkSession.getActiveSession() is running
    running.stop()


@needs_spark
@pytest.mark.slow
def test_the_same_bytes_of_the_tiny_network(tmp_path):
    document = tiny.params()
    tables = same(tmp_path, tiny.write(tmp_path / "data"), document["schema"], document["task"], as_of="2025-05-01")
    assert tables.manifest["tables"]["payments"]["rows"] == 900


@needs_spark
@pytest.mark.slow
@pytest.mark.parametrize("params", [{}, {"as_of": "2025-01-04T09:00:00", "later": "leave_out"}])
def test_the_same_bytes_of_nasty_rows(tmp_path, params):
    tables = same(tmp_path, nasty(tmp_path / "data"), SCHEMA, TASK, maximum_refused=1, **params)
    told = {kind for kinds in tables.manifest["contract"]["refused"].values() for kind in kinds}
    assert {
        "amount: infinite",
        "at: not a time",
        "Row: duplicate key",
        "person: no person",
        "place: not of length 2, as most are",
    } <= told  # noqa: E501
    quarantine = pd.read_parquet(tables.path / "quarantine" / "orders.parquet")
    assert quarantine["row"].is_monotonic_increasing and quarantine["row"].max() > 500
