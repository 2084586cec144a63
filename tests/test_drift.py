"""The stage `drift`: what past periods look like, what counts as a change, and what is done about it."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import graphmill
from graphmill import artifact, drift, features, graph
from graphmill.clock import ALWAYS, moment
from graphmill.drift import (
    baseline,
    compare,
    distances,
    findings,
    integrity,
    measures,
    periods,
    policy,
    profile,
    report,
    structure,
)
from graphmill.drift.baseline import Past
from graphmill.drift.params import Params
from graphmill.drift.source import Period, Source
from graphmill.drift.structure import degrees
from graphmill.drift.structure.sharing import sharing
from graphmill.errors import UserError
from graphmill.features.store import Features
from graphmill.graph.store import Graph
from graphmill.schema import Schema
from graphmill.task import Task

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")  # ibis speaks to DuckDB 2 so

START = pd.Timestamp("2025-01-01")
DAYS = 252  # six weeks more than the model knows
KNOWN = "2025-07-30"  # the end of its validation part: 210 days
SCHEMA: dict[str, Any] = {
    "nodes": {
        "customer": {
            "table": "customers",
            "key": "customer_id",
            "time": "opened_at",
            "columns": {"country": "category", "age": "numeric"},
        },
        "terminal": {"table": "terminals", "key": "terminal_id", "columns": {"risk": "numeric"}},
        "payment": {
            "table": "payments",
            "key": "payment_id",
            "time": "paid_at",
            "columns": {"amount": "numeric", "channel": "category", "flag": "boolean"},
            "links": {"customer_id": "customer", "terminal_id": "terminal"},
        },
    },
    "edges": {
        "refers": {
            "table": "referrals",
            "source": {"customer": "referrer"},
            "target": {"customer": "referred"},
            "time": "at",
            "columns": {"bonus": "numeric"},
        }
    },
}
TEMPORAL = {"kind": "temporal", "train_end": "2025-06-18", "validation_end": KNOWN}
AMOUNT = "node payment: amount"


def world(seed: int = 0) -> dict[str, pd.DataFrame]:
    """A payment network whose weeks differ a little by nature."""
    state = np.random.default_rng(seed)
    size = 400
    opened = START - pd.to_timedelta(state.integers(1, 500, size), unit="D")
    opened = opened.where(state.random(size) < 0.7, START + pd.to_timedelta(state.random(size) * DAYS, unit="D"))
    customers = pd.DataFrame({"opened_at": opened}).sort_values("opened_at", ignore_index=True)
    customers = customers.assign(
        customer_id=[f"c{place:03d}" for place in range(size)],
        country=state.choice(["de", "fr", "it"], size),
        age=np.where(state.random(size) < 0.1, np.nan, state.integers(18, 80, size)),
    )
    terminals = pd.DataFrame({"terminal_id": [f"t{place:02d}" for place in range(40)], "risk": state.random(40)})
    count = DAYS * 40
    time = np.sort(state.random(count) * DAYS)
    week = np.exp(state.normal(0, 0.02, DAYS // 7 + 1))[(time // 7).astype(int)]
    people = (
        state.random(count) * np.searchsorted(opened.sort_values(), START + pd.to_timedelta(time, unit="D"))
    ).astype(int)
    payments = pd.DataFrame(
        {
            "payment_id": [f"p{place:06d}" for place in range(count)],
            "customer_id": customers["customer_id"].to_numpy()[people],
            "terminal_id": terminals["terminal_id"].to_numpy()[(state.beta(1, 3, count) * 40).astype(int)],
            "paid_at": START + pd.to_timedelta(time, unit="D"),
            "amount": state.lognormal(3, 0.5, count) * week,
            "channel": state.choice(["online", "store", "phone"], count, p=[0.6, 0.3, 0.1]),
            "flag": state.random(count) < 0.2,
            "is_fraud": state.random(count) < 0.1,
        }
    )
    made = 2_500
    referrals = pd.DataFrame(
        {
            "referrer": customers["customer_id"].to_numpy()[state.integers(0, 280, made)],
            "referred": customers["customer_id"].to_numpy()[state.integers(0, 280, made)],
            "at": START + pd.to_timedelta(np.sort(state.random(made)) * DAYS, unit="D"),
            "bonus": state.integers(1, 20, made).astype(float),
        }
    )
    return {"customers": customers, "terminals": terminals, "payments": payments, "referrals": referrals}


TIMES = {"customers": "opened_at", "payments": "paid_at", "referrals": "at"}
NEWEST = START + pd.Timedelta(days=DAYS - 14)


def built(
    folder: Path, tables: dict[str, pd.DataFrame], end: str | None = None, split: Any = TEMPORAL, **given: Any
) -> Source:
    """Tables as `ingest` leaves them, then the real stages `graph` and `features`."""
    stop = START + pd.Timedelta(days=DAYS) if end is None else pd.Timestamp(end)
    schema = Schema.parse(SCHEMA)
    label = {"column": "is_fraud", "known_after": "5d"}
    task = Task.parse({"node": "payment", "label": label, "split": split, **given})
    with artifact.write(folder / "tables", "tables") as draft:
        for name, table in tables.items():
            column = TIMES.get(name)
            kept = table if column is None else table[table[column] < stop].sort_values(column, kind="stable")
            kept = kept.assign(**{column: kept[column].astype("datetime64[us]")}) if column else kept
            kept.to_parquet(draft.folder / f"{name}.parquet", index=False)
        as_of = moment(stop.isoformat(), "timestamp")
        draft.manifest |= {"schema": schema.canonical(), "task": task.canonical(), "as_of": as_of}
    graph.run(folder / "tables", folder / "graph", graph.Params(threads=1))
    windows = [{"over": "payment.customer_id.customer", "sizes": ["7d"], "columns": {"amount": ["mean"]}}]
    params = features.Params.parse({"windows": windows, "structure": ["core_number"], "structure_every": "14d"})
    features.run(folder / "tables", folder / "graph", folder / "features", params)
    network, rows = Graph.open(folder / "graph"), Features.open(folder / "features")
    return Source(network, rows, rows.examples)


def scores_of(examples: pd.DataFrame) -> np.ndarray:
    """What the model thinks: anything, the same for the same example."""
    return np.random.default_rng(1).beta(1, 9, 100_000)[examples["node"].to_numpy()]


def make_model(folder: Path, source: Source, **changes: Any) -> Path:
    with artifact.write(folder, "model") as draft:
        draft.manifest |= {"winner": "sage", "names": ["sage"], "splits": 1, **changes}
        parts = source.examples["split_0"] != "train"
        scores = np.where(parts, scores_of(source.examples), np.nan)
        scored = replace(source, scores=scores)
        begun = baseline.read(source.features.artifact.path, "features")
        baseline.write(draft.folder, baseline.complete(begun, scored, threshold=0.2), scored)
    return folder


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quiet network as of the model's training, and the model. Read only."""
    folder = tmp_path_factory.mktemp("drift")
    make_model(folder / "model", built(folder, world(), "2025-08-13"))
    return folder


