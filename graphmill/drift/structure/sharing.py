"""Entities that several others share: two links of one event join two of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphmill.drift.source import Integers, rounded

Values = dict[str, Any]


def sharing(hub: Integers, other: Integers) -> Values:
    """Share of the rows whose hub has several others, and the mean number of others a hub has.

    Args:
        hub: int ``[rows]``, -1 for none.
        other: int ``[rows]``, -1 for none.
    """
    both = (hub >= 0) & (other >= 0)
    if not np.any(both):
        return {"shared_share": None, "mean_sharers": None}
    hub, other = hub[both].astype(np.int64), other[both].astype(np.int64)
    pairs = np.unique(hub * (int(other.max()) + 1) + other) // (int(other.max()) + 1)
    hubs, sharers = np.unique(pairs, return_counts=True)
    several: NDArray[np.bool_] = sharers[np.searchsorted(hubs, hub)] > 1
    return {"shared_share": rounded(float(several.mean())), "mean_sharers": rounded(float(sharers.mean()))}
