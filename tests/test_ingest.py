"""Stage `ingest`: any format gives the same clean tables, every broken rule is told, nothing is half-written."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graphmill import artifact, features, graph, ingest, lineage
from graphmill.errors import UserError
from graphmill.features.store import Features
from graphmill.graph.store import Graph
from graphmill.ingest.sources import find, kind
from graphmill.schema import Schema
from graphmill.task import Task
from tests import tiny

HOME = Path(__file__).parent.parent

SHOP = {
    "nodes": {
        "person": {"table": "people", "key": "id", "columns": {"city": "category"}},
        "order": {
            "table": "orders",
            "key": "order",
            "time": "at",
            "columns": {
                "amount": {"kind": "numeric", "minimum": 0, "maximum": 100},
                "channel": {"kind": "category", "categories": ["web", "shop"]},
            },
            "links": {"person": {"node": "person", "required": True}},
        },
    },
}
LABELLED = {
    "node": "order",
    "label": {"column": "bad"},
    "split": {"kind": "temporal", "train_end": "2025-01-03", "validation_end": "2025-01-04"},
}
DAYS = pd.to_datetime(["2025-01-01", "2025-01-02", "2025-01-03", "2025-01-04"])
HOURS = pd.to_datetime(["2025-01-01", "2025-01-02T10", "2025-01-03T10:00:00.5", "2025-01-04T08"], format="ISO8601")


def people(ids=("1", "2", "3")) -> pd.DataFrame:
    return pd.DataFrame({"id": list(ids), "city": "x"})


def orders(**columns) -> pd.DataFrame:
    """Four sound orders, some of their columns replaced."""
    frame = {
        "order": ["a", "b", "c", "d"],
        "at": DAYS,
        "amount": [1.0, 2.0, 3.0, None],
        "channel": ["web", "shop", None, "web"],
        "person": ["1", "2", "3", "1"],
        "bad": [True, False, True, False],
    }
    return pd.DataFrame(frame | columns)


def run(folder: Path, schema=SHOP, task=LABELLED, data: Path | None = None, **params) -> Path:
    """Ingest ``folder/data`` into ``folder/tables``."""
    target = folder / "tables"
    ingest.run(
        data or folder / "data",
        target,
        Schema.parse(schema, "schema"),
        Task.parse(task, "task"),
        ingest.Params.parse({"threads": 1} | params, "ingest"),
    )
    return target


def shop(folder: Path, schema=SHOP, task=LABELLED, tables=None, **params) -> Path:
    """Write people and orders as Parquet and ingest them."""
    shutil.rmtree(folder / "data", ignore_errors=True)
    tiny.write(folder / "data", {"people": people(), "orders": orders()} | (tables or {}))
    return run(folder, schema, task, **params)


def clean(tables: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(tables / f"{name}.parquet")


def reasons(tables: Path, name: str) -> dict[int, list[str]]:
    """Reasons by the row's place from 0, as pandas counts, with the values."""
    frame = pd.read_parquet(tables / "quarantine" / f"{name}.parquet")
    return {row - 1: list(told) for row, told in zip(frame["row"], frame["reasons"], strict=True)}


def nothing_left(folder: Path) -> bool:
    """No tables, no partial folder, no database."""
    return not [item for item in folder.iterdir() if "tables" in item.name]


def changed(section: dict, path: str, value) -> dict:
    """A copy with one value replaced or added."""
    copy = json.loads(json.dumps(section))
    *parents, last = path.split(".")
    place = copy
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = value
    return copy


# ---- formats


def as_csv(frame: pd.DataFrame, file: Path) -> None:
    frame.to_csv(file, index=False, date_format="%Y-%m-%dT%H:%M:%S.%f")


def as_lines(frame: pd.DataFrame, file: Path) -> None:
    frame.to_json(file, orient="records", lines=True, date_format="iso", date_unit="us")


def as_array(frame: pd.DataFrame, file: Path) -> None:
    frame.to_json(file, orient="records", date_format="iso", date_unit="us")


def as_gzip(frame: pd.DataFrame, file: Path) -> None:
    file.write_bytes(gzip.compress(frame.to_csv(index=False, date_format="%Y-%m-%d %H:%M:%S.%f").encode()))


def as_semicolons(frame: pd.DataFrame, file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + frame.to_csv(index=False, sep=";", lineterminator="\r\n").encode())


FORMATS = {
    "a.csv": as_csv,
    "a.csv.gz": as_gzip,
    "b.csv": as_semicolons,
    "a.jsonl": as_lines,
    "a.ndjson": as_lines,
    "a.json": as_array,
}


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, pd.DataFrame]:
    """The tiny tables, ingested from Parquet."""
    folder = tmp_path_factory.mktemp("expected")
    tiny.write(folder / "data", small())
    return {name: clean(ingest_tiny(folder), name) for name in small()}


def small() -> dict[str, pd.DataFrame]:
    return tiny.tables(payments=120)


def ingest_tiny(folder: Path, **params) -> Path:
    document = tiny.params()
    return run(folder, document["schema"], document["task"], **(document["ingest"] | params))


def same(tables: Path, expected: dict[str, pd.DataFrame]) -> None:
    for name, frame in expected.items():
        pd.testing.assert_frame_equal(clean(tables, name), frame)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_tables(tmp_path, expected, name):
    (tmp_path / "data").mkdir()
    end = name.partition(".")[2]
    for table, frame in small().items():
        FORMATS[name](frame, tmp_path / "data" / f"{table}.{end}")
    same(ingest_tiny(tmp_path), expected)


def test_tables_are_found_in_folders_globs_elsewhere_and_behind_urls(tmp_path, expected):
    data, frames = tmp_path / "data [of*] 'mine'", small()
    (data / "payments").mkdir(parents=True)
    frames["payments"][:50].to_parquet(data / "payments" / "1.parquet")
    frames["payments"][50:].to_parquet(data / "payments" / "2.parquet")
    as_csv(frames["customers"], tmp_path / "people of 2025.csv")
    as_csv(frames["terminals"][:7], data / "terminals-a.csv")
    as_csv(frames["terminals"][7:][["risk", "terminal_id"]], data / "terminals-b.csv")
    with fsspec.open("memory://bucket/referrals/part 1.jsonl", "wt") as stream:
        frames["referrals"].to_json(stream, orient="records", lines=True, date_format="iso", date_unit="us")
    places = {
        "customers": str(tmp_path / "people of 2025.csv"),
        "terminals": "terminals-*.csv",
        "referrals": "memory://bucket/referrals/*.jsonl",
    }
    same(ingest_tiny(tmp_path, data=data, sources=places), expected)
    places |= {"customers": f"file://{tmp_path}/people of 2025.csv", "payments": "payments"}
    places["referrals"] = "memory://bucket/referrals"
    tables = ingest_tiny(tmp_path, data=data, sources=places)
    same(tables, expected)
    found = artifact.read(tables, "tables").manifest["contract"]["sources"]
    assert found["payments"] == ["1.parquet", "2.parquet"] and found["referrals"] == ["part 1.jsonl"]