@pytest.fixture(autouse=True)
def oracle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """Instead of a trained network; what drift remembers is each test's own."""
    monkeypatch.chdir(tmp_path)
    fake = ModuleType("graphmill.predict")
    fake.score = lambda model, name, split, graph, features, examples: scores_of(examples)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "graphmill.predict", fake)
    monkeypatch.setattr(graphmill, "predict", fake, raising=False)
    return fake


def checked(home: Path, folder: Path, tables: dict[str, pd.DataFrame], **given: Any) -> dict[str, Any]:
    """The report about the newest period of ``tables``."""
    built(folder, tables)
    at_once = {
        "alarms": 1,
        "checks": 1,
        "wait_for_labels": False,
        "least_labels": 0,
        "least_edges": 0,
        "registry": str(folder / "registry"),
    }
    params = Params.parse({"home": str(folder / "drift_history"), "policy": at_once, **given})
    answer = drift.run(home / "model", folder / "graph", folder / "features", folder / "drift_report", params)
    found = artifact.read(folder / "drift_report", "drift_report").manifest
    assert answer == found["decision"]
    assert (folder / "drift_report" / "report.html").stat().st_size < 500_000
    assert (folder / "drift_report" / "profile.json").stat().st_size < 100_000
    return found


def loud(found: dict[str, Any], state: str = "alarm") -> set[str]:
    return {item["name"] for item in found["items"] if item["state"] == state}


def newest(table: pd.DataFrame, column: str) -> pd.Series:
    return table[column] >= NEWEST


# ----- the whole stage


def test_a_quiet_period_raises_no_alarm(home: Path, tmp_path: Path) -> None:
    found = checked(home, tmp_path, world())
    assert found["decision"] in ("ok", "watch") and not loud(found) and not found["integrity"]
    assert found["past_periods"] == 15 and not found["cold_start"]
    assert found["families"]["prediction"]["cold_start"]
    assert found["period_text"] == ["2025-08-27T00:00:00", "2025-09-10T00:00:00"]
    label = next(item for item in found["items"] if item["name"] == "label")
    assert label["state"] == "ok" and label["past"] == 15, "labels of equal age, though they take five days"


def test_planted_changes_are_named(home: Path, tmp_path: Path) -> None:
    tables = world()
    late = newest(tables["payments"], "paid_at")
    tables["payments"].loc[late, "amount"] *= 1.4
    few = np.random.default_rng(3).choice(["t00", "t01"], int(late.sum()))
    tables["payments"].loc[late, "terminal_id"] = np.where(
        np.arange(len(few)) % 2, few, tables["payments"].loc[late, "terminal_id"]
    )
    found = checked(home, tmp_path, tables)
    assert (found["state"], found["decision"]) == ("alarm", "retrain")
    assert {AMOUNT, "payment.terminal_id.terminal to terminal"} <= loud(found)
    assert found["items"][0]["state"] == "alarm" and "alarms" in found["words"]


