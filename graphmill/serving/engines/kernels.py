"""A GraphSAGE network forward in one call into compiled code: encoders, layers, head, over what was gathered."""

from typing import Any

import numpy as np
from numba import njit

EPSILON = np.float32(1e-5)
"""Of torch's layer normalisation."""
WEIGHT, BIAS, DENSE, TABLE, TABLES = range(5)
"""Columns of the table of encoders: where weights and bias stand, dense inputs, first embedding table, their number."""
START, COLUMNS, INPUT = range(3)
"""Columns of the table of embedding tables: where it stands, its width, its first input."""
OWN, OWN_BIAS, SCALE, SHIFT = range(4)
"""Columns of a layer's table of types: the own projection, its bias, the norm's weight and bias."""
NEIGHBOURS, EDGES = range(2)
"""Columns of a layer's table of relations: the projection of means, and of means of edge inputs; -1 for none."""


@njit(cache=True, nogil=True)
def multiply(rows: Any, weights: Any, out: Any) -> None:
    """Add ``rows @ weights`` to ``out``: eight inputs at a time, outputs in vector registers."""
    inputs, outputs = weights.shape
    for i in range(len(rows)):
        a = 0
        while a + 8 <= inputs:
            for j in range(outputs):
                out[i, j] += (
                    (rows[i, a] * weights[a, j] + rows[i, a + 1] * weights[a + 1, j])
                    + (rows[i, a + 2] * weights[a + 2, j] + rows[i, a + 3] * weights[a + 3, j])
                ) + (
                    (rows[i, a + 4] * weights[a + 4, j] + rows[i, a + 5] * weights[a + 5, j])
                    + (rows[i, a + 6] * weights[a + 6, j] + rows[i, a + 7] * weights[a + 7, j])
                )
            a += 8
        while a < inputs:
            for j in range(outputs):
                out[i, j] += rows[i, a] * weights[a, j]
            a += 1


@njit(cache=True, nogil=True)
def multiply_means(rows: Any, row: Any, pointer: Any, weights: Any, mean: Any, out: Any) -> None:
    """Add the projected mean of each target's source rows to ``out``; ``mean`` ``[1, width]`` is scratch."""
    for target in range(len(pointer) - 1):
        first, last = pointer[target], pointer[target + 1]
        if first == last:
            continue
        mean[:] = 0
        for edge in range(first, last):
            source = row[edge] if len(row) else edge
            for column in range(rows.shape[1]):
                mean[0, column] += rows[source, column]
        share = np.float32(1.0) / np.float32(last - first)
        for column in range(rows.shape[1]):
            mean[0, column] *= share
        multiply(mean, weights, out[target : target + 1])


@njit(cache=True, nogil=True)
def forward(
    counts: Any, dense_at: Any, codes_at: Any, steps: Any, blocks: Any, ends: Any, widths: Any, edge_widths: Any,
    narrow: Any, dense: Any, codes: Any, edge_inputs: Any, numbers: Any, encoders: Any, tables: Any, types: Any,
    relations: Any, hidden: int, ready: Any, now: Any, then: Any,
) -> Any:  # fmt: skip
    """Hidden rows of the seeds after all layers given, in one of the two workspaces.

    What comes before ``numbers`` is as in ``Gathered``. Then: float32, all weights, matrices as inputs by outputs;
    int64 ``[types, 5]``, ``[embedding tables, 3]``, ``[layers, types, 4]`` and ``[layers, relations, 2]``: where they
    stand; the width of every layer; float32 ``[layers - 1, rows at depth 1, hidden]``: the hidden rows there after
    each layer, so that the batch ends there, or nothing; two float32 workspaces ``[rows of all frontiers, hidden]``.
    """
    place = np.zeros(counts.shape, np.int64)
    used = near = 0
    for depth in range(counts.shape[0]):
        if depth == 1:
            near = used
        for kind in range(counts.shape[1]):
            count = counts[depth, kind]
            place[depth, kind] = used
            if count <= 0:
                continue
            width, coded = widths[kind]
            rows = dense[dense_at[depth, kind] : dense_at[depth, kind] + count * width].reshape(count, width)
            told = codes[codes_at[depth, kind] : codes_at[depth, kind] + count * coded].reshape(count, coded)
            _encode(rows, told, encoders[kind], tables, numbers, hidden, now[used : used + count])
            used += count
    scratch = np.empty((1, max(hidden, 1 + edge_widths.max() if len(edge_widths) else 1)), np.float32)
    for layer in range(len(types)):
        for depth in range(1 if len(ready) else counts.shape[0] - 1 - layer):
            for kind in range(counts.shape[1]):
                if counts[depth, kind] > 0:
                    _step(layer, depth, kind, counts, steps, blocks, ends, edge_widths, narrow, edge_inputs, numbers,
                          types, relations, hidden, place, scratch, now, then)  # fmt: skip
        now, then = then, now
        if layer < len(ready):
            now[near:used] = ready[layer]
    return now


