"""What a model remembers of its embeddings at training: the kernel, its mean, and where a few nodes stood."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphmill.drift.embeddings import geometry
from graphmill.drift.embeddings.geometry import Fourier, Vectors

FILE = "embeddings.npz"
PROBES = 2_000


@dataclass(frozen=True)
class Frozen:
    """The reference of all later periods."""

    kernel: Fourier
    mean: NDArray[np.float64]
    """Mean features of the judged nodes ``[FEATURES]``."""
    count: int
    """Of how many nodes."""
    norm: tuple[float, float]
    """Mean and standard deviation of their length."""
    keys: NDArray[Any]
    """Of the probes: str ``[probes]``; none where events are judged, which do not come again."""
    probes: Vectors
    """Their embeddings: float32 ``[probes, width]``."""

    def write(self, folder: Path) -> None:
        """Write the file into a model's profile folder."""
        with (folder / FILE).open("wb") as file:
            np.savez(
                file,
                frequencies=self.kernel.frequencies.astype(np.float32),
                mean=self.mean,
                count=self.count,
                norm=self.norm,
                keys=self.keys.astype(np.str_),
                probes=self.probes.astype(np.float32),
            )


def freeze(vectors: Vectors, keys: NDArray[Any], probes: Vectors) -> Frozen:
    """The reference from the embeddings of a period's nodes, and of the probes."""
    kernel = geometry.fourier(vectors)
    kernel = Fourier(kernel.frequencies.astype(np.float32).astype(np.float64))  # as it is read again
    length = np.linalg.norm(vectors, axis=1)
    norm = float(length.mean()), float(length.std())
    return Frozen(kernel, kernel.mean(vectors), len(vectors), norm, keys, probes)


def read(folder: Path) -> Frozen | None:
    """Read a model's profile folder; None where the model has no embeddings."""
    file = folder / FILE
    if not file.exists():
        return None
    with np.load(file, allow_pickle=False) as found:
        kernel = Fourier(found["frequencies"].astype(np.float64))
        first, second = (float(value) for value in found["norm"])
        return Frozen(kernel, found["mean"], int(found["count"]), (first, second), found["keys"], found["probes"])