def test_unseen_categories_are_told(home: Path, tmp_path: Path) -> None:
    tables = world()
    late = newest(tables["payments"], "paid_at") & (tables["payments"]["channel"] == "phone")
    tables["payments"].loc[late, "channel"] = "<script>alert(1)</script>"
    found = checked(home, tmp_path, tables)
    item = next(item for item in found["items"] if item["statistic"] == "unseen share" and "channel" in item["name"])
    assert item["state"] == "alarm" and item["value"] == pytest.approx(0.1, abs=0.03) and item["reference"] == 0
    assert "<script>" not in (tmp_path / "drift_report" / "report.html").read_text(encoding="utf-8")


def test_a_category_that_comes_no_more_is_told_where_no_chart_can_say_so() -> None:
    def period(end: int, store: int) -> dict[str, Any]:
        counts = {"online": 53 - store, "store": store, "fax": 1}
        column = {"rows": 56, "missing": 2, "counts": counts, "other": 0, "unseen": 0}
        return {"version": 2, "start": end - 1, "end": end, "columns": {"node x": {"c": column}}, "rows": {}}

    how = {"kind": "category", "top": ["online", "store", "fax"], "seen": {}, "histogram": False, "boolean": False}
    reference = {"columns": {"node x": {"c": how}}, "timed": True, "period": 1, "until": 15, "scores": None}
    past = Past(reference, [period(end, 20 + end % 5) for end in range(1, 16)], 15)

    def told(newest: dict[str, Any]) -> list[tuple[str, str, str]]:
        found = findings.findings(newest, past, Params())
        return [(item.name, item.statistic, item.state) for item in found]

    assert told(period(16, 0)) == [("node x: c", "vanished category", "warn")]
    assert told(period(16, 1)) == []
    rare = period(16, 20)
    rare["columns"]["node x"]["c"]["counts"]["fax"] = 0
    assert told(rare) == [], "of one in fifty there may be none"
    nothing = period(16, 0)
    nothing["columns"]["node x"]["c"] |= {"rows": 0, "missing": 0, "counts": dict.fromkeys(how["top"], 0)}
    assert told(nothing) == [("node x: c", "no value", "warn")]


@pytest.mark.parametrize("broken", ["referrals", "payments", "amount", "type", "relation"])
def test_a_broken_feed_calls_somebody_and_trains_nothing(
    home: Path, tmp_path: Path, broken: str, monkeypatch: Any
) -> None:
    tables = world()
    late = newest(tables["payments"], "paid_at")
    expected = {"referrals": "empty relation", "payments": "no rows", "amount": "column all missing"}.get(
        broken, "vanished"
    )
    if broken == "referrals":
        tables["referrals"] = tables["referrals"][~newest(tables["referrals"], "at")]
    elif broken == "payments":
        tables["payments"] = tables["payments"][~late]
    elif broken == "amount":
        tables["payments"].loc[late, "amount"] = np.nan
    else:
        smaller = json.loads(json.dumps(SCHEMA))
        smaller["edges"] = {}
        if broken == "type":
            smaller["nodes"].pop("terminal")
            smaller["nodes"]["payment"]["links"].pop("terminal_id")
        monkeypatch.setitem(globals(), "SCHEMA", smaller)
    found = checked(home, tmp_path, tables)
    assert (found["state"], found["decision"]) == ("alarm", "page")
    assert any(item["rule"].startswith(expected) for item in found["integrity"])
    assert found["words"].startswith("The feed looks broken")


def test_times_ahead_of_the_snapshot_are_a_broken_feed(home: Path) -> None:
    network, rows = Graph.open(home / "graph"), Features.open(home / "features")
    source = Source(network, rows, rows.examples)
    before = source.times["payment"][:-1]
    source.times["payment"] = np.append(before, network.as_of)
    assert not integrity.check(source, {}, [], baseline.read(home / "model").reference), "ingest lets that moment in"
    source.times["payment"] = np.append(before, network.as_of + 1)
    found = integrity.check(source, {}, [], baseline.read(home / "model").reference)
    assert [(item["rule"], item["where"]) for item in found] == [("time in the future", "node payment")]


def test_what_fails_is_an_error_and_never_ok(home: Path, tmp_path: Path, oracle: Any) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no such weights")

    oracle.score = fail
    found = checked(home, tmp_path, world())
    assert (found["state"], found["decision"]) == ("error", "page")
    assert found["families"]["prediction"]["error"] == "RuntimeError: no such weights"
    oracle.score = lambda *given: np.full(len(given[-1]), np.nan)
    found = checked(home, tmp_path, world())
    assert found["state"] == "error" and "are not numbers" in found["words"]


