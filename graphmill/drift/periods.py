"""Which stretches of time are compared: the newest one, and those that a model looks back on."""

from typing import Any

import numpy as np

from graphmill.clock import ALWAYS, duration, moment
from graphmill.drift.source import Period, Source
from graphmill.graph.store import Graph
from graphmill.task import TemporalSplit

MOST = 30
ENOUGH = 12


def newest_period(until: int, reference: dict[str, Any]) -> Period:
    """The period that ends at a moment, the graph's as-of moment for one; everything for data without time."""
    return Period(until - reference["period"] if reference["timed"] else ALWAYS, until)


def past_periods(source: Source, reference: dict[str, Any]) -> list[Period]:
    """Whole periods counted back from the end, as far as there is data, oldest first."""
    end, length = reference["until"], reference["period"]
    if not reference["timed"]:
        return [Period(ALWAYS, end)]
    count = min(MOST, max(0, (end - _first(source)) // length))
    return [Period(end - (back + 1) * length, end - back * length) for back in reversed(range(count))]


def default_period(source: Source) -> int:
    """A twelfth of the training time: in whole weeks where it has one, else in whole days.

    So there are twelve past periods or more, which is what p-values need; whole weeks keep the weekday out of it.
    """
    end = train_end(source.graph)
    if end is None:
        return 0
    length = end - _first(source)
    period = max(1, length // ENOUGH)
    if source.graph.clock == "timestamp":
        day = duration("1d", "timestamp")
        unit = 7 * day if period >= 7 * day else day if period >= day else 1
        period = period // unit * unit
    return period


def _first(source: Source) -> int:
    """When the data begins: the day of the task's first event or, for entities, of the first edge."""
    if source.graph.judges_events:
        times = source.examples["time"].to_numpy(np.int64)
    else:
        forward = [source.graph.relations[relation.name] for relation in source.relations]
        found = [adjacency.time for adjacency in forward if adjacency.time is not None]
        times = np.concatenate([np.asarray(time) for time in found]) if found else np.empty(0, np.int64)
    times = times[times != ALWAYS]
    first = int(times.min()) if len(times) else source.graph.as_of
    unit = duration("1d", "timestamp") if source.graph.clock == "timestamp" else 1
    return first // unit * unit


def train_end(graph: Graph) -> int | None:
    """The end of the training part; None for data without time."""
    split = graph.task.split
    if isinstance(split, TemporalSplit):
        return moment(split.train_end, graph.clock, "task.split.train_end", graph.as_of)
    return None


def default_until(graph: Graph) -> int:
    """Up to when a new model knows the past: the end of its validation part; for data without time everything."""
    split = graph.task.split
    if isinstance(split, TemporalSplit):
        return moment(split.validation_end, graph.clock, "task.split.validation_end", graph.as_of)
    return graph.as_of
