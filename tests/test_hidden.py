"""Stored hidden rows: one hop less is read, the answers stay what they were, and nothing of the future is seen."""

import asyncio
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from graphmill import predict, score
from graphmill.errors import UserError
from graphmill.features.inputs import Inputs
from graphmill.features.store import Features
from graphmill.graph.sample import ALL
from graphmill.graph.store import Graph
from graphmill.hidden import quantise
from graphmill.model import Model
from graphmill.serving import engines, hidden, metrics, served
from graphmill.serving.engines.sage import SageEngine
from graphmill.serving.instance import Instance, Options, Refusal
from graphmill.serving.live import snapshot
from graphmill.serving.live.apply import apply
from graphmill.serving.live.compact import compact
from graphmill.serving.log import Log
from graphmill.serving.nearby import Nearby
from graphmill.serving.predictor import LivePredictor
from graphmill.serving.reader import Reader
from graphmill.serving.scorer import Scorer
from graphmill.serving.settings import Settings
from graphmill.train import layerwise
from graphmill.train.network import Network
from tests.test_scorer import happened, payment

DAY = 86_400_000_000
HOUR = DAY // 24


@pytest.fixture(scope="module")
def world(tiny_run, tmp_path_factory):
    """A snapshot, a model whose winner is its network, and its hidden rows as of the snapshot's moment."""
    root = tmp_path_factory.mktemp("hidden")
    for name in ("graph", "features"):
        shutil.copytree(tiny_run / "artifacts" / name, root / name)
    won(tiny_run / "artifacts" / "model", root / "model", winner="sage")
    stored(root, "float32")
    stored(root, "int8", hidden="int8")
    stored(root, "earlier", moment="2025-04-20")
    return root


def won(model, target, **changes):
    """A copy of a model folder with another manifest."""
    shutil.copytree(model, target)
    (target / "lineage.json").unlink(missing_ok=True)
    manifest = json.loads((target / "model.json").read_bytes()) | changes
    (target / "model.json").write_text(json.dumps(manifest))


def stored(root, name, **changes):
    score.run(root / "model", root / "graph", root / "features", root / name,
              score.Params(**{"newest": "1d", "hidden": "float32"} | changes))  # fmt: skip


def scorer(world, name=None, fanouts=(3, 5), age=DAY, engine=("sage", "auto")):
    """A scorer, over stored rows if they are named."""
    found, model = snapshot.open(world, 1_000, 20_000), Model.open(world / "model")
    rows = None
    if name is not None:
        base = snapshot.version(world)
        rows = hidden.open(world / name, model, found, world, base, found.graph.as_of, age)
        assert rows is not None
    made = engines.load(model, engine[0], found.graph.only(model.relations), 0, engine[1])
    return Scorer(model, made, found, list(fanouts), False, 0, rows)


def ask(scorer, at, *instances):
    """Log odds of instances, where the present is ``at``."""
    answers = scorer.answer([Instance(**item) for item in instances], Options(), at)
    assert not any(isinstance(answer, Refusal) for answer in answers)
    scores = np.array([answer.score for answer in answers])
    return np.log(scores / (1 - scores))


def brought(at, count=40, **changes):
    when = pd.Timestamp(at, unit="us").isoformat()
    return [payment(number, at=when) | changes for number in range(count)]


def looked(ask):
    """Hits and misses while something is asked."""
    counters = metrics.CACHE_HITS, metrics.CACHE_MISSES
    before = [counter._value.get() for counter in counters]
    ask()
    return tuple(counter._value.get() - old for counter, old in zip(counters, before, strict=True))


def test_rows_as_of_the_question_give_what_the_whole_neighbourhood_gives(world):
    exact, near = scorer(world, fanouts=(ALL, ALL)), scorer(world, "float32", (ALL, ALL), age=0)
    now = near.live.graph.as_of
    asked = brought(now)
    expected = ask(exact, now, *asked)
    assert looked(lambda: np.testing.assert_allclose(ask(near, now, *asked), expected, atol=1e-5)) == (60, 0)
    for one, single in zip(asked[:5], expected, strict=False):
        assert ask(near, now, one)[0] == pytest.approx(single, abs=1e-5)
    sampled = ask(scorer(world), now, *asked)
    assert np.abs(sampled - expected).max() > 1e-3
    for rows in near.nearby.hidden.rows.values():
        rows.rows[:] += 1
    assert np.abs(ask(near, now, *asked) - expected).max() > 1e-2


