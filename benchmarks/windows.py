"""A window look-up, against a plain gather of the same rows and against brute force over the edges."""

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import graphs
from benchmarks.contest import contest, result, show
from graphmill.features.sums import Sums, running
from graphmill.features.windows import Window, lookup
from graphmill.graph.adjacency import Adjacency

WEEK = graphs.SPAN // 52
ONE = Window(over=graphs.RELATION, sizes=[WEEK], columns={"value": ["sum"]}, since_last=False)
MANY = Window(over=graphs.RELATION, sizes=[WEEK, 4 * WEEK, "ever"], columns={"value": ["sum", "mean"]})
BATCH = 65_536


def brute(adjacency: Adjacency, values: Any, ids: Any, times: Any) -> np.ndarray:
    """The aggregates of ``MANY`` from every edge of each node, with pandas."""
    begin, end = adjacency.indptr[ids], adjacency.indptr[ids + 1]
    asked = np.repeat(np.arange(len(ids)), end - begin)
    place = np.arange(len(asked)) - np.repeat(np.cumsum(end - begin) - (end - begin), end - begin)
    place += np.repeat(begin, end - begin)
    frame = pd.DataFrame({"asked": asked, "time": adjacency.time[place], "value": values[place, 0].astype(float)})
    frame["until"] = times[asked]
    frame = frame[frame["time"] < frame["until"]]
    found = []
    for size in (WEEK, 4 * WEEK, graphs.SPAN):
        inside = frame[frame["time"] >= frame["until"] - size]
        grouped = inside.groupby("asked")["value"].agg(["size", "sum", "mean"]).reindex(range(len(ids)))
        found += [grouped["size"].fillna(0), grouped["sum"].fillna(0), grouped["mean"]]
    newest = frame.groupby("asked")["time"].max().reindex(range(len(ids)))
    return np.stack([*found, times - newest], axis=1).astype(np.float32)


def run(small: bool) -> dict[str, Any]:
    """Measure and return the line of JSON."""
    nodes, edges = graphs.SMALL if small else graphs.LARGE
    adjacency = graphs.power_law(nodes, edges, timed=True).adjacency
    state = np.random.default_rng(1)
    sums: Sums = running(adjacency.indptr, state.lognormal(3, 1, (edges, 1)))
    batches = [
        (state.integers(0, nodes, BATCH).astype(np.int32), state.integers(graphs.SPAN // 2, graphs.SPAN, BATCH))
        for _ in range(5)
    ]
    ids, times = (part[:2_048] for part in batches[0])
    ours = lookup(MANY, adjacency, sums, ids, times, "step", 1)
    np.testing.assert_allclose(ours, brute(adjacency, sums.values, ids, times), rtol=1e-5)
    room = np.empty((2 * BATCH, sums.prefix.shape[1]))
    rows = [_rows(adjacency, *batch) for batch in batches]

    def each(work: Callable[..., Any], parts: list[Any]) -> Callable[[], Any]:
        """Another batch each time, so that none is in the cache already."""
        turn = cycle(parts)
        return lambda: work(*next(turn))

    found = contest(
        {
            "three windows": each(lambda *batch: lookup(MANY, adjacency, sums, *batch, "step", 1), batches),
            "one window": each(lambda *batch: lookup(ONE, adjacency, sums, *batch, "step", 1), batches),
            "gather of its two rows": each(
                lambda place: np.take(sums.prefix, place, 0, out=room, mode="clip"), [(place,) for place in rows]
            ),
            "brute force": each(lambda *batch: brute(adjacency, sums.values, *batch), batches),
        },
        rounds=5 if small else 11,
    )
    what = (
        f"{BATCH:,} (node, time) pairs, {nodes:,} nodes, {edges:,} edges; three windows: count, sum, mean, since last"
    )
    show(what, found, "three windows")
    gather = found["gather of its two rows"][0]
    return result(
        "windows", what, found, "three windows", "brute force",
        one_window_per_gather=round(found["one window"][0] / gather, 2),
        each_of_three_per_gather=round(found["three windows"][0] / 3 / gather, 2),
        nanoseconds_per_window=round(found["three windows"][0] / 3 / BATCH * 1e9, 1),
    )  # fmt: skip


def _rows(adjacency: Adjacency, ids: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The rows of running sums that a window of a week reads: its last edge, and the one before its first."""
    last = adjacency.indptr[ids] + adjacency.degree(ids, times) - 1
    first = adjacency.indptr[ids] + adjacency.degree(ids, times - WEEK) - 1
    return np.stack([first, last], axis=1).reshape(-1).clip(0)
