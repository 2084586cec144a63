"""Stage drift reads the predictor's log: what was served is not scored again."""

import json

import numpy as np
import pandas as pd
import pytest

from graphmill import drift, predict
from graphmill.drift import served
from graphmill.errors import UserError
from graphmill.graph.store import Graph
from graphmill.model import Model


def log(folder, **columns):
    count = len(columns["key"])
    frame = pd.DataFrame({"node": "payment", "answered_at": np.arange(count, dtype=float), "model": "m", **columns})
    folder.mkdir(exist_ok=True)
    frame.to_parquet(folder / f"predictions-{len(list(folder.iterdir()))}.parquet")


def test_the_newest_answer_of_this_model_at_that_time_counts(tmp_path):
    log(tmp_path / "log", key=["a", "a", "b", "c"], time=[5, 5, 5, 6], score=[0.1, 0.2, 0.3, 0.4])
    log(tmp_path / "log", key=["b"], time=[5], score=[0.9], model="other")
    (tmp_path / "log" / "predictions-broken.parquet").write_bytes(b"PAR1 not really")
    read = served.read(tmp_path / "log", "payment", "m", 5, 5)
    found, unreadable = read.scores(["a", "b", "c", "d"], np.array([5, 5, 5, 5], np.int64)), read.unreadable
    np.testing.assert_array_equal(found, [0.2, 0.3, np.nan, np.nan])
    assert len(unreadable) == 1 and unreadable[0].startswith("predictions-broken.parquet: ")


def test_a_file_of_another_make_is_told_and_the_others_are_read(tmp_path):
    log(tmp_path / "log", key=["a"], time=[5], score=[0.1])
    pd.DataFrame({"key": ["a"], "time": [5]}).to_parquet(tmp_path / "log" / "predictions-other.parquet")
    read = served.read(tmp_path / "log", "payment", "m", 5, 5)
    found, unreadable = read.scores(["a"], np.array([5], np.int64)), read.unreadable
    np.testing.assert_array_equal(found, [0.1])
    assert len(unreadable) == 1 and unreadable[0].startswith("predictions-other.parquet: ")


def test_an_empty_log_serves_nothing_and_a_missing_one_is_told(tmp_path):
    assert np.isnan(served.read(tmp_path, "payment", "m", 1, 1).scores(["a"], np.array([1]))).all()
    with pytest.raises(UserError, match="no folder of a prediction log"):
        served.read(tmp_path / "none", "payment", "m", 1, 1)


def test_served_scores_stand_in_for_scoring(tmp_path, tiny_run, monkeypatch):
    root = tiny_run / "artifacts"
    model, graph = Model.open(root / "model"), Graph.open(root / "graph")
    frame = pd.DataFrame({"key": graph.key("payment"), "time": graph.node_time("payment")})
    digest = model.artifact.digest[:16]
    log(tmp_path / "log", key=frame["key"], time=frame["time"], score=np.full(len(frame), 0.999), model=digest)

    def never(*arguments):
        raise AssertionError("scored again")

    monkeypatch.setattr(predict, "score", never)
    params = drift.Params(predictions=str(tmp_path / "log"), home=str(tmp_path / "history"))
    drift.run(root / "model", root / "graph", root / "features", tmp_path / "report", params)
    profile = (tmp_path / "report" / "profile.json").read_text()
    assert '"above":1.0' in profile.replace(" ", "")


def test_tables_of_labels_and_broken_files_are_told_in_the_report(tmp_path, tiny_run):
    root = tiny_run / "artifacts"
    graph = Graph.open(root / "graph")
    keys = graph.key("payment")[-40:]
    audit = pd.DataFrame({"key": keys[:20], "label": "", "label_source": "audit", "weight": 2.0, "stratum": "all"})
    audit.to_csv(tmp_path / "audit.csv", index=False)
    pd.DataFrame({"key": keys[20:], "label": True, "label_source": "review"}).to_parquet(tmp_path / "reviewed.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    params = drift.Params(labels=str(tmp_path), home=str(tmp_path / "home"))
    drift.run(root / "model", root / "graph", root / "features", tmp_path / "report", params)
    found = json.loads((tmp_path / "report" / "drift_report.json").read_text())
    block = json.loads((tmp_path / "report" / "profile.json").read_text())["performance"]
    assert block["left_out"] == {"review": 20}
    assert (block["audit"]["state"], block["audit"]["labels"]) == ("insufficient_labels", 0)
    assert len(found["notes"]) == 1 and "broken.parquet" in found["notes"][0]
    told = [(item["name"], item["state"]) for item in found["items"] if item["statistic"] == "unreadable file"]
    assert told == [("broken.parquet", "warn")] and found["families"]["performance"]["state"] == "warn"
    params = drift.Params(labels=str(tmp_path / "none.csv"), home=str(tmp_path / "home"))
    drift.run(root / "model", root / "graph", root / "features", tmp_path / "other", params)
    found = json.loads((tmp_path / "other" / "drift_report.json").read_text())
    assert found["families"]["performance"]["state"] == found["state"] == "error"
    assert "none.csv" in found["families"]["performance"]["error"]
