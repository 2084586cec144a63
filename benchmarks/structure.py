"""The structure of a large graph, against DuckDB for a part of it; what a changed graph raises, and a natural one."""

import time
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks import embedded, evolving
from benchmarks.contest import contest, result, show
from benchmarks.memory import added
from graphmill.clock import ALWAYS
from graphmill.drift import compare, embeddings, structure
from graphmill.drift.baseline import Past
from graphmill.drift.embeddings import contract
from graphmill.drift.params import Params
from graphmill.drift.source import Period, Source
from graphmill.drift.structure import communities
from graphmill.features.columns import Field
from graphmill.graph.adjacency import assemble
from graphmill.schema import Schema

LARGE, SMALL = (1_000_000, 10_000_000), (40_000, 400_000)
PAST, CHECKS = 20, 3
STATES = ("ok", "insufficient_labels", "cold_start", "warn", "alarm")
EVERYTHING = Period(ALWAYS, 1)
SCHEMA = {
    "time": "step",
    "nodes": {"a": {"table": "a", "key": "id", "columns": {"kind": "category"}}},
    "edges": {"to": {"table": "to", "source": {"a": "one"}, "target": {"a": "other"}}},
}


def source(edges: np.ndarray, labels: np.ndarray, names: np.ndarray) -> Source:
    """A graph of one node type and one relation, without files."""
    nodes, schema = len(labels), Schema.parse(SCHEMA)
    row = np.arange(len(edges), dtype=np.int32)
    relations = {}
    for relation in schema.relations():
        ends = edges[:, ::-1] if relation.reversed else edges
        relations[relation.name] = assemble(("a", "a"), ends[:, 0], ends[:, 1], row, None, nodes)
    network = SimpleNamespace(
        nodes={"a": nodes}, relations=relations, schema=schema, judges_events=True, task=SimpleNamespace(node="a"),
        node_time=lambda node: np.full(nodes, ALWAYS), key=lambda node: names.astype(str),
    )  # fmt: skip
    vocabulary = [str(place) for place in range(int(labels.max()) + 1)]
    rows = SimpleNamespace(
        columns={"a": [Field(name="kind", kind="category", vocabulary=vocabulary)]},
        nodes={"a": labels[:, None].astype(np.float32)},
    )
    return Source(network, rows, None)  # type: ignore[arg-type]


def reference(count: int) -> dict[str, Any]:
    top = [str(place) for place in range(count)]
    frozen = {"kind": {"kind": "category", "top": top, "deviation": 1.0}}
    return {"columns": {"node a": frozen}, "scores": None, "clock": "step", "period": 1, "timed": True}


def profile(found: evolving.Snapshot, before: dict[str, Any] | None, place: int) -> dict[str, Any]:
    """A profile that holds the structure alone."""
    built = source(found.edges, found.labels, found.names)
    block = structure.build(built, EVERYTHING, reference(evolving.COMMUNITIES), before)
    return {"start": place, "end": place + 1, "structure": block}


def verdict(newest: dict[str, Any], past: Past) -> tuple[str, list[str]]:
    """The family's state, and the statistics that are as loud as that."""
    items = [item for item in compare.items(newest, past, Params()) if item.family == "structure"]
    worst = max((item.state for item in items), key=STATES.index)
    return worst, [item.statistic for item in items if item.state == worst != "ok"]


def power(trials: int) -> dict[str, dict[str, Any]]:
    """Of each law that sets in after ``PAST`` snapshots: in how many trials it alarms at once, and in three checks."""
    laws = {"nothing": evolving.Law(), **evolving.DRIFTS}
    found: dict[str, list[list[tuple[str, list[str]]]]] = {name: [] for name in laws}
    for trial in range(trials):
        state = np.random.default_rng([3, trial])
        snapshot, history = evolving.first(state), []
        for place in range(PAST):
            snapshot = evolving.following(snapshot, evolving.Law(), state)
            history.append(profile(snapshot, history[-1] if history else None, place))
        for number, (name, law) in enumerate(laws.items()):
            found[name].append(_checked(snapshot, history, law, np.random.default_rng([4, trial, number])))
    return {name: _shares(told) for name, told in found.items()}


