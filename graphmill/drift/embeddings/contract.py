"""What consumers of stored embeddings are told when a model is replaced: a release note, not an error.

Two trainings of one architecture on one data set give embeddings in different bases: any distance between their
vectors, and any classifier between them, says only that. What may be asked is whether the *geometry* is the same:
alignment (CKA), neighbours and decisions, beside what other seeds of the candidate do.
"""

from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from graphmill import artifact
from graphmill.drift.embeddings import geometry
from graphmill.drift.embeddings.geometry import Vectors
from graphmill.drift.source import key_hashes, rounded
from graphmill.errors import UserError

MOST = 10_000
"""Nodes that are compared."""
QUERIES = 2_000
"""Of which the neighbours are looked for."""
LEAST_ALIGNMENT = 0.85
LEAST_OVERLAP = 0.25
"""Where no other seed says what is usual."""
MOST_CHURN = 0.05
DEVIATIONS = 4.0
LEAST_DEVIATION = 0.03
"""Of the alignment between seeds: from a few of them it may look smaller by chance."""


class Embedded(NamedTuple):
    """Embeddings and decisions of the same nodes in the same order."""

    vectors: Vectors
    decisions: NDArray[np.bool_] | None = None
    """``[nodes]``"""


@dataclass(frozen=True)
class Note:
    """Alignment, neighbour overlap and churn between two models, and between seeds of the newer one."""

    nodes: int
    alignment: float | None
    overlap: float
    churn: float | None
    rotation_residual: float | None
    seeds: list[dict[str, float | None]] = field(default_factory=list)
    """The same between each two of the other seeds; beside a single one, between it and the candidate."""
    breaches: list[str] = field(default_factory=list)

    @property
    def words(self) -> str:
        """What a consumer has to do."""
        again = "vectors of the two models must not be mixed: index all of them again"
        if self.breaches:
            told = "; ".join(self.breaches)
            return f"The geometry changed ({told}). What was built on it must be checked, and {again}."
        return f"The geometry is the same but for its basis; {again}, or rotate the new ones onto the old."

    def canonical(self) -> dict[str, Any]:
        """Plain JSON values."""
        numbers = {name: rounded(value) if isinstance(value, float) else value for name, value in vars(self).items()}
        return {**numbers, "state": "warn" if self.breaches else "ok", "words": self.words}


def compare(champion: Embedded, candidate: Embedded, seeds: list[Embedded] | None = None) -> Note:
    """Compare two models on the same nodes.

    Args:
        champion: of the model in use.
        candidate: of the one that replaces it.
        seeds: of two or three more trainings of the candidate with other seeds. What differs between them says what
            is usual, whatever became of the candidate itself.

    Raises:
        UserError: for fewer nodes than neighbours.
    """
    if len(champion.vectors) <= geometry.NEIGHBOURS:
        raise UserError(f"embeddings of {len(champion.vectors)} nodes in common: too few to compare neighbours")
    compared = [champion, candidate, *(seeds or [])]
    lists = [geometry.neighbours(one.vectors, QUERIES) for one in compared]
    others = list(combinations(range(2, len(compared)), 2)) or [(1, place) for place in range(2, len(compared))]
    between, *usual = (
        _measured(compared[one], compared[other], lists[one], lists[other]) for one, other in [(0, 1), *others]
    )
    residual = geometry.rotation_residual(champion.vectors, candidate.vectors)
    return Note(
        len(champion.vectors), **between, rotation_residual=residual, seeds=usual, breaches=_breaches(between, usual)
    )


def _measured(one: Embedded, other: Embedded, left: Any, right: Any) -> dict[str, Any]:
    churn = None
    if one.decisions is not None and other.decisions is not None:
        churn = float(np.mean(one.decisions != other.decisions))
    return {
        "alignment": geometry.alignment(one.vectors, other.vectors),
        "overlap": geometry.overlap(left, right),
        "churn": churn,
    }


def _breaches(between: dict[str, Any], usual: list[dict[str, Any]]) -> list[str]:
    """What is worse than the bounds, in words; seeds may raise the fixed bound of alignment, and set the others."""
    found = []
    least, overlap, churn = LEAST_ALIGNMENT, LEAST_OVERLAP, MOST_CHURN
    if usual:
        alignments = [one["alignment"] or 0.0 for one in usual]
        if len(alignments) > 2:  # else nobody knows how far they stray
            deviation = max(LEAST_DEVIATION, float(np.std(alignments, ddof=1)))
            least = max(least, float(np.mean(alignments)) - DEVIATIONS * deviation)
        overlap = float(np.mean([one["overlap"] for one in usual])) / 2
        known = [one["churn"] for one in usual if one["churn"] is not None]
        churn = max(3 * float(np.mean(known)), 0.01) if known else churn
    if between["alignment"] is None or between["alignment"] < least:
        told = "none" if between["alignment"] is None else f"{between['alignment']:.3f}"
        found.append(f"alignment {told}, at least {least:.3f} wanted")
    if between["overlap"] < overlap:
        found.append(f"neighbours in common {between['overlap']:.2f}, at least {overlap:.2f} wanted")
    if between["churn"] is not None and between["churn"] > churn:
        found.append(f"decisions that differ {between['churn']:.1%}, at most {churn:.1%} wanted")
    return found


def of_predictions(folders: list[str | Path], most: int = MOST) -> list[Embedded]:
    """Embeddings of the nodes that all of some `predictions` artifacts have, in one order.

    Args:
        folders: written by stage `score`, at the same moment.
        most: how many nodes are taken: those with the smallest hashes of their keys.

    Raises:
        UserError: when one has no embeddings, or they have too few nodes in common.
    """
    common: pd.DataFrame | None = None
    for folder in folders:
        rows = _keys(folder)
        common = rows if common is None else common.merge(rows, on=["key", "time"])
    assert common is not None
    chosen = common.iloc[np.argsort(key_hashes(common["key"].to_numpy()), kind="stable")[:most]]
    chosen = chosen.sort_values(["key", "time"], ignore_index=True)
    return [_embedded(folder, chosen) for folder in folders]


def _keys(folder: str | Path) -> pd.DataFrame:
    found = artifact.read(folder, "predictions")
    file = found.path / "embeddings.parquet"
    if not file.exists():
        raise UserError(f"{folder}: no embeddings; set score.embeddings, and train a network")
    return pd.DataFrame(pq.read_table(file, columns=["key", "time"]).to_pandas())


def _embedded(folder: str | Path, chosen: pd.DataFrame) -> Embedded:
    wanted = pd.MultiIndex.from_frame(chosen)
    vectors, order = [], []
    with pq.ParquetFile(Path(folder) / "embeddings.parquet") as file:
        for batch in file.iter_batches(batch_size=65_536):
            frame = batch.select(["key", "time"]).to_pandas()
            place = wanted.get_indexer(pd.MultiIndex.from_frame(frame))
            kept = np.flatnonzero(place >= 0)
            flat = batch.column("embedding").flatten().to_numpy(zero_copy_only=False)
            vectors.append(flat.reshape(len(frame), -1)[kept])
            order.append(place[kept])
    at = np.argsort(np.concatenate(order), kind="stable")
    return Embedded(np.concatenate(vectors)[at], _decisions(folder, chosen))


def _decisions(folder: str | Path, chosen: pd.DataFrame) -> NDArray[np.bool_]:
    told = pq.read_table(Path(folder) / "predictions.parquet", columns=["key", "time", "decision"]).to_pandas()
    return chosen.merge(told, on=["key", "time"], how="left")["decision"].to_numpy(bool)