def test_the_same_input_gives_the_same_bytes(home: Path, tmp_path: Path) -> None:
    built(tmp_path, world())
    files = []
    for name in ("one", "two"):
        drift.run(home / "model", tmp_path / "graph", tmp_path / "features", tmp_path / name, Params())
        files.append(
            [
                (tmp_path / name / file).read_bytes()
                for file in ("drift_report.json", "report.html", "profile.json", "metrics.prom")
            ]
        )
    assert files[0] == files[1]
    page = files[0][1].decode()
    assert "http" not in page and "src=" not in page, "the page loads nothing"
    told, kept = files[0][3].decode(), (tmp_path / "drift_history" / "metrics.prom").read_text()
    added = sorted({line.split("{")[0] for line in kept.splitlines() if line not in told and line[0] != "#"})
    assert added == [f"graphmill_drift_last_{what}_timestamp_seconds" for what in ("check", "success")]


def test_a_past_period_that_overlaps_is_no_past(home: Path, tmp_path: Path) -> None:
    built(tmp_path, world(), "2025-08-06")
    drift.run(home / "model", tmp_path / "graph", tmp_path / "features", tmp_path / "drift_report", Params())
    found = artifact.read(tmp_path / "drift_report", "drift_report").manifest
    assert found["period_text"][0] == "2025-07-23T00:00:00" and found["past_periods"] == 14


def test_another_period_profiles_the_past_again(home: Path, tmp_path: Path) -> None:
    found = checked(home, tmp_path, world(), period="21d")
    assert found["past_periods"] == 10 and found["cold_start"] and not loud(found)
    assert "cold start" in (tmp_path / "drift_report" / "report.html").read_text(encoding="utf-8")
    assert max(item["past"] for item in found["items"] if item["name"] == "score") == 2
    with pytest.raises(UserError, match="must be longer"):
        drift.run(home / "model", tmp_path / "graph", tmp_path / "features", tmp_path / "r", Params(period="0d"))


def test_without_time_there_is_one_period(tmp_path: Path) -> None:
    split = {"kind": "random"}
    make_model(tmp_path / "model", built(tmp_path, world(), split=split))
    answer = drift.run(
        tmp_path / "model", tmp_path / "graph", tmp_path / "features", tmp_path / "drift_report", Params()
    )
    found = artifact.read(tmp_path / "drift_report", "drift_report").manifest
    assert (answer, found["state"], found["cold_start"]) == ("watch", "cold_start", True)
    assert found["period"][0] is None and {item["effect"] for item in found["items"] if item["unit"] != "rate"} == {0}


def people(folder: Path, edges: int, stop: int) -> Source:
    """Entities judged every 20 steps of an integer clock, in a network that is busier later on."""
    state = np.random.default_rng(5)
    names = np.array([f"n{place:03d}" for place in range(300)])
    made = {"giver": names[state.integers(0, 300, edges)], "taker": names[state.integers(0, 300, edges)]}
    rates = pd.DataFrame({**made, "at": np.sort(state.integers(0, 400, edges)), "value": state.normal(0, 1, edges)})
    rates = rates[rates["at"] < stop]
    nodes = pd.DataFrame({"name": names, "bad": state.random(300) < 0.2})
    sides = {
        "source": {"person": "giver"},
        "target": {"person": "taker"},
        "time": "at",
        "columns": {"value": "numeric"},
    }
    schema = Schema.parse(
        {
            "time": "step",
            "nodes": {"person": {"table": "people", "key": "name"}},
            "edges": {"rates": {"table": "rates", **sides}},
        }
    )
    split = {"kind": "temporal", "train_end": 240, "validation_end": 300}
    given = {"node": "person", "label": {"column": "bad"}, "split": split, "moments": {"first": 40, "every": 20}}
    task = Task.parse(given)
    with artifact.write(folder / "tables", "tables") as draft:
        nodes.to_parquet(draft.folder / "people.parquet", index=False)
        rates.to_parquet(draft.folder / "rates.parquet", index=False)
        draft.manifest |= {"schema": schema.canonical(), "task": task.canonical(), "as_of": stop}
    graph.run(folder / "tables", folder / "graph", graph.Params(threads=1))
    features.run(folder / "tables", folder / "graph", folder / "features", features.Params(structure=[]))
    network, rows = Graph.open(folder / "graph"), Features.open(folder / "features")
    return Source(network, rows, rows.examples)


def test_entities_are_judged_at_moments_on_a_step_clock(tmp_path: Path) -> None:
    make_model(tmp_path / "model", people(tmp_path, 8_000, 330))
    past = baseline.read(tmp_path / "model")
    assert past.reference["period"] == 20 and len(past.history) == 15
    assert past.history[-1]["predictions"]["examples"] == 300 and past.history[-1]["end"] == 300
    people(tmp_path, 8_000, 400)
    given = (tmp_path / "graph", tmp_path / "features", tmp_path / "drift_report")
    assert drift.run(tmp_path / "model", *given, Params()) in ("ok", "watch")
    assert drift.run(tmp_path / "model", *given, Params(period=7)) in ("ok", "watch"), "no moment in 7 steps"
    found = artifact.read(given[2], "drift_report").manifest
    assert "score" in {item["name"] for item in found["items"]} and found["families"]["prediction"]["error"] is None


