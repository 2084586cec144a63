"""A GraphSAGE network forward in one call into compiled code: encoders, layers, head, over what was gathered."""

from typing import Any

import numpy as np
from numba import njit

from graphmill.graph.mean import means
from graphmill.serving.engines.tile import HEIGHT, LANES, single, tall, wide

EPSILON = np.float32(1e-5)
"""Of torch's layer normalisation."""
WEIGHT, BIAS, DENSE, TABLE, TABLES = range(5)
"""Columns of the table of encoders: where weights and bias stand, dense inputs, first embedding table, their number."""
OWN, OWN_BIAS, SCALE, SHIFT = range(4)
"""Columns of a layer's table of types: the own projection, its bias, the norm's weight and bias."""
NEIGHBOURS, EDGES = range(2)
"""Columns of a layer's table of relations: the projection of means, and of means of edge inputs; -1 for none."""
MEANS = 48
"""Means that are taken before they are projected: enough for tall tiles, and still in the nearest cache."""


@njit(cache=True, nogil=True)
def multiply(rows: Any, weights: Any, out: Any) -> None:
    """Add ``rows @ weights`` to ``out``; columns come in whole panels."""
    count, outputs, i = len(rows), weights.shape[1], 0
    while i + HEIGHT <= count:
        for j in range(0, outputs, LANES):
            tall(rows, i, weights, j, out)
        i += HEIGHT
    for rest in range(i, count):
        j = 0
        while j + 4 * LANES <= outputs:
            wide(rows, rest, weights, j, out)
            j += 4 * LANES
        for last in range(j, outputs, LANES):
            single(rows, rest, weights, last, out)


@njit(cache=True, nogil=True)
def multiply_means(rows: Any, row: Any, pointer: Any, weights: Any, scratch: Any, out: Any) -> None:
    """Add the projected mean of each target's source rows to ``out``; ``row`` as in ``means``."""
    width, targets = rows.shape[1], len(pointer) - 1
    for first in range(0, targets, MEANS):
        last = min(first + MEANS, targets)
        if pointer[first] < pointer[last]:
            mean = scratch[: (last - first) * width].reshape(last - first, width)
            means(rows, row, pointer[first : last + 1], 0.0, mean)
            multiply(mean, weights, out[first:last])


@njit(cache=True, nogil=True)
def forward(
    counts: Any, dense_at: Any, codes_at: Any, steps: Any, blocks: Any, ends: Any, widths: Any, edge_widths: Any,
    narrow: Any, dense: Any, codes: Any, edge_inputs: Any, numbers: Any, encoders: Any, tables: Any, types: Any,
    relations: Any, hidden: int, ready: Any, now: Any, then: Any, scratch: Any,
) -> Any:  # fmt: skip
    """Hidden rows of the seeds after all layers given, in one of the two workspaces.

    What comes before ``numbers`` is as in ``Gathered``. Then: float32, all weights, matrices as inputs by outputs, the
    outputs in whole panels; int64 ``[types, 5]``, ``[embedding tables]``, ``[layers, types, 4]`` and
    ``[layers, relations, 2]``: where they stand; the width of every layer; float32 ``[layers - 1, rows at depth 1,
    hidden]``: the hidden rows there after each layer, so that the batch ends there, or nothing; two float32 workspaces
    ``[rows of all frontiers, width in whole panels]``; float32 scratch for the means.
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
            _encode(rows, told, encoders[kind], tables, numbers, now[used : used + count])
            used += count
    for layer in range(len(types)):
        for depth in range(1 if len(ready) else counts.shape[0] - 1 - layer):
            for kind in range(counts.shape[1]):
                if counts[depth, kind] > 0:
                    _step(layer, depth, kind, counts, steps, blocks, ends, edge_widths, narrow, edge_inputs, numbers,
                          types, relations, hidden, place, scratch, now, then)  # fmt: skip
        now, then = then, now
        if layer < len(ready):
            now[near:used, :hidden] = ready[layer]
    return now


@njit(cache=True, nogil=True)
def _matrix(numbers: Any, start: int, inputs: int, outputs: int) -> Any:
    return numbers[start : start + inputs * outputs].reshape(inputs, outputs)


@njit(cache=True, nogil=True)
def _encode(rows: Any, codes: Any, encoder: Any, tables: Any, numbers: Any, out: Any) -> None:
    width = out.shape[1]
    bias = numbers[encoder[BIAS] : encoder[BIAS] + width]
    for i in range(len(out)):
        out[i] = bias
    multiply(rows, _matrix(numbers, encoder[WEIGHT], encoder[DENSE], width), out)
    for i in range(len(out)):
        for code in range(encoder[TABLES]):
            start = tables[encoder[TABLE] + code] + codes[i, code] * width
            for j in range(width):
                out[i, j] += numbers[start + j]
        for j in range(width):
            out[i, j] = max(out[i, j], np.float32(0))


@njit(cache=True, nogil=True)
def _step(
    layer: int, depth: int, kind: int, counts: Any, steps: Any, blocks: Any, ends: Any, edge_widths: Any, narrow: Any,
    edge_inputs: Any, numbers: Any, types: Any, relations: Any, hidden: int, place: Any, scratch: Any, now: Any,
    then: Any,
) -> None:  # fmt: skip
    """One layer for the nodes of one type at one depth."""
    count, own, width = counts[depth, kind], types[layer, kind], now.shape[1]
    rows = now[place[depth, kind] : place[depth, kind] + count]
    out = then[place[depth, kind] : place[depth, kind] + count]
    bias = numbers[own[OWN_BIAS] : own[OWN_BIAS] + width]
    for i in range(count):
        out[i] = bias
    multiply(rows, _matrix(numbers, own[OWN], hidden, width), out)
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
            multiply_means(sent, row, pointer, _matrix(numbers, weights[NEIGHBOURS], hidden, width), scratch, out)
        if weights[EDGES] >= 0:
            some = edge_widths[relation]
            inputs = edge_inputs[at : at + edges * some].reshape(edges, some)
            multiply_means(inputs, row[:0], pointer, _matrix(numbers, weights[EDGES], some, width), scratch, out)
    _finish(rows, numbers[own[SCALE] : own[SCALE] + hidden], numbers[own[SHIFT] : own[SHIFT] + hidden], out)


@njit(cache=True, nogil=True, fastmath={"reassoc", "nsz", "contract"})
def _finish(rows: Any, scale: Any, shift: Any, out: Any) -> None:
    """Normalise, keep what is above 0, and add what was there before."""
    hidden = len(scale)
    for i in range(len(out)):
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


@njit(cache=True, nogil=True, fastmath={"reassoc", "nsz", "contract"})
def judge(rows: Any, head: Any, bias: float, out: Any) -> None:
    """Raw scores float64 ``[n]`` of the first hidden rows: each for itself, in a batch as alone."""
    for i in range(len(out)):
        total = bias
        for j in range(len(head)):
            total += np.float64(rows[i, j]) * head[j]
        out[i] = total
