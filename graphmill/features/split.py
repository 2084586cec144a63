"""Which part of each split an example belongs to: train, validation, test or none."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from graphmill.clock import Clock, day, moment, text
from graphmill.errors import UserError
from graphmill.features.columns import NEVER
from graphmill.task import ColumnSplit, RandomSplit, Task, TemporalSplit

PARTS = ("train", "validation", "test")
NAMES = (*PARTS, "none")
TRAIN, VALIDATION, TEST, NONE = range(4)
UNIT = {"timestamp": "days", "step": "steps"}
SHOWN = 10
Parts = NDArray[np.int8]
"""Places in ``NAMES``: a byte an example, where names would take eight."""


def assign(examples: pd.DataFrame, task: Task, clock: Clock, as_of: int) -> pd.DataFrame:
    """Add ``split_0`` … with the part of every example, a category of ``NAMES``.

    Raises:
        UserError: for a part that is empty or has a single class, with how the times or values lie.
    """
    split = task.split
    if isinstance(split, TemporalSplit):
        parts = [_temporal(examples, split, clock, as_of)]
    elif isinstance(split, RandomSplit):
        parts = _random(examples, split)
    else:
        parts = [_column(examples, split, name) for name in split.columns]
    for place, part in enumerate(parts):
        part[examples["label"].isna().to_numpy()] = NONE
        _check(examples, part, f"task.split, split_{place}", _lie(examples, split, place, clock))
    columns = {f"split_{place}": pd.Categorical.from_codes(part, pd.Index(NAMES)) for place, part in enumerate(parts)}
    kept = examples.drop(columns=list(columns), errors="ignore")
    return pd.concat([kept, pd.DataFrame(columns, index=examples.index)], axis=1)


def _temporal(examples: pd.DataFrame, split: TemporalSplit, clock: Clock, as_of: int) -> Parts:
    """The gap between the parts is what the delay of the labels asks for: none may be used before known."""
    train_end = moment(split.train_end, clock, "task.split.train_end", as_of)
    validation_end = moment(split.validation_end, clock, "task.split.validation_end", as_of)
    if train_end >= validation_end:
        raise UserError("task.split: train_end must be before validation_end")
    time, known = examples["time"].to_numpy(), examples["known"].to_numpy()
    part = np.full(len(examples), NONE, np.int8)
    part[(time < train_end) & (known <= train_end)] = TRAIN
    part[(time >= train_end) & (time < validation_end) & (known <= validation_end)] = VALIDATION
    part[time >= validation_end] = TEST
    return part


def _random(examples: pd.DataFrame, split: RandomSplit) -> list[Parts]:
    from sklearn.model_selection import StratifiedKFold, train_test_split  # half a second that only this split needs

    labelled = np.flatnonzero(examples["label"].notna().to_numpy())
    label = _truth(examples)[labelled]
    try:
        if split.folds is None:
            rest, test = train_test_split(labelled, test_size=split.test, stratify=label, random_state=split.seed)
            return [_random_parts(examples, split, rest, test)]
        rarer = min(int(label.sum()), int((~label).sum()))
        if rarer < split.folds:
            raise ValueError(f"the rarer class has {rarer:,}, fewer than {split.folds} folds")
        folds = StratifiedKFold(split.folds, shuffle=True, random_state=split.seed)
        pairs = list(folds.split(labelled, label))
        return [_random_parts(examples, split, labelled[rest], labelled[test]) for rest, test in pairs]
    except ValueError as error:
        raise UserError(f"task.split: {len(labelled)} labelled examples cannot be split: {error}") from None


def _random_parts(
    examples: pd.DataFrame, split: RandomSplit, rest: NDArray[np.int64], test: NDArray[np.int64]
) -> Parts:
    from sklearn.model_selection import train_test_split

    label = _truth(examples)[rest]
    train, validation = train_test_split(rest, test_size=split.validation, stratify=label, random_state=split.seed)
    part = np.full(len(examples), NONE, np.int8)
    part[train], part[validation], part[test] = TRAIN, VALIDATION, TEST
    return part


def _column(examples: pd.DataFrame, split: ColumnSplit, name: str) -> Parts:
    values = examples[name].astype("string").fillna("").to_numpy(dtype=object)
    part = np.full(len(examples), NONE, np.int8)
    for code, target in enumerate(PARTS):
        part[values == getattr(split, target)] = code
    return part


def _truth(examples: pd.DataFrame) -> NDArray[np.bool_]:
    """Labels, false where there is none."""
    return examples["label"].astype("boolean").fillna(False).to_numpy(bool)


def _lie(examples: pd.DataFrame, split: TemporalSplit | RandomSplit | ColumnSplit, place: int, clock: Clock) -> str:
    """How the times or values lie, against which the user checks the split."""
    if isinstance(split, ColumnSplit):
        name = split.columns[place]
        values = examples[name].astype("string").fillna("nothing").unique()
        more = ", …" if len(values) > SHOWN else ""
        return f"column {name!r} holds {', '.join(sorted(values)[:SHOWN])}{more}"
    if len(examples) == 0:
        return "there is no example at all"
    first, last = text(int(examples["time"].min()), clock), text(int(examples["time"].max()), clock)
    known = examples[examples["known"] != NEVER]
    wait = int((known["known"] - known["time"]).max()) if isinstance(split, TemporalSplit) and len(known) else 0
    longer = f", and a label takes up to {wait / day(clock):g} {UNIT[clock]} to be known: each part must be longer"
    return f"their times are from {first} to {last}{longer if wait > 0 else ''}"


def _check(examples: pd.DataFrame, part: Parts, name: str, lie: str) -> None:
    truth = _truth(examples)
    for code, target in enumerate(PARTS):
        values = truth[part == code]
        if not len(values):
            raise UserError(
                f"{name}: the {target} part is empty; of {len(part):,} examples "
                + ", ".join(f"{(part == place).sum():,} are {other}" for place, other in enumerate(NAMES))
                + f"; {lie}"
            )
        if values.all() or not values.any():
            raise UserError(f"{name}: every label of the {target} part is {bool(values[0])}; {lie}")