def spread(folder: Path, *names: str) -> None:
    """People, and the same orders under several names."""
    as_csv(people(), tiny.write(folder / "data", {}) / "people.csv")
    for name in names:
        file = folder / "data" / name
        file.parent.mkdir(exist_ok=True)
        if name.endswith("/"):
            file.mkdir()
        elif kind(name):
            (pd.DataFrame.to_parquet if name.endswith("parquet") else as_csv)(orders(), file)
        else:
            file.write_text("hello")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (
            ["orders.csv", "orders.parquet"],
            r"found orders.parquet and orders.csv in .*, as {orders: orders.csv}",
        ),
        (["orders.csv", "orders/1.csv"], "found orders/ and orders.csv in"),
        (["orders.csv", "orders.parquet/1.parquet"], "found orders.parquet/ and orders.csv in"),
        (["orders/1.csv", "orders/2.parquet"], r"orders holds 1.csv, 2.parquet: .* {orders: orders/\*.parquet}"),
        (["orders/1.csv", "orders/notes.txt"], r"orders holds notes.txt, 1.csv: .* {orders: orders/\*.csv}"),
        (["orders/1.csv", "orders/2024/"], r"orders holds 2024, 1.csv"),
    ],
)
def test_no_source_is_passed_over_in_silence(tmp_path, names, told):
    spread(tmp_path, *names)
    with pytest.raises(UserError, match=told):
        run(tmp_path)
    with pytest.raises(UserError, match=told.partition(" in")[0] if "holds" in told else "no file"):
        run(tmp_path, sources={"orders": "orders" if "holds" in told else "order"})
    assert len(clean(run(tmp_path, sources={"orders": names[0]}), "orders")) == 4


def test_a_folder_behind_a_url_is_one_table_or_none():
    for name in ("1.csv", "_SUCCESS", "notes.txt"):
        fsspec.filesystem("memory").pipe(f"/mixed/{name}", b"x")
    with pytest.raises(UserError, match=r"folder /mixed holds notes.txt, 1.csv"):
        find("orders", Path(), ingest.Params(sources={"orders": "memory://mixed"}))
    fsspec.filesystem("memory").rm("/mixed/notes.txt")
    for source in ("memory://mixed", "memory://mixed/*"):
        found = find("orders", Path(), ingest.Params(sources={"orders": source}))
        assert found == ["memory:///mixed/1.csv"]


def test_hidden_files_count_as_not_there(tmp_path):
    hidden = ["orders/_SUCCESS", "orders/.1.csv.crc", "orders/.old.csv", "orders/_temporary/", ".orders.csv"]
    spread(tmp_path, "orders/1.csv", *hidden)
    for sources in ({}, {"orders": "orders"}, {"orders": "orders/*"}):
        assert len(clean(run(tmp_path, sources=sources), "orders")) == 4
    found = artifact.read(run(tmp_path, sources={"orders": "orders/.*.csv"}), "tables").manifest["contract"]
    assert found["sources"]["orders"] == [".old.csv"]


def test_plain_and_packed_files_of_one_kind_are_one_table(tmp_path):
    spread(tmp_path, "orders/1.csv")
    as_gzip(orders(order=list("efgh")), tmp_path / "data" / "orders" / "2.csv.gz")
    assert len(clean(run(tmp_path), "orders")) == 8


def test_a_folder_as_spark_names_it_is_a_table(tmp_path):
    spread(tmp_path, "orders.parquet/part-0.snappy.parquet", "orders.parquet/_SUCCESS")
    assert len(clean(run(tmp_path), "orders")) == 4


def test_all_sources_may_lie_outside_the_data_folder(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / ".gitkeep").touch()
    (tmp_path / "elsewhere").mkdir()
    for name, frame in (("people", people()), ("orders", orders())):
        as_csv(frame, tmp_path / "elsewhere" / f"{name}.csv")
    sources = {name: str(tmp_path / "elsewhere" / f"{name}.csv") for name in ("people", "orders")}
    tables = run(tmp_path, sources=sources)
    before = artifact.read(tables, "tables")
    assert before.lineage["data"] is None
    as_csv(orders(amount=5.0), tmp_path / "elsewhere" / "orders.csv")
    after = artifact.read(run(tmp_path, sources=sources), "tables")
    assert before.manifest["contract"]["digest"] != after.manifest["contract"]["digest"]


def test_the_data_folder_is_in_the_lineage(tmp_path):
    found = artifact.read(shop(tmp_path), "tables").lineage
    assert found["data"] == lineage.data_digest(tmp_path / "data")


def test_a_late_value_of_another_kind_is_one_bad_row(tmp_path):
    """Readers guess types and quotes from the first rows; what follows must not be lost or break the file."""
    count = 25_000
    frame = pd.DataFrame({"order": [f"o{i}" for i in range(count)], "at": "2025-01-01", "amount": 1, "channel": "web"})
    frame["person"], frame["bad"] = 1, False
    odd = frame[-1:].assign(order="o,1", amount="much")
    frame = pd.concat([frame[:-1], odd])
    for write, name in ((as_csv, "orders.csv"), (as_lines, "orders.jsonl")):
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        (tmp_path / "data").mkdir()
        as_csv(people(), tmp_path / "data" / "people.csv")
        write(frame, tmp_path / "data" / name)
        tables = run(tmp_path)
        assert reasons(tables, "orders") == {count - 1: ["amount: not a number ('much')"]}
        assert pd.read_parquet(tables / "quarantine" / "orders.parquet")["order"].tolist() == ["o,1"]


# ---- values


@pytest.mark.parametrize(
    "keys",
    [[12, 7, 3], [12.0, 7.0, 3.0], ["12", "7", "3"], ["12.0", "7.00", "3"], np.array([12, 7, 3], np.int8)],
)
@pytest.mark.parametrize("links", [[12, 7, 3, None], ["12", "7.0", "3", ""], [12.0, 7, 3, np.nan]])
def test_numbers_link_however_they_are_stored(tmp_path, keys, links):
    schema = changed(SHOP, "nodes.order.links.person", "person")
    frames = {"people": people(keys), "orders": orders(person=links)}
    tables = shop(tmp_path, schema=schema, tables=frames)
    assert clean(tables, "people")["id"].tolist() == ["12", "3", "7"]
    assert clean(tables, "orders")["person"].tolist() == ["12", "7", "3", None]


def test_large_numbers_are_keys_without_an_exponent(tmp_path):
    frames = {"people": people([2**53, 10**16, 3]), "orders": orders(person=[2.0**53, 1e16, 3, 3])}
    assert clean(shop(tmp_path, tables=frames), "orders")["person"].tolist()[:2] == ["9007199254740992", "1" + "0" * 16]


@pytest.mark.parametrize(
    ("values", "unit", "wanted"),
    [
        (["2025-01-01", "2025-01-02 10:00", "2025-01-03T10:00:00.5Z", "2025-01-04T10:00:00+02:00"], "s", HOURS),
        (["2025-1-1", "2025-01-02T12:00:00+02:00", "2025-01-03 11:00:00.500000+0100", "1735977600"], "s", HOURS),
        ([1735689600, 1735812000, 1735898400.5, 1735977600], "s", HOURS),
        ([1735689600000, 1735812000000, 1735898400500, 1735977600000], "ms", HOURS),
        ([1735689600000000, 1735812000000000, 1735898400500000, 1735977600000000], "us", HOURS),
        (["1735689600.0", "1735812000", "1735898400.5", "1735977600"], "s", HOURS),
        (HOURS, "s", HOURS),
        (HOURS.as_unit("ms"), "s", HOURS),
        (HOURS.tz_localize("UTC").tz_convert("Asia/Tokyo"), "s", HOURS),
        (DAYS.date, "s", DAYS),
    ],
)
def test_times_become_utc(tmp_path, monkeypatch, values, unit, wanted):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        tables = shop(tmp_path, schema=SHOP | {"time_unit": unit}, tables={"orders": orders(at=values)})
    finally:
        monkeypatch.undo()
        time.tzset()
    found = clean(tables, "orders")["at"]
    assert found.tolist() == list(wanted)
    assert pq.read_schema(tables / "orders.parquet").field("at").type == pa.timestamp("us")
    manifest = artifact.read(tables, "tables").manifest
    assert manifest["as_of"] == manifest["tables"]["orders"]["last"] + 1 == found.max().value // 1000 + 1


