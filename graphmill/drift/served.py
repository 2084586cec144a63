"""Scores that were served: the prediction log in place of scoring again, where it has an answer."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from graphmill.errors import UserError

COLUMNS = ["key", "time", "answered_at", "score"]


def scores(
    folder: str | Path, node: str, model: str, keys: Any, times: NDArray[np.int64]
) -> tuple[NDArray[np.float64], list[str]]:
    """The score that each example was served with, NaN where it was not, and the files that could not be read.

    Args:
        folder: the prediction log.
        node: the task's node type.
        model: the beginning of the model's digest; answers of other models do not count.
        keys: keys of the examples ``[n]``, at least one.
        times: the moments that they were judged at ``[n]``.

    Raises:
        UserError: when there is no such folder.
    """
    if not Path(folder).is_dir():
        raise UserError(f"drift.predictions: {folder} is no folder of a prediction log")
    frames, unreadable = [], []
    period = [("time", ">=", int(np.min(times))), ("time", "<=", int(np.max(times)))]  # a log outgrows the memory
    filters = [("node", "==", node), ("model", "==", model), *period]
    for file in sorted(Path(folder).glob("predictions-*.parquet")):
        try:
            frame = pq.read_table(file, columns=COLUMNS, filters=filters).to_pandas()
        except (OSError, pa.ArrowException) as error:
            unreadable.append(f"{file.name}: {error}")
            continue
        if len(frame):
            frames.append(frame)
    wanted = pd.DataFrame({"key": np.asarray(keys, object), "time": times})
    if not frames:
        return np.full(len(wanted), np.nan), unreadable
    told = pd.concat(frames, ignore_index=True).sort_values("answered_at", kind="stable")
    last = told.drop_duplicates(["key", "time"], keep="last")
    joined = wanted.merge(last[["key", "time", "score"]], on=["key", "time"], how="left")
    return joined["score"].to_numpy(np.float64), unreadable
