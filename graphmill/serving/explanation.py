"""Which columns and neighbours moved a score: the same forward without each of them, all at once."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from graphmill.features.inputs import Inputs
from graphmill.features.transforms import Encoder
from graphmill.serving.gathered import Engine, Gathered
from graphmill.serving.instance import Reason
from graphmill.serving.live.store import Live
from graphmill.serving.reader import Reader

MOST_NEIGHBOURS = 64
"""Neighbours left out at most, relation by relation."""
TOLD = 10
"""Reasons given at most."""


class Part(NamedTuple):
    """The inputs that one raw column became: places among the dense inputs and the codes."""

    name: str
    dense: list[int]
    codes: list[int]


class Without(NamedTuple):
    """One variant of a neighbourhood: without a column of its seed, or without an edge into it."""

    reason: Reason
    part: Part | None = None
    step: int = -1
    edge: int = -1


class Explainer:
    """Explains a judged node by leaving out one thing at a time (M. Robnik-Šikonja, I. Kononenko, TKDE 20(5), 2008).

    A column is replaced by what stands for a missing value; a neighbour is left out with its edge. An effect is that
    of one thing alone: effects need not add up.

    Args:
        inputs: what the model sees.
        live: the graph, for the names of neighbours.
        reader: what gathered the neighbourhoods.
        engine: the model.
        slope: of the calibration: effects are in calibrated log odds.
    """

    def __init__(self, inputs: Inputs, live: Live, reader: Reader, engine: Engine, slope: float) -> None:
        self._live, self._reader, self._engine, self._slope = live, reader, engine, slope
        node = live.graph.task.node
        columns, state = inputs.nodes[node], inputs.state[node]
        self._kind = reader.types.index(node)
        self._parts = _parts(columns, 0, 0) + _parts(state, len(columns.names), len(columns.embedded))
        raw = inputs.features.nodes[node].shape[1], len(inputs.features.state_names(inputs.graph, node))
        missing = [
            encoder(np.full((1, width), np.nan, np.float32))
            for encoder, width in zip((columns, state), raw, strict=True)
        ]
        self._dense = np.concatenate([dense[0] for dense, _ in missing])
        self._codes = np.concatenate([codes[0] for _, codes in missing])

    def explain(self, batch: Gathered) -> list[Reason]:
        """What moved the score of the one seed that the reader read last, largest first."""
        left_out = [Without(Reason("column", part.name, 0.0), part) for part in self._parts]
        left_out += self._neighbours(batch)
        scores = self._engine.forward(self._variants(batch, left_out))[1]
        effects = self._slope * (scores[0] - scores[1:])
        found = [
            dataclasses.replace(item.reason, effect=float(effect))
            for item, effect in zip(left_out, effects, strict=True)
            if effect != 0
        ]
        return sorted(found, key=lambda reason: -abs(reason.effect))[:TOLD]

    def _neighbours(self, batch: Gathered) -> list[Without]:
        """The edges into the seed, newest first, each relation in its turn."""
        found: list[list[Without]] = []
        for step in np.flatnonzero(batch.steps[:, 0] == 0).tolist():
            relation = int(batch.steps[step, 1])
            kind = int(batch.ends[relation, 0])
            ids, rows = self._reader.nodes(1, kind), batch.edges(step)[1]
            names = self._live.names[batch.types[kind]]
            label = batch.relations[relation]
            found.append([
                Without(Reason("neighbour", f"{label}: {names[ids[row]]}", 0.0), None, step, edge)
                for edge, row in reversed(list(enumerate(rows.tolist())))
            ])  # fmt: skip
        longest = max((len(items) for items in found), default=0)
        return [items[turn] for turn in range(longest) for items in found if turn < len(items)][:MOST_NEIGHBOURS]

    def _variants(self, batch: Gathered, left_out: list[Without]) -> Gathered:
        """The neighbourhood once whole and once without each thing, side by side."""
        copies = len(left_out) + 1
        counts = np.where(batch.counts > 0, batch.counts * copies, batch.counts)
        dense, dense_at, codes, codes_at = [], np.zeros_like(batch.dense_at), [], np.zeros_like(batch.codes_at)
        used = [0, 0]
        for depth, kind in np.ndindex(*counts.shape):
            dense_at[depth, kind], codes_at[depth, kind] = used
            if counts[depth, kind] <= 0:
                continue
            rows, told = (np.tile(part, (copies, 1)) for part in batch.rows(depth, kind))
            if (depth, kind) == (0, self._kind):
                self._leave_out(rows, told, left_out)
            dense.append(rows.reshape(-1))
            codes.append(told.reshape(-1))
            used = [used[0] + rows.size, used[1] + told.size]
        narrow, inputs, blocks = self._blocks(batch, left_out)
        return dataclasses.replace(
            batch, counts=counts, dense_at=dense_at, codes_at=codes_at, blocks=blocks, narrow=narrow,
            dense=np.concatenate(dense), codes=np.concatenate(codes), edge_inputs=inputs,
        )  # fmt: skip

    def _leave_out(self, rows: Any, codes: Any, left_out: list[Without]) -> None:
        for place, item in enumerate(left_out):
            if item.part is not None:
                rows[place + 1, item.part.dense] = self._dense[item.part.dense]
                codes[place + 1, item.part.codes] = self._codes[item.part.codes]

    def _blocks(self, batch: Gathered, left_out: list[Without]) -> tuple[Any, Any, Any]:
        """Pointers, rows and edge inputs of all variants, and where they stand."""
        narrow: list[Any] = []
        inputs: list[Any] = []
        blocks = np.empty_like(batch.blocks)
        used, told = 0, 0
        for step in range(len(batch.steps)):
            depth, relation = batch.steps[step].tolist()
            pointer, row, own = batch.edges(step)
            sources = max(int(batch.counts[depth + 1, batch.ends[relation, 0]]), 0)
            degree, kept = [np.diff(pointer)], [np.ones(len(row), bool)]
            for item in left_out:
                stay = np.ones(len(row), bool)
                fewer = np.diff(pointer)
                if item.step == step:
                    stay[item.edge] = False
                    fewer[0] -= 1
                degree.append(fewer)
                kept.append(stay)
            chosen = np.concatenate(kept)
            ends = np.concatenate([row + copy * sources for copy in range(len(kept))])[chosen]
            border = np.concatenate([[0], np.cumsum(np.concatenate(degree))])
            edges = np.tile(own, (len(kept), 1))[chosen]
            blocks[step] = used, used + len(border), len(ends), told
            narrow += [border.astype(np.int32), ends.astype(np.int32)]
            inputs.append(edges.reshape(-1))
            used += len(border) + len(ends)
            told += edges.size
        empty = [np.empty(0, np.int32)], [np.empty(0, np.float32)]
        return np.concatenate(empty[0] + narrow), np.concatenate(empty[1] + inputs), blocks


def _parts(encoder: Encoder, dense: int, codes: int) -> list[Part]:
    """Raw columns and the inputs that they became, behind so many inputs of others."""
    found: list[Part] = []
    for item in encoder.transforms:
        width = len(item.names())
        if item.kind == "embedding":
            found.append(Part(item.column, [], [codes]))
            codes += 1
        else:
            found.append(Part(item.column, list(range(dense, dense + width)), []))
            dense += width
    return found
