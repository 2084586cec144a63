"""Applying events to the live graph: typed rows first, then every relation's new edges in one call each."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from graphmill.clock import ALWAYS, duration, moment
from graphmill.errors import UserError
from graphmill.schema import Relation
from graphmill.serving.event import EdgeEvent, LabelEvent, NodeEvent
from graphmill.serving.live.store import UNLABELLED, Live
from graphmill.serving.live.windows import remove, revalue, targets_of, values_of

Event = NodeEvent | EdgeEvent | LabelEvent
NO_ROOM = "no room for more nodes or edges beside the snapshot; compact it"


@dataclass
class Pending:
    """New edges of one relation: targets, sources, rows of their table, own times."""

    targets: list[int] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)

    def add(self, target: int, source: int, row: int, time: int) -> None:
        self.targets.append(target)
        self.sources.append(source)
        self.rows.append(row)
        self.times.append(time)


class Change:
    """One batch of events on its way into the graph.

    Args:
        live: the graph, changed in place.
    """

    def __init__(self, live: Live) -> None:
        self.live = live
        self.pending: dict[str, Pending] = {}
        self.changed: dict[str, set[int]] = {}
        self.labels: dict[str, Pending] = {}
        self._fresh: set[int] = set()
        self.newest = ALWAYS
        self.dropped = 0
        self.touched: dict[str, set[int]] = {}

    def apply(self, events: Sequence[Event]) -> None:
        """Apply checked events in their order.

        Raises:
            Full: when there is no room; what was applied before stays, and the graph must be opened again.
        """
        for event in events:
            if isinstance(event, NodeEvent):
                self._node(event)
            elif isinstance(event, EdgeEvent):
                self._edge(event)
            else:
                self._label(event)
        self._flush()

    def _time(self, value: str | int | None) -> int:
        if value is None:
            return ALWAYS
        found = moment(value, self.live.graph.clock)
        self.newest = max(self.newest, found)
        return found

    def _node(self, event: NodeEvent) -> None:
        live, key = self.live, str(event.key)
        described, mentioned = live.graph.schema.nodes[event.type], live.mentioned[event.type]
        time = self._time(event.time)
        place = live.keys[event.type].get(key)
        new = place is None or place in mentioned
        born = ALWAYS if described.time is None else time
        if place is None:
            place = self._add(event.type, key, born)
        elif new:
            mentioned.discard(place)
            live.appear(event.type, place, born)
        raw, moments = live.values[event.type].read(event.columns, whole=False)
        for column, value in raw:
            live.matrix(f"nodes/{event.type}")[place, column] = value
        for column, value in moments:
            live.matrix(f"times/{event.type}")[place, column] = value
        if new:
            self.touched.setdefault(event.type, set()).add(place)
            self._links(event, place)
        elif raw:
            self.changed.setdefault(event.type, set()).add(place)

    def _links(self, event: NodeEvent, place: int) -> None:
        """A node's links come with it; later events change its columns alone."""
        live = self.live
        described = live.graph.schema.nodes[event.type].links
        for column, other in event.links.items():
            if other is None:
                continue
            linked = self._found(described[column].node, str(other), int(live.time(event.type)[place]))
            for relation in live.of[event.type, column]:
                ends = (place, linked) if relation.reversed else (linked, place)
                self._put(relation, *ends, place, ALWAYS)
        if event.type == live.graph.task.node:
            self._fresh.add(place)

    def _edge(self, event: EdgeEvent) -> None:
        live = self.live
        described = live.graph.schema.edges[event.type]
        time = self._time(event.time)
        if described.time is None:
            time = ALWAYS
        source = self._found(described.source_node, str(event.source), time)
        target = self._found(described.target_node, str(event.target), time)
        row = live.edges[event.type]
        matrix = live.matrix(f"edges/{event.type}")
        if row >= len(matrix):
            raise UserError(f"{event.type}: {NO_ROOM}")
        matrix[row] = np.nan
        for column, value in live.values[event.type].read(event.columns, whole=True)[0]:
            matrix[row, column] = value
        live.edges[event.type] = row + 1
        for relation in live.of[event.type, ""]:
            ends = (source, target) if relation.reversed else (target, source)
            self._put(relation, *ends, row, time)
            if relation.undirected and source != target:
                self._put(relation, source, target, row, time)
        self._fresh.update(
            end
            for end, node in ((source, described.source_node), (target, described.target_node))
            if node == live.graph.task.node
        )

    def _put(self, relation: Relation, target: int, source: int, row: int, time: int) -> None:
        self.pending.setdefault(relation.name, Pending()).add(target, source, row, time)

    def _found(self, node: str, key: str, time: int) -> int:
        """The node of a key; one that was never heard of is there from its first mention on."""
        place = self.live.keys[node].get(key)
        if place is None:
            described = self.live.graph.schema.nodes[node]
            timeless = described.table is not None and described.time is None
            place = self._add(node, key, ALWAYS if timeless else time)
            if described.table is not None:  # else a mention is all there ever is
                self.live.mentioned[node].add(place)
        return place

    def _add(self, node: str, key: str, time: int) -> int:
        """A new node with nothing but its key and time: its id."""
        place = self.live.count(node)
        if place >= self.live.room(node):
            raise UserError(f"{node}: {NO_ROOM}")
        self.live.keys[node][key] = place
        self.live.names[node].append(key)
        self.live.clear(node, place)
        self.live.appear(node, place, time)
        return place

    def _label(self, event: LabelEvent) -> None:
        live, task = self.live, self.live.graph.task
        place = self._found(task.node, str(event.key), self._time(event.known_at))
        old = int(live.label[place]), int(live.label_known[place])
        if event.known_at is not None and task.label.known_at is not None:
            known = moment(event.known_at, live.graph.clock)
        else:
            born = int(live.time(task.node)[place])
            known = born + duration(task.label.known_after, live.graph.clock) if born != ALWAYS else ALWAYS
        live.label[place], live.label_known[place] = int(event.value), known
        if place in self._fresh or old[0] != UNLABELLED:  # its edges or its old label may still be on their way
            self._flush()
        for name, rows in live.features.labels.items():
            for target in targets_of(live, name, place):
                if old[0] != UNLABELLED:
                    remove(rows, target, *old)
                self.labels.setdefault(name, Pending()).add(target, place, int(event.value), known)

    def _flush(self) -> None:
        """Give every relation its new edges and labels, and windows the new values of rows that changed."""
        live = self.live
        for name, found in self.pending.items():
            self._insert(name, found)
        for name, found in self.labels.items():
            places, times = np.array(found.sources, np.int32), np.array(found.times, np.int64)
            values = np.array(found.rows, np.float32)[:, None]
            live.features.labels[name].insert(np.array(found.targets, np.int64), places, places, times, values)
        for node, changed in self.changed.items():
            self.touched.setdefault(node, set()).update(changed)
            revalue(live, node, changed)
        self.pending, self.labels, self.changed, self._fresh = {}, {}, {}, set()

    def _insert(self, name: str, found: Pending) -> None:
        live, rows = self.live, self.live.rows[name]
        relation = live.relations[name]
        sources, edge_ids = np.array(found.sources, np.int32), np.array(found.rows, np.int32)
        times = np.maximum(np.array(found.times, np.int64), live.time(relation.source)[sources])
        if len(rows.time) == 0 and bool((times != ALWAYS).any()):
            # without times in the snapshot there is no telling past from future: these wait for the next one
            self.dropped += len(times)
            return
        values = values_of(live, name, sources, edge_ids)
        rows.insert(np.array(found.targets, np.int64), sources, edge_ids, times, values)
        self.touched.setdefault(relation.target, set()).update(found.targets)
