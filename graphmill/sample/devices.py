"""Devices: own ones, replaced ones, family ones, public ones; and those that attackers bring."""

from dataclasses import dataclass, field

import numpy as np

from graphmill.sample.population import Accounts
from graphmill.sample.seasons import CHANGE, DAY, MONTH_STARTS
from graphmill.sample.tables import NONE, Flags, Floats, Ints

SYSTEMS = ("android", "ios", "windows", "macos", "linux")
_SYSTEM_SHARES: dict[bool, Floats] = {
    True: np.array([0.63, 0.37, 0.0, 0.0, 0.0]),
    False: np.array([0.0, 0.0, 0.74, 0.2, 0.06]),
}
_NEVER = np.iinfo(np.int64).max
_BORROWED, _PUBLIC = 0.01, 0.01
"""Share of the actions on a friend's device and on a public one: sharing alone proves nothing."""
_FAMILIES_BEFORE, _FAMILIES_AFTER = 0.12, 0.36
"""Share of the accounts in families that share a device all year, and that begin so at the change."""


def _nothing() -> Ints:
    return np.zeros(0, dtype=np.int64)


@dataclass
class Devices:
    """Every device, in order of creation; attackers' devices are added while operations are made."""

    system: Ints = field(default_factory=_nothing)
    """Position in `SYSTEMS`, `[D]`."""
    first_seen: Ints = field(default_factory=_nothing)
    """Seconds since 1970, `[D]`."""

    def add(self, random: np.random.Generator, first_seen: Ints, mobile: float) -> Ints:
        """Create one device for each moment; ``mobile`` is the share of phones. Returns their row numbers."""
        phone = random.random(len(first_seen)) < mobile
        system = np.where(
            phone,
            random.choice(len(SYSTEMS), len(first_seen), p=_SYSTEM_SHARES[True]),
            random.choice(len(SYSTEMS), len(first_seen), p=_SYSTEM_SHARES[False]),
        )
        rows = np.arange(len(self.system), len(self.system) + len(first_seen))
        self.system = np.concatenate([self.system, system])
        self.first_seen = np.concatenate([self.first_seen, first_seen])
        return rows

    def is_mobile(self, device: Ints) -> Flags:
        """Whether each device runs apps."""
        return np.asarray(self.system[device] <= 1)


@dataclass(frozen=True)
class Ownership:
    """Which devices an account uses, `[A]` each; `NONE` where it has no such device."""

    first: Ints
    successor: Ints
    replaced_at: Ints
    second: Ints
    family: Ints
    family_since: Ints
    friend: Ints
    """An account that has been there longer, whose device is borrowed at times."""
    public: Ints
    """Public devices (libraries, kiosks), `[P]`: many honest accounts on one device."""


def ownership(random: np.random.Generator, accounts: Accounts, devices: Devices, public: int) -> Ownership:
    """Give every account that pays from afar its devices."""
    count, opened_at = len(accounts.opened_at), accounts.opened_at
    has_device = accounts.remote > 0
    seen = _bought(random, opened_at)
    has_second = has_device & (random.random(count) < 0.1)
    older = seen - random.integers(0, 300, count) * DAY
    replaced = np.maximum(opened_at, MONTH_STARTS[0]) + (random.random(count) * 365 * DAY).astype(np.int64)
    replaced[(random.random(count) >= 0.14) | ~has_device | (replaced >= MONTH_STARTS[-1])] = _NEVER
    family, since = _families(random, accounts, devices)
    return Ownership(
        first=_give(random, devices, seen, has_device, 0.85),
        successor=_give(random, devices, replaced - DAY, replaced < _NEVER, 0.85),
        replaced_at=replaced,
        second=_give(random, devices, older, has_second, 0.3),
        family=family,
        family_since=since,
        friend=(random.random(count) * np.arange(count)).astype(np.int64),
        public=devices.add(random, MONTH_STARTS[0] - random.integers(1, 900, public) * DAY, 0.0),
    )


def choose(random: np.random.Generator, owned: Ownership, account: Ints, at: Ints) -> Ints:
    """The device from which each account acts at each moment, `[n]`."""
    device = np.where(at >= owned.replaced_at[account], owned.successor[account], owned.first[account])
    second = (owned.second[account] != NONE) & (random.random(len(at)) < 0.3)
    device = np.where(second, owned.second[account], device)
    family = (at >= owned.family_since[account]) & (random.random(len(at)) < 0.5)
    device = np.where(family, owned.family[account], device)
    lent = owned.first[owned.friend[account]]
    device = np.where((lent != NONE) & (random.random(len(at)) < _BORROWED), lent, device)
    public = random.random(len(at)) < _PUBLIC
    return np.where(public, random.choice(owned.public, len(at)), device).astype(np.int64)


def _bought(random: np.random.Generator, opened_at: Ints) -> Ints:
    """When the first device was first seen: a while before the account used it, which may be years after."""
    years_later = np.maximum(MONTH_STARTS[0] - opened_at, 0) * random.random(len(opened_at))
    seen = opened_at + years_later - random.exponential(60.0, len(opened_at)) * DAY
    latest: Ints = np.maximum(seen.astype(np.int64), opened_at - 900 * DAY)
    return latest


def _give(random: np.random.Generator, devices: Devices, seen: Ints, whom: Flags, mobile: float) -> Ints:
    given = np.full(len(seen), NONE, dtype=np.int64)
    given[whom] = devices.add(random, seen[whom], mobile)
    return given


def _families(random: np.random.Generator, accounts: Accounts, devices: Devices) -> tuple[Ints, Ints]:
    """Groups of two to four accounts with one device; some have always shared, others start at the change."""
    count = len(accounts.opened_at)
    family, since = np.full(count, NONE, dtype=np.int64), np.full(count, _NEVER, dtype=np.int64)
    people = random.permutation(np.flatnonzero(accounts.remote > 0))
    always, later = round(_FAMILIES_BEFORE * count), round((_FAMILIES_BEFORE + _FAMILIES_AFTER) * count)
    position = 0
    while position < later:
        members = people[position : position + int(random.integers(2, 5))]
        start = int(MONTH_STARTS[0]) if position < always else CHANGE
        seen = np.array([start - int(random.exponential(200.0)) * DAY])
        family[members] = devices.add(random, seen, 0.5)[0]
        spread = random.integers(0, 7 * DAY, len(members)) if start == CHANGE else 0
        since[members] = start + spread
        position += len(members)
    return family, since
