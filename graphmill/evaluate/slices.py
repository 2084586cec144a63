"""The same figures for parts of the test examples: node type, history, time and declared columns."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from graphmill.clock import Clock
from graphmill.errors import UserError

DEGREES = {"0": 0, "1-3": 1, "4-10": 4, "11-30": 11, "31-100": 31, "101+": 101}
"""Names of the degree slices and where each begins."""
MOST = 20
BUILT_IN = ("type", "degree", "time")
SPANS = 6


def slices(examples: pd.DataFrame, node: str, clock: Clock) -> pd.DataFrame:
    """The slice of every example for each way of slicing: categories in the order to show them, a row an example."""
    found = pd.DataFrame({"type": pd.Categorical([node] * len(examples), [node])}, index=examples.index)
    place = np.searchsorted(list(DEGREES.values()), examples["degree"].to_numpy(), side="right") - 1
    found["degree"] = pd.Categorical(np.array(list(DEGREES))[place], list(DEGREES), ordered=True)
    found["time"] = _times(examples["time"], clock)
    for name in examples:
        if str(name).startswith("slice."):
            own = str(name).removeprefix("slice.")
            found[f"{own} (column)" if own in BUILT_IN else own] = _common(examples[name].astype(str))
    return found


def check(wanted: list[str], found: list[pd.DataFrame]) -> None:
    """Raises when no test example is in a guarded slice, ``channel=online``.

    Raises:
        UserError: naming slices that there are.
    """
    known = list(dict.fromkeys(f"{name}={value}" for one in found for name in one for value in one[name].unique()))
    for item in wanted:
        if item not in known:
            shown = ", ".join(sorted(known)[:30])
            raise UserError(f"evaluate.guarded_slices: no test example is in {item!r}; name one of {shown}")


def inside(found: pd.DataFrame, wanted: str) -> NDArray[np.bool_]:
    """Which examples are in the slice ``channel=online``: bool ``[n]``."""
    name, _, value = wanted.partition("=")
    return np.asarray(found[name].astype(str) == value)


def _common(values: pd.Series) -> Any:
    """The most common values, the others together, the largest first and those others last.

    The others are called ``other``, in brackets where the column has a value of that name.
    """
    counts = values.value_counts().rename_axis("value").reset_index(name="count")
    common = list(counts.sort_values(["count", "value"], ascending=[False, True])["value"].iloc[:MOST])
    other = "(other)" if "other" in common else "other"
    rest = [] if set(values) <= set(common) else [other]
    return pd.Categorical(values.where(values.isin(common), other), [*common, *rest], ordered=True)


def _times(time: pd.Series, clock: Clock) -> Any:
    """Calendar months, or spans of equal count on a clock of steps."""
    if time.nunique() == 1:
        return pd.Categorical(["one moment"] * len(time))
    if clock == "timestamp":
        return pd.Categorical(pd.to_datetime(time, unit="us").dt.strftime("%Y-%m"), ordered=True)
    borders = np.unique(np.quantile(time, np.linspace(0, 1, SPANS + 1)[:-1], method="lower"))
    place = np.searchsorted(borders, time.to_numpy(), side="right") - 1
    names = [f"from {border}" for border in borders]
    return pd.Categorical([names[one] for one in place], names, ordered=True)
