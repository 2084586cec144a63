"""Everything that stands still while events are made: people, shops, devices and seasons."""

from dataclasses import dataclass, field

import numpy as np

from graphmill.sample import population, seasons
from graphmill.sample.devices import Devices, Ownership, ownership
from graphmill.sample.tables import Flags, Ints

ACCOUNTS, MERCHANTS, PAYMENTS, TRANSFERS, PUBLIC_DEVICES = 8_000, 700, 205_000, 12_500, 14
"""How many at scale 1."""


@dataclass
class World:
    """The stage on which honest people and fraudsters act."""

    scale: float
    seasons: seasons.Seasons
    merchants: population.Merchants
    accounts: population.Accounts
    devices: Devices
    owned: Ownership
    taken: Flags = field(init=False)
    """Accounts that already have a part in some scheme, honest or not, `[A]`."""

    def __post_init__(self) -> None:
        self.taken = np.zeros(len(self.accounts.opened_at), dtype=np.bool_)

    def size(self, at_scale_one: float, least: int = 1) -> int:
        """A count that grows with the scale."""
        return max(least, round(at_scale_one * self.scale))

    def recruit(self, random: np.random.Generator, count: int, by: int, newer: float = 1.0) -> Ints:
        """Accounts without a part yet that have a device and were open 30 days before the moment ``by``.

        ``newer`` makes accounts opened within 18 months before ``by`` so many times likelier.
        """
        age = by - self.accounts.opened_at
        open_ = (age > 30 * seasons.DAY) & (self.accounts.remote > 0)
        free = np.flatnonzero(open_ & ~self.taken)
        free = free if len(free) >= count else np.flatnonzero(open_)
        weight = np.sqrt(self.accounts.activity[free]) * np.where(age[free] < 540 * seasons.DAY, newer, 1.0)
        chosen = random.choice(free, min(count, len(free)), replace=False, p=weight / weight.sum())
        self.taken[chosen] = True
        return chosen.astype(np.int64)

    def victims(self, random: np.random.Generator, count: int, by: int) -> Ints:
        """Accounts with 30 days of history before the moment ``by``, `[<= count]`; they may be hit again."""
        open_ = (by - self.accounts.opened_at > 30 * seasons.DAY) & (self.accounts.remote > 0)
        free = np.flatnonzero(open_ & ~self.taken)
        weight = self.accounts.activity[free] ** 0.7
        chosen = random.choice(free, min(count, len(free)), replace=False, p=weight / weight.sum())
        return chosen.astype(np.int64)


def world(seed: int, scale: float) -> World:
    """Draw the world of a seed."""
    shops = population.merchants(seasons.stream(seed, "merchants"), max(40, round(MERCHANTS * scale)))
    people = population.accounts(seasons.stream(seed, "accounts"), round(ACCOUNTS * scale), shops)
    things = Devices()
    public = max(1, round(PUBLIC_DEVICES * scale))
    owned = ownership(seasons.stream(seed, "devices"), people, things, public)
    return World(scale, seasons.seasons(seasons.stream(seed, "seasons")), shops, people, things, owned)
