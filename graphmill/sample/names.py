"""The identifiers under which rows are written: they say nothing but the order of things."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from graphmill.sample.tables import Ints

if TYPE_CHECKING:
    from graphmill.sample.make import Sample

Texts = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Names:
    """The identifier of each row, one array a table; devices are numbered as they were first seen."""

    account: Texts
    merchant: Texts
    device: Texts
    payment: Texts
    device_order: Ints
    """Row numbers of the devices in the order of their identifiers."""


def names(sample: "Sample") -> Names:
    """Name every row of the sample."""
    first_seen = sample.world.devices.first_seen
    order = np.argsort(first_seen, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return Names(
        account=_numbered("A", 6, np.arange(len(sample.world.accounts.opened_at))),
        merchant=_numbered("M", 5, np.arange(len(sample.world.merchants.online))),
        device=_numbered("D", 6, rank),
        payment=_numbered("P", 7, np.arange(len(sample.payments.at))),
        device_order=order,
    )


def _numbered(letter: str, digits: int, rows: Ints) -> Texts:
    return np.char.add(letter, np.char.zfill((rows + 1).astype(np.str_), digits))