def test_steps(tmp_path):
    task = changed(LABELLED, "split", {"kind": "temporal", "train_end": 2, "validation_end": 3})
    table = orders(at=["1", "2.0", "2.5", "-9007199254740993"])
    tables = shop(tmp_path, SHOP | {"time": "step"}, task, {"orders": table}, maximum_refused=0.5)
    assert clean(tables, "orders")["at"].tolist() == [-9007199254740993 + 1, 1, 2]  # text goes through a double
    assert reasons(tables, "orders") == {2: ["at: not a whole step ('2.5')"]}
    assert artifact.read(tables, "tables").manifest["as_of"] == 3
    tables = shop(tmp_path, SHOP | {"time": "step"}, task, {"orders": orders(at=[1, 2, 3, 2**53 + 1])})
    assert clean(tables, "orders")["at"].tolist() == [1, 2, 3, 2**53 + 1]


def test_booleans_in_every_spelling(tmp_path):
    spellings = ["true", "False", "T", "f", "YES", "no", "y", "N", "1", "0", "1.0", "0.0", " true ", "", None, "maybe"]
    count = len(spellings)
    frame = pd.DataFrame({"id": range(count), "city": "x", "nice": spellings})
    schema = changed(SHOP, "nodes.person.columns.nice", "boolean")
    tables = shop(tmp_path, schema, tables={"people": frame, "orders": orders()}, maximum_refused=0.5)
    found = clean(tables, "people").set_index("id")["nice"]
    wanted = [True, False] * 6 + [True, None, None]
    assert [found[str(place)] for place in range(count - 1)] == wanted
    assert reasons(tables, "people") == {count - 1: ["nice: neither true nor false ('maybe')"]}
    for values in ([True, False, None], [1, 0, None], [1.0, 0.0, None]):
        tables = shop(tmp_path, schema, tables={"people": people().assign(nice=values)})
        assert clean(tables, "people")["nice"].tolist() == [True, False, None]


def test_numbers_missing_in_every_way(tmp_path):
    amounts = ["", " ", "nan", " 4.5e0 "]
    assert clean(shop(tmp_path, tables={"orders": orders(amount=amounts)}), "orders")["amount"].fillna(-1).tolist() == [
        -1,
        -1,
        -1,
        4.5,
    ]
    required = changed(SHOP, "nodes.order.columns.amount", {"kind": "numeric", "required": True})
    tables = shop(tmp_path, required, tables={"orders": orders(amount=amounts)}, maximum_refused=1)
    assert reasons(tables, "orders") == {row: ["amount: missing"] for row in (0, 1, 2)}


@pytest.mark.parametrize("kind", ["parquet", "arrays", "csv", "jsonl"])
def test_vectors(tmp_path, kind):
    values = [[0.1, 2.0], [3.0, 4.0], None, [5.0], [6.0, float("inf")], [1.0, 2.0, 3.0], [7.0, 8.0]]
    frame = people(range(7))
    schema = changed(SHOP, "nodes.person.columns.place", "vector")
    (tmp_path / "data").mkdir()
    as_csv(orders(person=1), tmp_path / "data" / "orders.csv")
    file = tmp_path / "data" / f"people.{'parquet' if kind == 'arrays' else kind}"
    if kind == "arrays":
        values[3] = values[5] = None
        table = pa.table({"id": range(7), "city": ["x"] * 7, "place": pa.array(values, pa.list_(pa.float64(), 2))})
        pq.write_table(table, file)
    elif kind == "parquet":
        frame.assign(place=values).to_parquet(file)
    elif kind == "csv":
        as_csv(frame.assign(place=values), file)
    else:
        lines = [{"id": row, "city": "x", "place": value} for row, value in enumerate(values)]
        file.write_text("\n".join(json.dumps(line).replace("Infinity", "1e999") for line in lines))
    tables = run(tmp_path, schema, maximum_refused=0.7)
    found = clean(tables, "people").set_index("id")["place"]
    assert list(found["0"]) == [0.1, 2.0] and list(found["6"]) == [7.0, 8.0] and found["2"] is None
    told = {row: " ".join(texts) for row, texts in reasons(tables, "people").items()}
    assert "holds what is not a finite number" in told.pop(4) if kind != "jsonl" else 4 in told and told.pop(4)
    assert sorted(told) == ([] if kind == "arrays" else [3, 5])
    assert all(text.startswith("place: not of length 2, as most are") for text in told.values())


@pytest.mark.parametrize(
    ("values", "positive"),
    [
        ([True, False, True, None], None),
        ([1, 0, 1, None], None),
        ([1.0, 0.0, 1.0, None], "1"),
        (["1", "0", "1.0", ""], "1"),
        (["fraud", "fine", "fraud", None], "fraud"),
        (["YES", "no", "y", ""], None),
        (["1", "0", "1", "NaN"], None),
    ],
)
def test_labels(tmp_path, values, positive):
    task = changed(LABELLED, "label.positive", positive)
    found = clean(shop(tmp_path, task=task, tables={"orders": orders(bad=values)}), "orders")["bad"]
    assert found.tolist() == [True, False, True, None]


@pytest.mark.parametrize("missing", ["", " ", "nan", "NaN", None, np.nan])
def test_a_missing_label_is_none_whatever_counts_as_true(tmp_path, missing):
    task = changed(LABELLED, "label.positive", "fraud")
    for values in (["fraud", "fine", "fraud", missing], ["fraud", "fine", missing, missing]):
        found = clean(shop(tmp_path, task=task, tables={"orders": orders(bad=values)}), "orders")["bad"]
        assert found.tolist() == [{"fraud": True, "fine": False}.get(value) for value in values]
    numbers = orders(bad=[1.0, 0.0, 1.0, np.nan])
    found = shop(tmp_path, task=changed(LABELLED, "label.positive", "1"), tables={"orders": numbers})
    assert clean(found, "orders")["bad"].tolist() == [True, False, True, None]


@pytest.mark.parametrize("name", ["orders.parquet", "orders.jsonl", "orders.csv"])
def test_true_and_false_as_categories_are_text(tmp_path, name):
    """Only what pandas writes as text keeps its capitals."""
    schema = changed(SHOP, "nodes.order.columns.gift", "category")
    data = tiny.write(tmp_path / "data", {"people": people()})
    writers = {"csv": as_csv, "parquet": pd.DataFrame.to_parquet, "jsonl": as_lines}
    end = name.partition(".")[2]
    writers[end](orders(gift=[True, False, True, False]), data / name)
    text = ["True", "False"] if end == "csv" else ["true", "false"]
    assert clean(run(tmp_path, schema), "orders")["gift"].tolist() == text * 2


def test_a_positive_value_among_many_is_found(tmp_path):
    count = 60
    table = pd.concat([orders()] * 15).assign(order=range(count), bad=[f"state {place:02d}" for place in range(count)])
    task = changed(LABELLED, "label.positive", "state 59")
    assert clean(shop(tmp_path, task=task, tables={"orders": table}), "orders")["bad"].sum() == 1


# ---- the contract