def _checked(
    snapshot: evolving.Snapshot, history: list[dict[str, Any]], law: evolving.Law, state: np.random.Generator
) -> list[tuple[str, list[str]]]:
    """The verdicts on the next snapshots: on a changed law up to the first alarm."""
    told: list[tuple[str, list[str]]] = []
    past = list(history)
    for check in range(CHECKS):
        snapshot = evolving.following(snapshot, law, state)
        newest = profile(snapshot, past[-1], PAST + check)
        told.append(verdict(newest, Past(reference(evolving.COMMUNITIES), past)))
        past.append(newest)
        if told[-1][0] == "alarm" and law != evolving.Law():
            break
    return told


def _shares(told: list[list[tuple[str, list[str]]]]) -> dict[str, Any]:
    """Shares of the trials, of ``each`` check as well, standard errors, and what was loudest."""
    at_once = [checks[0][0] for checks in told]
    first = float(np.mean([state == "alarm" for state in at_once]))
    alarm = float(np.mean([any(state == "alarm" for state, _ in checks) for checks in told]))
    each = [np.mean([state == "alarm" for state, _ in checks]) for checks in told]
    loud = [name for checks in told for name in checks[-1][1]]
    names, counts = np.unique(loud, return_counts=True)
    return {
        "alarm": round(first, 3),
        "each": round(float(np.mean(each)), 3),
        "error_of_each": round(float(np.std(each) / np.sqrt(len(told))), 3),
        "warn": round(float(np.mean([state in ("warn", "alarm") for state in at_once])), 3),
        "in_three": round(alarm, 3),
        "error": round(float(np.sqrt(alarm * (1 - alarm) / len(told))), 3),
        "named": {str(names[place]): int(counts[place]) for place in np.argsort(-counts)[:3]},
    }


def large(nodes: int, edges: int) -> Source:
    """A graph whose degrees follow a power law, and 1,000 communities."""
    state = np.random.default_rng(0)
    weight, kind = np.minimum(state.pareto(1.5, nodes) + 1, nodes**0.58), state.integers(0, 1_000, nodes)
    border, order = np.cumsum(weight) / weight.sum(), np.argsort(kind, kind="stable")
    one = np.searchsorted(border, state.random(edges))
    inner, start = np.cumsum(weight[order]), np.searchsorted(kind[order], np.arange(1_001))
    low = np.concatenate([[0], inner])[start]
    place = low[kind[one]] + state.random(edges) * (low[kind[one] + 1] - low[kind[one]])
    inside = order[np.searchsorted(inner, place).clip(0, nodes - 1)]
    other = np.where(state.random(edges) < 0.6, inside, np.searchsorted(border, state.random(edges)))
    pairs = np.stack([one, other], axis=1).astype(np.int32)
    return source(pairs, kind % 8, np.arange(nodes))


def duck(built: Source) -> Any:
    """What DuckDB can say of the same edges: degrees, repeats, reciprocity, mixing."""
    import duckdb

    adjacency = built.graph.relations["a.to.a"]
    target = np.repeat(np.arange(len(adjacency.indptr) - 1, dtype=np.int32), np.diff(adjacency.indptr))
    connection = duckdb.connect()
    connection.execute("set threads to 1")
    one, kind = adjacency.indices, built.features.nodes["a"][:, 0].astype(np.int32)
    connection.register("e", {"s": one, "t": target, "a": kind[one], "b": kind[target]})
    distinct = "select distinct s, t from e where s <> t"
    return [
        connection.execute(question).fetchall()
        for question in (
            "select d, count(*) from (select count(*) d from e group by s) group by d",
            "select d, count(*) from (select count(*) d from e group by t) group by d",
            "select count(*) from (select distinct s, t from e)",
            f"with x as ({distinct}) select count(*) from x join x y on x.s = y.t and x.t = y.s",
            "select a, b, count(*) from e group by a, b",
        )
    ]


