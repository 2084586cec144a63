"""The audit sample: predictions drawn at random for people to label, each with the chance at which it was drawn.

Cases that somebody looked at because they were alarmed say nothing of the rest. A random sample does, and where
strata (type, decision, score) are drawn at unequal rates, the weights undo that (Horvitz and Thompson, 1952).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from graphmill.drift.labels import AUDIT
from graphmill.errors import UserError
from graphmill.progress import say

STRATA = ("type", "decision", "score")
SCORES = 4
"""Strata by score inside each other stratum, of equal size."""
LEAST = 2
"""Drawn from each stratum, as far as it has them."""


def sample(predictions: pd.DataFrame, size: int, seed: int, strata: Sequence[str] = STRATA) -> pd.DataFrame:
    """Draw predictions for people to label.

    From each stratum as many as the root of its size asks for: large ones more, small ones not too few. The same
    predictions in any order give the same sample.

    Args:
        predictions: columns ``key``, ``time`` and ``score``, and those that ``strata`` name; ``type`` may be missing.
        size: how many; all, when there are not more.
        seed: of the draw.
        strata: columns by whose values is stratified, ``score`` by quarters; the last are left out when ``size`` is
            too small for two of each stratum.

    Returns:
        Columns ``key``, ``time``, ``stratum``, ``weight`` (one over the inclusion probability), ``label`` (empty),
        ``known_at`` (empty) and ``label_source`` (``audit``), by time and key. The score is not in it: who labels
        should not know it.

    Raises:
        UserError: for no predictions, a column that is not there, two predictions of one key and time.
    """
    rows = _checked(predictions, size, strata)
    columns = [column for column in strata if column in rows]
    place, names = _strata(rows, columns)
    while columns and len(names) * LEAST > size:
        columns = columns[:-1]  # a stratum of which none is drawn would bias what the others say
        place, names = _strata(rows, columns)
    state, chosen, counts = np.random.default_rng(seed), [], np.bincount(place)
    weight = np.zeros(len(rows))
    for stratum, wanted in enumerate(_allocate(counts, size)):
        there = np.flatnonzero(place == stratum)
        drawn = state.choice(there, wanted, replace=False)
        weight[drawn] = counts[stratum] / wanted
        chosen.append(drawn)
    some = np.sort(np.concatenate(chosen))
    found = rows.iloc[some][["key", "time"]].assign(stratum=names[place[some]], weight=weight[some])
    label = pd.array([pd.NA] * len(found), dtype="boolean")
    known = pd.array([pd.NA] * len(found), dtype="Int64")
    return found.assign(label=label, known_at=known, label_source=AUDIT).reset_index(drop=True)


def _checked(predictions: pd.DataFrame, size: int, strata: Sequence[str]) -> pd.DataFrame:
    wanted = {"key", "time", "score", *strata} - {"type"}
    absent = sorted(wanted - set(predictions))
    if absent:
        raise UserError(f"audit sample: the predictions have no column {', '.join(absent)}")
    if size < 1:
        raise UserError(f"audit sample: {size} is no size of a sample; give at least 1")
    scores = pd.to_numeric(predictions["score"], errors="coerce").astype(np.float64)
    rows: pd.DataFrame = predictions.assign(score=scores)[np.isfinite(scores.to_numpy())]
    if len(rows) == 0:
        raise UserError("audit sample: there are no predictions to draw from")
    rows = rows.sort_values(["time", "key"], kind="stable", ignore_index=True)
    if rows.duplicated(["key", "time"]).any():
        twice = rows.loc[rows.duplicated(["key", "time"]), "key"].iloc[0]
        raise UserError(f"audit sample: {twice!r} is predicted twice at one time; keep the last answer of each")
    return rows


def _strata(rows: pd.DataFrame, columns: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """The stratum of each row ``[n]``, and the strata's names; scores are divided inside the others."""
    parts = rows[[column for column in columns if column != "score"]].astype(str)
    if "score" in columns:
        inside = [parts[column] for column in parts] or [pd.Series(0, rows.index)]
        rank = rows["score"].groupby(inside).rank(method="first", pct=True)
        parts["score"] = np.ceil(rank * SCORES).clip(1, SCORES).astype(int)
    if len(parts.columns) == 0:
        return np.zeros(len(rows), np.int64), np.array(["all"])
    place = np.asarray(parts.groupby(list(parts)).ngroup(), np.int64)
    firsts = parts.iloc[np.unique(place, return_index=True)[1]].astype(str).to_dict("records")
    return place, np.array([_name({str(name): value for name, value in row.items()}) for row in firsts])


def _name(values: dict[str, str]) -> str:
    """``payment decision=true score=3``."""
    return " ".join(value if name == "type" else f"{name}={value}".lower() for name, value in values.items())


def _allocate(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """How many of each stratum (power allocation: Bankier, 1988), none more than it has, ``size`` in all."""
    given = np.minimum(counts, LEAST if len(counts) * LEAST <= size else size)
    for _ in range(min(size, int(counts.sum())) - int(given.sum())):
        given[np.argmax(np.where(given < counts, np.sqrt(counts) / (given + 0.5), -1.0))] += 1
    return given


def read(predictions: str | Path, since: int | None = None, until: int | None = None) -> pd.DataFrame:
    """Predictions to draw from: those of stage `score`, or a predictor's log.

    Args:
        predictions: the folder; of a log the last answer to each key and time counts.
        since: predictions from this moment on, in the clock's units.
        until: predictions before this moment.

    Returns:
        Columns ``key``, ``time``, ``score``, ``decision`` and, of a log, ``type``.

    Raises:
        UserError: when there are none, or none can be read.
    """
    folder = Path(predictions)
    one = folder / "predictions.parquet"
    files = [one] if one.is_file() else sorted(folder.glob("predictions-*.parquet"))
    filters = [("time", sign, moment) for sign, moment in ((">=", since), ("<", until)) if moment is not None]
    frames, told = [], [f"{folder} has neither predictions.parquet nor predictions-*.parquet"]
    for file in files:
        try:
            frames.append(pq.read_table(file, filters=filters or None).to_pandas())
        except (OSError, pa.ArrowException) as error:
            told = [f"{file}: {error}"]
            say(f"audit sample: left out of the prediction log: {told[0]}")
    if not frames:
        raise UserError(f"audit sample: no predictions can be read: {told[0]}")
    rows = pd.concat(frames, ignore_index=True)
    if "answered_at" in rows:
        rows = rows.sort_values("answered_at", kind="stable").drop_duplicates(["key", "time"], keep="last")
        rows = rows.rename(columns={"node": "type"})
    found: pd.DataFrame = rows[[name for name in ("type", "key", "time", "score", "decision") if name in rows]]
    return found


def write(table: pd.DataFrame, file: str | Path) -> None:
    """Write a sample as CSV or, by its name, as Parquet; whole or not at all.

    Raises:
        UserError: when the file is there already (somebody may have begun to label it), cannot be written, or is
            named otherwise: nothing that reads labels would find it.
    """
    file = Path(file)
    if file.suffix not in (".csv", ".parquet"):
        raise UserError(f"{file}: give a name that ends in .csv or .parquet")
    if file.exists():
        raise UserError(f"{file}: is there already, and somebody may have begun to label it; choose another name")
    partial = file.with_name(f".{file.name}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".parquet":
            table.to_parquet(partial, index=False)
        else:
            table.to_csv(partial, index=False)
        partial.rename(file)
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror or error}") from error
