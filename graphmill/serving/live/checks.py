"""Which events are refused at the door: those that are wrong whatever else may come."""

from collections.abc import Collection
from typing import Any

from graphmill.clock import moment
from graphmill.errors import UserError
from graphmill.serving.event import EdgeEvent, LabelEvent, NodeEvent
from graphmill.serving.live.store import Live


def check(live: Live, event: NodeEvent | EdgeEvent | LabelEvent, before: Collection[tuple[str, str]] = ()) -> None:
    """Refuse what the schema does not know.

    Args:
        live: the graph.
        event: what is to be applied to it.
        before: type and key of nodes that will be there by then.

    Raises:
        UserError: saying what is wrong with the event.
    """
    if isinstance(event, NodeEvent):
        _check_node(live, event, before)
    elif isinstance(event, EdgeEvent):
        _check_edge(live, event)
    else:
        _check_label(live, event)


def _check_node(live: Live, event: NodeEvent, before: Collection[tuple[str, str]]) -> None:
    described = _known(live.graph.schema.nodes, event.type, "node type")
    new = live.is_new(event.type, str(event.key)) and (event.type, str(event.key)) not in before
    if event.time is not None:
        moment(event.time, live.graph.clock, "time")
    elif new and described.time is not None:
        raise UserError(f"{event.type}: a new node needs a time")
    live.values[event.type].read(event.columns, whole=new)
    for name in event.links:
        _known(described.links, name, f"link of {event.type}")
    absent = [name for name, link in described.links.items() if link.required and event.links.get(name) is None]
    if new and absent:
        raise UserError(f"{event.type}: link {absent[0]!r} is required")


def _check_edge(live: Live, event: EdgeEvent) -> None:
    described = _known(live.graph.schema.edges, event.type, "edge table")
    if event.time is not None:
        moment(event.time, live.graph.clock, "time")
    elif described.time is not None:
        raise UserError(f"{event.type}: an edge needs a time")
    live.values[event.type].read(event.columns, whole=True)


def _check_label(live: Live, event: LabelEvent) -> None:
    column = live.graph.task.label.known_at
    if column is not None and event.known_at is None:
        raise UserError(f"label: known_at is needed: the schema reads it from column {column!r}")
    if event.known_at is not None:
        moment(event.known_at, live.graph.clock, "known_at")


def _known(names: dict[str, Any], name: str, kind: str) -> Any:
    if name not in names:
        raise UserError(f"no {kind} {name!r}; known: {', '.join(names) or 'none'}")
    return names[name]
