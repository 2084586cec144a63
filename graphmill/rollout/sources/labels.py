"""Labels that became known since, from a table that somebody writes again and again."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from graphmill.errors import UserError

LOG = logging.getLogger(__name__)
COLUMNS = ["key", "label"]
VALUES = {"true": True, "t": True, "yes": True, "y": True, "1": True, "1.0": True,
          "false": False, "f": False, "no": False, "n": False, "0": False, "0.0": False}  # fmt: skip
"""What a label may be, in any case; anything else is not known yet."""


class Labels:
    """The labels of a table with the columns ``key`` and ``label``; of two rows with one key the later counts.

    No file means no labels yet. A file that cannot be read leaves those that were read before, and is told.

    Args:
        file: Parquet, or else CSV.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp: tuple[int, int] | None = None
        self._known: Mapping[str, bool] = {}
        self._told = ""

    def known(self) -> Mapping[str, bool]:
        """Labels by key; read again when the file has changed.

        Raises:
            UserError: when the first file that is there lacks a column.
        """
        try:
            status = self._file.stat()
            if (stamp := (status.st_mtime_ns, status.st_size)) != self._stamp:
                self._known, self._stamp, self._told = _parsed(self._table()), stamp, ""
        except FileNotFoundError:
            self._tell("is not there yet: the precision waits for it")
        except UserError as error:
            if self._stamp is None:
                raise
            self._tell(str(error))
        except (OSError, ValueError, pa.ArrowException) as error:
            self._tell(f"cannot be read now: {error}")
        return self._known

    def _table(self) -> pd.DataFrame:
        if self._file.suffix == ".parquet":
            names = pq.read_schema(self._file).names
            self._check(names)
            frame: pd.DataFrame = pq.read_table(self._file, columns=COLUMNS).to_pandas()
            return frame
        frame = pd.read_csv(self._file, dtype=str, keep_default_na=False)
        self._check(list(frame.columns))
        return frame[COLUMNS]

    def _check(self, names: list[str]) -> None:
        absent = [name for name in COLUMNS if name not in names]
        if absent:
            raise UserError(
                f"rollout.labels: {self._file} has no column {', '.join(absent)}, only {', '.join(names)}; "
                "it needs key and label"
            )

    def _tell(self, reason: str) -> None:
        """Once, for labels are asked for every few seconds."""
        if reason != self._told:
            self._told = reason
            LOG.warning("rollout.labels: %s: %s", self._file, reason)


def _parsed(frame: pd.DataFrame) -> Mapping[str, bool]:
    labels = frame["label"].astype(str).str.strip().str.lower().map(VALUES)
    keys = frame["key"].astype(str)
    there = labels.notna().to_numpy() & frame["key"].notna().to_numpy()
    return dict(zip(keys[there], labels[there].to_numpy(np.bool_).tolist(), strict=True))