def test_a_new_column_is_watched(home: Path, tmp_path: Path, monkeypatch: Any) -> None:
    larger = json.loads(json.dumps(SCHEMA))
    larger["nodes"]["payment"]["columns"]["fee"] = "numeric"
    monkeypatch.setitem(globals(), "SCHEMA", larger)
    tables = world()
    tables["payments"] = tables["payments"].assign(fee=1.0)
    found = checked(home, tmp_path, tables)
    assert "node payment: fee" in loud(found, "warn") and found["decision"] == "watch"


# ----- bad input


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "reference.json").unlink(), "nothing to compare with; run the stage train again"),
        (lambda folder: (folder / "history.json").write_text('{"version": 99}'), "profile version 99"),
        (lambda folder: (folder / "reference.json").write_text("{"), "not readable as JSON"),
    ],
)
def test_a_model_without_a_usable_profile_is_refused(home: Path, tmp_path: Path, change: Any, words: str) -> None:
    with artifact.write(tmp_path / "model", "model") as draft:
        (draft.folder / "profile").mkdir()
        for name in ("reference.json", "history.json"):
            (draft.folder / "profile" / name).write_bytes((home / "model" / "profile" / name).read_bytes())
        change(draft.folder / "profile")
    with pytest.raises(UserError, match=words):
        drift.run(tmp_path / "model", home / "graph", home / "features", tmp_path / "drift_report", Params())
    assert not (tmp_path / "drift_report").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"alfa": 0.1}, "did you mean 'alpha'"),
        ({"few": 20}, "few must not be above enough"),
        ({"window": 9}, "window must not be below enough"),
        ({"rate": {"floor": 0.1, "notable": 0.05, "large": 0.2, "gross": 0.3}}, "must grow"),
    ],
)
def test_wrong_parameters_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Params.parse(given, "drift")
    assert Params.parse({"period": 30.0}).period == 30, "Kubeflow sends every number as a float"


# ----- profiles


def test_the_past_does_not_depend_on_what_came_later(home: Path, tmp_path: Path) -> None:
    early = Source(
        Graph.open(home / "graph"), Features.open(home / "features"), Features.open(home / "features").examples
    )
    tables = world()
    tables["payments"].loc[newest(tables["payments"], "paid_at"), ["amount", "channel"]] = [1e6, "aaa"]
    late = built(tmp_path, tables)
    one, two = (baseline.complete(baseline.begin(source), source, None) for source in (early, late))
    drop = ["predictions"]  # labels of the last days were not known yet
    for left, right in zip(one.history, two.history, strict=True):
        assert {k: v for k, v in left.items() if k not in drop} == {k: v for k, v in right.items() if k not in drop}
    assert one.reference == two.reference


def test_slices_and_the_wait_for_labels_do_not_depend_on_what_came_later(tmp_path: Path) -> None:
    tables = world()
    payments = tables["payments"]
    payments["told_at"] = payments["paid_at"] + 0.1 * (payments["paid_at"] - START)  # labels take longer and longer
    late = payments["paid_at"] >= pd.Timestamp(KNOWN)
    payments.loc[late, "channel"] = "aaa"
    payments["told_at"] = payments["told_at"].astype("datetime64[us]")
    task = {"label": {"column": "is_fraud", "known_at": "told_at"}, "slices": ["channel"]}
    one, two = (
        baseline.begin(built(tmp_path / name, tables, end, **task)) for name, end in (("a", "2025-08-25"), ("b", None))
    )
    assert one.reference["label_age"] == two.reference["label_age"]
    assert one.reference["label_age"] == pytest.approx(moment("1970-01-10", "timestamp"), rel=0.1), "a tenth of 90 days"
    assert one.reference["slices"] == ["channel=online", "channel=store", "channel=phone"] == two.reference["slices"]
    assert one == two


def test_periods_are_whole_weeks_counted_back_from_what_the_model_knows(home: Path) -> None:
    past = baseline.read(home / "model")
    week = 7 * 86_400_000_000
    assert past.reference["period"] == 2 * week
    ends = [item["end"] for item in past.history]
    assert ends[-1] == moment(KNOWN, "timestamp") and set(np.diff(ends)) == {2 * week}
    assert all(len(profile.compact(item)) < 100_000 for item in past.history)
    assert all("node terminal" not in item["columns"] for item in past.history[:-1]), "no time: one observation"
    assert "scores" not in past.history[0]["predictions"] and "scores" in past.history[-1]["predictions"]


def test_columns_are_counted_as_they_are(home: Path) -> None:
    rows = Features.open(home / "features")
    source = Source(Graph.open(home / "graph"), rows, rows.examples)
    past = baseline.read(home / "model")
    period = Period(past.history[-1]["start"], past.history[-1]["end"])
    table = world()["payments"]
    inside = table[period.holds(table["paid_at"].astype("datetime64[us]").astype("int64").to_numpy())]
    found = profile.build(["feature"], source, period, past.reference)["columns"]["node payment"]
    assert found["amount"]["rows"] == len(inside) == sum(found["amount"]["histogram"])
    assert found["amount"]["mean"] == pytest.approx(inside["amount"].mean(), rel=1e-4)
    assert found["channel"]["counts"]["phone"] == (inside["channel"] == "phone").sum()
    assert found["channel"]["unseen"] == 0 and found["flag"]["mean"] == pytest.approx(inside["flag"].mean(), abs=1e-5)


