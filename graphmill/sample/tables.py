"""The events of the sample as columns of whole numbers; names and text come only when they are written."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

NONE = -1
"""No device, or no operation behind a payment."""

CARD_PRESENT, ONLINE, APP = 0, 1, 2
CHANNELS = ("card_present", "online", "app")


@dataclass
class Payments:
    """Payments, one row each: row numbers of their links, moment, amount, channel and fraud operation."""

    account: Ints
    merchant: Ints
    device: Ints
    """`NONE` when the card was present."""
    at: Ints
    """Seconds since 1970 (UTC)."""
    cents: Ints
    channel: Ints
    """Position in `CHANNELS`."""
    operation: Ints
    """Row number of the fraud operation; `NONE` for an honest payment."""


@dataclass
class Logins:
    """Logins of accounts on devices; ``success`` is 0 or 1."""

    account: Ints
    device: Ints
    at: Ints
    success: Ints


@dataclass
class Transfers:
    """Money moved from one account to another."""

    sender: Ints
    receiver: Ints
    at: Ints
    cents: Ints


Table = TypeVar("Table", Payments, Logins, Transfers)


@dataclass
class Operation:
    """One fraud operation: who did it, with what, and from which month to which."""

    tactic: str
    accounts: Ints
    devices: Ints
    merchants: Ints
    first_month: int
    last_month: int
    hub: int = NONE
    """The account that fed the others (relay only)."""


@dataclass
class Ledger:
    """What happened, part by part, while it is being made."""

    payments: list[Payments] = field(default_factory=list)
    logins: list[Logins] = field(default_factory=list)
    transfers: list[Transfers] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)

    def begin(self, operation: Operation) -> int:
        """Record an operation; returns its row number."""
        self.operations.append(operation)
        return len(self.operations) - 1


def join(parts: Sequence[Table]) -> Table:
    """All rows of all parts in one table, in the order of its columns: time first, so that no maker shows."""
    names = [column.name for column in fields(parts[0])]
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    order = np.lexsort([columns[name] for name in reversed(names) if name != "at"] + [columns["at"]])
    return type(parts[0])(**{name: values[order] for name, values in columns.items()})
