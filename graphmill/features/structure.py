"""Where a node stands in the whole graph: PageRank and core number, at moments that lie in its past.

Both need the whole graph, so they are computed at a few moments; an example reads the newest one that is not
after its time, so no later edge is read. With a temporal split whose training end is a date, moments come from it
and the beginning of the data. Otherwise (few example moments, a random split, a training end relative to the as-of
moment) the end of the data still decides which past moment is read: a known fault.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from graphmill.clock import ALWAYS, duration, moment
from graphmill.errors import UserError
from graphmill.features.centrality import core_numbers, pagerank
from graphmill.features.columns import NEVER
from graphmill.features.pairs import Pairs, undirected
from graphmill.graph.store import Graph
from graphmill.progress import track
from graphmill.task import TemporalSplit

NAMES = ("pagerank", "core_number")
MOST = 200


def node_types(graph: Graph) -> list[str]:
    """Types that have a place in the graph for longer than one event: all but events with links."""
    described = graph.schema.nodes
    return [node for node in graph.nodes if not (described[node].time and described[node].links)]


def moments(graph: Graph, examples: pd.DataFrame, every: str | int | None) -> NDArray[np.int64]:
    """The moments, ascending int64: the examples' own if they are few, else ``every`` around the training end."""
    time = examples["time"].to_numpy(np.int64)
    own: NDArray[np.int64] = time[np.diff(time, prepend=time[:1] - 1) != 0]  # examples stand by time
    split = graph.task.split
    if every is None and (len(own) <= 24 or not isinstance(split, TemporalSplit)):
        return own[-24:]
    declared = [relation.name for relation in graph.schema.relations() if not relation.reversed]
    first = min((_first(graph, name) for name in declared), default=NEVER)
    if first == NEVER:
        return own[:1]
    anchor = graph.as_of
    if isinstance(split, TemporalSplit):
        anchor = moment(split.train_end, graph.clock, "task.split.train_end", graph.as_of)
    default = max(1, (anchor - first) // 12)
    step = default if every is None else duration(every, graph.clock, "features.structure_every")
    if step <= 0 or (graph.as_of - first) // step > MOST:
        raise UserError(f"features.structure_every: {every!r} gives no or more than {MOST} moments; make it longer")
    back = anchor - np.arange((anchor - first) // step, -1, -1, dtype=np.int64) * step
    forth = np.arange(anchor + step, graph.as_of + 1, step, dtype=np.int64)
    return np.concatenate([back, forth])


def write(graph: Graph, when: NDArray[np.int64], names: list[str], folder: Path) -> None:
    """Write float32 ``[moments, N, names]`` for every node type of ``node_types``."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {node: np.zeros((len(when), graph.nodes[node], len(names)), np.float32) for node in node_types(graph)}
    offsets = dict(zip(graph.nodes, np.cumsum([0, *graph.nodes.values()]).tolist(), strict=False))
    born = np.concatenate([graph.node_time(node) for node in graph.nodes])
    for place, time in enumerate(track(when, "structure")):
        pairs = undirected(graph, int(time), born, offsets)
        for column, name in enumerate(names):
            values = np.zeros(len(born), np.float32)
            values[born < time] = _compute(pairs, name)
            for node, array in kept.items():
                array[place, :, column] = values[offsets[node] : offsets[node] + graph.nodes[node]]
    for node, array in kept.items():
        np.save(folder / f"{node}.npy", array)


def lookup(
    values: NDArray[np.float32], when: NDArray[np.int64], nodes: NDArray[np.int32], times: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The values of the newest moment not after each time: float32 ``[n, names]``, 0 before the first."""
    place = np.searchsorted(when, times, side="right") - 1
    found = values[np.maximum(place, 0), nodes]
    found[place < 0] = 0
    return found


def _first(graph: Graph, relation: str) -> int:
    time = graph.relations[relation].time
    return NEVER if time is None else int(np.min(time, where=time != ALWAYS, initial=NEVER))


def _compute(pairs: Pairs, name: str) -> NDArray[np.float32]:
    if len(pairs.neighbours) == 0:
        return np.zeros(len(pairs.indptr) - 1, np.float32)
    if name == "core_number":
        return np.asarray(core_numbers(*pairs), np.float32)
    scores = pagerank(pairs)
    return np.asarray(scores * len(scores), np.float32)  # 1 is the average node, whatever the graph's size
