"""Stage `evaluate` at its edges: inputs that do not belong together, names that clash, what lineage must hold."""

import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from graphmill import artifact, evaluate, registry
from graphmill.errors import UserError
from graphmill.evaluate.bootstrap import Bootstrap, Part, _weights
from graphmill.evaluate.groups import groups
from graphmill.evaluate.metrics import deviation_of, figures
from graphmill.evaluate.params import Params
from graphmill.evaluate.slices import slices
from graphmill.graph.store import Graph
from graphmill.train.examples import learned


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


# ----- the champion and what it knows


def renamed(source, target, **changes):
    """A copy of a model artifact whose manifest says something else."""
    old = artifact.read(source, "model")
    manifest = {name: value for name, value in {**old.manifest, **changes}.items() if value is not None}
    with artifact.write(target, "model") as draft:
        for name in manifest.pop("files"):
            (draft.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(old.path / name, draft.folder / name)
        draft.manifest = manifest
        draft.lineage = {key: value for key, value in old.lineage.items() if key not in ("seal", "digest", "kind")}
    return target


def against(tiny_run, tmp_path, capsys, champion):
    """The tiny model judged against a champion: what the manifest says of it, its gate, the warning and the page."""
    home, folder = tiny_run / "artifacts", tmp_path / "evaluation"
    params = Params(bootstrap=20, registry=str(tmp_path / "registry"))
    kept = registry.open(params.registry)
    kept.move("champion", kept.register(champion, {}), "test")
    evaluate.run(home / "model", home / "graph", home / "features", folder, params)
    manifest = artifact.read(folder, "evaluation").manifest
    gate = next(gate for gate in manifest["gates"] if gate["name"] == "not_worse_than_champion")
    return manifest["champion"], gate, capsys.readouterr().err, (folder / "report.html").read_text()


def test_a_model_says_what_it_learned_from(tiny_run):
    (found,) = artifact.read(tiny_run / "artifacts" / "model", "model").manifest["learned"]
    examples = pd.read_parquet(tiny_run / "artifacts" / "features" / "examples.parquet")
    known = examples[examples["split_0"].isin(["train", "validation"])]
    assert (
        found["until"] == known["time"].max() and examples[examples["split_0"] == "test"]["time"].min() > found["until"]
    )
    less = examples.assign(split_0=examples["split_0"].where(examples["node"] != known["node"].iloc[0], "none"))
    assert learned(less, 0)["examples"] != learned(examples, 0)["examples"] == found["examples"]


def test_the_candidate_may_be_the_champion(tiny_run, tmp_path, capsys):
    champion, gate, told, page = against(tiny_run, tmp_path, capsys, tiny_run / "artifacts" / "model")
    assert champion["same"] and champion["seen"] is None and told == ""
    assert gate["passed"] and gate["low"] == gate["high"] == 0 and gate["meaning"].endswith("it is the same model")
    assert "v0, the candidate itself" in page


def test_a_champion_that_has_seen_the_test_part_is_told(tiny_run, tmp_path, capsys):
    examples = pd.read_parquet(tiny_run / "artifacts" / "features" / "examples.parquet")
    times = np.sort(examples[(examples["split_0"] == "test") & examples["label"].notna()]["time"])
    later = [{"until": int(times[40]), "examples": "others"}]
    model = renamed(tiny_run / "artifacts" / "model", tmp_path / "later" / "model", learned=later)
    champion, gate, told, page = against(tiny_run, tmp_path, capsys, model)
    expected = f"41 of the {len(times)} test examples are no later"
    assert expected in champion["seen"] and expected in gate["meaning"] and expected in page
    assert told.startswith("evaluate: WARNING: champion v0: it learned from examples up to 2025-04-")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"learned": [{"until": 0, "examples": "others"}]}, None),
        ({"learned": None}, "does not say which examples it learned from"),
        ({"learned": [{"until": 0, "examples": "others"}], "task": "random"}, "split otherwise than by time"),
    ],
)
def test_what_a_champion_has_seen(tiny_run, tmp_path, capsys, changes, expected):
    """All before the test part; not known; another random split of whatever times."""
    source = tiny_run / "artifacts" / "model"
    if "task" in changes:
        task = artifact.read(source, "model").manifest["task"]
        changes = changes | {"task": {**task, "split": {"kind": changes["task"]}}}
    champion, gate, told, _ = against(
        tiny_run, tmp_path, capsys, renamed(source, tmp_path / "other" / "model", **changes)
    )
    assert champion["problem"] is None and gate["value"] == 0
    assert (champion["seen"] is None and told == "") if expected is None else expected in champion["seen"]


