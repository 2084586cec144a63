"""Encoding everything that was sampled in one call into compiled code, by the kernels that training uses."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import carray, njit
from numpy.typing import NDArray

from graphmill.clock import ALWAYS, day
from graphmill.features.encode import encode
from graphmill.features.inputs import AGE_SCALE, Inputs
from graphmill.features.state import evaluate
from graphmill.features.transforms import LIMIT, Encoder
from graphmill.graph.hops import COUNT, DRAWN, ENDLESS, IDS, POINTER, POSITION, ROW, TARGET, TIMES
from graphmill.graph.prefetch import pointer_to

PARTS, PARTS_END, LANDMARKS, LANDMARKS_END, RECODE, RECODE_END, WIDTH, EMBEDDED, RAW, COLUMNS, ROWS = range(11)
"""Columns of the table of encoders: where its parts, landmarks and codes stand in their lists, its inputs, and its raw
matrix by address, columns and rows."""
STATE, STATE_END, STATE_WIDTH, LENGTHS, WANTED = range(5)
"""Columns of the table of states: where its parts, window lengths and aggregates stand in their lists."""
EDGE_ID, TIME, ENCODED = range(3)
"""Columns of the table of relations: addresses, and whether its edges have an encoder."""


@dataclass(frozen=True)
class Tables:
    """What the kernel reads, by type and relation in the graph's order; the arrays are kept alive by the inputs."""

    encoders: NDArray[np.int64]
    """``[2 * types + relations, 11]``: columns of types, states of types, edges of relations."""
    parts: NDArray[np.int64]
    numbers: NDArray[np.float64]
    landmarks: NDArray[np.float64]
    recode: NDArray[np.int64]
    states: NDArray[np.int64]
    """``[types, 5]``"""
    state_parts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    wanted: NDArray[np.int64]
    relations: NDArray[np.int64]
    """``[relations, 3]``"""
    widths: NDArray[np.int64]
    """``[types, 2]``: dense inputs and codes of a row."""
    edge_widths: NDArray[np.int64]
    """``[relations]``: inputs of an edge."""
    day: float
    arrays: list[Any]

    @classmethod
    def of(cls, inputs: Inputs) -> "Tables":
        """The tables of everything that a model sees of a graph."""
        graph, features = inputs.graph, inputs.features
        types, relations = list(graph.nodes), list(graph.relations)
        programs = [features.state_program(graph, node) for node in types]
        lists = _Lists()
        for node in types:
            lists.encoder(inputs.nodes.get(node, Encoder([], [])), features.nodes[node])
        for node, program in zip(types, programs, strict=True):
            lists.encoder(inputs.state.get(node, Encoder([], [])), np.empty((0, program.width), np.float32))
        for name in relations:
            edge = inputs.relation[name].edge
            raw = features.edges[edge] if edge else np.empty((0, 0), np.float32)
            lists.encoder(inputs.edges[edge] if edge else Encoder([], []), raw)
        states = np.zeros((len(types), 5), np.int64)
        for place, program in enumerate(programs):
            before = programs[:place]
            states[place] = [
                sum(len(item.parts) for item in before), sum(len(item.parts) for item in programs[: place + 1]),
                program.width, sum(len(item.lengths) for item in before), sum(len(item.wanted) for item in before),
            ]  # fmt: skip
        places = []
        for name in relations:
            adjacency = graph.relations[name]
            addresses = [_address(lists.arrays, item) for item in (adjacency.edge_id, adjacency.times())]
            places.append([*addresses, int(inputs.relation[name].edge is not None)])
        encoders, parts, numbers, landmarks, recode = lists.finished()
        return cls(
            encoders, parts, numbers, landmarks, recode, states, np.concatenate([item.parts for item in programs]),
            np.concatenate([item.lengths for item in programs]), np.concatenate([item.wanted for item in programs]),
            np.array(places, np.int64).reshape(len(relations), 3),
            np.array([_widths(inputs, node) for node in types], np.int64),
            np.array([len(inputs.edge_names(name)) for name in relations], np.int64),
            float(day(graph.clock)), lists.arrays,
        )  # fmt: skip


