"""Hidden rows as stage `score` stores them and the predictor reads and renews them: floats, or a byte a number."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = "hidden"
LARGEST = 127
"""Of a byte with a sign; the largest number of a row becomes it."""


def files(folder: Path, node: str) -> tuple[Path, Path]:
    """Where the rows ``[N, layers - 1, width]`` of a node type stand, and their scales ``[N, layers - 1]``."""
    return folder / FOLDER / f"{node}.npy", folder / FOLDER / f"{node}.scale.npy"


def quantise(rows: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Rows ``[..., width]`` as bytes, and what each row is to be multiplied with: float32 ``[...]``."""
    scale = np.abs(rows).max(axis=-1) / np.float32(LARGEST)
    return np.rint(rows / np.where(scale > 0, scale, 1)[..., None]).astype(np.int8), scale
