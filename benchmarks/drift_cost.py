"""What a profile and its comparison cost: CPU seconds, beside pandas' summaries of the same columns."""

from functools import partial

import numpy as np
import pandas as pd

from benchmarks.contest import contest, show
from benchmarks.drift_worlds import Table, Variation
from graphmill.drift import compare, features
from graphmill.drift.baseline import Past
from graphmill.drift.params import Params

COLUMNS, PERIODS = 50, 30
ROWS, FEW = (100_000, 1_000_000), (100_000,)


def run(small: bool) -> dict[str, float]:
    """CPU seconds of a profile by number of rows, of pandas beside it, and of a comparison with thirty periods."""
    found = {}
    for rows in FEW if small else ROWS:
        values = np.random.default_rng(0).normal(size=(rows, COLUMNS)).astype(np.float32)
        frozen = [{**features.freeze_number(column), "histogram": True} for column in values.T]
        work = {"ours": partial(_profile, values, frozen), "pandas": partial(_pandas, values)}
        cost = contest(work, rounds=3)
        show(f"profile of {rows:,} rows and {COLUMNS} columns", cost, "ours")
        found |= {f"profile {rows}": round(cost["ours"][0], 3), f"pandas {rows}": round(cost["pandas"][0], 3)}
    state = np.random.default_rng(0)
    reference, profiles, _ = Table(100_000, Variation(0.03)).draw(state, PERIODS, 1)
    past = Past(reference, profiles[:PERIODS], PERIODS, frozenset())
    cost = contest({"ours": lambda: compare.items(profiles[PERIODS], past, Params())}, rounds=3)
    return found | {f"comparison with {PERIODS}": round(cost["ours"][0], 3)}


def _profile(values: np.ndarray, frozen: list[dict[str, object]]) -> None:
    for column, how in zip(values.T, frozen, strict=True):
        features.number(column, how)


def _pandas(values: np.ndarray) -> None:
    """Moments, quantiles and a histogram of every column."""
    frame = pd.DataFrame(values)
    frame.describe(percentiles=[0.05, 0.5, 0.95])
    for name in frame:
        np.histogram(frame[name], 64)
