"""Both engines write the same bytes, whatever the tables hold."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graphmill import artifact, graph, ingest
from graphmill.engine.writer import GROUP, write
from graphmill.errors import UserError
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
            "größe ('x": pa.array(drawn(state, [1.5, None, float("nan"), -2.0] * 9 + [float("inf")], 54), pa.float32()),
            'say "x"': pa.array(drawn(state, [True, False, None], 54)),
            "nice": pa.array(drawn(state, TEXTS[:1] + ["yes", "No", "1.0", " TRUE "] * 5, 54)),
            "place": pa.array(drawn(state, vectors[:2] * 20 + vectors, 54)),
            "parent": pa.array([100, *range(9), *[None] * 20, *range(10, 30), 20, 1, 2, 3], pa.int64()),
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
    # little is compiled for so short a life, and its rubbish needs no threads of their own
    java = {"spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}
    for name, value in (SPARK | java).items():
        builder = builder.config(name, value if name in java else str(value).lower())
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
    root = tmp_path / "größe 'x' 100%20 #1"
    tables = same(root, nasty(root / "data"), SCHEMA, TASK, maximum_refused=1, **params)
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


STEPS = {
    "time": "step",
    "nodes": {
        "person": {"table": "people", "key": "id", "time": "born"},
        "event": {"table": "events", "key": "id", "time": "at", "links": {"who": "person"}},
    },
}
STEPPED = {"node": "event", "label": {"column": "bad"}, "split": {"kind": "random"}}


@needs_spark
@pytest.mark.slow
def test_the_same_bytes_on_a_clock_of_steps(tmp_path):
    data = tiny.write(
        tmp_path / "data",
        {
            "people": pd.DataFrame({"id": ["a", "b", "c"], "born": [2**53 + 1, -5, 3]}),
            "events": pd.DataFrame(
                {
                    "id": range(7),
                    "at": ["1", "2.0", "2.5", "3", "", "-9007199254740993", "4"],
                    "who": ["a", "b", "c", "c", "a", "b", None],
                    "bad": ["t", "no", "1.0", "nan", "", None, "F"],
                }
            ),
        },
    )
    tables = same(tmp_path, data, STEPS, STEPPED, maximum_refused=0.5)
    assert (tables.manifest["tables"]["events"]["rows"], tables.manifest["as_of"]) == (5, 2**53 + 2)


ORDER = {
    "nodes": {
        "person": {"table": "people", "key": "id"},
        "order": {"table": "orders", "key": "id", "time": "at", "links": {"who": "person"}},
    }
}
ORDERED = {"node": "order", "label": {"column": "bad"}, "split": {"kind": "random"}}


def small(folder: Path, **columns) -> Path:
    """People in a file, orders in two."""
    frame = {"id": range(20), "at": "2025-01-01", "who": 1, "bad": [0, 1] * 10}
    frame = pd.DataFrame(frame | columns)
    (folder / "orders").mkdir(parents=True)
    pd.DataFrame({"id": [1, 2]}).to_csv(folder / "people.csv", index=False)
    for number in range(2):
        frame[10 * number : 10 * number + 10].to_csv(folder / "orders" / f"{number}.csv", index=False)
    return folder


def mistake(root: Path, data: Path, schema: dict = ORDER, **params) -> str:
    """What is told of a mistake, and that nothing is left."""
    values = ingest.Params.parse({"spark": SPARK} | params, "ingest")
    with pytest.raises(UserError) as caught:
        ingest.run(data, root / "tables", Schema.parse(schema), Task.parse(ORDERED), values)
    assert not [item for item in root.iterdir() if "tables" in item.name]
    return str(caught.value)


@needs_spark
@pytest.mark.slow
@pytest.mark.parametrize(
    ("columns", "schema", "told"),
    [
        ({"at": ["2025-01-01", *["soon"] * 19]}, ORDER, "at: not a time: row 2 ('soon'), row 3 ('soon'), row 4"),
        ({"who": [1] * 15 + [9] * 5}, ORDER, "who: no person: row 16 ('9'), row 17"),
        ({"bad": [0, 1, 2, 3] * 5}, ORDER, "holds '0', '1', '2', '3'; set task.label.positive"),
        ({"who": 9}, ORDER, "too many rows"),
        ({}, {"nodes": ORDER["nodes"] | {"order": ORDER["nodes"]["order"] | {"key": "no"}}}, "has no column 'no'"),
        (
            {"bad": [0, 1] * 10},
            {"nodes": {"order": {"table": "orders", "key": "id", "columns": {"who": "vector"}}}},
            "holds no list of numbers",
        ),
    ],
)  # fmt: skip
def test_both_engines_tell_mistakes_alike(tmp_path, columns, schema, told):
    data = small(tmp_path / "data", **columns)
    found = [mistake(tmp_path, data, schema, engine=engine) for engine in ("duckdb", "spark")]
    assert told in found[0] and found[1] == found[0]


@needs_spark
@pytest.mark.slow
def test_a_file_that_a_worker_cannot_read_is_named(tmp_path):
    data = small(tmp_path / "data")
    with (data / "orders" / "1.csv").open("a") as stream:
        stream.write("1,2,3\n")
    assert "orders/1.csv: line 12 has 3 values, its header 4" in mistake(tmp_path, data, engine="spark")


@needs_spark
def test_json_is_refused(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("people", "orders"):
        (data / f"{name}.jsonl").write_text('{"id": 1}\n')
    assert "engine spark reads Parquet and CSV; convert it, or use" in mistake(tmp_path, data, engine="spark")


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    data = small(tmp_path / "data")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert "spark needs Java 17 or newer" in mistake(tmp_path, data, engine="spark")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "spark needs pyspark; install graphmill[spark]" in mistake(tmp_path, data, engine="spark")


@needs_spark
def test_a_folder_that_spark_takes_for_a_pattern_is_refused(tmp_path):
    data = small(tmp_path / "data")
    (tmp_path / "run [1]").mkdir()
    assert "Spark takes some of these letters for a pattern" in mistake(tmp_path / "run [1]", data, engine="spark")


def test_equal_rows_in_any_pieces_are_equal_bytes(tmp_path):
    count = 2 * GROUP + 1000
    table = pa.table({"key": [f"k{number * 7919 % count}" for number in range(count)], "value": range(count)})
    for name, size in (("one", count), ("small", 999), ("odd", GROUP - 1)):
        write(table.to_batches(max_chunksize=size), table.schema, tmp_path / name)
    assert len({(tmp_path / name).read_bytes() for name in ("one", "small", "odd")}) == 1
    assert pq.read_table(tmp_path / "odd").equals(table) and pq.read_metadata(tmp_path / "odd").num_row_groups == 3
    write([], table.schema, tmp_path / "none")
    assert len(pq.read_table(tmp_path / "none")) == 0


def test_options_are_text_however_they_are_sent():
    given = {"spark": {"a": 8.0, "b": False, "c": 0.5, "d": "2g"}}
    assert ingest.Params.parse(given).spark == {"a": "8", "b": "false", "c": "0.5", "d": "2g"}
    with pytest.raises(UserError, match="graph.engine"):
        graph.Params.parse({"engine": "flink"}, "graph")


SCRIPT = """
import json, sys
from graphmill import ingest
from graphmill.engine.writer import GROUP, write
from graphmill.errors import UserError
from graphmill.engine.writer import GROUP, write
from graphmill.errors import UserError
from graphmill.schema import Schema
from graphmill.task import Task
data, tables, schema, task, spark = sys.argv[1:]
try:
    params = ingest.Params.parse({"engine": "spark", "spark": json.loads(spark)})
    ingest.run(data, tables, Schema.parse(json.loads(schema)), Task.parse(json.loads(task)), params)
except UserError as error:
    print(error)
"""


@needs_spark
@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "told"),
    [({}, "ingest: 22 rows in 2 tables"), ({"spark.master": "nowhere"}, "ingest: Spark does not start")],
)
def test_a_session_of_its_own(tmp_path, options, told):
    """In a process of its own: here there is a session already."""
    texts = [json.dumps(item) for item in (ORDER, ORDERED, options)]
    command = [sys.executable, "-c", SCRIPT, str(small(tmp_path / "data")), str(tmp_path / "tables"), *texts]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert re.search(told, done.stdout), done.stdout + done.stderr
    assert {item.name for item in tmp_path.iterdir()} <= {"data", "tables"}