def test_bytes_are_nearly_as_good(world):
    exact, near = scorer(world, fanouts=(ALL, ALL)), scorer(world, "int8", (ALL, ALL))
    now = near.live.graph.as_of
    assert {rows.rows.dtype for rows in near.nearby.hidden.rows.values()} == {np.dtype("int8")}
    difference = np.abs(ask(near, now, *brought(now)) - ask(exact, now, *brought(now)))
    assert 0 < difference.max() < 0.03
    rows = np.random.default_rng(0).normal(size=(50, 2, 16)).astype(np.float32)
    rows[7] = 0
    kept, scale = quantise(rows)
    assert (np.abs(kept * scale[..., None] - rows) <= scale[..., None] * 0.5001).all()


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_without_any_age_every_answer_is_as_without_rows(world, name):
    plain, near = scorer(world), scorer(world, name, age=0)
    now = near.live.graph.as_of + HOUR
    for batch in (brought(now), brought(now)[:1], brought(now - 60_000_000, 5) + brought(now, 5)):
        first = looked(lambda batch=batch: np.testing.assert_allclose(
            ask(near, now, *batch), ask(plain, now, *batch), atol=1e-5 if name == "float32" else 0.03
        ))  # fmt: skip
        assert first[1] > 0 or batch == brought(now)[:1]  # what was computed for this moment is kept for it


def test_what_is_too_old_is_computed_and_kept(world):
    near, plain = scorer(world, "float32", age=DAY), scorer(world)
    now = near.live.graph.as_of + 2 * DAY
    asked = brought(now)
    assert looked(lambda: ask(near, now, *asked)) == (0, 60)
    later = now + DAY
    assert looked(lambda: ask(near, later, *brought(later))) == (60, 0)
    assert looked(lambda: ask(near, later + 1, *brought(later + 1))) == (0, 60)
    np.testing.assert_allclose(ask(near, later + 1, *brought(later + 1)), ask(plain, later + 1, *brought(later + 1)),
                               atol=1e-5)  # fmt: skip


def test_an_event_that_touches_a_node_makes_its_row_be_computed(world):
    near, plain = scorer(world, "float32", (ALL, ALL), age=10 * DAY), scorer(world, fanouts=(ALL, ALL))
    now = near.live.graph.as_of + DAY
    asked = [payment(5, at=pd.Timestamp(now, unit="us").isoformat())]
    stale = ask(near, now, *asked)
    events = [happened(payment(number, id=f"x{number}", at="2025-05-01T12:00:00", columns={"amount": 900.0})
                       | {"links": {"customer_id": "c005", "terminal_id": "t5"}}) for number in range(3)]  # fmt: skip
    for each in (near, plain):
        change = apply(each.live, events)
    assert looked(lambda: ask(near, now, *asked)) == (2, 0)
    assert ask(near, now, *asked) != pytest.approx(ask(plain, now, *asked), abs=1e-3)  # nobody told the rows
    near.nearby.hidden.touch(change)
    assert looked(lambda: ask(near, now, *asked)) == (0, 2)
    assert ask(near, now, *asked) == pytest.approx(ask(plain, now, *asked), abs=1e-5) != pytest.approx(stale, abs=1e-3)
    assert looked(lambda: ask(near, now, *asked)) == (2, 0)
    near.nearby.hidden.touch(change)
    while near.renew(now - HOUR):
        pass
    assert looked(lambda: ask(near, now, *asked)) == (2, 0)  # computed between questions
    assert ask(near, now, *asked) != pytest.approx(stale, abs=1e-3)


def test_a_row_from_before_an_event_is_not_kept(world):
    near = scorer(world, "float32")
    now = near.live.graph.as_of + DAY
    near.nearby.hidden.touch(apply(near.live, [happened(payment(5, id="x5", at="2025-05-01T12:00:00"))]))
    for hour, found in ((11, (0, 2)), (11, (0, 2)), (13, (0, 2)), (14, (2, 0)), (12, (0, 2))):
        assert looked(lambda hour=hour: ask(near, now, payment(5, at=f"2025-05-01T{hour}:00:00"))) == found