def test_structure_has_its_known_answers() -> None:
    assert degrees.gini(np.array([3.0, 3.0, 3.0])) == pytest.approx(0)
    assert degrees.gini(np.array([0.0, 0.0, 0.0, 8.0])) == pytest.approx(0.75)
    assert degrees.top_share(np.array([1.0] * 199 + [801.0])) == pytest.approx(802 / 1000)
    # three rows go to hub 0, which people 5 and 6 share; hub 1 has one person; one row has no hub
    found = sharing(np.array([0, 0, 0, 1, -1]), np.array([5, 6, 5, 7, 7]))
    assert found == {"shared_share": 0.75, "mean_sharers": 1.5}
    assert sharing(np.array([-1]), np.array([3])) == {"shared_share": None, "mean_sharers": None}


def test_structure_of_a_period_counts_only_its_own_edges(home: Path) -> None:
    rows = Features.open(home / "features")
    source = Source(Graph.open(home / "graph"), rows, rows.examples)
    period = Period(moment("2025-03-01", "timestamp"), moment("2025-03-15", "timestamp"))
    found = structure.build(source, period)
    table = world()["payments"].merge(world()["customers"], on="customer_id")
    inside = table[(table["paid_at"] >= "2025-03-01") & (table["paid_at"] < "2025-03-15")]
    values = found["payment.customer_id.customer to customer"]
    people = inside["customer_id"].nunique()
    assert values["edges"] == len(inside) and values["nodes"] == people and values["linked_share"] == 1
    assert values["mean_degree"] == pytest.approx(len(inside) / people, rel=1e-5)
    new = inside.loc[inside["opened_at"] >= "2025-03-01", "customer_id"].nunique()
    assert values["new_share"] == pytest.approx(new / people, abs=1e-5)
    opened = world()["customers"]["opened_at"]
    assert values["isolated_share"] == pytest.approx(1 - people / (opened < "2025-03-15").sum(), abs=1e-5)
    assert found["nodes customer"]["rows"] == ((opened >= "2025-03-01") & (opened < "2025-03-15")).sum()
    sharers = inside.groupby("terminal_id")["customer_id"].nunique()
    assert found["payment.terminal_id shared by payment.customer_id"]["mean_sharers"] == pytest.approx(
        sharers.mean(), rel=1e-5
    )


def test_constant_missing_and_wide_columns_survive() -> None:
    from graphmill.drift import features as columns
    from graphmill.drift.scopes import Scope
    from graphmill.features.columns import Field

    values = np.stack([np.full(50, 2.0), np.full(50, np.nan), np.where(np.arange(50) % 2, np.inf, 1.0)], axis=1)
    fields = [Field(name=name, kind="numeric") for name in ("constant", "missing", "infinite")]
    wide = [Field(name=f"v[{place}]", kind="vector") for place in range(500)]
    both = np.concatenate([values, np.random.default_rng(0).normal(size=(50, 500))], axis=1).astype(np.float32)
    scope = Scope("node x", fields + wide, both, np.full(50, ALWAYS), 50, True)
    frozen = columns.freeze(iter([scope]))
    assert len(frozen["node x"]) == 3 + columns.MOST_PARTS
    found = columns.summarise(scope, frozen["node x"], 0)
    assert (
        found["constant"]["deviation"] == 0 and found["missing"]["missing"] == 50 and found["missing"]["mean"] is None
    )
    assert found["infinite"]["missing"] == 25 and found["infinite"]["mean"] == 1
    none = Scope("node x", fields + wide, both[:0], np.empty(0, np.int64), 0, True)
    assert columns.summarise(none, frozen["node x"], 0)["constant"]["mean"] is None
    assert len(json.dumps(found, allow_nan=False)) < 100_000


def test_categories_count_as_seen_from_their_first_moment_on() -> None:
    from graphmill.drift.features import _unseen

    counts, names = np.array([6, 3, 1]), ["a", "b", "c"]
    assert _unseen(counts, names, {"a": 0, "b": 10}, 5) == 4
    assert _unseen(counts, names, {"a": 0, "b": 10}, 11) == 1
    assert _unseen(counts, names, {"a": 7, "b": 10}, 5) is None, "nothing lies before the first period"
    assert _unseen(counts, names, None, 11) is None


# ----- verdicts


def snapshot(means: np.ndarray, rows: int = 100_000, end: int = 0) -> dict[str, Any]:
    """A profile of numeric columns of deviation 1."""
    columns = {
        f"x{place}": {"rows": rows, "missing": 0, "mean": float(mean), "deviation": 1.0, "quantiles": []}
        for place, mean in enumerate(means)
    }
    return {"end": end, "columns": {"node a": columns}, "structure": {}, "unknown": []}


WEEKLY = {"timed": True, "period": 1, "clock": "step"}
"""Period ``end`` is number ``end``."""


