"""What a cluster needs beside the stages: a released model and its snapshot where the predictor looks, the champion
brought into a pipeline, large artifacts on a shared volume, and what a page about a run shows."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from kfp import dsl
from sklearn.metrics import confusion_matrix, roc_auc_score

from components import STAGES, champion, publish
from components.__main__ import run
from graphmill import artifact, registry, shared
from graphmill.deploy.publish import MODELS, SNAPSHOT
from graphmill.errors import UserError
from graphmill.evaluate import curves
from graphmill.graph.store import Graph
from graphmill.model import Model
from graphmill.serving.live import snapshot
from tests import tiny


def at(folder):
    return dsl.Artifact(uri=str(folder))


@pytest.fixture
def claims(tmp_path, monkeypatch):
    """Both claims, empty."""
    found = []
    for variable, name in ((MODELS, "models"), (SNAPSHOT, "graph")):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / name))
        found.append(tmp_path / name)
    return found


def carry(root, graph=None, features=None):
    folder = root / "artifacts"
    given = folder / "release", graph or folder / "graph", features or folder / "features"
    params = tiny.params()["deploy"] | {"home": str(root / "registry")}
    publish.python_func(*map(at, given), params)


def files(folder):
    return {file: file.stat().st_ino for file in folder.rglob("*") if file.is_file()}


def test_a_release_finds_its_model_and_its_snapshot_on_the_claims(tiny_run, claims):
    models, served = claims
    carry(tiny_run)
    patches = (tiny_run / "artifacts" / "release" / "service.yaml").read_text()
    assert "pvc://tiny-models/registry/versions/v0/model" in patches
    model = Model.open(models / "registry" / "versions" / "v0" / "model")
    assert model.artifact.digest == registry.open(tiny_run / "registry").versions()[0].digest
    assert snapshot.version(served) == snapshot.version(tiny_run / "artifacts")
    assert Graph.open(served / "graph").nodes["payment"] == 900
    before = files(models) | files(served)
    carry(tiny_run)
    assert files(models) | files(served) == before, "what is there is not carried again"
    assert {item.name for item in served.iterdir()} == {"graph", "features"}
    next(file for file in (served / "graph").rglob("indices.npy")).write_bytes(b"half")
    carry(tiny_run)
    artifact.read(served / "graph", "graph")


def test_a_registry_on_the_claim_has_the_model_already(tiny_run, claims):
    models, _ = claims
    shutil.copytree(tiny_run / "registry", models / "registry")
    before = files(models)
    folder = tiny_run / "artifacts"
    params = tiny.params()["deploy"] | {"home": str(models / "registry")}
    publish.python_func(at(folder / "release"), at(folder / "graph"), at(folder / "features"), params)
    assert files(models) == before


def test_what_does_not_fit_changes_nothing(tiny_run, claims, tmp_path):
    _, served = claims
    carry(tiny_run)
    before = snapshot.version(served)
    other = tmp_path / "other"
    shutil.copytree(tiny_run / "artifacts" / "graph", other)
    (other / "graph.json").write_text((other / "graph.json").read_text() + "\n")
    (other / artifact.LINEAGE).unlink()
    with pytest.raises(UserError, match="of another graph"):
        carry(tiny_run, graph=other)
    assert snapshot.version(served) == before


def test_a_claim_that_is_not_mounted_is_told(tiny_run, tmp_path, monkeypatch, capsys):
    carry(tiny_run)
    assert "no claim is mounted" in capsys.readouterr().out
    monkeypatch.setenv(SNAPSHOT, str(tmp_path / "gone"))
    with pytest.raises(UserError, match="GRAPHMILL_SNAPSHOT: no folder"):
        carry(tiny_run)


@pytest.mark.parametrize("version", ["champion", "v0", "a folder"])
def test_a_model_is_brought_by_any_name(tiny_run, tmp_path, version):
    name = str(tiny_run / "artifacts" / "model") if version == "a folder" else version
    params = {"home": str(tiny_run / "registry")}
    champion.python_func(name, params, at(tmp_path / "made" / "model"))
    brought, made = (artifact.read(root / "model", "model") for root in (tmp_path / "made", tiny_run / "artifacts"))
    assert (brought.digest, brought.lineage) == (made.digest, made.lineage)
    with pytest.raises(UserError, match="no version or alias 'v9'"):
        champion.python_func("v9", params, at(tmp_path / "made" / "model"))


def test_large_artifacts_go_to_the_volume_and_a_file_says_where(
    tiny_run, tiny_params, tiny_data, tmp_path, monkeypatch
):
    (tmp_path / "volume").mkdir()
    root = tmp_path / "pod"
    monkeypatch.setenv(shared.VARIABLE, str(tmp_path / "volume"))
    for stage in ("ingest", "graph"):
        run(stage, tiny_params, tiny_data, root)
    for name in ("tables", "graph"):
        left = root / "artifacts" / name
        assert left.is_file() and left.stat().st_size < 1_000
        found = artifact.read(left, name)
        assert found.path.is_relative_to(tmp_path / "volume")
        assert found.digest == artifact.read(tiny_run / "artifacts" / name, name).digest
    monkeypatch.delenv(shared.VARIABLE)
    assert Graph.open(root / "artifacts" / "graph").nodes["payment"] == 900, "whoever mounts it finds it"
    shutil.rmtree(tmp_path / "volume")
    with pytest.raises(UserError, match="no graph here"):
        artifact.read(root / "artifacts" / "graph", "graph")


def test_small_artifacts_stay_and_other_files_are_no_pointers(tmp_path, monkeypatch):
    monkeypatch.setenv(shared.VARIABLE, str(tmp_path / "volume"))
    with artifact.write(tmp_path / "model", "model"):
        pass
    assert (tmp_path / "model" / "model.json").is_file()
    for content in ("", "[]", '"text"', "{}", "\\xff"):
        (tmp_path / "graph").write_text(content)
        with pytest.raises(UserError, match="no graph here"):
            artifact.read(tmp_path / "graph", "graph")


@pytest.fixture(scope="module")
def pages(tiny_run, tiny_params, tmp_path_factory):
    """What `evaluate` gives the pages, as Kubeflow's own classes hold it."""
    root = tmp_path_factory.mktemp("pages")
    folder = tiny_run / "artifacts"
    kinds = {
        "metrics": dsl.Metrics, "curves": dsl.ClassificationMetrics, "report": dsl.HTML, "card": dsl.Markdown,
    }  # fmt: skip
    shown = {name: kind(uri=str(root / name)) for name, kind in kinds.items()}
    inputs = {name: at(folder / name) for name in ("model", "graph", "features")}
    given = {"params": tiny.params()["evaluate"] | {"gates": ["calibrated"]}, "tracking": {"mode": "off"}}
    STAGES["evaluate"].python_func(**inputs, **given, evaluation=at(root / "evaluation"), **shown)
    return root, shown


