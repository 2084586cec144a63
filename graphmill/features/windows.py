"""Point-in-time windows: aggregates over a node's edges in ``[t - size, t)``, for any node and moment.

Prefix sums along each time-sorted adjacency row make every aggregate the difference of two look-ups, so
training, batch scoring and the online predictor compute them with the same kernel.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Default
from pydantic import field_validator

from graphmill.clock import Clock, duration
from graphmill.errors import UserError
from graphmill.features.lookup import DEVIATION, DIRECT, FOREVER, MEAN, SUM, aggregate
from graphmill.features.sums import Sums
from graphmill.graph.adjacency import Adjacency
from graphmill.params import Section
from graphmill.task import whole

Aggregate = Literal["sum", "mean", "deviation"]
EVER = "ever"
KINDS = {"sum": SUM, "mean": MEAN, "deviation": DEVIATION}
NO_SUMS = Sums(np.empty((0, 0), np.float32), np.empty((0, 0)))


class Window(Section):
    """Aggregates over the edges of one relation into a node."""

    over: str
    """The relation, ``payment.account_id.account``: payments, for each account."""
    sizes: list[str | int] = Default(default=[EVER], min_length=1)
    """Lengths of the windows, ``7d``; ``ever`` reaches back to the beginning."""
    count: bool = True
    """Whether the edges are counted."""
    since_last: bool = True
    """Whether the time since the newest edge is given (relations with a time)."""
    columns: dict[str, list[Aggregate]] = Default(default_factory=dict)
    """Numeric or boolean columns of the edges, or of the rows they come from, and their aggregates."""
    known_label: bool = False
    """Whether the share and number of labels known by then are given."""

    _whole = field_validator("sizes", mode="before")(whole)

    @field_validator("sizes")
    @classmethod
    def _once(cls, value: list[str | int]) -> list[str | int]:
        if len(set(value)) < len(value):
            raise ValueError("each size once")
        return value

    def lengths(self, clock: Clock) -> list[int]:
        """Window lengths in clock units, the largest integer for ``ever``.

        Raises:
            UserError: for a length that is no time.
        """
        name = f"features.windows {self.over} sizes"
        found = [FOREVER if size == EVER else duration(size, clock, name) for size in self.sizes]
        if min(found) <= 0:
            raise UserError(f"{name}: a window must be longer than nothing")
        return found

    def names(self) -> list[str]:
        """Names of the values that ``lookup`` returns, in order."""
        found = []
        for size in self.sizes:
            found += [f"{self.over}.count.{size}"] if self.count else []
            for column, aggregates in self.columns.items():
                found += [f"{self.over}.{column}.{aggregate}.{size}" for aggregate in aggregates]
        return found + ([f"{self.over}.since_last"] if self.since_last else [])

    def label_names(self) -> list[str]:
        """Names of the values over known labels, in order."""
        if not self.known_label:
            return []
        return [f"{self.over}.label.{kind}.{size}" for size in self.sizes for kind in ("mean", "count")]


def lookup(
    window: Window, adjacency: Adjacency, sums: Sums | None, nodes: Any, times: Any, clock: Clock, day: int,
    direct: int = DIRECT,
) -> NDArray[np.float32]:  # fmt: skip
    """The window's values for each (node, time): float32 ``[n, len(window.names())]``.

    Sums and counts of nothing are 0; means, deviations and times since of nothing are NaN. Times are in days
    (or steps).

    Args:
        window: the window.
        adjacency: its relation.
        sums: values and running sums of its columns; None without columns.
        nodes: int32 ``[n]``.
        times: int64 ``[n]``.
        clock: the schema's clock.
        day: clock units in a day.
        direct: windows of up to so many edges are summed edge by edge.

    Raises:
        UserError: for a size on a relation without time, a node that is not there.
    """
    lengths = window.lengths(clock)
    if adjacency.time is None and any(length != FOREVER for length in lengths):
        raise UserError(f"features.windows: {window.over} has no time, so its only size is {EVER!r}")
    ids, times = check(window.over, len(adjacency.first), nodes, times)
    wanted = [
        [place, KINDS[name], int("deviation" in names)]
        for place, names in enumerate(window.columns.values())
        for name in names
    ]
    out = np.empty((len(ids), len(window.names())), np.float32)
    values, prefix = sums or NO_SUMS
    aggregate(
        (adjacency.first, adjacency.last), adjacency.times(), values, prefix, ids, times, np.array(lengths, np.int64),
        np.array(wanted, np.int64).reshape(len(wanted), 3), window.count, direct, float(day * window.since_last), out,
    )  # fmt: skip
    return out


def label_lookup(
    window: Window, labels: tuple[Any, Any, Sums], nodes: Any, times: Any, clock: Clock, direct: int = DIRECT
) -> NDArray[np.float32]:
    """Mean and count of the labels known in each window: float32 ``[n, 2 * sizes]``.

    Args:
        window: the window.
        labels: (indptr, time a label became known, values and running sums), sorted by that time.
        nodes: int32 ``[n]``.
        times: int64 ``[n]``.
        clock: the schema's clock.
        direct: windows of up to so many labels are summed one by one.
    """
    indptr, known, (values, prefix) = labels
    ids, times = check(window.over, len(indptr) - 1, nodes, times)
    lengths = np.array(window.lengths(clock), np.int64)
    out = np.zeros((len(ids), 2 * len(lengths)), np.float32)
    if len(known) == 0:
        out[:, ::2] = np.nan
        return out
    rows, mean = (indptr[:-1], indptr[1:]), np.array([[0, MEAN, 0]])
    aggregate(rows, known, values, prefix, ids, times, lengths, mean, True, direct, 0.0, out)
    return np.ascontiguousarray(out.reshape(len(ids), len(lengths), 2)[:, :, ::-1].reshape(out.shape))


def check(over: str, count: int, nodes: Any, times: Any) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Nodes and times as the kernel reads them.

    Raises:
        UserError: for a node that is not there.
    """
    ids, moments = np.asarray(nodes), np.asarray(times)
    if ids.shape != moments.shape or (len(ids) and (ids.dtype.kind not in "iu" or moments.dtype.kind not in "iu")):
        raise UserError(f"features.windows {over}: nodes and times must be whole numbers, as many of each")
    if len(ids) and (ids.min() < 0 or ids.max() >= count):
        raise UserError(f"features.windows {over}: node ids must be within 0 and {count - 1:,}")
    return np.array(ids, np.int32), np.array(moments, np.int64)
