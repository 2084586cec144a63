"""The one rule, from tables to prediction: what happens at or after an example's time never changes it."""

import numpy as np
import pandas as pd
import pytest

from graphmill import features, graph, ingest, predict
from graphmill.features.inputs import Inputs
from graphmill.features.store import Features
from graphmill.graph.sampler import Sampler
from graphmill.graph.store import Graph
from graphmill.model import Model
from graphmill.schema import Schema
from graphmill.task import Task
from tests import tiny

DELAY = pd.Timedelta("5d")


def build(frames, root):
    """Tables to graph and features."""
    params = tiny.params()
    tiny.write(root / "data", frames)
    schema, task = Schema.parse(params["schema"]), Task.parse(params["task"])
    ingest.run(root / "data", root / "tables", schema, task, ingest.Params.parse(params["ingest"]))
    graph.run(root / "tables", root / "graph", graph.Params())
    features.run(root / "tables", root / "graph", root / "features", features.Params.parse(params["features"]))
    return Graph.open(root / "graph"), Features.open(root / "features")


def another_future(frames, moment, example, state):
    """The same past; from ``moment`` on other payments, other referrals, and labels that become known otherwise."""
    payments = frames["payments"].copy()
    later = (payments["paid_at"] >= moment) & (payments["payment_id"] != example)
    unknown = payments["paid_at"] + DELAY >= moment
    flipped = unknown & (state.random(len(payments)) < 0.7)
    payments.loc[flipped, "is_fraud"] = ~payments.loc[flipped, "is_fraud"]
    for name in ("customer_id", "terminal_id", "amount"):
        payments.loc[later, name] = state.permutation(payments.loc[later, name].to_numpy())
    payments.loc[later, "amount"] *= 50
    payments.loc[later, "channel"] = "carrier pigeon"
    gone = later & (state.random(len(payments)) < 0.3)
    referrals = frames["referrals"].copy()
    new = referrals["at"] >= moment
    referrals.loc[new, "referred"] = state.permutation(referrals.loc[new, "referred"].to_numpy())
    referrals.loc[new, "bonus"] = 1_000.0
    return frames | {"payments": payments[~gone], "referrals": referrals}


@pytest.mark.parametrize("seed", range(4))
def test_the_future_changes_no_input_and_no_prediction(tmp_path, tiny_run, seed):
    state = np.random.default_rng(seed)
    frames = tiny.tables(seed=seed + 10, payments=500)
    example = frames["payments"].iloc[int(state.integers(150, 420))]
    moment = example["paid_at"]
    here = build(frames, tmp_path / "here")
    there = build(another_future(frames, moment, example["payment_id"], state), tmp_path / "there")
    model = Model.open(tiny_run / "artifacts" / "model")
    rows = []
    for _, found in (here, there):
        examples = found.examples
        past = examples[examples["time"] < moment.value // 1_000]
        rows.append(pd.concat([past, examples[examples["key"] == example["payment_id"]]]).reset_index(drop=True))
    assert rows[0]["key"].tolist() == rows[1]["key"].tolist() and len(rows[0]) > 100
    for name in model.names:
        first, second = (
            predict.score(model, name, 0, network, found, part)
            for (network, found), part in zip((here, there), rows, strict=True)
        )
        np.testing.assert_array_equal(first, second, err_msg=name)
    for name, (first, second) in gathered(here, there, rows, model).items():
        np.testing.assert_array_equal(first, second, err_msg=name)


def gathered(here, there, rows, model):
    """Everything that sampling and gathering hand to a network, by place."""
    found = []
    for (network, values), part in zip((here, there), rows, strict=True):
        inputs = Inputs(network, values, model.transforms(0))
        sample = Sampler(network, [3, 5], seed=1).sample("payment", part["node"], part["time"])
        seen = {}
        for depth, frontiers in enumerate(sample.frontiers):
            for node, frontier in frontiers.items():
                seen[f"{depth} {node}"] = inputs.gather(node, frontier.ids, frontier.times)[0]
        for depth, blocks in enumerate(sample.blocks):
            for name, block in blocks.items():
                seen[f"{depth} {name}"] = inputs.gather_edges(name, block)
        found.append(seen)
    return {name: (found[0][name], found[1][name]) for name in found[0]}


def test_the_check_can_fail(tmp_path, tiny_run):
    """A change before the moment is seen: the test above is not blind."""
    frames = tiny.tables(seed=11, payments=500)
    moment = frames["payments"]["paid_at"].iloc[300]
    changed = frames["payments"].copy()
    changed.loc[changed["paid_at"] < moment, "amount"] *= 2
    model = Model.open(tiny_run / "artifacts" / "model")
    scores = []
    for place, payments in (("here", frames["payments"]), ("there", changed)):
        network, found = build(frames | {"payments": payments}, tmp_path / place)
        examples = found.examples[found.examples["time"] >= moment.value // 1_000]
        scores.append(predict.score(model, "sage", 0, network, found, examples))
    assert np.abs(scores[0] - scores[1]).max() > 1e-6
