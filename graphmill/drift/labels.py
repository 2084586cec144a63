"""Labels from a table of their own: those of everybody, those of the audit sample, and those that only look so.

``label_source`` says why somebody looked. Labels of cases that were chosen (alarms that were reviewed, complaints)
say nothing of the others: they are left out of every estimate, and counted.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from graphmill.clock import Clock
from graphmill.drift.source import Integers
from graphmill.errors import UserError
from graphmill.rollout.sources.labels import VALUES

AUDIT = "audit"
EVERYBODY = ("", "all")
"""Sources whose labels are those of everybody, sooner or later."""
UNKNOWN = np.iinfo(np.int64).max
COLUMNS = ("key", "time", "label", "known_at", "label_source", "weight", "stratum")


@dataclass(frozen=True)
class Labels:
    """What label tables say; of two rows for one prediction and source the later counts."""

    rows: pd.DataFrame
    """``key``, ``time`` (<NA>: whatever its time), ``label`` (<NA>: not yet), ``known_at`` (<NA>: since it was
    written), ``label_source``, ``weight`` and ``stratum``."""
    notes: list[str] = field(default_factory=list)
    """What could not be read, in words."""
    unreadable: list[str] = field(default_factory=list)
    """Names of files of which nothing could be read."""

    def left_out(self) -> dict[str, int]:
        """How many labels of chosen cases there are, by their source."""
        source = self.rows["label_source"]
        chosen = source[self.rows["label"].notna() & ~source.isin([AUDIT, *EVERYBODY])]
        return dict(sorted(Counter(chosen).items()))


def read(table: str | Path, clock: Clock) -> Labels:
    """Read a table of labels, or a folder of them.

    Args:
        table: Parquet or CSV with columns ``key`` and ``label``, and any of ``time`` (of the prediction),
            ``known_at``, ``label_source``, ``weight`` and ``stratum``.
        clock: that of times; on the clock of timestamps whole numbers are microseconds since 1970.

    Raises:
        UserError: when there is none, or a column is missing.
    """
    path = Path(table)
    files = sorted(path.glob("*.parquet")) + sorted(path.glob("*.csv")) if path.is_dir() else [path]
    frames: list[pd.DataFrame] = []
    notes: list[str] = []
    unreadable: list[str] = []
    for file in files:
        try:
            frames.append(_typed(_frame(file), clock, notes, file))
        except (OSError, ValueError, pa.ArrowException) as error:
            notes.append(f"{file.name} cannot be read: {error}")
            unreadable.append(file.name)
    if not frames:
        raise UserError(f"drift.labels: {path}: {notes[0] if notes else 'no table of labels is there'}")
    rows = pd.concat(frames, ignore_index=True)
    return Labels(
        rows.drop_duplicates(["key", "time", "label_source"], keep="last", ignore_index=True), notes, unreadable
    )


def _frame(file: Path) -> pd.DataFrame:
    frame: pd.DataFrame
    if file.suffix == ".parquet":
        frame = pq.read_table(file).to_pandas()
    else:
        frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    absent = [name for name in ("key", "label") if name not in frame]
    if absent:
        raise UserError(f"drift.labels: {file} has no column {', '.join(absent)}, only {', '.join(map(str, frame))}")
    return frame[[name for name in COLUMNS if name in frame]]


def _typed(frame: pd.DataFrame, clock: Clock, notes: list[str], file: Path) -> pd.DataFrame:
    """One form for all tables; rows with a time that is none are left out and told."""
    text = frame["label"].astype(str).str.strip().str.lower()
    found = pd.DataFrame({"key": frame["key"].astype(str), "label": text.map(VALUES).astype("boolean")})
    bad = np.zeros(len(frame), bool)
    for name in ("time", "known_at"):
        found[name], wrong = _moments(frame[name], clock) if name in frame else (pd.NA, False)
        found[name] = found[name].astype("Int64")
        bad |= wrong
    source = frame["label_source"] if "label_source" in frame else pd.Series("", frame.index)
    found["label_source"] = source.fillna("").astype(str).str.strip().str.lower()
    weight = frame["weight"] if "weight" in frame else pd.Series(1.0, frame.index)
    found["weight"] = pd.to_numeric(weight, errors="coerce").fillna(1.0).astype(np.float64)
    found["stratum"] = frame["stratum"].fillna("").astype(str) if "stratum" in frame else ""
    if bad.any():
        notes.append(f"{file.name}: {int(bad.sum()):,} rows left out, their time is none of the {clock} clock")
    return found[~bad]


def _moments(values: pd.Series, clock: Clock) -> tuple[pd.Series, Any]:
    """Moments as whole numbers, and which of the values are none."""
    if pd.api.types.is_datetime64_any_dtype(values):
        stamps = pd.to_datetime(values, utc=True).dt.tz_localize(None)
        whole = stamps.astype("datetime64[us]").astype("int64").astype("Int64").mask(stamps.isna())
        wrong = stamps.notna() if clock == "step" else pd.Series(False, values.index)
        return whole, wrong.to_numpy()
    empty = values.isna() | (values.astype(str).str.strip() == "")
    number = pd.to_numeric(values.where(~empty), errors="coerce")
    found = number.where(number == np.floor(number)).round().astype("Int64")
    if clock == "timestamp":
        rest = ~empty & number.isna()
        stamps = pd.to_datetime(values[rest].astype(str), format="ISO8601", utc=True, errors="coerce")
        whole = stamps.dt.tz_localize(None).astype("datetime64[us]").astype("int64").astype("Int64")
        found[rest] = whole.mask(stamps.isna())
    return found, (found.isna() & ~empty).to_numpy()


@dataclass(frozen=True)
class Matched:
    """Labels of some examples."""

    examples: pd.DataFrame
    """The examples with the labels of everybody put in."""
    audit: pd.DataFrame
    """``row`` (of the examples), ``label``, ``weight`` and ``stratum`` of the audit sample."""
    labelled: int
    """Labels that belong to one of them."""
    early: int
    """Those that were known before their prediction was made: clocks disagree. They do not count."""


def match(labels: Labels, examples: pd.DataFrame, keys: Any, rows: Integers, until: int) -> Matched:
    """Put labels to the predictions that they belong to.

    Args:
        labels: the tables.
        examples: columns ``node``, ``time``, ``label`` and ``known``.
        keys: keys of the examples in ``rows``, ``[n]``.
        rows: the rows of the examples that may get a label, int64 ``[n]``.
        until: the moment of looking: what became known later is not known yet.
    """
    time = examples["time"].to_numpy(np.int64)[rows]
    wanted = pd.DataFrame({"key": np.asarray(keys, object).astype(str), "time": time, "row": rows})
    found = pd.concat(_joined(labels.rows, wanted), ignore_index=True)
    known = found["known_at"].fillna(until).to_numpy(np.int64)
    labelled = found["label"].notna().to_numpy(bool)
    early = labelled & (known < found["time"].to_numpy(np.int64))
    found.loc[early | (known > until), "label"] = pd.NA
    found["known"] = known
    audit = found[found["label_source"] == AUDIT].drop_duplicates("row", keep="last")
    every = found[found["label_source"].isin(EVERYBODY) & found["label"].notna()].drop_duplicates("row", keep="last")
    label, when = examples["label"].array.copy(), examples["known"].to_numpy(np.int64).copy()
    label[every["row"].to_numpy()] = every["label"].array
    when[every["row"].to_numpy()] = every["known"].to_numpy()
    filled = examples.assign(label=label, known=when)
    columns = ["row", "label", "weight", "stratum"]
    audit = audit[columns].sort_values("row", ignore_index=True)
    return Matched(filled, audit, int(labelled.sum()), int(early.sum()))


def _joined(rows: pd.DataFrame, wanted: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Rows that name a time by key and time, the others by key alone."""
    timed = rows[rows["time"].notna()].astype({"time": "int64"})
    yield wanted.merge(timed, on=["key", "time"])
    yield wanted.merge(rows[rows["time"].isna()].drop(columns="time"), on="key")
