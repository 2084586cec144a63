"""Events as the log keeps them, onto a graph: all of them, or those that a snapshot lacks."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from graphmill.serving.event import EVENTS
from graphmill.serving.live.change import Change, Event
from graphmill.serving.live.contained import contained
from graphmill.serving.live.store import Live

BATCH = 4_096


def apply(live: Live, events: Sequence[dict[str, Any]]) -> Change:
    """Apply events in their order; what changed is told by what is returned.

    Raises:
        UserError: when there is no room for them.
    """
    change = Change(live)
    change.apply(EVENTS.validate_python(events))
    return change


def replay(live: Live, events: Iterable[tuple[int, dict[str, Any]]], all_of_them: bool) -> tuple[int, int]:
    """Bring a graph that was just opened up to the end of the log.

    Args:
        live: the graph.
        events: offsets and events, in order.
        all_of_them: whether the graph was compacted from this log up to the first of them; else those that it
            contains are left out.

    Returns:
        How many were applied, and the newest moment among them.
    """
    applied, newest = 0, -(2**63)
    for batch in _batches(events):
        typed: list[Event] = EVENTS.validate_python(batch)
        chosen = typed if all_of_them else [event for event in typed if not contained(live, event)]
        change = Change(live)
        change.apply(chosen)
        applied, newest = applied + len(chosen), max(newest, change.newest)
    return applied, newest


def _batches(events: Iterable[tuple[int, dict[str, Any]]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for _, event in events:
        batch.append(event)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
