"""Where a node stands in the whole graph: PageRank and core number, at moments that lie in its past.

Both need the whole graph, so they are computed at a few moments; an example reads the newest one that is not
after its time, so no later edge is read. Which moments there are follows from the parameters and the beginning of
the data, never from their end: an example reads the same values in every later snapshot.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from graphmill.clock import ALWAYS, duration, moment, text
from graphmill.errors import UserError
from graphmill.features.centrality import core_numbers, pagerank
from graphmill.features.columns import NEVER
from graphmill.features.pairs import Pairs, undirected
from graphmill.graph.store import Graph
from graphmill.progress import track
from graphmill.task import TemporalSplit

NAMES = ("pagerank", "core_number")
MOST = 200
EVERY: dict[str, str | int] = {"timestamp": "30d", "step": 1}
"""The distance of moments where the parameters do not say; how long a step is, nobody knows."""
BEGINNING = ALWAYS + 1
"""The moment before every other: only what has no time is there."""


def node_types(graph: Graph) -> list[str]:
    """Types that have a place in the graph for longer than one event: all but events with links."""
    described = graph.schema.nodes
    return [node for node in graph.nodes if not (described[node].time and described[node].links)]


def moments(graph: Graph, examples: pd.DataFrame, every: str | int | None) -> NDArray[np.int64]:
    """The moments, ascending int64: those at which entities are scored, or the multiples of a distance.

    Entities stand at moments that the task declares, and read structure as of exactly these. Events stand anywhere:
    they, and entities where ``every`` is given, have ``BEGINNING`` and the multiples of ``every`` since 1970, or step
    0, from the first after the oldest pair of neighbours on. Without ``every`` it is a twelfth of the time from that
    pair to the training end, where that is a moment and not relative to the data's end; else 30 days, or one step.

    Raises:
        UserError: for a distance that is none, or more than ``MOST`` moments.
    """
    if every is None and not graph.judges_events:
        time = examples["time"].to_numpy(np.int64)
        own: NDArray[np.int64] = time[np.diff(time, prepend=time[:1] - 1) != 0]  # examples stand by time
        _check_count(len(own), "task.moments are")
        return own
    if every is not None and duration(every, graph.clock, "features.structure_every") <= 0:
        raise UserError(f"features.structure_every: {every!r} must be longer than nothing")
    declared = [relation.name for relation in graph.schema.relations() if not relation.reversed]
    first = min((_first(graph, name) for name in declared), default=NEVER)
    if first == NEVER:
        return np.array([BEGINNING], np.int64)
    chosen = _distance(graph, first) if every is None else every
    step = chosen if isinstance(chosen, int) else duration(chosen, graph.clock, "features.structure_every")
    oldest, end = text(first, graph.clock), text(graph.as_of, graph.clock)
    _check_count(graph.as_of // step - first // step, f"{chosen} from the oldest edge, {oldest}, to {end} gives")
    return np.array([BEGINNING, *range((first // step + 1) * step, graph.as_of + 1, step)], np.int64)


def _distance(graph: Graph, first: int) -> str | int:
    """Where the parameters do not say: a twelfth of the time to a training end that they fix, or one for the clock."""
    split = graph.task.split
    if not isinstance(split, TemporalSplit) or str(split.train_end).strip().startswith("as_of"):
        return EVERY[graph.clock]
    return max(1, (moment(split.train_end, graph.clock, "task.split.train_end") - first) // 12)


def _check_count(count: int, told: str) -> None:
    if count > MOST:
        raise UserError(f"features.structure_every: {told} {count:,} moments, more than {MOST}; set a longer one")


def too_short(when: NDArray[np.int64], examples: pd.DataFrame) -> bool:
    """Whether all examples lie before the first moment that has a past, so that the values tell them nothing."""
    past = when[when > BEGINNING]
    return len(past) == 0 or bool((examples["time"] < past[0]).all())


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


def _first(graph: Graph, relation: str) -> int:
    """When the oldest pair of neighbours that has a time is there: its edge and the target."""
    adjacency = graph.relations[relation]
    linked = np.flatnonzero(np.diff(adjacency.indptr))
    first = graph.node_time(adjacency.target)[linked]
    if adjacency.time is not None:
        first = np.maximum(first, adjacency.time[adjacency.indptr[:-1][linked]])
    return int(np.min(first, where=first != ALWAYS, initial=NEVER))


def _compute(pairs: Pairs, name: str) -> NDArray[np.float32]:
    if len(pairs.neighbours) == 0:
        return np.zeros(len(pairs.indptr) - 1, np.float32)
    if name == "core_number":
        return np.asarray(core_numbers(*pairs), np.float32)
    scores = pagerank(pairs)
    return np.asarray(scores * len(scores), np.float32)  # 1 is the average node, whatever the graph's size