@njit(cache=True, nogil=True)
def _matrix(numbers: Any, start: int, inputs: int, outputs: int) -> Any:
    return numbers[start : start + inputs * outputs].reshape(inputs, outputs)


@njit(cache=True, nogil=True)
def _encode(rows: Any, codes: Any, encoder: Any, tables: Any, numbers: Any, hidden: int, out: Any) -> None:
    bias = numbers[encoder[BIAS] : encoder[BIAS] + hidden]
    for i in range(len(out)):
        out[i] = bias
    multiply(rows, _matrix(numbers, encoder[WEIGHT], encoder[DENSE], hidden), out)
    for code in range(encoder[TABLES]):
        table = tables[encoder[TABLE] + code]
        width = table[COLUMNS]
        weights = _matrix(numbers, encoder[WEIGHT] + table[INPUT] * hidden, width, hidden)
        for i in range(len(out)):
            embedded = _matrix(numbers, table[START] + codes[i, code] * width, 1, width)
            multiply(embedded, weights, out[i : i + 1])
    for i in range(len(out)):
        for j in range(hidden):
            out[i, j] = max(out[i, j], np.float32(0))


@njit(cache=True, nogil=True)
def _step(
    layer: int, depth: int, kind: int, counts: Any, steps: Any, blocks: Any, ends: Any, edge_widths: Any, narrow: Any,
    edge_inputs: Any, numbers: Any, types: Any, relations: Any, hidden: int, place: Any, scratch: Any, now: Any,
    then: Any,
) -> None:  # fmt: skip
    """One layer for the nodes of one type at one depth."""
    count, own = counts[depth, kind], types[layer, kind]
    rows = now[place[depth, kind] : place[depth, kind] + count]
    out = then[place[depth, kind] : place[depth, kind] + count]
    bias = numbers[own[OWN_BIAS] : own[OWN_BIAS] + hidden]
    for i in range(count):
        out[i] = bias
    multiply(rows, _matrix(numbers, own[OWN], hidden, hidden), out)
    for step in range(len(steps)):
        relation = steps[step, 1]
        if steps[step, 0] != depth or ends[relation, 1] != kind:
            continue
        first, begin, edges, at = blocks[step]
        pointer, row = narrow[first : first + count + 1], narrow[begin : begin + edges]
        weights = relations[layer, relation]
        if weights[NEIGHBOURS] >= 0:
            source = place[depth + 1, ends[relation, 0]]
            sent = now[source : source + max(counts[depth + 1, ends[relation, 0]], 0)]
            multiply_means(sent, row, pointer, _matrix(numbers, weights[NEIGHBOURS], hidden, hidden),
                           scratch[:, :hidden], out)  # fmt: skip
        if weights[EDGES] >= 0:
            width = edge_widths[relation]
            inputs = edge_inputs[at : at + edges * width].reshape(edges, width)
            multiply_means(inputs, row[:0], pointer, _matrix(numbers, weights[EDGES], width, hidden),
                           scratch[:, :width], out)  # fmt: skip
    _finish(rows, numbers[own[SCALE] : own[SCALE] + hidden], numbers[own[SHIFT] : own[SHIFT] + hidden], out)


@njit(cache=True, nogil=True)
def _finish(rows: Any, scale: Any, shift: Any, out: Any) -> None:
    """Normalise, keep what is above 0, and add what was there before."""
    count, hidden = out.shape
    for i in range(count):
        mean = np.float32(0)
        for j in range(hidden):
            mean += out[i, j]
        mean /= np.float32(hidden)
        spread = np.float32(0)
        for j in range(hidden):
            spread += (out[i, j] - mean) * (out[i, j] - mean)
        share = np.float32(1) / np.sqrt(spread / np.float32(hidden) + EPSILON)
        for j in range(hidden):
            out[i, j] = rows[i, j] + max((out[i, j] - mean) * share * scale[j] + shift[j], np.float32(0))