def test_every_rule_tells_the_row_and_all_its_reasons(tmp_path):
    rows = [
        # order, at, amount, channel, person
        ("a", "2025-01-01", "1", "web", "1"),
        ("b", "2025-01-02", "much", "post", "2"),
        ("c", "2025-01-02", "-1", "web", "9"),
        ("d", "2025-01-02", "101", "web", ""),
        ("e", "yesterday", "inf", "web", "1"),
        ("", "2025-01-02", "1", "web", "1"),
        ("f", "", "1", "web", "1"),
        ("g", "2025-01-02", "1", "web", "1"),
        ("g", "2025-01-01", "2", "web", "2"),
        ("g", "2025-01-02", "1", "web", "3"),
        ("h", "2025-01-31T00:00:01", "1", "web", "8"),
        ("i", "infinity", "1", "web", "1"),
        ("j", "2025-01-31T00:00:00", "1", "web", "1"),
    ]
    frame = pd.DataFrame(rows, columns=["order", "at", "amount", "channel", "person"]).assign(bad="no")
    tables = {"orders": frame, "people": people(["1", "2", "3", "2", None])}
    found = shop(tmp_path, tables=tables, maximum_refused=1, as_of="2025-01-31")
    assert reasons(found, "people") == {3: ["id: duplicate key ('2')"], 4: ["id: missing key"]}
    assert reasons(found, "orders") == {
        1: ["amount: not a number ('much')", "channel: not among the categories ('post')"],
        2: ["amount: below the minimum 0 ('-1')", "person: no person ('9')"],
        3: ["amount: above the maximum 100 ('101')", "person: missing"],
        4: ["amount: infinite ('inf')", "at: not a time ('yesterday')"],
        5: ["order: missing key"],
        6: ["at: missing"],
        7: ["order: duplicate key ('g')"],
        9: ["order: duplicate key ('g')"],
        10: ["at: after the as-of moment ('2025-01-31 00:00:01')", "person: no person ('8')"],
        11: ["at: not a time ('infinity')"],
    }
    assert clean(found, "orders")["order"].tolist() == ["a", "g", "j"]
    assert clean(found, "orders")["amount"].tolist() == [1, 2, 1]
    refused = pd.read_parquet(found / "quarantine" / "orders.parquet")
    assert refused["row"].tolist()[:2] == [2, 3]  # from 1, as messages count
    assert refused["amount"].tolist()[:2] == ["much", "-1"] and refused["bad"].tolist() == ["no"] * 10
    manifest = artifact.read(found, "tables").manifest
    assert manifest["tables"]["orders"] == {
        "rows": 3,
        "refused": 10,
        "left_out": 0,
        "first": 1735689600000000,
        "last": 1738281600000000,
    }
    assert manifest["contract"]["refused"]["people"] == {"id: duplicate key": 1, "id: missing key": 1}
    assert manifest["contract"]["refused"]["orders"]["order: duplicate key"] == 2


def test_a_long_value_is_quoted_short(tmp_path):
    tables = shop(tmp_path, tables={"orders": orders(amount=["x'y\n" * 1000, "1", "2", "3"])}, maximum_refused=0.5)
    (told,) = reasons(tables, "orders")[0]
    assert len(told) < 100 and told.startswith("amount: not a number ('x'y") and told.endswith("…')")
    assert artifact.read(tables, "tables").manifest["contract"]["refused"] == {"orders": {"amount: not a number": 1}}


def test_the_future_is_refused_and_the_as_of_moment_may_leave_it_out(tmp_path):
    coming = pd.Timestamp.now() + pd.Timedelta(days=1)
    tables = shop(tmp_path, tables={"orders": orders(at=[*DAYS[:3], coming])}, maximum_refused=0.5)
    assert reasons(tables, "orders")[3][0].startswith("at: in the future (")
    replay = {"as_of": "2025-01-02", "later": "leave_out"}
    tables = shop(tmp_path, tables={"orders": orders(amount=["1", "2", "bad", "3"])}, **replay)
    manifest = artifact.read(tables, "tables").manifest
    assert clean(tables, "orders")["order"].tolist() == ["a", "b"] and not (tables / "quarantine").exists()
    assert {name: manifest["tables"]["orders"][name] for name in ("rows", "refused", "left_out")} == {
        "rows": 2,
        "refused": 0,
        "left_out": 2,
    }
    assert manifest["as_of"] == pd.Timestamp("2025-01-02").value // 1000


CHAIN = {
    "nodes": {
        "bank": {"table": "banks", "key": "bank", "columns": {"size": {"kind": "numeric", "minimum": 0}}},
        "account": {"table": "accounts", "key": "account", "links": {"bank": "bank", "parent": "account"}},
        "payment": {"table": "payments", "key": "payment", "links": {"account": "account"}},
    },
    "edges": {"refund": {"table": "refunds", "source": {"payment": "of"}, "target": {"payment": "by"}}},
}
CHAINED = {
    "node": "payment",
    "label": {"table": "labels", "key": "payment", "column": "bad"},
    "split": {"kind": "column", "table": "splits", "key": "payment", "columns": ["part"]},
}


def test_a_refused_row_takes_along_all_that_hangs_on_it(tmp_path):
    tiny.write(
        tmp_path / "data",
        {
            "banks": pd.DataFrame({"bank": ["x", "y"], "size": [1, -1]}),
            # account 0 falls with its bank; each of 1..9 links to the one before; 10 links to itself; 11 to nothing
            "accounts": pd.DataFrame(
                {
                    "account": range(12),
                    "bank": ["y"] + ["x"] * 11,
                    "parent": [None, *range(9), 10, None],
                }
            ),
            "payments": pd.DataFrame({"payment": ["p", "q", "r"], "account": [9, 10, 11]}),
            "refunds": pd.DataFrame({"of": ["p", "q", "q"], "by": ["q", "r", "p"]}),
            "labels": pd.DataFrame({"payment": ["p", "q", "z", "q"], "bad": [1, 0, 0, 1]}),
            "splits": pd.DataFrame({"payment": ["p", "q", "r"], "part": ["train", "test", None]}),
        },
    )
    tables = run(tmp_path, CHAIN, CHAINED, maximum_refused=1)
    assert clean(tables, "accounts")["account"].tolist() == ["10", "11"]
    told = reasons(tables, "accounts")
    assert told[0] == ["bank: no bank ('y')"] and told[9] == ["parent: no account ('8')"] and len(told) == 10
    assert reasons(tables, "payments") == {0: ["account: no account ('9')"]}
    assert reasons(tables, "refunds") == {0: ["of: no payment ('p')"], 2: ["by: no payment ('p')"]}
    assert reasons(tables, "labels") == {
        0: ["payment: no payment ('p')"],
        2: ["payment: no payment ('z')"],
        3: ["payment: duplicate key ('q')"],
    }
    assert reasons(tables, "splits") == {0: ["payment: no payment ('p')"]}
    assert clean(tables, "refunds").values.tolist() == [["q", "r"]]


RATED = {
    "nodes": {"user": {}, "item": {"table": "items", "key": "item", "links": {"owner": "user"}}},
    "edges": {
        "rates": {"table": "ratings", "source": {"user": "by"}, "target": {"item": "item"}, "time": "at"},
        "trusts": {
            "table": "trust",
            "source": {"user": "a"},
            "target": {"user": "b"},
            "time": "at",
            "undirected": True,
        },
    },
}
RATING = {
    "node": "user",
    "label": {"table": "labels", "key": "user", "column": "bad"},
    "split": {"kind": "random"},
}


