"""Stored hidden rows of nodes that a question's node hears from: which may be read when, and their renewal."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graphmill import artifact
from graphmill.clock import ALWAYS
from graphmill.errors import UserError
from graphmill.hidden import files, quantise
from graphmill.model import Model
from graphmill.serving.live.change import Change
from graphmill.serving.live.room import copied, extended
from graphmill.serving.live.store import Live

LOG = logging.getLogger(__name__)
NONE = ALWAYS
"""The moment of a row that is not there: too old for every question."""
TOGETHER = 64
"""Rows computed at once between two requests: a millisecond or two."""
NOTHING = np.empty((0, 0), np.float32)


@dataclass(frozen=True)
class Rows:
    """Hidden rows of the nodes of one type."""

    rows: NDArray[Any]
    """float32 or int8 ``[N + room, layers - 1, width]``"""
    scale: NDArray[np.float32]
    """``[N + room, layers - 1]``, or empty where rows are float32."""
    moment: NDArray[np.int64]
    """``[N + room]``: as of when each row is, or ``NONE``."""
    touched: NDArray[np.int64]
    """``[N + room]``: the newest moment of the events that a row as of then or before would lack."""

    def find(
        self, ids: NDArray[np.int32], times: NDArray[np.int64], age: int, out: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        """Copy what may be read at those times into ``out`` ``[layers - 1, n, width]``; the places of the others."""
        missed = np.empty(len(ids), np.int64)
        return missed[: _find(ids, times, age, self.rows, self.scale, self.moment, out, missed)]

    def keep(self, ids: NDArray[np.int32], times: NDArray[np.int64], found: NDArray[np.float32], now: int) -> None:
        """Keep rows ``[layers - 1, n, width]`` that are newer than what is there, and whole.

        A row of a moment that is yet to come would stand in the way of all that are not; one from before the last
        event that touched its node would lack it.
        """
        newer = np.flatnonzero((times > self.moment[ids]) & (times > self.touched[ids]) & (times <= now))
        chosen, rows = ids[newer], found.transpose(1, 0, 2)[newer]
        if len(self.scale):
            self.rows[chosen], self.scale[chosen] = quantise(rows)
        else:
            self.rows[chosen] = rows
        self.moment[chosen] = times[newer]

    def touch(self, ids: NDArray[np.int64], newest: int) -> None:
        """Forget the rows of nodes that events up to ``newest`` touched."""
        self.moment[ids] = NONE
        self.touched[ids] = np.maximum(self.touched[ids], newest)


class Hidden:
    """Stored rows by node type. Only the thread that changes the live graph may use them.

    Args:
        rows: by node type.
        age: how old a row may be at a question's time, clock units.
    """

    def __init__(self, rows: dict[str, Rows], age: int) -> None:
        self.rows, self.age = rows, age
        self.waiting: dict[str, set[int]] = {node: set() for node in rows}

    def find(
        self, node: str, ids: NDArray[np.int32], times: NDArray[np.int64], out: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        """Copy what may be read into ``out``; the places of what must be computed."""
        rows = self.rows.get(node)
        return np.arange(len(ids)) if rows is None else rows.find(ids, times, self.age, out)

    def keep(
        self, node: str, ids: NDArray[np.int32], times: NDArray[np.int64], found: NDArray[np.float32], now: int
    ) -> None:
        """Keep computed rows as of their times, none after ``now``, where the type is stored at all."""
        if node in self.rows:
            self.rows[node].keep(ids, times, found, now)

    def touch(self, change: Change) -> None:
        """Forget the rows of nodes that a change gave edges or other columns; they wait to be computed again."""
        for node, ids in change.touched.items():
            if node in self.rows and ids:
                self.forget(node, np.fromiter(ids, np.int64, len(ids)), change.newest)

    def forget(self, node: str, ids: NDArray[np.int64], newest: int) -> None:
        """Forget the rows of nodes that events up to ``newest`` touched."""
        self.rows[node].touch(ids, newest)
        self.waiting[node].update(ids.tolist())

    def take(self) -> tuple[str, NDArray[np.int32]] | None:
        """A few nodes of one type that wait for a row, no longer waiting; None where there is none."""
        for node, ids in self.waiting.items():
            if ids:
                return node, np.array([ids.pop() for _ in range(min(len(ids), TOGETHER))], np.int32)
        return None


def open(folder: Path, model: Model, live: Live, base: Path, snapshot: str, newest: int, age: int) -> Hidden | None:
    """The rows that stage `score` wrote, without those of nodes that were touched since.

    Nothing, and a warning, where they are of another model or snapshot than is served: a cache never stands in the
    way of a new snapshot.

    Args:
        folder: the predictions.
        model: what is served.
        live: the graph, brought up to the end of the log.
        base: the snapshot that the stages wrote, from which it came.
        snapshot: its version.
        newest: newest moment of an event applied since.
        age: how old a row may be, clock units.

    Raises:
        UserError: when there are none, or they are altered.
    """
    found = artifact.read(folder, "predictions")
    told = found.manifest.get("hidden")
    if told is None:
        raise UserError(f"{folder}: has no hidden rows; run stage score with score.hidden: float32 or int8")
    for part, given, served in (
        ("model", found.manifest["model"], model.artifact.digest),
        ("snapshot", told["snapshot"], snapshot),
    ):
        if given != served:
            LOG.warning(
                "%s: its hidden rows are of another %s: none is read; run stage score, then reload", folder, part
            )
            return None
    hidden = Hidden({node: _read(folder, live, node, told) for node in told["nodes"]}, age)
    for node in hidden.rows:
        hidden.forget(node, _different(live, base, node), newest)
    return hidden


def _read(folder: Path, live: Live, node: str, told: dict[str, Any]) -> Rows:
    values, scale = files(folder, node)
    count = len(np.load(values, mmap_mode="r"))
    more = live.room(node) - count
    there = live.time(node)[:count] < told["moment"]
    return Rows(
        extended(values, more),
        extended(scale, more) if told["kind"] == "int8" else NOTHING,
        _filled(np.where(there, told["moment"], NONE), more),
        _filled(np.full(count, ALWAYS), more),
    )


def _filled(array: NDArray[np.int64], more: int) -> NDArray[np.int64]:
    found = copied(array, more)
    found[len(array) :] = NONE
    return found


def _different(live: Live, base: Path, node: str) -> NDArray[np.int64]:
    """Nodes that have more edges or other columns than in the stages' snapshot, or came after it: edges never go."""
    before = np.load(base / "features" / "nodes" / f"{node}.npy", mmap_mode="r")
    now = live.matrix(f"nodes/{node}")[: len(before)]
    different = ((now != before) & ~(np.isnan(now) & np.isnan(before))).any(axis=1)
    for name in live.into[node]:
        edges, rows = np.diff(np.load(base / "graph" / name / "indptr.npy", mmap_mode="r")), live.rows[name]
        different |= rows.last[: len(edges)] - rows.first[: len(edges)] != edges
    return np.concatenate([np.flatnonzero(different), np.arange(len(before), live.count(node))])


@njit(cache=True, nogil=True)
def _find(ids: Any, times: Any, age: int, rows: Any, scale: Any, moment: Any, out: Any, missed: Any) -> int:
    count = 0
    for place in range(len(ids)):
        node, time = ids[place], times[place]
        if moment[node] > time or moment[node] < time - age:
            missed[count] = place
            count += 1
            continue
        for layer in range(rows.shape[1]):
            share = scale[node, layer] if len(scale) else np.float32(1)
            for column in range(rows.shape[2]):
                out[layer, place, column] = np.float32(rows[node, layer, column]) * share
    return count
