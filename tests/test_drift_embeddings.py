"""Embeddings of the same model over time, and the contract between two models."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks import embedded
from graphmill import artifact, predict
from graphmill.drift import baseline, compare, embeddings
from graphmill.drift.baseline import Past
from graphmill.drift.embeddings import contract, geometry
from graphmill.drift.embeddings.__main__ import main
from graphmill.drift.measures import measures
from graphmill.drift.params import Params
from graphmill.drift.source import Period, Source
from graphmill.errors import UserError
from graphmill.features.store import Features
from graphmill.graph.store import Graph
from graphmill.model import Model

NODES = 800
PAST = 14
REFERENCE = {"scores": None, "columns": {}, "clock": "step", "period": 1, "timed": True}
PROBES = np.arange(0, NODES, 2)


class Home:
    """A trained network, its world, and what it remembers."""

    def __init__(self) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        self.world = embedded.base(NODES)
        self.network = embedded.train(self.world, 0)
        self.vectors, self.decisions = embedded.embed(self.network, self.world)
        self.frozen = embeddings.freeze(self.vectors, PROBES.astype(str), self.vectors[PROBES])
        self.history = [self.profile(embedded.natural(self.world, seed), seed) for seed in range(PAST)]
        self.seeds = [self.embedded(embedded.train(self.world, seed)) for seed in range(1, 6)]
        torch.set_num_threads(threads)

    def profile(self, world: embedded.World, place: int = PAST) -> dict[str, Any]:
        vectors, _ = embedded.embed(self.network, world)
        there = np.flatnonzero(world.old[PROBES])
        block = embeddings.summary(self.frozen, vectors, vectors[PROBES[there]], there)
        return {"start": place, "end": place + 1, "embeddings": block}

    def embedded(self, network: embedded.Sage) -> contract.Embedded:
        return contract.Embedded(*embedded.embed(network, self.world))

    def verdicts(self, newest: dict[str, Any]) -> dict[str, str]:
        items = compare.items(newest, Past(REFERENCE, self.history), Params())
        return {item.statistic: item.state for item in items if item.family == "embedding"}


@pytest.fixture(scope="module")
def home() -> Home:
    return Home()


# ----- the same model


def test_natural_snapshots_do_not_alarm(home: Home) -> None:
    for seed in range(4):
        found = home.verdicts(home.profile(embedded.natural(home.world, 100 + seed)))
        assert len(found) == 6 and "alarm" not in found.values(), found


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("+0.3 sd in 3 of 32 columns", "discrepancy"),
        ("half of the edges missing", "neighbours kept"),
        ("30 % rewired", "neighbours kept"),
    ],
)
def test_changed_inputs_and_a_damaged_graph_alarm(home: Home, name: str, seen: str) -> None:
    changed = embedded.DRIFTS[name](embedded.natural(home.world, 200), 1)
    found = home.verdicts(home.profile(changed))
    assert found[seen] == found["displacement"] == "alarm"


def test_a_frozen_reference_is_read_as_it_was_written(home: Home, tmp_path: Path) -> None:
    assert embeddings.read(tmp_path) is None
    home.frozen.write(tmp_path)
    again = embeddings.read(tmp_path)
    assert again is not None and (tmp_path / "embeddings.npz").stat().st_size < 1_000_000
    there = np.arange(len(PROBES))
    one, two = (
        embeddings.summary(frozen, home.vectors, home.vectors[PROBES], there) for frozen in (home.frozen, again)
    )
    assert one == two and one["overlap"] == 1 and one["displacement"] == 0 and one["discrepancy"] == 0
    assert len(json.dumps(one, allow_nan=False)) < 5_000


def test_broken_embeddings_are_numbers_all_the_same(home: Home) -> None:
    empty = np.empty((0, embedded.WIDTH), np.float32)
    none = np.empty(0, np.int64)
    broken = home.vectors.copy()
    broken[: NODES // 2] = np.nan
    found = embeddings.summary(home.frozen, broken, empty, none)
    assert found["missing"] == 0.5 and "overlap" not in found and found["discrepancy"] >= 0
    gone = embeddings.summary(home.frozen, np.full_like(broken, np.nan), empty, none)
    assert gone == {"rows": NODES, "missing": 1.0}
    constant = embeddings.summary(home.frozen, np.ones_like(broken), empty, none)
    assert constant["dead_share"] == 1 and constant["discrepancy"] > 0.3
    for summary in (found, gone, constant):
        told = measures({"embeddings": summary}, {"scores": None}, 0.7, 30)
        assert all(np.isfinite(one.value) for one in told)


def test_a_model_without_embeddings_says_so_and_has_no_family() -> None:
    source = Source(SimpleNamespace(), SimpleNamespace(), None)  # type: ignore[arg-type]
    found = embeddings.build(source, Period(0, 1))
    assert set(found) == {"absent"} and not measures({"embeddings": found}, {"scores": None}, 0.7, 30)


def entities(keys: list[str], born: list[int]) -> Source:
    graph = SimpleNamespace(
        task=SimpleNamespace(node="a"),
        judges_events=False,
        nodes={"a": len(keys)},
        node_time=lambda node: np.array(born),
        key=lambda node: np.array(keys, object),
    )
    return Source(graph, SimpleNamespace(), None)  # type: ignore[arg-type]


def test_probes_are_found_by_key_in_another_graph() -> None:
    where = {f"k{place}": np.array([place, 1.0], np.float32) for place in range(60)}

    def embedder(source: Source) -> embeddings.Embed:
        keys = source.graph.key("a")
        return lambda rows: np.stack([where[keys[node]] for node in rows["node"]])

    first = entities(list(where), [0] * 60)
    frozen = embeddings.frozen_at(first, Period(0, 10), embedder(first))
    assert frozen is not None and len(frozen.keys) == 60
    # another order, five gone, one that comes only after the period
    kept = list(where)[5:][::-1]
    second = entities(kept, [99, *[0] * 54])
    source = Source(second.graph, second.features, second.examples, None, embeddings.Embedder(embedder(second), frozen))
    found = embeddings.build(source, Period(10, 20))
    assert found["rows"] == found["probes"] == 54 and found["displacement"] == 0 and found["overlap"] == 1
    few = entities(kept[:20], [0] * 20)
    given = Source(few.graph, few.features, few.examples, None, embeddings.Embedder(embedder(few), frozen))
    assert embeddings.build(given, Period(10, 20)) == {"rows": 20}
    assert embeddings.frozen_at(few, Period(0, 10), embedder(few)) is None


def test_training_freezes_embeddings_and_profiles_them(tiny_run: Path, tmp_path: Path) -> None:
    root = tiny_run / "artifacts"
    model, graph, rows = Model.open(root / "model"), Graph.open(root / "graph"), Features.open(root / "features")
    begun = baseline.read(root / "features", "features")
    source = baseline.with_embeddings(
        Source(graph, rows, rows.examples),
        begun.reference,
        lambda examples: predict.embeddings(model, graph, rows, examples),
    )
    baseline.write(tmp_path, baseline.complete(begun, source, None), source)
    frozen = embeddings.read(tmp_path / "profile")
    assert frozen is not None and frozen.mean.shape == (256,) and len(frozen.keys) == 0, "events do not come again"
    blocks = [found["embeddings"] for found in baseline.read(tmp_path).history]
    newest = blocks[-1]
    assert newest["rows"] == frozen.count and newest["discrepancy"] == 0 and newest["missing"] == 0
    assert newest["norm"] == pytest.approx(frozen.norm[0], rel=1e-4)
    assert all("discrepancy" in block for block in blocks if block["rows"] >= embeddings.LEAST)


# ----- geometry


def test_neighbours_are_those_of_brute_force() -> None:
    rows = np.random.default_rng(0).normal(size=(700, 5))
    distance = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    expected = np.sort(np.argsort(distance, axis=1)[:, :10], axis=1)
    np.testing.assert_array_equal(np.sort(geometry.neighbours(rows), axis=1), expected)
    np.testing.assert_array_equal(np.sort(geometry.neighbours(rows, 30), axis=1), expected[:30])
    assert geometry.overlap(expected, expected) == 1 and geometry.overlap(expected[:1], expected[:1] + 1_000) == 0


def test_discrepancy_is_that_of_the_kernel_and_none_by_chance() -> None:
    state = np.random.default_rng(0)
    one, other = state.normal(size=(1_500, 4)), state.normal(0.4, 1, (1_500, 4))
    kernel = geometry.fourier(one)

    def similar(left: np.ndarray, right: np.ndarray, bandwidth: float) -> np.ndarray:
        square = ((left[:, None] - right[None]) ** 2).sum(axis=2)
        return np.asarray(np.exp(-square / (2 * bandwidth**2)))

    bandwidth = float(1 / kernel.frequencies.std())
    within = [(np.sum(similar(part, part, bandwidth)) - 1_500) / (1_500 * 1_499) for part in (one, other)]
    exact = np.sqrt(sum(within) - 2 * similar(one, other, bandwidth).mean())
    found = geometry.discrepancy(kernel.mean(one), kernel.mean(other), (1_500, 1_500))
    assert found == pytest.approx(exact, rel=0.15)
    means = [kernel.mean(state.normal(size=(500, 4))) for _ in range(40)]
    values = [geometry.discrepancy(a, b, (500, 500)) for a, b in zip(means[::2], means[1::2], strict=True)]
    assert np.mean(np.square(values)) < 0.002 and min(values) == 0


def test_what_a_rotation_changes_and_what_it_does_not() -> None:
    state = np.random.default_rng(1)
    rows = state.normal(size=(400, 6)) * np.arange(1, 7)
    turned = 3 * rows @ np.linalg.qr(state.normal(size=(6, 6)))[0] + 5
    assert geometry.alignment(rows, turned) == pytest.approx(1)
    assert geometry.rotation_residual(rows, turned) == pytest.approx(0, abs=1e-9)
    assert geometry.overlap(geometry.neighbours(rows), geometry.neighbours(turned)) == 1
    assert geometry.displacement(turned, rows) > 1
    noise = state.normal(size=(400, 6))
    assert (geometry.alignment(rows, noise) or 1) < 0.1 and (geometry.rotation_residual(rows, noise) or 0) > 0.8
    assert geometry.alignment(rows, np.ones((400, 2))) is None and geometry.rotation_residual(rows, rows[:, :2]) is None
    assert geometry.dead_share(np.concatenate([rows, np.ones((400, 2))], axis=1)) == 0.25


# ----- two models


@pytest.mark.parametrize("seeds", [0, 2, 3])
def test_other_seeds_and_rotations_keep_the_contract(home: Home, seeds: int) -> None:
    champion = contract.Embedded(home.vectors, home.decisions)
    turned = contract.Embedded(home.vectors @ embedded.rotation(), home.decisions)
    for candidate in (*home.seeds[:2], turned):
        note = contract.compare(champion, candidate, home.seeds[5 - seeds :])
        assert not note.breaches, note.words
        assert "must not be mixed" in note.words and note.canonical()["state"] == "ok"
    assert (
        note.alignment == pytest.approx(1)
        and note.overlap == 1
        and note.rotation_residual == pytest.approx(0, abs=1e-6)
    )


@pytest.mark.parametrize("name", embedded.RETRAINED)
def test_a_retraining_that_went_wrong_breaks_it(home: Home, name: str) -> None:
    champion = contract.Embedded(home.vectors, home.decisions)
    candidate = home.embedded(embedded.retrained(home.world, name))
    for seeds in (None, home.seeds[:2]):
        found = contract.compare(champion, candidate, seeds).canonical()
        assert found["state"] == "warn" and any("alignment" in one for one in found["breaches"])
        assert any("neighbours" in one for one in found["breaches"])
        json.dumps(found, allow_nan=False)


def test_too_few_nodes_are_refused_and_constants_breached(home: Home) -> None:
    few = contract.Embedded(home.vectors[:5])
    with pytest.raises(UserError, match="too few to compare"):
        contract.compare(few, few)
    constant = contract.Embedded(np.ones((50, 3)))
    assert "alignment none" in contract.compare(contract.Embedded(home.vectors[:50]), constant).breaches[0]


def predictions(folder: Path, rows: np.ndarray, vectors: np.ndarray | None, decisions: np.ndarray) -> Path:
    with artifact.write(folder, "predictions") as draft:
        key, time = pa.array([f"k{row}" for row in rows]), pa.array(np.full(len(rows), 7))
        pq.write_table(
            pa.table({"key": key, "time": time, "score": decisions * 0.5, "decision": decisions}),
            draft.folder / "predictions.parquet",
        )
        if vectors is not None:
            flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1), pa.float32()), vectors.shape[1])
            pq.write_table(pa.table({"key": key, "time": time, "embedding": flat}), draft.folder / "embeddings.parquet")
    return folder


def test_folders_of_predictions_are_compared_node_by_node(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = np.arange(NODES)
    order = np.random.default_rng(0).permutation(NODES)[: NODES - 40]
    decisions = home.decisions > 3
    one = predictions(tmp_path / "one", rows, home.vectors, decisions)
    turned = (home.vectors @ embedded.rotation())[order]
    other = predictions(tmp_path / "other", order, turned, decisions[order] ^ (order < 20))
    assert main([str(one), str(other), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    changed = np.mean(order < 20)
    assert found["nodes"] == NODES - 40 and found["alignment"] == pytest.approx(1, abs=1e-5)
    assert found["overlap"] > 0.99 and found["churn"] == pytest.approx(changed, abs=1e-5)
    wrong = predictions(tmp_path / "wrong", order, np.random.default_rng(1).normal(size=turned.shape), decisions[order])
    assert main([str(one), str(wrong), "--seed", str(other), "--seed", str(one)]) == 1
    told = capsys.readouterr().out
    assert "geometry changed" in told and "seeds 1" in told and "nodes in common" in told
    none = predictions(tmp_path / "none", rows, None, decisions)
    assert main([str(one), str(none)]) == 2 and "no embeddings" in capsys.readouterr().err
    assert main([str(tmp_path / "nowhere"), str(one)]) == 2