def rated(folder: Path, **params) -> Path:
    tiny.write(
        folder / "data",
        {
            "items": pd.DataFrame({"item": [1, 2], "owner": ["o", None]}),
            "ratings": pd.DataFrame({"by": ["v", "u", "u"], "item": [1, 2, 1], "at": DAYS[[1, 2, 1]]}),
            "trust": pd.DataFrame({"a": ["u", "w"], "b": ["u", "v"], "at": DAYS[[0, 3]]}),
            "labels": pd.DataFrame({"user": ["u", "w", "nobody"], "bad": [True, False, True]}),
        },
    )
    return run(folder, RATED, RATING, maximum_refused=0.5, **params)


def test_nodes_without_a_table_begin_where_they_are_first_mentioned(tmp_path):
    tables = rated(tmp_path)
    users = clean(tables, "user")
    assert users["key"].tolist() == ["o", "u", "v", "w"]
    assert users["time"].tolist() == [pd.NaT, DAYS[0], DAYS[1], DAYS[3]]
    assert clean(tables, "ratings")[["by", "item"]].values.tolist() == [["u", "1"], ["v", "1"], ["u", "2"]]
    assert clean(tables, "trust")[["a", "b"]].values.tolist() == [["u", "u"], ["w", "v"]]
    assert reasons(tables, "labels") == {2: ["user: no user ('nobody')"]}


def test_labels_of_nodes_yet_to_come_are_left_out(tmp_path):
    tables = rated(tmp_path, as_of="2025-01-03", later="leave_out")
    assert clean(tables, "user")["key"].tolist() == ["o", "u", "v"]
    assert clean(tables, "labels")["user"].tolist() == ["u"]
    counts = artifact.read(tables, "tables").manifest["tables"]["labels"]
    assert (counts["left_out"], counts["refused"]) == (1, 1)
    assert reasons(tables, "labels") == {2: ["user: no user ('nobody')"]}


def test_one_table_may_be_node_and_edges(tmp_path):
    """Each use of a column counts: its links to two node types, its bounds, its being required."""
    schema = changed(SHOP, "nodes.city", {"table": "cities", "key": "city"})
    schema["nodes"]["profile"] = {"table": "profiles", "key": "id", "links": {"id": "person"}}
    both = {"table": "orders", "source": {"person": "person"}, "target": {"city": "place"}, "time": "at"}
    schema["edges"] = {"bought_in": both | {"columns": {"amount": {"kind": "numeric", "minimum": 2}}}}
    schema["edges"]["sold_in"] = both | {"target": {"person": "place"}}
    frames = {
        "cities": pd.DataFrame({"city": ["1", "2"]}),
        "profiles": pd.DataFrame({"id": ["1", "7"]}),
        "orders": orders(place=["1", "2", "3", None]),
    }
    tables = shop(tmp_path, schema, tables=frames, maximum_refused=1)
    assert reasons(tables, "profiles") == {1: ["id: no person ('7')"]}
    assert reasons(tables, "orders") == {
        0: ["amount: below the minimum 2 ('1.0')"],
        2: ["place: no city ('3')"],
        3: ["place: missing"],
    }
    with pytest.raises(UserError, match="table 'orders' has two times: 'at' and 'sent'"):
        shop(tmp_path, changed(schema, "edges.sold_in.time", "sent"), tables=frames)
    with pytest.raises(UserError, match="column 'amount' is used as numeric and as category"):
        shop(tmp_path, changed(schema, "edges.sold_in.columns", {"amount": "category"}), tables=frames)


def test_too_many_refused_rows_fail_with_a_table_of_what_was_wrong(tmp_path):
    bad = {"orders": orders(amount=[-1, -2, 3, 4], person=["1", "2", "9", "1"]), "people": people(["1", "2", "2"])}
    shop(tmp_path, tables=bad, maximum_refused=0.75)
    shutil.rmtree(tmp_path / "tables")
    with pytest.raises(UserError) as caught:
        shop(tmp_path, tables=bad, maximum_refused=0.5)
    lines = str(caught.value).splitlines()
    assert lines[0] == "too many rows are refused (ingest.maximum_refused is 0.5):"
    assert lines[3].split() == ["orders", "3", "4", "(75.00%)", "in", f"{tmp_path}/data/orders.parquet"]
    assert lines[4].split(maxsplit=1) == ["2", "amount: below the minimum 0: row 1 ('-1'), row 2 ('-2')"]
    assert lines[5].split(maxsplit=1) == ["1", "person: no person: row 3 ('9')"]
    assert "people" not in str(caught.value) and nothing_left(tmp_path)


# ---- bad input


def lines(*rows: str) -> bytes:
    return "\n".join([*rows, ""]).encode()