def test_rows_of_the_future_are_never_read_and_never_kept(world):
    near, plain = scorer(world, "earlier"), scorer(world)
    for rows in near.nearby.hidden.rows.values():
        rows.rows[:] = np.nan
    born = near.live.time("payment")
    moment = int(near.nearby.hidden.rows["terminal"].moment.max())
    past = [{"id": key} for key, place in near.live.keys["payment"].items() if born[place] < moment][::9]
    now = near.live.graph.as_of
    np.testing.assert_allclose(ask(near, now, *past), ask(plain, now, *past), atol=1e-5)
    exact = [{"id": past[0]["id"], "at": "2025-04-20T00:00:00"}]
    assert np.isnan(near.answer([Instance(**exact[0])], Options(), now)[0].score)  # of that very moment: read
    near = scorer(world, "earlier")
    ask(near, now, *brought(now + 100 * DAY))
    assert max(int(rows.moment.max()) for rows in near.nearby.hidden.rows.values()) <= now
    assert looked(lambda: ask(near, now, *brought(now)))[1] == 60


def test_nodes_without_a_row_and_without_links_are_answered(world):
    near, plain = scorer(world, "float32"), scorer(world)
    fresh = {"id": "e", "kind": "node", "type": "terminal", "key": "t99", "columns": {"risk": 0.3}}
    for each in (near, plain):
        change = apply(each.live, [fresh])
    near.nearby.hidden.touch(change)
    now = near.live.graph.as_of + HOUR
    when = pd.Timestamp(now, unit="us").isoformat()
    asked = [
        payment(1, at=when, links={"terminal_id": "t99", "customer_id": "c001"}),
        payment(2, at=when, links={}),
        payment(3, at=when, links={"terminal_id": "nobody"}),
        {"id": "p00700", "columns": {"amount": 3.0}, "at": when},
    ]
    for rows in near.nearby.hidden.rows.values():
        rows.moment[:] = hidden.NONE
    np.testing.assert_allclose(ask(near, now, *asked), ask(plain, now, *asked), atol=1e-5)
    assert looked(lambda: ask(near, now, asked[0])) == (2, 0)
    assert looked(lambda: ask(near, now, asked[1])) == (0, 0)
    explained = near.answer([Instance(**asked[0])], Options(embedding=True, explanation=True), now)[0]
    assert explained.explanation and explained.embedding.shape == (16,)


def test_compaction_and_the_log_make_touched_rows_new(world, tmp_path):
    model = Model.open(world / "model")
    log = Log.open(tmp_path / "log", 1_000)
    told = [happened(payment(number, at=f"2025-05-01T0{number}:00:00")) for number in range(6)]

    async def write():
        await log.append(told)
        await log.close()

    asyncio.run(write())
    compact(world, tmp_path / "log", 4, tmp_path / "snapshots" / f"{4:020d}", 1_000, 20_000)
    found = served.load(model, world, tmp_path, 1_000, 20_000, 0, "auto", None, world / "float32", 86_400)
    assert found.opened == 4 and found.offset == 6
    as_of = json.loads((world / "float32" / "predictions.json").read_bytes())["hidden"]["moment"]
    for node, touched in (("customer", [f"c{n:03d}" for n in range(6)]), ("terminal", [f"t{n}" for n in range(6)])):
        rows, keys = found.scorer.nearby.hidden.rows[node], found.live.keys[node]
        moments = {key: int(rows.moment[place]) for key, place in keys.items()}
        assert {key for key, moment in moments.items() if moment != as_of} == set(touched)
        assert {moments[key] for key in touched} == {found.newest + 1}
    found.apply(6, [happened(payment(7, at="2025-05-01T08:00:00"))])
    rows, place = found.scorer.nearby.hidden.rows["customer"], found.live.keys["customer"]["c007"]
    assert rows.moment[place] == hidden.NONE
    while found.renew():
        pass
    assert rows.moment[place] == found.newest + 1


