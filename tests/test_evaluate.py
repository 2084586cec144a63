"""Stage `evaluate`: figures, intervals, slices, gates, champion, leakage, the report."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import norm
from sklearn import metrics as peer

from components.__main__ import run
from graphmill import artifact, evaluate, predict, registry
from graphmill.errors import UserError
from graphmill.evaluate import gates, plots, report, slices
from graphmill.evaluate.__main__ import main
from graphmill.evaluate.bootstrap import Bootstrap, Part
from graphmill.evaluate.champion import Champion, guarded
from graphmill.evaluate.curves import curves
from graphmill.evaluate.judgement import Judgement
from graphmill.evaluate.metrics import bin_places, calibration_error, chance_errors, figures, mean_of, metric
from graphmill.evaluate.params import GATES, Params
from graphmill.evaluate.ranking import Ranking
from graphmill.features.store import Features
from tests import tiny

LABEL = np.array([True, False, True, False, False, True, False, False])
SCORE = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])


def separated(state, positives, negatives, shift):
    """Labels, and scores of two normal distributions so far apart: ROC-AUC is Phi(shift / sqrt 2)."""
    label = np.arange(positives + negatives) < positives
    return label, state.normal(0, 1, len(label)) + shift * label


# ----- figures


def test_figures_by_hand():
    found = figures(LABEL, SCORE, 0.65, [2, 0.5], 2)
    assert found["roc_auc"] == pytest.approx(11 / 15)  # of 3 * 5 pairs, the positives win 5 + 4 + 2
    assert found["average_precision"] == pytest.approx((1 + 2 / 3 + 3 / 6) / 3)
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert (found["precision_at_2"], found["recall_at_2"]) == pytest.approx((1 / 2, 1 / 3))
    assert (found["precision_at_0.5"], found["recall_at_0.5"]) == pytest.approx((2 / 4, 2 / 3))
    assert found["brier"] == pytest.approx(float(np.mean((SCORE - LABEL) ** 2)))
    # two bins of four: predicted 0.75 and 0.35, observed 0.5 and 0.25
    assert found["calibration_error"] == pytest.approx(0.5 * 0.25 + 0.5 * 0.1)
    assert (found["base_rate"], found["examples"]) == (3 / 8, 8)


def test_figures_equal_scikit_learn():
    state = np.random.default_rng(0)
    score = np.round(state.random(500), 2)
    label = state.random(500) < score
    found = figures(label, score, 0.4, [], 10)
    assert found["roc_auc"] == pytest.approx(peer.roc_auc_score(label, score))
    assert found["average_precision"] == pytest.approx(peer.average_precision_score(label, score))
    assert found["f1"] == pytest.approx(peer.f1_score(label, score >= 0.4))
    assert found["brier"] == pytest.approx(peer.brier_score_loss(label, score))


@pytest.mark.parametrize("label", [np.zeros(8, bool), np.ones(8, bool)])
def test_one_class_gives_no_ranking_and_no_nan(label):
    found = figures(label, SCORE, 0.5, [0.01], 10)
    assert all(found[name] is None for name in ("roc_auc", "average_precision", "f1", "precision", "recall_at_0.01"))
    assert found["brier"] is not None and found["calibration_error"] is not None
    artifact.to_json(found)  # refuses NaN


def test_the_order_of_rows_decides_nothing():
    """Equal scores at the border of the highest, and between bins, share it."""
    label = np.array([True, True, False, False, False, False])
    flat = np.full(6, 0.3)
    for order in (np.arange(6), np.arange(6)[::-1]):
        found = figures(label[order], flat, 0.5, [3], 3)
        assert found["precision_at_3"] == pytest.approx(1 / 3) and found["recall_at_3"] == pytest.approx(1 / 2)
        assert found["calibration_error"] == pytest.approx(1 / 3 - 0.3)
    assert np.bincount(bin_places(np.arange(100) / 100, 10)).tolist() == [10] * 10
    assert len(np.unique(bin_places(np.array([0.1] * 5 + [0.2] * 5), 10))) == 2


def test_more_asked_for_than_there_are():
    found = figures(LABEL, SCORE, 0.5, [100], 50)
    assert (found["precision_at_100"], found["recall_at_100"]) == pytest.approx((3 / 8, 1.0))


def test_calibration_error_of_true_and_of_distorted_scores():
    state = np.random.default_rng(1)
    score = state.random(200_000)
    label = state.random(len(score)) < score
    assert calibration_error(label, score, 10) < 0.005
    assert calibration_error(label, score * 0.8, 10) == pytest.approx(0.1, abs=0.005)  # mean of 0.2 score
    assert calibration_error(label, np.full(len(score), 0.7), 10) == pytest.approx(0.2, abs=0.005)


def test_few_examples_show_an_error_by_chance():
    state = np.random.default_rng(2)
    score = state.random(100)
    errors = [calibration_error(state.random(100) < score, score, 10) for _ in range(300)]
    chance = chance_errors(score, 10, 300, seed=0)
    assert np.mean(chance) == pytest.approx(np.mean(errors), rel=0.1) and np.mean(chance) > 0.05
    assert np.quantile(chance, 0.95) == pytest.approx(np.quantile(errors, 0.95), rel=0.15)


def test_mean_over_splits_leaves_out_what_has_no_figure():
    assert mean_of([{"a": 1.0, "b": None}, {"a": 2.0, "b": None}, {"a": None, "b": None}]) == {"a": 1.5, "b": None}


# ----- intervals


@pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
@pytest.mark.parametrize("digits", [1, 2, 12])
def test_ranking_equals_scikit_learn_with_weights_and_ties(name, digits):
    state = np.random.default_rng(digits)
    for _ in range(20):
        label, score = separated(state, 15, 60, 0.7)
        score, weight = np.round(score, digits), state.poisson(1, 75)
        weight[[0, -1]] = 1
        chosen = {"roc_auc": peer.roc_auc_score, "average_precision": peer.average_precision_score}[name]
        assert Ranking(label, score).metric(name, weight) == pytest.approx(chosen(label, score, sample_weight=weight))


def test_intervals_cover_the_truth():
    state, params, truth = np.random.default_rng(3), Params(bootstrap=100, confidence=0.9), norm.cdf(1 / np.sqrt(2))
    covered = 0
    for seed in range(150):
        part = Part(*(lambda pair: (pair[0], {"one": pair[1]}))(separated(state, 60, 200, 1.0)))
        low, high = Bootstrap([part], "roc_auc", params.model_copy(update={"seed": seed})).interval("one")
        covered += low <= truth <= high
    assert 0.82 <= covered / 150 <= 0.97


def pair_of_models(seed=4, shift=1.0, better=0.0):
    """Two models that share most of their noise."""
    state = np.random.default_rng(seed)
    label, shared = separated(state, 80, 400, shift)
    noisy = shared + state.normal(0, 0.2, len(label))
    return Part(label, {"a": shared + better * label, "b": noisy})


def test_a_paired_difference_is_narrower():
    part = pair_of_models()
    same = Bootstrap([part], "roc_auc", Params(seed=0))
    value, low, high = same.difference("a", "b")
    (first_low, first_high), (second_low, second_high) = same.interval("a"), same.interval("b")
    unpaired = np.hypot(first_high - first_low, second_high - second_low)
    assert high - low < unpaired / 2 and low < value < high
    assert value == pytest.approx(
        metric("roc_auc", part.label, part.scores["a"]) - metric("roc_auc", part.label, part.scores["b"])
    )
    assert same.difference("a", "a") == (0.0, 0.0, 0.0)


def test_resamples_follow_the_seed_and_the_splits():
    parts = [pair_of_models(seed) for seed in range(5)]
    draws = [Bootstrap(parts, "average_precision", Params(seed=seed)).interval("a") for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    value, low, high = Bootstrap(parts, "average_precision", Params()).difference("a", "b")
    values = [metric("average_precision", p.label, p.scores["a"]) for p in parts]
    others = [metric("average_precision", p.label, p.scores["b"]) for p in parts]
    assert value == pytest.approx(np.mean(values) - np.mean(others)) and low <= value <= high
    wide = Bootstrap(parts, "average_precision", Params(confidence=0.99)).interval("a")
    assert wide[0] < draws[0][0] and wide[1] > draws[0][1]


def test_splits_that_differ_widen_the_interval():
    alike, apart = ([pair_of_models(7, shift) for shift in shifts] for shifts in ((1, 1, 1, 1), (0, 0, 2, 2)))
    widths = [np.ptp(Bootstrap(parts, "roc_auc", Params()).interval("a")) for parts in (alike, apart)]
    assert widths[1] > 3 * widths[0]


# ----- slices


def examples(count=400, **columns):
    day = 86_400_000_000
    start = pd.Timestamp("2025-01-01").value // 1_000
    frame = {"time": start + np.arange(count) % 90 * day, "degree": np.arange(count) % 200}
    return pd.DataFrame(frame | {f"slice.{name}": values for name, values in columns.items()})


def test_slices_by_degree_month_and_declared_column():
    found = slices.slices(examples(channel=["store", "online", "online", "missing"] * 100), "payment", "timestamp")
    assert list(found) == ["type", "degree", "time", "channel"]
    assert list(found["degree"].cat.categories) == ["0", "1-3", "4-10", "11-30", "31-100", "101+"]
    borders = {0: "0", 1: "1-3", 3: "1-3", 4: "4-10", 10: "4-10", 30: "11-30", 31: "31-100", 100: "31-100", 101: "101+"}
    assert {degree: found["degree"][degree] for degree in borders} == borders
    assert list(found["time"].cat.categories) == ["2025-01", "2025-02", "2025-03"]
    assert list(found["channel"].cat.categories) == ["online", "missing", "store"]
    assert set(found["type"]) == {"payment"} and not found.isna().any().any()


def test_slices_by_step_and_of_one_moment():
    frame = examples().assign(time=np.arange(400) // 4)
    found = slices.slices(frame, "account", "step")["time"]
    assert found.value_counts().max() - found.value_counts().min() <= 8 and len(found.cat.categories) == 6
    assert found.iloc[0] == "from 0" and list(found.cat.categories) == list(dict.fromkeys(found))
    assert set(slices.slices(frame.assign(time=7), "account", "step")["time"]) == {"one moment"}


def test_more_than_twenty_values_become_other():
    names = [f"v{place:02d}" for place in range(30) for _ in range(30 - place)]
    found = slices.slices(examples(len(names), shop=names), "payment", "timestamp")["shop"]
    assert list(found.cat.categories) == [f"v{place:02d}" for place in range(20)] + ["other"]
    assert (found == "other").sum() == sum(range(1, 11))
    assert list(slices.slices(examples(4, shop=["other"] * 4), "x", "step")["shop"].cat.categories) == ["other"]


# ----- gates


class Fake(SimpleNamespace):
    """A judgement whose scores are simulated."""

    SHUFFLED, CHAMPION = Judgement.SHUFFLED, Judgement.CHAMPION


def judged(winner="sage", seed=0, positives=300, negatives=3_000, size=5, **shifts):
    """Models with normal scores so far apart, sharing most of their noise."""
    shifts = {"sage": 2.0, "features_only": 1.0, "neighbour_trees": 1.8, Fake.SHUFFLED: 0.5} | shifts
    state = np.random.default_rng(seed)
    label = np.arange(positives + negatives) < positives
    shared = state.normal(0, 1, len(label))
    scores = {name: shared + state.normal(0, 0.1, len(label)) + shift * label for name, shift in shifts.items()}
    rate = positives / len(label)
    probability = {}
    for name, value in scores.items():
        odds = shifts[name] * value - shifts[name] ** 2 / 2 + np.log(rate / (1 - rate))
        probability[name] = 1 / (1 + np.exp(-odds))
    channel = np.where(np.arange(len(label)) % 4 == 0, "online", "store")
    found = pd.DataFrame({"channel": pd.Categorical(channel)})
    error = calibration_error(label, probability[winner], 10)
    return Fake(
        model=SimpleNamespace(winner=winner, size_bytes=size * 10**6),
        parts=[Part(label, probability)], slices=[found], examples=[pd.DataFrame({"node": np.arange(len(label))})],
        metrics={winner: {"calibration_error": error}}, metric_name="average_precision", graph=None, features=None,
    )  # fmt: skip


CHAMPION = Champion("v3", "d", "sage")


@pytest.fixture
def opened(monkeypatch):
    """Which gates open for a judgement, and their figures."""
    monkeypatch.setattr(predict, "milliseconds", lambda *_: 10.0)

    def check(judgement, champion=None, **values):
        params = Params(bootstrap=60, **values)
        resamples = Bootstrap(judgement.parts, judgement.metric_name, params)
        return {gate.name: gate for gate in gates.check(judgement, resamples, champion, params)}

    return check


def test_all_gates_open_for_a_good_candidate(opened):
    found = opened(judged(champion=1.9), CHAMPION, guarded_slices=["channel=online", "channel=store"])
    assert list(found) == list(GATES) and all(gate.passed for gate in found.values())
    assert found["better_than_features_only"].low > 0
    assert [row["slice"] for row in found["not_worse_than_champion"].slices] == ["channel=online", "channel=store"]
    assert list(opened(judged(), gates=["small_enough"])) == ["small_enough"]


@pytest.mark.parametrize(
    ("name", "change", "params"),
    [
        ("better_than_features_only", {"features_only": 2.0}, {}),
        ("better_than_features_only", {"winner": "features_only", "features_only": 2.5}, {}),
        ("not_worse_than_neighbour_trees", {"neighbour_trees": 2.4}, {}),
        ("worse_with_shuffled_edges", {Fake.SHUFFLED: 2.0}, {}),
        ("not_worse_than_champion", {"champion": 2.4}, {}),
        ("calibrated", {}, {"maximum_calibration_error": 1e-6}),
        ("fast_enough", {}, {"maximum_milliseconds": 9.0}),
        ("small_enough", {"size": 200}, {}),
    ],
)
def test_each_gate_shuts(opened, name, change, params):
    judgement = judged(**{"champion": 1.9} | change)
    if name == "calibrated":
        judgement.metrics[judgement.model.winner]["calibration_error"] = 0.2
    found = opened(judgement, CHAMPION, **params)
    assert not found[name].passed
    if name != "better_than_features_only" or "winner" not in change:
        assert [gate.name for gate in found.values() if not gate.passed] == [name]


@pytest.mark.parametrize(
    ("name", "other"), [("not_worse_than_neighbour_trees", "neighbour_trees"), ("not_worse_than_champion", "champion")]
)
def test_not_worse_must_be_shown(opened, name, other):
    """The same true difference, 0: on many examples it is shown to be within the margin, on few it is not."""
    many, few = ({"seed": 2, "positives": n, "negatives": 10 * n, other: 2.0} for n in (5_000, 20))
    assert opened(judged(**many), CHAMPION, gates=[name])[name].passed
    gate = opened(judged(**few), CHAMPION, gates=[name])[name]
    assert not gate.passed and gate.low < gate.bound < gate.value < gate.high
    assert opened(judged(**few), CHAMPION, gates=[name], margin=1.0)[name].passed


def test_the_winner_may_be_the_trees(opened):
    found = opened(judged("neighbour_trees", neighbour_trees=2.0))
    assert found["not_worse_than_neighbour_trees"].passed and found["not_worse_than_neighbour_trees"].value == 0


def test_a_champion_as_good_as_itself_stays_replaceable(opened):
    judgement = judged()
    judgement.parts[0].scores["champion"] = judgement.parts[0].scores["sage"]
    gate = opened(judgement, CHAMPION, margin=0.0)["not_worse_than_champion"]
    assert gate.passed and (gate.value, gate.low, gate.high) == (0, 0, 0)


def test_a_guarded_slice_shuts_the_gate(opened):
    judgement = judged(champion=1.0)
    scores, online = judgement.parts[0].scores, (judgement.slices[0]["channel"] == "online").to_numpy()
    scores["sage"] = np.where(online, scores[Fake.SHUFFLED], scores["sage"])
    assert opened(judgement, CHAMPION)["not_worse_than_champion"].passed
    gate = opened(judgement, CHAMPION, guarded_slices=["channel=store", "channel=online"])["not_worse_than_champion"]
    assert not gate.passed and gate.value > 0 and gate.meaning.endswith("worse in channel=online")
    assert [row["passed"] for row in gate.slices] == [True, False]


def test_a_guarded_slice_needs_evidence_and_two_classes():
    judgement = judged(seed=2, positives=12, negatives=120, champion=2.1)
    part, found = judgement.parts[0], judgement.slices[0]
    found["tiny"] = pd.Categorical(np.where(part.label, "fraud", "fine"))
    store, one_class = guarded(judgement, Params(guarded_slices=["channel=store", "tiny=fine"], margin=0.001))
    assert store["passed"] and store["value"] < -0.001 and store["low"] < 0 <= store["high"]
    assert one_class["passed"] and one_class["value"] is None


def test_few_examples_may_look_uncalibrated(opened):
    few = judged(positives=30, negatives=60)
    value = few.metrics["sage"]["calibration_error"]
    gate = opened(few, maximum_calibration_error=value / 2)["calibrated"]
    assert gate.passed and gate.bound > value and "by chance" in gate.meaning
    few.metrics["sage"]["calibration_error"] = 0.4
    assert not opened(few, maximum_calibration_error=value / 2)["calibrated"].passed


def test_gates_without_and_with_an_incomparable_champion(opened):
    assert opened(judged())["not_worse_than_champion"].passed
    gate = opened(judged(), dataclasses.replace(CHAMPION, problem="columns: amount"))["not_worse_than_champion"]
    assert not gate.passed and gate.value is None and "columns: amount" in gate.meaning


# ----- the stage


def judge(root, tmp_path, **values):
    """Evaluate the artifacts under ``root`` once more; returns the verdict, the manifest and the folder."""
    home, folder = root / "artifacts", tmp_path / "evaluation"
    params = Params(**{"bootstrap": 30, "registry": str(tmp_path / "registry")} | values)
    verdict = evaluate.run(home / "model", home / "graph", home / "features", folder, params)
    return verdict, artifact.read(folder, "evaluation").manifest, folder


def test_what_the_stage_writes(tiny_run, tmp_path, capsys):
    verdict, manifest, folder = judge(tiny_run, tmp_path, confidence=0.8)
    assert manifest["verdict"] == verdict == ("pass" if all(g["passed"] for g in manifest["gates"]) else "block")
    figures_file = json.loads((folder / "metrics.json").read_text())
    assert figures_file.pop("winner") == manifest["winner"] and figures_file.pop("verdict") == verdict
    assert set(figures_file) == {"sage", "features_only", "neighbour_trees"}
    assert all(isinstance(value, float) for figures in figures_file.values() for value in figures.values())
    assert manifest["champion"] is None and manifest["warnings"] == [] and manifest["confidence"] == 0.8
    told = capsys.readouterr()
    assert told.out.count("\n") == 1 and told.out.startswith(f"evaluate: {manifest['winner']}, average_precision 0.")
    assert told.err == ""
    rows = pd.read_parquet(folder / "predictions.parquet")
    for name, values in manifest["metrics"].items():
        mine = rows[rows["model"] == name]
        area = peer.roc_auc_score(mine["label"].astype(bool), mine["score"])
        assert values["roc_auc"] == pytest.approx(area)
    assert {row["slice"] for row in manifest["slices"]} == {"type", "degree", "time", "channel"}
    assert sum(row["figures"]["examples"] for row in manifest["slices"] if row["slice"] == "channel") == len(mine)
    for name in ("roc", "precision_recall", "calibration"):
        curve = pd.read_csv(folder / "curves" / f"{name}.csv")
        assert set(curve["model"]) == set(figures_file) and not curve.isna().any().any()


def test_two_runs_write_the_same_bytes(tiny_run, tmp_path):
    folders = [judge(tiny_run, tmp_path / name)[2] for name in ("one", "two")]
    assert len({artifact.read(folder, "evaluation").digest for folder in folders}) == 1
    other = judge(tiny_run, tmp_path / "three", seed=1)[1]
    assert other["intervals"] != artifact.read(folders[0], "evaluation").manifest["intervals"]


def test_the_report_stands_alone(tiny_run, tmp_path):
    _, manifest, folder = judge(tiny_run, tmp_path, confidence=0.8)
    page = (folder / "report.html").read_text()
    assert len(page.encode()) < 500_000 and page.startswith("<!doctype html>")
    assert not re.search(r"<script|<link|<img|@import|url\(|(src|href)=|https?://", page)
    assert "80 % interval" in page and "95 %" not in page
    assert ("Ready to be promoted" if manifest["verdict"] == "pass" else "Not to be promoted") in page
    for name in [gate["name"].replace("_", " ") for gate in manifest["gates"]] + list(manifest["metrics"]):
        assert name in page
    for row in manifest["slices"]:
        assert f">{row['value']}<" in page
    table = page[page.index("<h2>Models") :]
    assert table.index(manifest["winner"]) < min(
        table.index(name) for name in manifest["metrics"] if name != manifest["winner"]
    )


@pytest.fixture(scope="module")
def leaky(tmp_path_factory):
    """The tiny network with a column that is the label, under a name that is HTML."""
    root = tmp_path_factory.mktemp("leaky")
    frames, sections = tiny.tables(), tiny.params()
    told = frames["payments"]["is_fraud"].map({True: "b", False: "a"})
    told[::7] = "c"
    frames["payments"] = frames["payments"].assign(
        **{"<b>peek</b>": frames["payments"]["is_fraud"] * 1.0, "told": told}
    )
    sections["schema"]["nodes"]["payment"]["columns"] |= {"<b>peek</b>": "numeric", "told": "category"}
    sections["train"] |= {"epochs": 1}
    (root / "params.yaml").write_text(yaml.safe_dump(sections))
    tiny.write(root / "data", frames)
    for stage in ("ingest", "graph", "features", "train"):
        run(stage, root / "params.yaml", root / "data", root)
    return root


def test_a_leak_is_told_everywhere(leaky, tmp_path, capsys):
    _, manifest, folder = judge(leaky, tmp_path, leakage_auc=0.9)
    assert [item["column"] for item in manifest["warnings"]] == ["<b>peek</b>", "told"]
    assert manifest["warnings"][0]["roc_auc"] == 1.0
    errors = capsys.readouterr().err
    assert "evaluate: WARNING: <b>peek</b> alone has a ROC-AUC of 1.000" in errors and errors.count("\n") == 2
    page = (folder / "report.html").read_text()
    assert "&lt;b&gt;peek&lt;/b&gt;" in page and "<b>peek" not in page


@pytest.fixture
def crowned(tmp_path):
    """Makes a model the champion of a registry."""

    def crown(root):
        home = registry.open(tmp_path / "registry")
        home.move("champion", home.register(root / "artifacts" / "model", {}), "a test")

    return crown


def test_a_champion_is_judged_on_the_same_examples(tiny_run, tmp_path, crowned):
    crowned(tiny_run)
    _, manifest, folder = judge(tiny_run, tmp_path, guarded_slices=["channel=online"])
    assert (manifest["champion"]["version"], manifest["champion"]["problem"]) == ("v0", None)
    assert manifest["metrics"]["champion"] == manifest["metrics"][manifest["winner"]]
    gate = next(gate for gate in manifest["gates"] if gate["name"] == "not_worse_than_champion")
    assert gate["passed"] and (gate["value"], gate["low"], gate["high"]) == (0, 0, 0)
    assert gate["slices"][0]["slice"] == "channel=online" and gate["slices"][0]["passed"]
    page = (folder / "report.html").read_text()
    assert "champion: v0" in page and "in channel=online" in page
    assert "champion" in json.loads((folder / "metrics.json").read_text())
    without = judge(tiny_run, tmp_path, gates=["calibrated"])[1]
    assert without["champion"] is None and "champion" not in without["metrics"]


def test_a_champion_that_needs_other_columns(tiny_run, leaky, tmp_path, crowned):
    crowned(leaky)
    verdict, manifest, folder = judge(tiny_run, tmp_path)
    gate = next(gate for gate in manifest["gates"] if gate["name"] == "not_worse_than_champion")
    assert verdict == "block" and not gate["passed"] and "<b>peek</b>, told" in gate["meaning"]
    assert "<b>peek</b>, told" in manifest["champion"]["problem"] and "champion" not in manifest["metrics"]
    assert "which cannot be compared" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"splits": 3}, "trained on 3 splits, not 1"),
        ({"node": "account"}, "predicts is_fraud of account, not is_fraud of payment"),
        ({"relation": "device.owns.customer"}, "does not have: device.owns.customer"),
    ],
)
def test_a_champion_of_another_task_or_graph(tiny_run, tmp_path, crowned, change, problem):
    source = tmp_path / "artifacts" / "model"
    old = artifact.read(tiny_run / "artifacts" / "model", "model")
    manifest = json.loads(json.dumps(old.manifest))
    manifest["splits"] = change.get("splits", 1)
    manifest["task"]["node"] = change.get("node", "payment")
    if "relation" in change:
        manifest["architecture"]["relations"][change["relation"]] = ["device", "customer", 0]
        manifest["relations"].append(change["relation"])
    with artifact.write(source, "model") as draft:
        for name in manifest.pop("files"):
            (draft.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(old.path / name, draft.folder / name)
        draft.manifest = manifest
        draft.lineage = {key: value for key, value in old.lineage.items() if key not in ("seal", "digest", "kind")}
    crowned(tmp_path)
    found = judge(tiny_run, tmp_path)[1]
    assert problem in found["champion"]["problem"] and "champion" not in found["metrics"]


def test_wrong_input_is_named(tiny_run, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"guarded_slices: no test example is in 'channel=phone'.*channel=online"):
        judge(tiny_run, tmp_path, guarded_slices=["channel=phone"])
    real = predict.score

    def broken(model, name, *rest):
        return real(model, name, *rest) * (np.nan if name == "sage" else 1)

    with monkeypatch.context() as patch:
        patch.setattr(predict, "score", broken)
        with pytest.raises(UserError, match="model 'sage' gives scores that are not numbers"):
            judge(tiny_run, tmp_path)
    whole = Features.open(tiny_run / "artifacts" / "features").examples
    with monkeypatch.context() as patch:
        one = whole.assign(label=whole["label"].mask(whole["split_0"] == "test", False))
        patch.setattr(Features, "examples", one)
        with pytest.raises(UserError, match="test part of split 0 has 0 positives among 135"):
            judge(tiny_run, tmp_path)
    assert not (tmp_path / "evaluation").exists()


def test_an_altered_model_is_refused(tiny_run, tmp_path):
    for name in ("model", "graph", "features"):
        shutil.copytree(tiny_run / "artifacts" / name, tmp_path / "artifacts" / name)
    file = tmp_path / "artifacts" / "model" / "neighbour_trees_0.txt"
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(UserError, match=r"neighbour_trees_0\.txt"):
        judge(tmp_path, tmp_path)


def test_top_must_be_positive():
    with pytest.raises(UserError, match="top"):
        Params.parse({"top": [0.0]}, "evaluate")
    assert Params.parse({"top": [100.0, 0.01]}, "evaluate").top == [100, 0.01]


def test_the_last_words_of_make_repro(tiny_run):
    command = [sys.executable, "-m", "graphmill.evaluate", "--artifacts", str(tiny_run / "artifacts")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[0] == f"report:  {tiny_run / 'artifacts' / 'evaluation' / 'report.html'}"
    assert re.match(r"model:   tiny v0, (pass|block)", lines[1]) and lines[2].endswith("<- winner")
    assert len(lines) == 5 and all(re.search(r"average_precision 0\.\d{4}, roc_auc 0\.\d{4}", x) for x in lines[2:])


def test_without_an_evaluation_or_a_release(tiny_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["evaluate", "--artifacts", str(tmp_path)])
    for missing in ("evaluation", "release"):
        assert main() == 2
        told = capsys.readouterr()
        assert told.out == "" and f"run the stage that writes '{missing}'" in told.err
        shutil.copytree(tiny_run / "artifacts" / missing, tmp_path / missing)
    assert main() == 0
    with artifact.write(tmp_path / "release", "release") as draft:
        draft.manifest = {"digest": "another"}
    assert main() == 2 and "of another model" in capsys.readouterr().err


# ----- what the page shows


def test_words_and_numbers():
    assert [report.number(value) for value in (None, 0.0, 0.123456, 2.2e-5, 200.0, 22_384.0)] == [
        "–", "0.0000", "0.1235", "2.20e-05", "200", "22,384",
    ]  # fmt: skip
    assert (report.percent(0.95), report.percent(0.999)) == ("95 %", "99.9 %")


def test_axes_fit_the_shares():
    linear = plots.fitting(pd.Series([0.1, 0.43]), pd.Series([0.2, 0.4]))
    assert linear.ticks == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5]) and not linear.logarithmic
    rare = plots.fitting(pd.Series([1e-7, 0.3]), pd.Series([0.0, 0.0004, 0.2]))
    assert rare.logarithmic and rare.ticks == pytest.approx([1e-4, 1e-3, 1e-2, 0.1, 1])
    assert (rare.share(0), rare.share(1e-4), rare.share(0.01), rare.share(1)) == pytest.approx((0, 0, 0.5, 1))
    assert plots.fitting(pd.Series([0.0]), pd.Series([0.0])).ticks[-1] > 0


def test_curves_keep_their_shape():
    """Rare positives rank first: the points must not all lie where nothing happens."""
    state = np.random.default_rng(5)
    label, score = separated(state, 100, 20_000, 4.0)
    found = curves(Part(label, {"one": score}), ["one"], 10)
    recall, precision = found["precision_recall"]["recall"], found["precision_recall"]["precision"]
    assert np.diff(recall).max() < 0.05 and len(found["precision_recall"]) <= 200
    area = float(np.sum(np.diff(recall) * precision[1:]))
    assert area == pytest.approx(peer.average_precision_score(label, score), abs=0.02)
    roc = found["roc"]
    assert np.trapezoid(roc["true_positive_rate"], roc["false_positive_rate"]) == pytest.approx(
        peer.roc_auc_score(label, score), abs=0.005
    )
    assert (roc.iloc[-1][["false_positive_rate", "true_positive_rate"]] == 1).all()
