"""Cohorts: predictions judged together by the time they were made, and the labels that count for them.

Every cohort is looked at when its predictions are equally old, and a label counts from the moment it became known:
else the newest cohort, whose quick labels alone are there, would always look unlike the past ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from graphmill.clock import ALWAYS, duration
from graphmill.drift.source import Integers, Period, Source

MOST_SLICES = 20
KNOWN = 0.9
"""Where labels take unequally long, a cohort waits until so many of them were known at training."""

Mask = NDArray[np.bool_]


class Enough(NamedTuple):
    """From when on labels say something; else the state is ``insufficient_labels``."""

    labelled: float = 0.8
    """Share of a cohort's examples that have a label."""
    positives: int = 30
    """Positive labels, and as many negative ones."""


ENOUGH = Enough()


@dataclass(frozen=True)
class Cohort:
    """Examples of one stretch of time, oldest first."""

    rows: Integers
    """Rows of the examples: int64 ``[n]``."""
    label: Mask
    """Whether they are positive ``[n]``; False where that is not known."""
    known: Mask
    """Whether their label was known when the cohort is looked at ``[n]``."""
    period: Period

    @property
    def maturity(self) -> float | None:
        """Labelled / expected; None for an empty cohort."""
        return float(self.known.mean()) if len(self.known) else None


def cohort(source: Source, period: Period, age: int) -> Cohort:
    """The cohort that is looked at when a period ends: its predictions are ``age`` older than the period."""
    moved = Period(max(period.start, ALWAYS + age) - age, period.end - age)
    rows = source.example_places(moved)
    known = known_by(source.examples, rows, period.end)
    label = source.examples["label"].iloc[rows].fillna(False).to_numpy(bool)
    return Cohort(rows, label & known, known, moved)


def known_by(examples: pd.DataFrame, rows: Integers, moment: int) -> Mask:
    """Whether the labels of some examples were known by a moment: bool ``[n]``."""
    known: Mask = examples["label"].iloc[rows].notna().to_numpy(bool)
    if "known" in examples:
        known &= examples["known"].iloc[rows].to_numpy(np.int64) <= moment
    return known


def label_age(source: Source, until: int) -> int:
    """How old predictions have to be until their labels are there, in clock units.

    Fixed by the task where all labels take equally long; else what nine of ten took in the older half of the
    examples up to a moment, whose late ones have come by then.
    """
    task, clock, examples = source.graph.task, source.graph.clock, source.examples
    if task.split.kind != "temporal":
        return 0
    if task.label.known_at is None:
        behind = task.label.between[1] if task.label.between else 0
        return duration(task.label.known_after, clock) + max(0, duration(behind, clock))
    rows = source.example_places(Period(ALWAYS, until))
    time = examples["time"].to_numpy(np.int64)[rows]
    old = known_by(examples, rows, until) & (time <= np.median(time)) if len(time) else np.empty(0, bool)
    taken = examples["known"].to_numpy(np.int64)[rows][old] - time[old]
    return max(0, int(np.quantile(taken, KNOWN, method="higher"))) if len(taken) else 0


def freeze(examples: pd.DataFrame) -> list[str]:
    """The commonest slices, ``channel=online``, of the columns that the task names."""
    counts: dict[str, int] = {}
    for column in columns(examples):
        values = examples[f"slice.{column}"].value_counts()
        counts |= {f"{column}={value}": int(count) for value, count in values.items()}
    return sorted(counts, key=lambda name: (-counts[name], name))[:MOST_SLICES]


def columns(examples: pd.DataFrame) -> list[str]:
    """The task's slicing columns."""
    return [str(name).removeprefix("slice.") for name in examples if str(name).startswith("slice.")]


def slices(examples: pd.DataFrame, rows: Integers, frozen: list[str]) -> Iterator[tuple[str, Mask]]:
    """Each frozen slice, and which of the rows are in it: bool ``[n]``."""
    values: dict[str, NDArray[Any]] = {
        column: examples[f"slice.{column}"].iloc[rows].to_numpy(str) for column in columns(examples)
    }
    for name in frozen:
        for column in sorted(values, key=len, reverse=True):  # a column may have "=" in its name
            if name.startswith(f"{column}="):
                yield name, values[column] == name.removeprefix(f"{column}=")
                break