def simulate(
    trials: int, past: int, natural: float, shift: np.ndarray, seed: int, lasting: int = 1
) -> list[tuple[str, set[str]]]:
    """State and loud columns of each trial; harmless periods differ by ``natural``, the newest ones by the shift."""
    state = np.random.default_rng(seed)
    size = len(shift)
    frozen = {f"x{place}": {"deviation": 1.0, "mean": 0.0} for place in range(size)}
    found = []
    for _ in range(trials):
        level = state.normal(0, np.hypot(natural, 100_000**-0.5), (past + lasting, size))
        level[past:] += shift
        *history, newest = [snapshot(row, end=end) for end, row in enumerate(level)]
        items = compare.items(newest, Past({**WEEKLY, "columns": {"node a": frozen}}, history), Params())
        named = {item.name for item in items if item.state in ("warn", "alarm")}
        found.append((compare.families(items, {}, Params())["feature"]["state"], named))
    return found


def test_planted_shifts_are_found_and_named() -> None:
    shift = np.zeros(50)
    shift[7] = 0.2
    once, twice = (simulate(40, 20, 0.03, shift, 2, lasting) for lasting in (1, 2))
    assert np.mean([state in ("warn", "alarm") for state, _ in once]) >= 0.9
    assert np.mean([state == "alarm" for state, _ in twice]) >= 0.9, "when it stays it is no accident"
    assert np.mean(["node a: x7" in named for state, named in once + twice if state != "ok"]) >= 0.95


def test_a_cold_start_goes_by_size() -> None:
    quiet = simulate(100, 8, 0.03, np.zeros(50), 3)
    assert not any(state == "alarm" for state, _ in quiet)
    assert np.mean([state == "warn" for state, _ in quiet]) <= 0.05
    shift = np.zeros(50)
    shift[3] = 0.4
    assert all(state == "alarm" and named == {"node a: x3"} for state, named in simulate(30, 8, 0.02, shift, 4))
    shift[3] = 0.15
    assert all(state in ("ok", "warn") for state, _ in simulate(30, 8, 0.02, shift, 5))
    shift[3] = 0.4
    assert all(state == "warn" for state, _ in simulate(10, 2, 0.0, shift, 6)), "two periods have no spread yet"
    assert all(state == "cold_start" for state, _ in simulate(3, 0, 0.0, shift, 7))


def test_certain_but_tiny_changes_are_never_told() -> None:
    shift = np.zeros(50)
    shift[0] = 0.008
    assert all(state == "ok" for state, _ in simulate(20, 20, 0.0, shift, 8))


def test_one_node_of_a_few_is_no_news() -> None:
    def shape(idle: int, nodes: int) -> dict[str, Any]:
        values = {"timed": True, "isolated_share": idle / nodes, "nodes": nodes, "edges": 5 * nodes}
        return {"structure": {"a.b.c to c": values}}

    def states(idle: int, nodes: int) -> set[str]:
        items = compare.items(shape(idle, nodes), Past({}, [shape(0, nodes)] * 20), Params())
        return {item.state for item in items if item.statistic == "isolated share"}

    assert states(1, 20) == {"ok"} and states(8, 20) == {"alarm"}
    assert states(1_000, 20_000) == {"alarm"}, "the same share of many"


def test_one_community_cut_anew_is_no_news() -> None:
    def states(share: float, communities: float) -> set[str]:
        past, now = (
            {"structure": {"a.to.a": {"timed": True, "orphan_share": value, "effective_communities": communities}}}
            for value in (0.0, share)
        )
        items = compare.items(now, Past({}, [past] * 20), Params())
        return {item.state for item in items if item.statistic == "orphan share"}

    assert states(1 / 8, 7.9) == {"ok"} and states(3 / 8, 7.9) == {"alarm"}
    assert states(1 / 8, 100.0) == {"alarm"}, "a dozen of a hundred"


def test_a_trifle_of_a_share_is_never_told_however_large_beside_nothing() -> None:
    def shape(share: float) -> dict[str, Any]:
        return {"structure": {"a.b.c to c": {"timed": True, "new_share": share}}}

    history = [shape(0.001)] * 20
    trifle, more = (compare.items(shape(share), Past({}, history), Params())[0] for share in (0.004, 0.02))
    assert (trifle.state, more.state) == ("ok", "alarm")


def test_few_rows_are_not_an_alarm() -> None:
    reference = {"columns": {"node a": {"x0": {"deviation": 1.0, "mean": 0.0}}}}
    history = [snapshot(np.array([value])) for value in np.linspace(-0.01, 0.01, 20)]
    few, many = (
        compare.items(snapshot(np.array([0.3]), rows), Past(reference, history), Params()) for rows in (9, 9_000)
    )
    assert {item.state for item in few} == {"ok"} and "alarm" in {item.state for item in many}