# ----- intervals


def covered(clustered, group, seeds=60):
    """How often a 95 % interval of a paired difference holds the truth, which is 0: two models of equal noise."""
    count = 0
    for seed in range(seeds):
        state = np.random.default_rng(seed)
        owner = np.repeat(np.arange(60), 10) if clustered else np.arange(600)
        size = int(owner.max()) + 1
        label = (state.random(size) < 0.3)[owner]
        noise = [state.normal(0, 1, size)[owner] + state.normal(0, 0.3, 600) for _ in range(2)]
        part = Part(label, {"a": label + noise[0], "b": label + noise[1]}, owner if group else None)
        params = Params(bootstrap=100, seed=seed)
        _, low, high = Bootstrap([part], "average_precision", params).difference("a", "b")
        count += low <= 0 <= high
    return count / seeds


def test_paired_intervals_cover_the_truth():
    """Of 60 intervals of 95 %, within three standard deviations (2.8 % each)."""
    assert 0.86 <= covered(clustered=False, group=False) <= 1.0


def test_examples_of_one_owner_need_groups():
    assert covered(clustered=True, group=False) < 0.65
    assert covered(clustered=True, group=True) >= 0.84


def test_groups_come_whole_and_both_classes_stay():
    label = np.array([True, False, False, False, False, False])
    group = np.array([7, 7, 3, 3, 3, 9])
    drawn = list(_weights(Part(label, {}, group), 200, np.random.default_rng(0)))
    for weight in drawn:
        assert weight[0] == weight[1] > 0 and weight[2] == weight[3] == weight[4]
    assert {int(weight[5]) for weight in drawn} >= {0, 1, 2}
    assert np.mean([weight[[0, 2, 5]].sum() for weight in drawn]) == pytest.approx(3)  # as many groups as there are


def test_groups_by_link_and_by_node(tiny_run, tmp_path):
    home = tiny_run / "artifacts"
    graph = Graph.open(home / "graph")
    examples = pd.read_parquet(home / "features" / "examples.parquet")
    payments = pd.read_parquet(home / "tables" / "payments.parquet").set_index("payment_id")
    owner = payments.loc[examples["key"], "customer_id"].to_numpy()
    found = groups(graph, examples, "customer_id")
    assert len(set(zip(owner, found, strict=True))) == len(set(owner)) == len(set(found))
    assert list(groups(graph, examples, "node")) == list(examples["node"])
    params = {"bootstrap": 40, "registry": str(tmp_path / "registry")}
    with pytest.raises(UserError, match="evaluate.group: 'payment' has no link 'customer'.*customer_id"):
        evaluate.run(
            home / "model", home / "graph", home / "features", tmp_path / "e", Params(group="customer", **params)
        )
    evaluate.run(
        home / "model", home / "graph", home / "features", tmp_path / "e", Params(group="terminal_id", **params)
    )
    alone = tmp_path / "alone"
    evaluate.run(home / "model", home / "graph", home / "features", alone, Params(**params))
    wide, narrow = (artifact.read(one, "evaluation").manifest for one in (tmp_path / "e", alone))
    name = wide["winner"]
    assert np.ptp(wide["intervals"][name]) > np.ptp(narrow["intervals"][name])  # fraud sits at a few terminals


def test_what_links_to_nothing_is_alone():
    adjacency = SimpleNamespace(indptr=np.array([0, 2, 2]), indices=np.array([0, 3]), source="payment")
    relation = SimpleNamespace(node="payment", column="account", name="r", reversed=False)
    graph = SimpleNamespace(
        schema=SimpleNamespace(relations=lambda: [relation]), task=SimpleNamespace(node="payment"),
        relations={"r": adjacency}, nodes={"payment": 4},
    )  # fmt: skip
    assert list(groups(graph, pd.DataFrame({"node": [0, 1, 2, 3, 1]}), "account")) == [0, 2, 3, 0, 4]