def _widths(inputs: Inputs, node: str) -> tuple[int, int]:
    """Dense inputs and codes of a type: none of one that came after the model, which no relation of its leads to."""
    return (len(inputs.names(node)), len(inputs.embedded(node))) if node in inputs.nodes else (0, 0)


class _Lists:
    """The encoders' tables, one after the other."""

    def __init__(self) -> None:
        self.encoders: list[list[int]] = []
        self.parts: list[Any] = [np.empty((0, 7), np.int64)]
        self.numbers: list[Any] = [np.empty((0, 3))]
        self.landmarks: list[Any] = [np.empty(0)]
        self.recode: list[Any] = [np.empty(0, np.int64)]
        self.arrays: list[Any] = []

    def encoder(self, encoder: Encoder, raw: Any) -> None:
        row = []
        lists = (self.parts, self.landmarks, self.recode)
        parts, numbers, landmarks, recode = encoder.tables
        for kept, added in zip(lists, (parts, landmarks, recode), strict=True):
            before = sum(len(item) for item in kept)
            row += [before, before + len(added)]
            kept.append(added)
        self.numbers.append(numbers)
        address = _address(self.arrays, raw)
        self.encoders.append([*row, len(encoder.names), len(encoder.embedded), address, raw.shape[1], raw.shape[0]])

    def finished(self) -> tuple[Any, ...]:
        joined = (np.concatenate(item) for item in (self.parts, self.numbers, self.landmarks, self.recode))
        return np.array(self.encoders, np.int64), *joined


def _address(arrays: list[Any], array: Any) -> int:
    kept = np.ascontiguousarray(array)
    arrays.append(kept)
    return int(kept.ctypes.data) if kept.size else 0


@njit(cache=True, nogil=True)
def place(
    frontiers: Any, blocks: Any, steps: Any, widths: Any, states: Any, edge_widths: Any, counts: Any, dense_at: Any,
    codes_at: Any, found: Any, used: Any,
) -> None:  # fmt: skip
    """How many rows each frontier has, and where they and the inputs of each block will stand, as ``Gathered`` tells.

    ``used`` int64 ``[4]`` tells how much that takes: of dense inputs, codes, inputs of edges, and scratch.
    """
    used[:] = 0
    for depth in range(frontiers.shape[0]):
        for kind in range(frontiers.shape[1]):
            counts[depth, kind] = frontiers[depth, kind, COUNT]
            count = max(frontiers[depth, kind, COUNT], 0)
            dense_at[depth, kind], codes_at[depth, kind] = used[0], used[1]
            used[0] += count * widths[kind, 0]
            used[1] += count * widths[kind, 1]
            used[3] = max(used[3], count * states[kind, STATE_WIDTH])
    for step in range(len(steps)):
        found[step, 0], found[step, 1] = blocks[step, POINTER], blocks[step, ROW]
        found[step, 2], found[step, 3] = blocks[step, DRAWN], used[2]
        used[2] += blocks[step, DRAWN] * edge_widths[steps[step, 1]]


