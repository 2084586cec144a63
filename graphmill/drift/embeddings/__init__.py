"""Embeddings of a period by the same model: random-feature MMD, displacement and neighbours of a fixed set of nodes.

Each is blind to what another sees: MMD and displacement see changed inputs, to which neighbourhoods are invariant;
neighbour overlap sees a damaged graph, which hardly moves the whole. Embeddings of two *models* are compared in
``contract``, by what does not depend on the basis that a training happens to choose.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from graphmill.clock import ALWAYS
from graphmill.drift.embeddings import geometry
from graphmill.drift.embeddings.frozen import PROBES, Frozen, freeze, read
from graphmill.drift.embeddings.geometry import Vectors
from graphmill.drift.source import Integers, Period, Source, rounded, thin

__all__ = ["Embedder", "Frozen", "build", "freeze", "frozen_at", "read", "summary"]

MOST = 4_000
"""Nodes of a period that are embedded, evenly spread."""
LEAST = 30
"""With fewer nothing is said."""

Summary = dict[str, Any]
Embed = Callable[[pd.DataFrame], Vectors]


@dataclass(frozen=True)
class Embedder:
    """A model's embeddings: of examples with columns ``node`` and ``time``, and what was frozen at training."""

    embed: Embed
    frozen: Frozen | None = None


def build(source: Source, period: Period) -> Summary:
    """Summary of the embeddings of a period's judged nodes; of a model that has none just why they are ``absent``.

    Events stand for themselves at their own times; of entities those are taken that are there at the period's end, and
    the probes beside them.
    """
    embedder = source.embedder
    if embedder is None or embedder.frozen is None:
        return {"absent": "the model's winner has no embeddings, or it was trained without a profile of them"}
    judged = _judged(source, period)
    if len(judged) < LEAST:
        return {"rows": len(judged)}
    ids = _ids(source, embedder.frozen)
    there = np.flatnonzero((ids >= 0) & (source.times[source.graph.task.node][ids] < period.end))
    probes = pd.DataFrame({"node": ids[there], "time": np.int64(period.end)})
    vectors = embedder.embed(pd.concat([judged, probes], ignore_index=True))
    return summary(embedder.frozen, vectors[: len(judged)], vectors[len(judged) :], there)


def summary(frozen: Frozen, vectors: Vectors, probes: Vectors, there: Integers) -> Summary:
    """The embedding block of a profile.

    Args:
        frozen: what the model remembers.
        vectors: embeddings of the period's nodes, ``[rows, width]``.
        probes: of the probes that still exist, ``[there, width]``.
        there: which of the frozen probes these are.
    """
    finite = np.all(np.isfinite(vectors), axis=1)
    kept = vectors[finite].astype(np.float64)
    found: Summary = {"rows": len(vectors), "missing": rounded(1 - len(kept) / len(vectors))}
    if len(kept) < LEAST:
        return found
    mean, length = frozen.kernel.mean(kept), np.linalg.norm(kept, axis=1)
    found |= {
        "discrepancy": rounded(geometry.discrepancy(mean, frozen.mean, (len(kept), frozen.count))),
        "norm": rounded(float(length.mean())),
        "norm_deviation": rounded(float(length.std())),
        "norm_scale": rounded(frozen.norm[1]),
        "dead_share": rounded(geometry.dead_share(kept)),
        "features": [float(f"{value:.4g}") for value in mean],
    }
    whole = np.all(np.isfinite(probes), axis=1)
    now, then = probes[whole], frozen.probes[there[whole]]
    if len(now) >= LEAST:
        lists = (geometry.neighbours(part) for part in (now, then))
        found |= {
            "probes": len(now),
            "displacement": rounded(geometry.displacement(now, then)),
            "overlap": rounded(geometry.overlap(*lists)),
        }
    return found


def frozen_at(source: Source, period: Period, embed: Embed) -> Frozen | None:
    """What a model remembers of a period's embeddings; None where there are too few nodes to speak of."""
    judged = _judged(source, period)
    if len(judged) < LEAST:
        return None
    chosen: Integers = np.empty(0, np.int64)
    if not source.graph.judges_events:
        chosen = thin(np.flatnonzero(source.times[source.graph.task.node] < period.end), PROBES)
    probes = pd.DataFrame({"node": chosen.astype(np.int32), "time": np.int64(period.end)})
    vectors = embed(pd.concat([judged, probes], ignore_index=True))
    keys = source.graph.key(source.graph.task.node)[chosen]
    return freeze(vectors[: len(judged)], keys, vectors[len(judged) :])


def _judged(source: Source, period: Period) -> pd.DataFrame:
    if source.graph.judges_events:
        rows = thin(source.example_places(period), MOST)
        return source.examples.iloc[rows][["node", "time"]].reset_index(drop=True)
    there = thin(np.flatnonzero(source.times[source.graph.task.node] < period.end), MOST)
    end = np.int64(period.end if period.end != ALWAYS else 0)
    return pd.DataFrame({"node": there.astype(np.int32), "time": end})


def _ids(source: Source, frozen: Frozen) -> Integers:
    """The node of each probe in this graph, -1 where it is gone: int64 ``[probes]``."""
    if len(frozen.keys) == 0:
        return np.empty(0, np.int64)
    known = pd.Index(source.graph.key(source.graph.task.node))
    return np.asarray(known.get_indexer(pd.Index(frozen.keys.astype(object))))