def test_figures_are_those_of_the_evaluation(pages):
    root, shown = pages
    manifest = artifact.read(root / "evaluation", "evaluation").manifest
    winner, metric = manifest["winner"], manifest["metric"]
    figures = shown["metrics"].metadata
    assert {name: figures[name] for name in manifest["metrics"][winner]} == manifest["metrics"][winner]
    for name in set(manifest["metrics"]) - {winner}:
        assert figures[f"{name} {metric}"] == manifest["metrics"][name][metric]
    assert figures["gates shut"] == sum(not gate["passed"] for gate in manifest["gates"])
    assert json.loads((root / "metrics").read_text()) == figures


def test_the_curve_and_the_matrix_are_scikit_learns(pages, tiny_run):
    root, shown = pages
    model = Model.open(tiny_run / "artifacts" / "model")
    rows = pd.read_parquet(root / "evaluation" / "predictions.parquet")
    rows = rows[rows["model"] == model.winner]
    matrix = shown["curves"].metadata["confusionMatrix"]
    expected = confusion_matrix(rows["label"].astype(bool), rows["score"] >= model.threshold(model.winner, 0))
    assert [row["row"] for row in matrix["rows"]] == expected.tolist()
    assert [item["displayName"] for item in matrix["annotationSpecs"]] == ["negative", "positive"]
    points = shown["curves"].metadata["confidenceMetrics"]
    x, y = ([point[name] for point in points] for name in ("falsePositiveRate", "recall"))
    assert np.trapezoid(y, x) == pytest.approx(roc_auc_score(rows["label"].astype(bool), rows["score"]), abs=0.005)
    assert all(0 <= point["confidenceThreshold"] <= 1 for point in points), "JSON has no infinity"
    json.dumps(shown["curves"].metadata, allow_nan=False)


def test_every_page_has_a_file(pages):
    root, _ = pages
    assert (root / "report").read_text() == (root / "evaluation" / "report.html").read_text()
    assert (root / "card").read_text().startswith("#") and (root / "curves").stat().st_size


def test_a_perfect_model_has_a_finite_curve():
    label = np.array([False, False, True, True])
    frame = curves.roc(label, np.array([0.1, 0.2, 0.8, 1.0]))
    assert frame["threshold"].between(0, 1).all() and frame["true_positive_rate"].iloc[-1] == 1


def test_stages_here_leave_no_pages(tiny_run):
    assert {item.name for item in (tiny_run / "artifacts").iterdir()} == {
        "tables", "graph", "features", "model", "evaluation", "drift_report", "predictions", "release",
    }  # fmt: skip