@njit(cache=True, nogil=True)
def gather_nodes(
    frontiers: Any, narrow: Any, wide: Any, encoders: Any, parts: Any, numbers: Any, landmarks: Any, recode: Any,
    states: Any, state_parts: Any, lengths: Any, wanted: Any, widths: Any, day: float, dense: Any, dense_at: Any,
    codes: Any, codes_at: Any, scratch: Any,
) -> None:  # fmt: skip
    """Encoded rows of every frontier: columns, then state as of each row's time.

    ``scratch`` holds the state of the largest frontier before it is encoded. It is the caller's: the encoder reads it
    by its address, and memory of our own could be given back before that.
    """
    types = frontiers.shape[1]
    for depth in range(frontiers.shape[0]):
        for kind in range(types):
            count = frontiers[depth, kind, COUNT]
            if count <= 0:
                continue
            ids = narrow[frontiers[depth, kind, IDS] : frontiers[depth, kind, IDS] + count]
            times = wide[frontiers[depth, kind, TIMES] : frontiers[depth, kind, TIMES] + count]
            width, coded = widths[kind]
            rows = dense[dense_at[depth, kind] : dense_at[depth, kind] + count * width].reshape(count, width)
            rows[:] = 0
            told = codes[codes_at[depth, kind] : codes_at[depth, kind] + count * coded].reshape(count, coded)
            own = encoders[kind]
            _encode(own, own[RAW], own[ROWS], ids, parts, numbers, landmarks, recode, rows, 0, told)
            state = states[kind]
            if state[STATE_WIDTH] > 0:
                raw = scratch[: count * state[STATE_WIDTH]].reshape(count, state[STATE_WIDTH])
                chosen = state_parts[state[STATE] : state[STATE_END]]
                evaluate(chosen, lengths[state[LENGTHS] :], wanted[state[WANTED] :], day, ids, times, raw)
                places = np.arange(count).astype(np.int32)
                _encode(encoders[types + kind], scratch.ctypes.data, count, places, parts, numbers, landmarks, recode,
                        rows, own[WIDTH], told[:, :0])  # fmt: skip


@njit(cache=True, nogil=True)
def _encode(
    encoder: Any, address: int, count: int, ids: Any, parts: Any, numbers: Any, landmarks: Any, recode: Any,
    rows: Any, first: int, codes: Any,
) -> None:  # fmt: skip
    begin, end = encoder[PARTS], encoder[PARTS_END]
    marks = landmarks[encoder[LANDMARKS] : encoder[LANDMARKS_END]]
    table = recode[encoder[RECODE] : encoder[RECODE_END]]
    shape = (count, encoder[COLUMNS])
    encode(address, shape, ids, parts[begin:end], numbers[begin:end], marks, table, LIMIT, rows, first, codes)


@njit(cache=True, nogil=True)
def gather_edges(
    frontiers: Any, blocks: Any, steps: Any, ends: Any, narrow: Any, wide: Any, encoders: Any, parts: Any,
    numbers: Any, landmarks: Any, recode: Any, relations: Any, edge_widths: Any, day: float, out: Any, found: Any,
) -> None:  # fmt: skip
    """Encoded edges of every block: their columns, then their age."""
    types = frontiers.shape[1]
    for step in range(len(steps)):
        depth, relation = steps[step]
        count, width = blocks[step, DRAWN], edge_widths[relation]
        if count == 0 or width == 0:
            continue
        position = wide[blocks[step, POSITION] : blocks[step, POSITION] + count]
        rows = out[found[step, 3] : found[step, 3] + count * width].reshape(count, width)
        encoder = encoders[2 * types + relation]
        if relations[relation, ENCODED]:
            edge_id = carray(pointer_to(relations[relation, EDGE_ID]), (ENDLESS,), np.int32)
            ids = np.empty(count, np.int32)
            for edge in range(count):
                ids[edge] = edge_id[position[edge]]
            rows[:] = 0
            codes = np.empty((count, encoder[EMBEDDED]), np.int64)
            _encode(encoder, encoder[RAW], encoder[ROWS], ids, parts, numbers, landmarks, recode, rows, 0, codes)
        if width > encoder[WIDTH]:
            target = frontiers[depth, ends[relation, TARGET]]
            pointer = narrow[found[step, 0] : found[step, 0] + target[COUNT] + 1]
            times = wide[target[TIMES] : target[TIMES] + target[COUNT]]
            _age(carray(pointer_to(relations[relation, TIME]), (ENDLESS,), np.int64), position, pointer, times, day,
                 rows[:, encoder[WIDTH]])  # fmt: skip


@njit(cache=True, nogil=True)
def _age(time: Any, position: Any, pointer: Any, times: Any, day: float, out: Any) -> None:
    for target in range(len(times)):
        for edge in range(pointer[target], pointer[target + 1]):
            when = time[position[edge]]
            passed = np.float64(times[target] - when) / day if when != ALWAYS else 0.0
            out[edge] = np.log1p(max(passed, 0.0)) / AGE_SCALE
