"""The same figures for parts of the test examples: node type, history, time and declared columns."""

from typing import Any

import numpy as np
import pandas as pd

from graphmill.clock import Clock
from graphmill.evaluate.metrics import Figures, figures

DEGREES = [(0, 0), (1, 3), (4, 10), (11, 30), (31, 100), (101, None)]
MOST = 20


def slices(examples: pd.DataFrame, node: str, clock: Clock) -> pd.DataFrame:
    """The slice of every example for each way of slicing: text columns, a row an example."""
    found = pd.DataFrame({"type": node}, index=examples.index)
    found["degree"] = _degrees(examples["degree"].to_numpy())
    found["time"] = _times(examples["time"], clock)
    for name in examples:
        if str(name).startswith("slice."):
            values = examples[name].astype(str)
            common = values.value_counts().index[:MOST]
            found[str(name).removeprefix("slice.")] = values.where(values.isin(common), "other")
    return found


def by_slice(
    examples: pd.DataFrame, found: pd.DataFrame, score: Any, threshold: float, top: list[float], bins: int
) -> list[dict[str, Any]]:
    """Figures of one model in every slice: name, value, figures."""
    label = examples["label"].to_numpy(dtype=bool)
    rows: list[dict[str, Any]] = []
    for name in found:
        for value in sorted(found[name].unique(), key=_order):
            inside = (found[name] == value).to_numpy()
            values: Figures = figures(label[inside], score[inside], threshold, top, bins)
            rows.append({"slice": str(name), "value": str(value), "figures": values})
    return rows


def _degrees(degree: Any) -> Any:
    names = np.full(len(degree), "", object)
    for first, last in DEGREES:
        inside = (degree >= first) & (degree <= (last if last is not None else np.inf))
        names[inside] = f"{first}" if first == last else f"{first}-{last}" if last is not None else f"{first}+"
    return names


def _times(time: pd.Series, clock: Clock) -> Any:
    """Calendar months, or six spans of equal count on a clock of steps."""
    if time.nunique() == 1:
        return "one moment"
    if clock == "timestamp":
        return pd.to_datetime(time, unit="us").dt.strftime("%Y-%m").to_numpy()
    borders = np.unique(np.quantile(time, np.linspace(0, 1, 7)[1:-1], method="lower"))
    place = np.searchsorted(borders, time.to_numpy(), side="right")
    return np.array([f"from {[int(time.min()), *borders][item]:.0f}" for item in place], object)


def _order(value: Any) -> tuple[int, str]:
    digits = "".join(sign for sign in str(value).split("-")[0] if sign.isdigit())
    return (int(digits) if digits and not str(value).startswith("20") else 0, str(value))
