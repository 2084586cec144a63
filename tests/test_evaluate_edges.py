"""Stage `evaluate` at its edges: inputs that do not belong together, names that clash, what lineage must hold."""

import shutil

import numpy as np
import pandas as pd
import pytest

from graphmill import artifact, evaluate, registry
from graphmill.errors import UserError
from graphmill.evaluate.metrics import deviation_of, figures
from graphmill.evaluate.params import Params
from graphmill.evaluate.slices import slices


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"top": [1.5]}])
def test_parameters_that_would_fail_late_are_refused_at_once(wrong):
    with pytest.raises(UserError, match=f"evaluate.{next(iter(wrong))}"):
        Params.parse(wrong, "evaluate")
    assert Params.parse({"top": [100.0, 0.5], "seed": 3.0}, "evaluate").top == [100, 0.5]


def test_columns_may_have_the_names_of_slices():
    examples = pd.DataFrame({"degree": [0, 5], "time": [1, 1], "slice.type": ["a", "b"]})
    found = slices(examples, "payment", "step")
    assert list(found["type"]) == ["payment", "payment"] and list(found["type (column)"]) == ["a", "b"]


def test_a_value_called_other_is_not_mixed_with_the_rest():
    values = ["other"] * 5 + [f"v{number:02d}" for number in range(30)]
    examples = pd.DataFrame({"degree": 0, "time": 1, "slice.shop": values})
    counts = slices(examples, "payment", "step")["shop"].value_counts()
    assert (counts["other"], counts["(other)"], len(counts)) == (5, 11, 21)


def test_positives_and_deviations():
    label = np.array([True, False, False, True])
    found = [figures(label, np.array(score), 0.5, [1], 2) for score in ([0.9, 0.1, 0.2, 0.8], [0.9, 0.1, 0.8, 0.2])]
    assert found[0]["positives"] == 2
    assert deviation_of(found)["roc_auc"] == pytest.approx(np.std([1.0, 0.75], ddof=1))
    assert deviation_of(found[:1])["roc_auc"] is None


def test_features_of_another_graph_are_refused(tiny_run, tmp_path):
    home = tiny_run / "artifacts"
    shutil.copytree(home / "graph", tmp_path / "graph")
    manifest = artifact.read(tmp_path / "graph", "graph").manifest
    text = artifact.to_json({**manifest, "as_of": manifest["as_of"] + 1})
    (tmp_path / "graph" / "graph.json").write_text(text)
    (tmp_path / "graph" / "lineage.json").unlink()
    params = Params(bootstrap=20, registry=str(tmp_path / "registry"))
    with pytest.raises(UserError, match="made from another graph"):
        evaluate.run(home / "model", tmp_path / "graph", home / "features", tmp_path / "evaluation", params)
    assert not (tmp_path / "evaluation").exists()


def test_the_lineage_names_the_champion(tiny_run, tmp_path):
    """Same lineage, same bytes: a champion changes the bytes, so it must change the lineage."""
    home, folder = tiny_run / "artifacts", tmp_path / "evaluation"
    params = Params(bootstrap=20, registry=str(tmp_path / "registry"))

    def judged():
        evaluate.run(home / "model", home / "graph", home / "features", folder, params)
        return artifact.read(folder, "evaluation")

    alone = judged()
    kept = registry.open(params.registry)
    kept.move("champion", kept.register(home / "model", {}), "test")
    compared = judged()
    assert alone.digest != compared.digest and "champion" not in alone.lineage["inputs"]
    assert compared.lineage["inputs"]["champion"] == artifact.read(home / "model", "model").digest
