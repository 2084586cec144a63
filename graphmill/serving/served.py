"""One state that can be served: a model on a live graph that was brought up to an offset of the log."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphmill.clock import moment, text
from graphmill.errors import UserError
from graphmill.graph.sample import ALL, Fanout
from graphmill.model import NETWORKS, Model
from graphmill.serving import engines, hidden
from graphmill.serving.instance import GraphVersion
from graphmill.serving.live import snapshot
from graphmill.serving.live.apply import apply, replay
from graphmill.serving.live.change import Change
from graphmill.serving.live.store import Live
from graphmill.serving.log import read_log
from graphmill.serving.scorer import Scorer, now
from graphmill.serving.warm import warm
from graphmill.train.params import Params

SECOND = 1_000_000
"""Microseconds."""


@dataclass
class Served:
    """A scorer and what its graph holds."""

    model: Model
    scorer: Scorer
    live: Live
    folder: Path
    """The snapshot that was opened."""
    base: str
    """Version of the snapshot that the stages wrote."""
    opened: int
    """Offset of the log that the opened snapshot holds."""
    offset: int
    """Offset behind the last event applied."""
    newest: int
    """Newest moment of an event, or the snapshot's as-of moment."""
    edges: int
    """Edges of the snapshot."""
    nodes: int
    """Nodes of the snapshot."""
    heard: float = field(default_factory=time.monotonic)
    """When the last event was applied, on the process's own clock."""

    def apply(self, first: int, events: list[dict[str, Any]]) -> Change:
        """Apply events of the log from offset ``first`` on; those that are there already are left out.

        Raises:
            UserError: when there is no room for them.
        """
        change = apply(self.live, events[max(self.offset - first, 0) :])
        if self.scorer.nearby is not None:
            self.scorer.nearby.hidden.touch(change)
        self.offset = max(self.offset, first + len(events))
        self.newest = max(self.newest, change.newest)
        self.heard = time.monotonic()
        return change

    def renew(self) -> bool:
        """Compute a few of the stored rows that events touched; whether there were any."""
        return self.scorer.renew(seen(self.live, self.newest))

    def version(self) -> GraphVersion:
        """What its answers are computed from."""
        return GraphVersion(self.base, self.offset, self.staleness())

    def staleness(self) -> float:
        """Seconds since the newest event happened; on a clock of steps, since one was applied."""
        if self.live.graph.clock == "timestamp":
            return max(0.0, time.time() - self.newest / 1e6)
        return time.monotonic() - self.heard


def choose(graph: Path, state: Path | None, stop: int | None = None) -> Path:
    """The snapshot to open: the newest one compacted from the one that the stages wrote, or that itself.

    One that holds events from offset ``stop`` on is passed over.

    Raises:
        UserError: when a snapshot is altered.
    """
    base = snapshot.version(graph)
    found = [(-1, graph)]
    for folder in sorted((state / "snapshots").glob("[0-9]*")) if state is not None else []:
        came = snapshot.origin(folder)
        if came is not None and came.base == base and (stop is None or came.offset <= stop):
            found.append((came.offset, folder))
    return max(found)[1]


def load(
    model: Model, graph: Path, state: Path | None, nodes: int, edges: int, neighbours: int, engine: str,
    stop: int | None = None,
    predictions: Path | None = None, age: int = 0,
) -> Served:  # fmt: skip
    """Open the newest snapshot and bring it up to the end of the log.

    Args:
        model: the model folder.
        graph: the snapshot that the stages wrote.
        state: folder of the log and of compacted snapshots.
        nodes: room for new nodes of each type.
        edges: room for new edges of each relation.
        neighbours: entities: neighbours read of each relation at the most.
        engine: ``auto``, ``numba`` or ``onnx``.
        stop: only events before this offset are applied; all without it.
        predictions: folder with stored hidden rows, to read one hop less.
        age: how old such a row may be: seconds, or steps.

    Raises:
        UserError: when something is missing or altered, the graph lacks what the model needs, or the log what the
            snapshot does.
    """
    folder = choose(graph, state, stop)
    live, came = snapshot.open(folder, nodes, edges), snapshot.origin(folder)
    newest, opened = live.graph.as_of, 0
    if came is not None:
        newest, opened = max(newest, came.newest), came.offset
    offset = opened
    if state is not None and (state / "log").exists():
        if came is None:
            check_reach(state / "log", live)
        log = Counted(read_log(state / "log", opened, stop))
        newest = max(newest, replay(live, log, came is not None)[1])
        offset = max(opened, log.end)
    params = Params.parse(model.parameters, "train")
    fanouts = fanouts_of(model, live, params, neighbours)
    base, stored = snapshot.version(graph), None
    if predictions is not None:
        units = age * SECOND if live.graph.clock == "timestamp" else age
        stored = hidden.open(predictions, model, live, graph, base, seen(live, newest) - 1, units)
    scorer = Scorer(
        model,
        engines.load(model, model.winner, live.graph.only(model.relations), 0, engine),
        live,
        fanouts,
        params.recent,
        params.seed,
        stored,
    )
    warm(scorer, live)
    served = Served(
        model, scorer, live, folder, base, opened, offset, newest,
        sum(facts["edges"] for facts in live.graph.artifact.manifest["relations"].values()),
        sum(live.graph.nodes.values()),
    )  # fmt: skip
    while served.renew():
        pass
    return served


def seen(live: Live, newest: int) -> int:
    """The moment as of which all that happened is seen, not later than now, whatever an event claims."""
    return min(newest + 1, now(live, newest))


def fanouts_of(model: Model, live: Live, params: Params, neighbours: int) -> list[Fanout]:
    """The fan-outs that ``score`` reads by; all of an entity's neighbours are bounded."""
    if model.winner not in NETWORKS:
        return list(params.controls.fanouts) if model.winner != "features_only" else []
    if live.graph.judges_events:
        return params.hops
    bound = neighbours if neighbours > 0 else ALL
    return [dict.fromkeys(hop, bound) if isinstance(hop, dict) else bound for hop in params.hops]


def check_reach(log: Path, live: Live) -> None:
    """Refuse a snapshot that is older than the log's beginning: what happened in between is nowhere.

    Raises:
        UserError: telling both moments.
    """
    first, event = next(read_log(log, 0), (0, {}))
    if first > 0 and "time" in event:
        begins = moment(event["time"], live.graph.clock)
        if begins > live.graph.as_of:
            told = text(begins, live.graph.clock), text(live.graph.as_of, live.graph.clock)
            raise UserError(f"{log}: begins at {told[0]}, the snapshot ends at {told[1]}: take a newer snapshot")


class Counted:
    """Events of a log, and the offset behind the last of them."""

    def __init__(self, events: Iterator[tuple[int, dict[str, Any]]]) -> None:
        self._events, self.end = events, 0

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for offset, event in self._events:
            self.end = offset + 1
            yield offset, event
