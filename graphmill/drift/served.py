"""Scores that were served: the prediction log in place of scoring again, where it has an answer."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from graphmill.clock import Clock
from graphmill.errors import UserError

COLUMNS = ["key", "time", "answered_at", "score"]
AHEAD = 300.0
"""Seconds by which the clocks of events and of the predictor may differ."""


class Log(NamedTuple):
    """Answers of one model, in the order in which they were given, and the files that could not be read."""

    answers: pd.DataFrame
    """Columns ``key``, ``time``, ``answered_at`` and ``score``."""
    unreadable: list[str]

    def ahead(self, clock: Clock) -> int:
        """Answers for a moment that lies after they were given: two clocks disagree. A step has no hour."""
        if clock == "step":
            return 0
        return int(np.sum(self.answers["time"] / 1e6 > self.answers["answered_at"] + AHEAD))

    def scores(self, keys: Any, times: NDArray[np.int64]) -> NDArray[np.float64]:
        """The score that each example was last served with, NaN where it was not: float64 ``[n]``.

        Args:
            keys: keys of the examples ``[n]``.
            times: the moments that they were judged at ``[n]``.
        """
        wanted = pd.DataFrame({"key": np.asarray(keys, object), "time": times})
        last = self.answers.drop_duplicates(["key", "time"], keep="last")
        joined = wanted.merge(last[["key", "time", "score"]], on=["key", "time"], how="left")
        return joined["score"].to_numpy(np.float64)


def read(folder: str | Path, node: str, model: str, first: int, last: int) -> Log:
    """Read a prediction log.

    Args:
        folder: the prediction log.
        node: the task's node type.
        model: the beginning of the model's digest; answers of other models do not count.
        first: answers for this moment and later ones; a log outgrows the memory.
        last: answers for this moment and earlier ones.

    Raises:
        UserError: when there is no such folder.
    """
    if not Path(folder).is_dir():
        raise UserError(f"drift.predictions: {folder} is no folder of a prediction log")
    frames = [
        pd.DataFrame({"key": pd.Series(dtype=str), "time": np.empty(0, np.int64), "answered_at": [], "score": []})
    ]
    unreadable = []
    filters = [("node", "==", node), ("model", "==", model), ("time", ">=", first), ("time", "<=", last)]
    for file in sorted(Path(folder).glob("predictions-*.parquet")):
        try:
            frame = pq.read_table(file, columns=COLUMNS, filters=filters).to_pandas()
        except (OSError, pa.ArrowException) as error:
            unreadable.append(f"{file.name}: {error}")
            continue
        if len(frame):
            frames.append(frame)
    told = pd.concat(frames[1:] or frames, ignore_index=True)
    return Log(told.sort_values("answered_at", kind="stable", ignore_index=True), unreadable)
