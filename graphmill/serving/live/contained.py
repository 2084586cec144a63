"""Which events of the log a snapshot holds already, when it was taken from the tables and not from the log."""

import numpy as np

from graphmill.clock import ALWAYS, moment
from graphmill.serving.event import EdgeEvent, LabelEvent, NodeEvent
from graphmill.serving.live.rows import Rows
from graphmill.serving.live.store import Live


def contained(live: Live, event: NodeEvent | EdgeEvent | LabelEvent) -> bool:
    """Whether a snapshot holds an event, so that it must not be applied again.

    An event from the snapshot's as-of moment on is new. One from before is in the snapshot if its node is, or an edge
    between its ends at that very moment; one that came too late for the snapshot is not, and is applied. A label or
    a change without a time is applied again, in its order: that ends in the same state.
    """
    if isinstance(event, LabelEvent):
        return False
    time = ALWAYS if event.time is None else moment(event.time, live.graph.clock)
    if time >= live.graph.as_of:
        return False
    if isinstance(event, NodeEvent):
        return event.time is not None and not live.is_new(event.type, str(event.key))
    described = live.graph.schema.edges[event.type]
    source = live.keys[described.source_node].get(str(event.source))
    target = live.keys[described.target_node].get(str(event.target))
    if source is None or target is None:
        return False
    found = live.of[event.type, ""][0]
    return _has(live.rows[found.name], target, source, max(time, int(live.time(described.source_node)[source])))


def _has(rows: Rows, target: int, source: int, time: int) -> bool:
    row = slice(int(rows.first[target]), int(rows.last[target]))
    same = rows.indices[row] == source
    return bool(np.any(same & (rows.time[row] == time)) if len(rows.time) else np.any(same))