def embedding(small: bool) -> dict[str, Any]:
    """States under natural snapshots and drifts of one model; breaches of the contract by other ones."""
    world = embedded.base(1_000 if small else 4_000)
    network = embedded.train(world, 0)
    vectors, decisions = embedded.embed(network, world)
    probes = np.arange(0, len(vectors), max(1, len(vectors) // embeddings.PROBES))
    frozen = embeddings.freeze(vectors, probes.astype(str), vectors[probes])

    def told(changed: embedded.World, place: int) -> dict[str, Any]:
        now, _ = embedded.embed(network, changed)
        there = np.flatnonzero(changed.old[probes])
        return {
            "start": place,
            "end": place + 1,
            "embeddings": embeddings.summary(frozen, now, now[probes[there]], there),
        }

    history = [told(embedded.natural(world, seed), seed) for seed in range(PAST)]
    cases = {f"natural {seed}": embedded.natural(world, 100 + seed) for seed in range(4)}
    cases |= {name: change(embedded.natural(world, 200), 1) for name, change in embedded.DRIFTS.items()}
    states = {}
    for name, changed in cases.items():
        past = Past(reference(2), history)
        states[name] = max(
            (item.state for item in compare.items(told(changed, PAST), past, Params()) if item.family == "embedding"),
            key=STATES.index,
        )
    champion = contract.Embedded(vectors, decisions)
    others = [contract.Embedded(*embedded.embed(embedded.train(world, seed), world)) for seed in range(1, 7)]
    candidates = {f"seed {place}": one for place, one in enumerate(others[:3])}
    candidates["rotated"] = contract.Embedded(vectors @ embedded.rotation(), decisions)
    for name in embedded.RETRAINED:
        candidates[name] = contract.Embedded(*embedded.embed(embedded.retrained(world, name), world))
    breaches = {name: contract.compare(champion, one, others[3:]).breaches for name, one in candidates.items()}
    return {"same_model": states, "breaches": breaches}


def run(small: bool) -> dict[str, Any]:
    """Measure and return the line of JSON."""
    nodes, edges = SMALL if small else LARGE
    built = large(nodes, edges)
    frozen = reference(8)
    work = {
        "without communities": lambda: _without(lambda: structure.build(built, EVERYTHING, frozen)),
        "duckdb, a part of it": lambda: duck(built),
    }
    if communities.available():
        work["with communities"] = lambda: structure.build(built, EVERYTHING, frozen)
    work["without communities"]()  # compiled, and keys hashed
    memory = added(work["without communities"])
    start = time.perf_counter()
    found = contest(work, rounds=1 if not small else 3, warm=0)
    what = f"structure of {nodes:,} nodes and {edges:,} edges, each contender on one thread"
    show(what, found, "without communities")
    print(f"peak memory beyond the graph, MB: {memory:,}; all in {time.perf_counter() - start:.0f} s")
    shares = power(4 if small else 100)
    for name, told in shares.items():
        print(
            f"{name:<26} alarm {told['alarm']:.2f}, warn {told['warn']:.2f}; "
            f"alarm in three {told['in_three']:.2f} ± {told['error']:.2f}, {told['named']}"
        )
    moved = embedding(small)
    for part in moved.values():
        print("; ".join(f"{name}: {value or 'kept'}" for name, value in part.items()))
    return result(
        "structure", what, found, "without communities", "duckdb, a part of it",
        megabytes=memory, power=shares, embeddings=moved,
    )  # fmt: skip


def _without(work: Any) -> Any:
    """The same as where networkit is not installed."""
    there = communities.available
    communities.available = lambda: False
    try:
        return work()
    finally:
        communities.available = there