def test_a_changed_shape_with_the_same_mean_is_seen() -> None:
    def shape(counts: list[int]) -> dict[str, Any]:
        summary = {"rows": sum(counts), "missing": 0, "mean": 0.0, "deviation": 1.0, "histogram": counts}
        return {"columns": {"node a": {"x0": summary}}}

    history = [shape([1000 + 10 * place, 1000, 1000, 1000 - 10 * place]) for place in range(6)]
    same, other = (
        distances.distances(shape(counts), history, Params())[0] for counts in ([1000] * 4, [0, 2400, 800, 800])
    )
    assert (same.state, other.state) == ("ok", "warn") and other.value == pytest.approx(0.25, abs=0.02)
    assert distances.distance(np.array([1.0, 0]), np.array([0, 1.0])) == 1


@pytest.mark.parametrize(
    ("counts", "state"),
    [
        ({"a": 500, "b": 300, "c": 200}, "ok"),
        ({"a": 300, "b": 500, "c": 200}, "warn"),
        ({"a": 950, "b": 30, "c": 20}, "alarm"),
        ({"a": 10, "b": 0, "c": 0}, "ok"),  # ten rows
    ],
)
def test_categories_that_trade_places_are_seen_without_a_p_value(counts: dict[str, int], state: str) -> None:
    def shape(counts: dict[str, int], other: int = 0) -> dict[str, Any]:
        total = sum(counts.values()) + other
        summary = {"rows": total, "missing": 0, "counts": counts, "other": other, "unseen": None}
        return {"columns": {"node a": {"x": summary}}}

    history = [shape({"c": 200 - place, "a": 500 + place, "b": 300}) for place in range(8)]
    (item,) = distances.distances(shape(counts), history, Params())
    assert (item.name, item.statistic, item.state) == ("node a: x", "distribution", state)
    (others,) = distances.distances(shape({"a": 250, "b": 150, "c": 100}, 500), history, Params())
    assert others.state == "alarm" and others.value == pytest.approx(0.5, abs=0.01), "half are none of them"
    assert distances.distances(shape({"a": 0, "b": 0, "c": 0}), history, Params()) == []


def test_distances_of_samples_of_the_same_are_seldom_beyond_chance() -> None:
    state, shares = np.random.default_rng(5), np.array([0.4, 0.3, 0.2, 0.05, 0.05])
    for rows in (30, 300, 30_000):
        beyond = np.array([
            distances.variation(state.multinomial(rows, shares), state.multinomial(10 * rows, shares))
            for _ in range(500)
        ]) > (distances.CHANCE_OF_SHARES + 1) * np.sqrt(1.1 / rows)  # fmt: skip
        assert beyond.mean() < 0.01


def test_labels_that_are_not_there_yet_are_said_to_be() -> None:
    block = {"examples": 100, "maturity": 0.2, "labels": 20, "positives": 3, "groups": {}}
    young = {"start": 0, "performance": block}
    reference = {"scores": None, "metric": "average_precision"}
    items = compare.items(young, Past(reference, []), Params())
    assert {(item.name, item.state) for item in items} == {
        ("label", "insufficient_labels"), ("every cohort", "insufficient_labels"),
    }  # fmt: skip
    families = compare.families(items, {}, Params())
    assert families["prediction"]["state"] == "cold_start"
    assert families["performance"]["state"] == "insufficient_labels"
    assert not measures.measures(young, reference, 0.7, 30)


def facts(*states: str, broken: bool = False) -> dict[str, Any]:
    names = ("feature", "structure", "prediction")
    rules = [{"rule": "empty relation", "where": "a.b.c", "what": "none"}] if broken else []
    return {"families": {name: {"state": state} for name, state in zip(names, states, strict=True)}, "integrity": rules}


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (facts("ok", "ok", "cold_start"), "ok"),
        (facts("ok", "warn", "ok"), "warn"),
        (facts("ok", "insufficient_labels", "ok"), "insufficient_labels"),
        (facts("alarm", "warn", "ok"), "alarm"),
        (facts("ok", "ok", "ok", broken=True), "alarm"),
        (facts("ok", "ok", "error"), "error"),
        (facts("alarm", "ok", "error"), "error"),
        (facts("cold_start", "cold_start", "cold_start"), "cold_start"),
    ],
)
def test_one_report_one_state(found: dict[str, Any], state: str) -> None:
    assert policy.state(found) == state


def test_changes_are_said_in_words() -> None:
    item = {"statistic": "mean", "state": "alarm", "effect": 0.5, "unit": "deviation", "reference": 1.0}
    assert report.change(item) == "+0.50 standard deviations"
    assert report.change({**item, "unit": "rate", "effect": -0.031}) == "-3.1 points"
    assert report.change({**item, "unit": "structure", "effect": 1.2}) == "+120 %"
    assert report.change({**item, "effect": None}) == "nothing to compare with"
    assert report.number(None) == "–" and report.number(123456.7) == "123,457" and report.number(0.012345) == "0.01235"


def test_a_step_clock_has_periods_in_steps() -> None:
    assert periods.ENOUGH == Params().enough
    reference = {"timed": True, "period": 5}
    assert periods.newest_period(100, reference) == Period(95, 100)