GOOD = "order,at,amount,channel,person,bad"
BAD_FILES = {
    "not UTF-8": ("orders.csv", lines(GOOD).replace(b"bad", "bäd".encode("latin-1")), "orders.csv: .*not UTF-8"),
    "not UTF-8 later": (
        "orders.csv",
        lines(GOOD, "a,2025-01-01,1,web,1,no") + "b,2025-01-01,1,wéb,1,no\n".encode("latin-1"),
        "orders.csv: .*not UTF-8",
    ),
    "UTF-16": (
        "orders.csv",
        lines(GOOD, "a,2025-01-01,1,web,1,no").decode().encode("utf-16"),
        "orders.csv: .*not UTF-8",
    ),
    "empty CSV": ("orders.csv", b"", "orders.csv: is empty in its first line"),
    "empty JSON": ("orders.jsonl", b"", r"orders.jsonl: (is empty|.*no column 'order')"),
    "empty list": ("orders.json", b"[]", "orders.json: .*no column 'order'"),
    "numbers": ("orders.jsonl", b"1\n2\n", "orders.jsonl: .*no column 'order'"),
    "header only": ("orders.csv", lines(GOOD), r"table 'orders' \(.*orders.csv\) has no rows"),
    "too few values": (
        "orders.csv",
        lines(GOOD, "a,2025-01-01,1,web,1,no", "b,2025-01-01,1,web"),
        "orders.csv: line 3 has 4 values, its header 6",
    ),
    "too many values": (
        "orders.csv",
        lines(GOOD, *["a,2025-01-01,1,web,1,no"] * 30_000, "b,2025-01-01,1,web,1,no,2"),
        "orders.csv: line 30002 has 7 values, its header 6",
    ),
    "a title first": (
        "orders.csv",
        lines("Our orders", "", GOOD, "a,2025-01-01,1,web,1,no"),
        "orders.csv: line 3 has 6",
    ),
    "broken JSON": (
        "orders.jsonl",
        b'{"order": 1}\n{"order": 2\n',
        "orders.jsonl: cannot be read: .*line 3: unexpected end of data.$",
    ),
    "a key twice": (
        "orders.jsonl",
        lines(*['{"order":1,"at":2,"amount":3,"channel":4,"person":5,"bad":0}'] * 2, '{"order":1,"order":1}'),
        "orders.jsonl: cannot be read: .*line 3.* duplicate key",
    ),
    "not Parquet": ("orders.parquet", b"hello", "orders.parquet: cannot be read"),
    "empty Parquet": ("orders.parquet", b"", "orders.parquet: cannot be read"),
    "not gzip": ("orders.csv.gz", lines(GOOD), "orders.csv.gz: cannot be read"),
    "gzip cut short": (
        "orders.csv.gz",
        gzip.compress(lines(GOOD, *[f"{row},2025-01-01,1,web,1,no" for row in range(20_000)]))[:-2000],
        r"orders.csv.gz: cannot be read: .*(GZIP|ended before the end)",
    ),
    "gzip cut short in its first line": (
        "orders.csv.gz",
        gzip.compress(lines(GOOD))[:30],
        "orders.csv.gz: cannot be read: Compressed file ended before",
    ),
    "gzip altered": (
        "orders.csv.gz",
        # the header of a gzip file, then a block of a type that there is not
        gzip.compress(lines(GOOD))[:10] + b"\xff" * 48,
        "orders.csv.gz: cannot be read: Error -3 while decompressing",
    ),
    "one endless value": ("orders.csv", b"x" * 200_000, "orders.csv: cannot be read: field larger than field limit"),
    "a name of ours": (
        "orders.csv",
        lines(GOOD + ",Row__", "a,2025-01-01,1,web,1,no,1"),
        "'Row__' has a name that ingest",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_files_that_cannot_be_read_are_named(tmp_path, case):
    name, content, told = BAD_FILES[case]
    (tmp_path / "data").mkdir()
    as_csv(people(), tmp_path / "data" / "people.csv")
    (tmp_path / "data" / name).write_bytes(content)
    with pytest.raises(UserError, match=told):
        run(tmp_path)
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("keep", [30, -100])
def test_a_damaged_gzip_file_among_many_is_named(tmp_path, keep):
    folder = tmp_path / "data" / "orders"
    folder.mkdir(parents=True)
    as_csv(people(), tmp_path / "data" / "people.csv")
    for number in range(3):
        text = lines(GOOD, *[f"{number}x{row},2025-01-01,1,web,1,no" for row in range(5_000)])
        (folder / f"{number}.csv.gz").write_bytes(gzip.compress(text))
    (folder / "1.csv.gz").write_bytes((folder / "1.csv.gz").read_bytes()[:keep])
    with pytest.raises(UserError, match="orders/1.csv.gz: cannot be read"):
        run(tmp_path)
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("absolute", [False, True])
def test_a_path_with_letters_of_a_pattern_is_a_path(tmp_path, absolute):
    (tmp_path / "data").mkdir()
    as_csv(people(), tmp_path / "data" / "people.csv")
    as_csv(orders(), tmp_path / "data" / "my [v2].csv")
    source = str(tmp_path / "data" / "my [v2].csv") if absolute else "my [v2].csv"
    assert len(clean(run(tmp_path, sources={"orders": source}), "orders")) == 4


def test_files_of_a_table_have_one_delimiter(tmp_path):
    (tmp_path / "data" / "orders").mkdir(parents=True)
    as_csv(people(), tmp_path / "data" / "people.csv")
    as_csv(orders(), tmp_path / "data" / "orders" / "1.csv")
    as_semicolons(orders(), tmp_path / "data" / "orders" / "2.csv")
    with pytest.raises(UserError, match="orders/2.csv: its delimiter is ';', that of .*orders/1.csv is ','"):
        run(tmp_path)


def test_files_of_a_table_may_differ_in_columns_and_types(tmp_path):
    (tmp_path / "data" / "orders").mkdir(parents=True)
    as_csv(people(), tmp_path / "data" / "people.csv")
    orders().to_parquet(tmp_path / "data" / "orders" / "1.parquet")
    other = orders(order=[1, 2, 3, 4], amount=["1", "x", "3", "4"]).drop(columns="channel")
    other.to_parquet(tmp_path / "data" / "orders" / "2.parquet")
    tables = run(tmp_path, maximum_refused=0.2)
    assert reasons(tables, "orders") == {5: ["amount: not a number ('x')"]}
    assert clean(tables, "orders")["order"].tolist() == ["1", "a", "b", "3", "c", "4", "d"]


def test_a_table_without_a_sound_row(tmp_path):
    with pytest.raises(UserError, match=r"orders.parquet\) has no sound row \(amount: not a number\)"):
        shop(tmp_path, tables={"orders": orders(amount=DAYS)}, maximum_refused=1)


GIVES = {"table": "gifts", "source": {"person": "giver"}, "target": {"person": "taker"}, "time": "at"}
GIVING = changed(SHOP, "edges", {"gives": GIVES | {"columns": {"worth": "numeric"}}})
GIFTS = pd.DataFrame({"giver": ["1"], "taker": ["2"], "at": DAYS[3:], "worth": 1.0})


@pytest.mark.parametrize("form", ["parquet", "csv", "columns of no type", "all left out"])
def test_a_table_of_edges_may_have_no_row(tmp_path, form):
    late = form == "all left out"
    none = GIFTS if late else GIFTS.iloc[:0].astype(object if "type" in form else GIFTS.dtypes.to_dict())
    given = {"as_of": "2025-01-03", "later": "leave_out"} if late else {}
    tables = {"people": people(), "orders": orders()} | ({} if form == "csv" else {"gifts": none})
    tiny.write(tmp_path / "data", tables)
    if form == "csv":
        none.to_csv(tmp_path / "data" / "gifts.csv", index=False)
    found = run(tmp_path, GIVING, **given)
    counts = artifact.read(found, "tables").manifest["tables"]["gifts"]
    assert counts == {"rows": 0, "refused": 0, "left_out": int(late), "first": None, "last": None}
    graph.run(found, tmp_path / "graph", graph.Params(threads=1))
    network = Graph.open(tmp_path / "graph")
    assert [network.relations[f"person.{name}.person"].edges for name in ("gives", "rev_gives")] == [0, 0]
    settings = {"windows": [{"over": "person.gives.person", "sizes": ["7d"], "columns": {"worth": ["mean"]}}]}
    settings = features.Params.parse(settings | {"fit": False})
    features.run(found, tmp_path / "graph", tmp_path / "features", settings)
    assert Features.open(tmp_path / "features").edges["gives"].shape[0] == 0


def test_a_table_of_edges_without_a_sound_row_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"gifts.parquet\) has no sound row \(giver: no person\)"):
        shop(tmp_path, GIVING, tables={"gifts": GIFTS.assign(giver="9")}, maximum_refused=1)
    schema = changed(GIVING, "edges.gives.columns", {"sizes": "vector"})  # of a length that only rows tell
    with pytest.raises(UserError, match="table 'gifts': column 'sizes' holds no list of numbers"):
        shop(tmp_path, schema, tables={"gifts": GIFTS.iloc[:0].assign(sizes=[])})


@pytest.mark.parametrize("part", ["head", "middle"])
def test_a_damaged_parquet_file_among_many_is_named(tmp_path, part):
    folder = tmp_path / "data" / "orders"
    folder.mkdir(parents=True)
    as_csv(people(), tmp_path / "data" / "people.csv")
    for number in range(3):
        orders(order=[f"{number}{letter}" for letter in "abcd"]).to_parquet(folder / f"{number}.parquet")
    content = (folder / "1.parquet").read_bytes()
    middle = len(content) // 4
    altered = content[:-50] if part == "head" else content[:4] + b"\xff" * middle + content[4 + middle :]
    (folder / "1.parquet").write_bytes(altered)
    with pytest.raises(UserError, match=r"orders.*cannot be read") as caught:
        run(tmp_path)
    assert part == "middle" or "1.parquet" in str(caught.value)
    assert nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"data": Path("nowhere")}, "nowhere: no such data folder; `dvc pull data.dvc`"),
        ({"schema": changed(SHOP, "nodes.order.table", "order")}, r"table 'order': no file .* did you mean 'orders'\?"),
        ({"schema": changed(SHOP, "nodes.order.key", "Order")}, r"no column 'Order'; did you mean 'order'\?"),
        (
            {"schema": changed(SHOP, "nodes.order.time", "paid")},
            r"orders.parquet: table 'orders' has no column 'paid'; known: order, at, ",
        ),
        ({"task": changed(LABELLED, "label.column", "bade")}, r"'orders' has no column 'bade'; did you mean 'bad'\?"),
        ({"task": changed(LABELLED, "slices", ["chanel"])}, r"no column 'chanel'; did you mean 'channel'\?"),
        ({"task": changed(LABELLED, "label.column", "order")}, "column 'order' is used as key and as label"),
        (
            {"task": changed(LABELLED, "label.positive", "yes")},
            "'bad' .* holds 'false', 'true'; task.label.positive is 'yes'",
        ),
        (
            {"task": changed(LABELLED, "label.column", "three")},
            "'three' .* holds '1', '2', '3'; set task.label.positive",
        ),
        ({"task": changed(LABELLED, "node", "orders")}, "task.node: no node type 'orders'; known: order, person"),
        ({"schema": changed(SHOP, "nodes.ghost", {})}, "schema.nodes.ghost: no table, and no link or edge mentions it"),
        (
            {"schema": changed(SHOP, "nodes.order.columns.channel", "vector")},
            "column 'channel' holds no list of numbers",
        ),
        (
            {"sources": {"order": "x.csv"}},
            r"ingest.sources: no table 'order' in schema or task; did you mean 'orders'\?",
        ),
        ({"sources": {"orders": "*.xml"}}, r"table 'orders': no file \*.xml in .*; did you mean 'orders'"),
        ({"sources": {"orders": "notes.txt"}}, "table 'orders': its files must be of one kind"),
        ({"sources": {"orders": "*"}}, "table 'orders': its files must be of one kind"),
        ({"sources": {"orders": "a**b"}}, "ingest.sources.orders: 'a\\*\\*b': Invalid pattern"),
        ({"sources": {"orders": "memory://no/such.csv"}}, "table 'orders': no file memory://no/such.csv"),
        ({"sources": {"orders": "gopher://x.csv"}}, "table 'orders': gopher://x.csv: Protocol not known"),
        ({"as_of": "2024-12-31"}, "(?s)too many rows are refused.*after the as-of moment"),
        ({"as_of": "2024-12-31", "later": "leave_out"}, r"has no sound row \(4 lie after the as-of moment\)"),
        ({"as_of": 20250101}, "ingest.as_of: 20250101 is not a moment"),
        ({"as_of": "as_of - 7d"}, "ingest.as_of: 'as_of - 7d' is not a moment"),
        ({"memory_limit": "lots"}, "ingest.memory_limit"),
        ({"threads": 100_000}, "ingest.threads: .* less than or equal to 256"),
        (
            {"task": changed(LABELLED, "label.known_after", "3 fortnights")},
            "task.label.known_after: '3 fortnights' is not a duration",
        ),
        ({"task": changed(LABELLED, "split.train_end", "soon")}, "task.split.train_end: 'soon' is not a moment"),
        ({"revision": "no-such-revision"}, "revision 'no-such-revision' of this repository"),
        ({"revision": "main", "repository": "/no/such/place"}, "revision 'main' of /no/such/place"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(tmp_path, monkeypatch, change, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.txt").write_text("hello")
    tiny.write(tmp_path / "data", {"people": people(), "orders": orders(three=[1, 2, 3, None])})
    with pytest.raises(UserError, match=told):
        run(tmp_path, **change)
    assert nothing_left(tmp_path)


ODD = [
    "row",
    "Reasons",
    "key",
    "time",
    "value",
    "place",
    "length",
    "it's",
    'say "x"',
    "a.b",
    "größe",
    "$1",
    "select",
    "a b",
]


def test_any_name_of_a_column_is_fine(tmp_path):
    """Names that ingest uses inside, that SQL uses, and that need quotes, as every kind of column."""
    schema = {
        "nodes": {
            "person": {"table": "Select * from", "key": "row", "columns": {name: "numeric" for name in ODD[1:]}},
            "order": {
                "table": "o'rd\"ers.v2",
                "key": "reason",
                "time": "Row",
                "links": {"key": "person", "value": "person"},
                "columns": {name: "category" for name in ODD[7:]},
            },
        }
    }
    schema["nodes"]["same"] = {"table": "select * From", "key": "row"}
    task = changed(LABELLED, "label.column", "reasons")
    folder = tmp_path / "data"
    persons = pd.DataFrame({"row": [1, 2]} | {name: ["1", "x"] for name in ODD[1:]})
    frame = pd.DataFrame({"reason": [1, 1], "Row": DAYS[:2], "key": 1, "value": 1, "reasons": True})
    frame[ODD[7:]] = "x"
    tiny.write(folder, {"Select * from": persons, "o'rd\"ers.v2": frame, "select * From": pd.DataFrame({"row": [5]})})
    tables = run(tmp_path / "a 'quoted' [place]", schema, task, data=folder, maximum_refused=0.5)
    assert (
        clean(tables, "Select * from").columns.tolist() == ["row", *sorted(ODD[1:])]
        and len(clean(tables, "o'rd\"ers.v2")) == 1
    )
    assert clean(tables, "select * From")["row"].tolist() == ["5"]
    refused = pd.read_parquet(tables / "quarantine" / "Select * from.parquet")
    assert refused["row"].tolist() == [2] and refused["row_"].tolist() == [2] and refused["Reasons_"].tolist() == ["x"]
    assert len(refused["reasons"][0]) == len(ODD) - 1
    assert list(reasons(tables, "o'rd\"ers.v2")) == [1]


@pytest.mark.parametrize("kind", ["orders.csv", "orders.parquet", "orders.jsonl"])
def test_names_that_differ_by_case_alone_are_told_apart_or_refused(tmp_path, kind):
    table = orders().assign(Amount=[9.0] * 4)
    (tmp_path / "data").mkdir()
    tiny.write(tmp_path / "data", {"people": people()})
    {"csv": as_csv, "parquet": pd.DataFrame.to_parquet, "jsonl": as_lines}[kind.rpartition(".")[2]](
        table, tmp_path / "data" / kind
    )
    assert clean(run(tmp_path), "orders")["amount"].fillna(0).tolist() == [1, 2, 3, 0]
    with pytest.raises(UserError, match="has no column 'Amount'; did you mean"):
        run(tmp_path, changed(SHOP, "nodes.order.columns.Amount", "numeric"))


def test_a_column_of_nothing_is_all_missing(tmp_path):
    tables = shop(tmp_path, tables={"orders": orders(amount=[None] * 4, channel=[None] * 4)})
    assert clean(tables, "orders")[["amount", "channel"]].isna().all(axis=None)


def mounted(folder: Path, size: str) -> bool:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("size", ["100k", "600k", "1500k", "2500k"])
def test_a_full_disk(tmp_path, size):
    disk = tmp_path / "disk"
    if not mounted(disk, size):
        pytest.skip("cannot mount a small disk here")
    try:
        state = np.random.default_rng(0)
        count = 40_000
        table = (
            orders()
            .iloc[state.integers(0, 4, count)]
            .assign(order=state.permutation(count), amount=state.random(count))
        )
        tiny.write(tmp_path / "data", {"people": people(), "orders": table})
        with pytest.raises(UserError, match="disk is full|No space left"):
            run(disk, data=tmp_path / "data")
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", str(disk)], check=True)


SCRIPT = """
import json, pathlib, sys
from graphmill import ingest
from graphmill.schema import Schema
from graphmill.task import Task
data, tables, schema, task, params = sys.argv[1:]
ingest.run(
    data,
    tables,
    Schema.parse(json.loads(schema)),
    Task.parse(json.loads(task)),
    ingest.Params.parse(json.loads(params)),
)
# not ru_maxrss, which begins with what the process that started this one had
status = pathlib.Path("/proc/self/status").read_text()
print(status.split("VmHWM:")[1].split()[0])
"""


def process(folder: Path, script: str = SCRIPT, **params) -> subprocess.Popen:
    """Ingest in a process of its own; its last line is its peak memory in KiB."""
    arguments = [str(folder / "data"), str(folder / "tables"), *map(json.dumps, (SHOP, LABELLED, params))]
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(
        command, cwd=HOME, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


def many(folder: Path, rows: int, parts: int) -> None:
    """Random orders in several files."""
    (folder / "data" / "orders").mkdir(parents=True)
    people(range(1000)).to_parquet(folder / "data" / "people.parquet")
    state = np.random.default_rng(rows)
    keys = np.array_split(state.permutation(rows), parts)
    for part, order in enumerate(keys):
        size = len(order)
        frame = pd.DataFrame(
            {
                "order": order,
                "at": DAYS[0] + pd.to_timedelta(state.integers(0, 10**8, size), unit="s") - pd.Timedelta(days=2000),
                "amount": state.random(size) * 100,
                "channel": np.array(["web", "shop"])[state.integers(0, 2, size)],
                "person": state.integers(0, 1000, size),
                "bad": state.random(size) < 0.01,
            }
        )
        frame.to_parquet(folder / "data" / "orders" / f"{part}.parquet")


HELD = """
import time
from graphmill import lineage

def hold(*given):
    print("written", flush=True)
    time.sleep(600)

lineage.record = hold  # asked for last, while everything is open
"""


def test_after_a_kill_the_rerun_is_clean(tmp_path):
    many(tmp_path, 20_000, 2)
    with process(tmp_path, HELD + SCRIPT) as started:
        assert "written\n" in started.stdout
        started.send_signal(signal.SIGKILL)
    assert not (tmp_path / "tables").exists() and (tmp_path / ".tables.spill" / "work.duckdb").exists()
    assert artifact.read(run(tmp_path), "tables").manifest["tables"]["orders"]["rows"] == 20_000
    assert sorted(item.name for item in tmp_path.iterdir()) == ["data", "tables"]


# ---- order, bytes, memory, revisions


def test_ids_of_the_past_do_not_move(tmp_path):
    frames = tiny.tables(payments=300)
    tiny.write(tmp_path / "data", frames)
    before = {name: clean(ingest_tiny(tmp_path), name) for name in frames}
    assert before["payments"]["paid_at"].is_monotonic_increasing
    state = np.random.default_rng(0)
    later = frames["payments"][:50].copy()
    later["paid_at"] += pd.Timedelta(days=125)
    later["payment_id"] = [f"a{number}" for number in range(50)]
    frames["payments"] = pd.concat([frames["payments"], later])
    shuffled = {name: frame.iloc[state.permutation(len(frame))] for name, frame in frames.items()}
    tiny.write(tmp_path / "data", shuffled)
    after = ingest_tiny(tmp_path, as_of="2025-12-31")
    for name, frame in before.items():
        pd.testing.assert_frame_equal(clean(after, name)[: len(frame)], frame)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_the_same_bytes_whatever_the_threads(tmp_path, kind):
    """Also the row numbers, and edges of one time by their place in the files."""
    rows = 250_000
    many(tmp_path, rows, 3)
    state = np.random.default_rng(0)
    folder = tmp_path / "data" / "orders"
    frames = [pd.read_parquet(file) for file in sorted(folder.iterdir())]
    frame = pd.concat(frames, ignore_index=True)
    frame.loc[state.choice(rows, 2000, replace=False), "amount"] = -1
    shutil.rmtree(folder)
    folder.mkdir()
    writers = {"parquet": pd.DataFrame.to_parquet, "csv": as_csv, "jsonl": as_lines}
    for number, part in enumerate(np.array_split(np.arange(rows), 3)):
        writers[kind](frame.iloc[part], folder / f"{number}.{kind}")
    schema = changed(SHOP, "edges.same", {"table": "pairs", "source": {"person": "a"}, "target": {"person": "b"}})
    schema["edges"]["same"]["columns"] = {"value": "numeric"}
    pairs = pd.DataFrame({"a": 1, "b": 2, "value": np.arange(rows)})
    writers[kind](pairs, tmp_path / "data" / f"pairs.{kind}")
    found = set()
    for threads, memory in ((1, "2GB"), (4, "2GB"), (4, "200MB")):
        shutil.rmtree(tmp_path / "tables", ignore_errors=True)
        tables = run(tmp_path, schema, threads=threads, memory_limit=memory)
        names = [file for file in sorted(tables.rglob("*.parquet"))]
        found.add(tuple(artifact.file_digest(file) for file in names))
        told = pd.read_parquet(tables / "quarantine" / "orders.parquet")
        assert (told["row"] - 1).tolist() == frame.index[frame["amount"] < 0].tolist()
        assert told["order"].astype(int).tolist() == frame["order"][frame["amount"] < 0].tolist()
        assert (clean(tables, "pairs")["value"] == np.arange(rows)).all()
        times = clean(tables, "orders")[["at", "order"]]
        assert times.equals(times.sort_values(["at", "order"], ignore_index=True))
    assert len(found) == 1


def test_repeated_runs_are_one_artifact(tmp_path):
    bad = {"orders": orders(amount=[-1.0, -2.0, 3.0, 1.0], person=["1", "9", "1", "9"])}
    digests = {artifact.read(shop(tmp_path, tables=bad, maximum_refused=1), "tables").digest for _ in range(2)}
    assert len(digests) == 1


@pytest.mark.slow
def test_memory_does_not_grow_with_the_tables(tmp_path):
    peaks = []
    for rows in (1_000_000, 3_000_000):
        folder = tmp_path / str(rows)
        many(folder, rows, rows // 250_000)
        started = process(folder, memory_limit="200MB", threads=2)
        said, _ = started.communicate()
        assert started.returncode == 0
        peaks.append(int(said.split()[-1]))
        shutil.rmtree(folder)
    assert peaks[1] < 1.3 * peaks[0], peaks


@pytest.mark.slow
def test_an_older_revision(tmp_path, monkeypatch):
    home = tmp_path / "team"
    home.mkdir()
    monkeypatch.chdir(home)
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "someone")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    dvc = str(Path(sys.executable).parent / "dvc")

    def call(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)

    call("git", "init", "-q")
    call(dvc, "init", "-q")
    many(tmp_path / "scratch", 1000, 2)
    shutil.move(tmp_path / "scratch" / "data", home / "data")
    call(dvc, "add", "-q", "data")
    call("git", "add", ".")
    call("git", "commit", "-qm", "first")
    before = run(tmp_path, data=home / "data")
    wanted = artifact.read(before, "tables")
    (home / "data" / "orders" / "1.parquet").unlink()
    call(dvc, "add", "-q", "data")
    call("git", "commit", "-qam", "second")
    assert len(clean(run(tmp_path, data=home / "data"), "orders")) == 500
    for data, repository in (
        (home / "data", None),
        (Path("data"), None),
        (Path("data"), str(home)),
        (home / "data", str(home)),
    ):
        found = artifact.read(run(tmp_path, data=data, revision="HEAD~1", repository=repository), "tables")
        assert found.manifest["tables"]["orders"]["rows"] == 1000
        assert found.lineage["data"] == wanted.lineage["data"]
        assert found.manifest["contract"] == wanted.manifest["contract"]
    with pytest.raises(UserError, match="elsewhere: no such folder at revision 'HEAD'"):
        run(tmp_path, data=Path("elsewhere"), revision="HEAD")
    with pytest.raises(UserError, match="revision 'v99' of this repository"):
        run(tmp_path, data=Path("data"), revision="v99")
