"""The verdict on one statistic of the newest period."""

from dataclasses import dataclass
from typing import Any

from graphmill.drift.source import rounded

SEVERITY = ("ok", "insufficient_labels", "cold_start", "warn", "alarm")
"""From harmless to severe."""


@dataclass
class Item:
    """One statistic of the newest period beside its past."""

    family: str
    name: str
    statistic: str
    unit: str
    value: float | None
    reference: float | None
    """Mean of the past periods."""
    spread: float | None
    """Standard deviation of the past periods."""
    past: int
    """How many past periods there are."""
    effect: float | None = None
    """The change: in standard deviations at training, as a difference of shares, or relative to the mean."""
    z: float | None = None
    p: float | None = None
    """Corrected within the family; None where sizes alone decide."""
    chart: str | None = None
    """The chart that ``z`` and ``p`` are of: ``level`` or ``difference``."""
    against: str | None = None
    """The null that they are beside: ``rolling``, the newest accepted periods, or ``frozen``, those of the training."""
    streak: list[int] | None = None
    """Whether the level chart was beyond its bound in the newest three periods, the newest last."""
    state: str = "ok"

    def canonical(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = {name: rounded(value) if isinstance(value, float) else value for name, value in vars(self).items()}
        return plain


def unjudged(name: str, state: str) -> bool:
    """Whether labels are missing for all that an item's family judges, not for a slice (``channel=fax``) alone."""
    return state == "insufficient_labels" and "=" not in name


def ordered(found: list[Item]) -> list[Item]:
    """The worst first: by state, then by p, then by how unusual the change is."""

    def badness(item: Item) -> tuple[int, float, float]:
        p = 1.0 if item.p is None else item.p
        return -SEVERITY.index(item.state), p, -abs(item.z if item.z is not None else item.effect or 0.0)

    return sorted(found, key=badness)