def test_a_server_computes_touched_rows_between_questions(world, tmp_path, monkeypatch):
    settings = Settings(model=str(world / "model"), graph=world, state=tmp_path, hidden=world / "float32",
                        room_nodes=1_000, room_edges=20_000)  # fmt: skip
    predictor, renew, held = LivePredictor(settings), served.Served.renew, [True]
    monkeypatch.setattr(served.Served, "renew", lambda one: not held[0] and renew(one))

    async def live():
        await predictor.start()
        await predictor.accept([happened(payment(5, at="2025-05-01T08:00:00"))])
        waiting = predictor._served.scorer.nearby.hidden.waiting
        assert waiting["customer"] and waiting["terminal"]
        held[0] = False
        async with asyncio.timeout(60):
            while any(waiting.values()):
                await asyncio.sleep(0.01)
        now = [Instance(**payment(5, id="x", at="2025-05-01T09:00:00"))]
        found = looked(lambda: predictor.answer(now, Options()))
        await predictor.stop()
        return found

    assert asyncio.run(live()) == (2, 0)


def test_who_cannot_use_stored_rows_is_told(world, tiny_run, tmp_path, caplog):
    for engine in (("neighbour_trees", "auto"), ("sage", "onnx")):
        with pytest.raises(
            UserError, match="hidden: stored rows are read by networks of kind sage on the engine numba"
        ):
            scorer(world, "float32", engine=engine)
    model, found = Model.open(world / "model"), snapshot.open(world, 1_000, 20_000)
    with pytest.raises(UserError, match="has no hidden rows; run stage score with score.hidden"):
        hidden.open(tiny_run / "artifacts" / "predictions", model, found, world, "", 0, DAY)
    other = Model.open(tiny_run / "artifacts" / "model")
    assert hidden.open(world / "float32", other, found, world, snapshot.version(world), 0, DAY) is None
    assert "of another model: none is read" in caplog.text
    assert hidden.open(world / "float32", model, found, world, "another", 0, DAY) is None
    assert "of another snapshot: none is read" in caplog.text
    for number, changes in enumerate([{"kind": "gat"}, {"layers": 1}]):
        shape = model.manifest["architecture"] | changes
        won(world / "model", tmp_path / str(number), architecture=shape)
        paths = (tmp_path / str(number), world / "graph", world / "features", tmp_path / "none")
        with pytest.raises(UserError, match="score.hidden: needs a network of kind sage with 2 layers or more"):
            score.run(*paths, score.Params(hidden="int8"))
        assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("layers", [2, 3, 4])
def test_networks_of_any_depth(world, layers):
    model, graph, features = Model.open(world / "model"), Graph.open(world / "graph"), Features.open(world / "features")
    inputs = Inputs(graph.only(model.relations), features, model.transforms(0))
    torch.manual_seed(layers)
    network = Network(predict.load_network(model, 0).shape.model_copy(update={"layers": layers}))
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    engine = SageEngine(weights, network.shape.model_dump(), inputs.graph)
    room = dict(graph.nodes)
    reader = Reader(inputs, "payment", [3] + [2] * (layers - 1), False, 0, room)
    reader.know(room)
    ids = np.arange(0, 900, 30, dtype=np.int32)
    moment = graph.as_of
    times = np.where(ids % 60 == 0, moment, moment - DAY)
    expected = np.array(engine.forward(reader.read(ids, times))[0])
    table = {
        node: hidden.Rows(
            np.zeros((room[node], layers - 1, 16), np.float32), hidden.NOTHING, *np.full((2, room[node]), hidden.NONE)
        )
        for node in ("customer", "terminal")
    }
    near = Nearby(reader, engine, hidden.Hidden(table, 0), "payment")
    for _ in range(2):  # computed, then partly read
        np.testing.assert_allclose(near.forward(ids, times, moment, None)[0], expected, atol=1e-5)
    whole = Reader(inputs, "payment", [ALL] * layers, False, 0, room)
    for layer, node, rows in layerwise.senders(network, inputs, ["customer", "terminal"], moment):
        table[node].rows[:, layer], table[node].moment[:] = rows, moment
    near = Nearby(whole, engine, hidden.Hidden(table, 0), "payment")
    times[:] = moment
    expected = np.array(engine.forward(whole.read(ids, times))[0])
    assert looked(lambda: near.forward(ids, times, moment, None))[1] == 0
    np.testing.assert_allclose(near.forward(ids, times, moment, None)[0], expected, atol=2e-5)
