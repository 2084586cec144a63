"""Batch scoring: every node once, equal to what evaluation computes; events in parts of bounded size."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from graphmill import artifact, predict, score
from graphmill.errors import UserError
from graphmill.features.store import Features
from graphmill.graph.store import Graph
from graphmill.model import Model
from tests import tiny


def test_every_event_is_scored_as_the_evaluation_does(tiny_run):
    root = tiny_run / "artifacts"
    rows = pq.read_table(artifact.read(root / "predictions", "predictions").path / "predictions.parquet").to_pandas()
    graph, features, model = Graph.open(root / "graph"), Features.open(root / "features"), Model.open(root / "model")
    assert rows["key"].tolist() == graph.key("payment").tolist()
    examples = features.examples.set_index("key").loc[rows["key"]].reset_index()
    expected = predict.score(model, model.winner, 0, graph, features, examples)
    np.testing.assert_allclose(rows["score"], expected, atol=1e-5)
    assert (rows["decision"] == (rows["score"] >= model.threshold(model.winner, 0))).all()


def test_parts_embeddings_and_newest(tiny_run, tmp_path):
    root = tiny_run / "artifacts"
    paths = (root / "model", root / "graph", root / "features")
    score.run(*paths, tmp_path / "small", score.Params(batch_size=50, newest="30d"))
    score.run(*paths, tmp_path / "large", score.Params(newest="30d", embeddings=False))
    small, large = (pq.read_table(tmp_path / name / "predictions.parquet") for name in ("small", "large"))
    assert small["key"].equals(large["key"]) and 0 < len(small) < 900
    np.testing.assert_allclose(small["score"].to_numpy(), large["score"].to_numpy(), atol=1e-6)
    embeddings = pq.read_table(tmp_path / "small" / "embeddings.parquet")
    assert len(embeddings) == len(small) and embeddings["embedding"].type.list_size == 16
    assert not (tmp_path / "large" / "embeddings.parquet").exists()


def test_the_profile_of_the_scores_is_that_of_the_newest_period_however_they_are_parted(tiny_run, tmp_path, capsys):
    root = tiny_run / "artifacts"
    paths = (root / "model", root / "graph", root / "features")
    score.run(*paths, tmp_path / "small", score.Params(batch_size=7, embeddings=False))
    score.run(*paths, tmp_path / "large", score.Params(embeddings=False))
    small, large = (json.loads((tmp_path / name / "profile.json").read_bytes()) for name in ("small", "large"))
    rows = pq.read_table(tmp_path / "large" / "predictions.parquet").to_pandas()
    rows = rows[(rows["time"] >= large["start"]) & (rows["time"] < large["end"])]
    one, two = (found["predictions"]["scores"] for found in (small, large))
    assert one["rows"] == two["rows"] == len(rows) and large["end"] == Graph.open(root / "graph").as_of
    assert one["histogram"] == two["histogram"] and sum(two["histogram"]) == len(rows)
    assert one["mean"] == pytest.approx(rows["score"].mean(), rel=1e-4)
    assert one["deviation"] == pytest.approx(rows["score"].std(ddof=0), rel=1e-4)
    assert one["above"] == pytest.approx(rows["decision"].mean(), rel=1e-4)
    assert f"{rows['decision'].mean():.2%} of the newest period's are positive" in capsys.readouterr().out


def test_of_a_period_that_is_scored_in_part_the_profile_says_which_part(tiny_run, tmp_path):
    root = tiny_run / "artifacts"
    given = score.Params(newest="3d", embeddings=False)
    score.run(root / "model", root / "graph", root / "features", tmp_path / "found", given)
    found = json.loads((tmp_path / "found" / "profile.json").read_bytes())
    rows = pq.read_table(tmp_path / "found" / "predictions.parquet").num_rows
    assert found["end"] - found["start"] == 3 * 86_400_000_000 and found["predictions"]["examples"] == rows > 0


def without_predictions(folder):
    file = folder / "history.json"
    document = json.loads(file.read_bytes())
    for period in document["periods"]:
        del period["predictions"]
    file.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "told", "written"),
    [
        (lambda folder: (folder / "reference.json").write_text('{"version": 1}'), "no profile of the scores", False),
        (lambda folder: (folder / "reference.json").write_text("[]"), "no profile of the scores", False),
        (without_predictions, "positive, as of", True),
    ],
)
def test_a_model_whose_profile_cannot_be_used_scores_all_the_same(tiny_run, tmp_path, capsys, change, told, written):
    root = tiny_run / "artifacts"
    with tiny.altered(root / "model", "model", tmp_path / "model") as folder:
        change(folder / "profile")
    score.run(tmp_path / "model", root / "graph", root / "features", tmp_path / "found", score.Params(embeddings=False))
    assert (tmp_path / "found" / "predictions.parquet").exists()
    assert (tmp_path / "found" / "profile.json").exists() == written
    assert told in capsys.readouterr().out


def test_nothing_to_score_and_an_altered_model_are_told(tiny_run, tmp_path):
    root = tiny_run / "artifacts"
    with pytest.raises(UserError, match="score.newest"):
        score.run(root / "model", root / "graph", root / "features", tmp_path / "none", score.Params(newest="0d"))
    assert not list(tmp_path.iterdir())
    altered = tmp_path / "model"
    altered.mkdir()
    for file in (root / "model").rglob("*"):
        if file.is_file():
            target = altered / file.relative_to(root / "model")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    weights = altered / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    with pytest.raises(UserError, match="weights.safetensors: altered"):
        score.run(altered, root / "graph", root / "features", tmp_path / "none", score.Params())
