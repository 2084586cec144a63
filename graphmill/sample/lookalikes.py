"""Honest events that look like a tactic: without them one rule for each tactic would find all fraud."""

import numpy as np

from graphmill.sample import payments
from graphmill.sample.seasons import DAY, HOUR, MONTH_STARTS, moments
from graphmill.sample.tables import Ledger, Transfers
from graphmill.sample.world import World

_SALES, _GIFTS, _EVENINGS = 100, 280, 280
"""Flash sales, collections for a gift, and evenings on one borrowed device, a year at scale 1."""
_LAST_START = int(MONTH_STARTS[-1]) - 8 * DAY


def perform(random: np.random.Generator, world: World, ledger: Ledger) -> None:
    """Add a year of flash sales, gift collections and evenings with friends to the ledger."""
    for start in _starts(random, world.size(_SALES)):
        _flash_sale(random, world, ledger, start)
    for start in _starts(random, world.size(_GIFTS)):
        _gift(random, world, ledger, start)
    for start in _starts(random, world.size(_EVENINGS)):
        _evening(random, world, ledger, start)


def _flash_sale(random: np.random.Generator, world: World, ledger: Ledger, start: int) -> None:
    """Many customers pay a little at one online merchant within an hour or so, as in card testing."""
    account = world.victims(random, int(random.integers(8, 26)), start)
    at = start + random.integers(0, int(random.integers(30, 120)) * 60, len(account))
    sale = payments.pay(random, world, account, at, np.ones(len(account), dtype=np.bool_))
    shops = np.flatnonzero(world.merchants.online)
    sale.merchant = np.full(len(account), random.choice(shops))
    price = random.lognormal(6.9, 0.4) * random.lognormal(0.0, 0.45, len(account))
    sale.cents = np.maximum(np.round(price), 50).astype(np.int64)
    ledger.payments.append(sale)


def _gift(random: np.random.Generator, world: World, ledger: Ledger, start: int) -> None:
    """Someone receives from many within two days and then spends it, as a mule does."""
    people = world.victims(random, int(random.integers(6, 14)), start)
    keeper, givers = people[:1], people[1:]
    begin = np.full(len(givers), start)
    sent = moments(random, begin, begin + 2 * DAY)
    amount = random.integers(40, 520, len(givers)) * 100
    ledger.transfers.append(Transfers(givers, np.full(len(givers), keeper[0]), sent, amount))
    size = int(random.integers(1, 6))
    last = np.full(size, int(sent.max()) + HOUR)
    at = moments(random, last, last + 2 * DAY)
    remote = random.random(size) < 0.6
    ledger.payments.append(payments.pay(random, world, np.full(size, keeper[0]), at, remote))


def _evening(random: np.random.Generator, world: World, ledger: Ledger, start: int) -> None:
    """Friends pay from the device of one of them within two days, as after a takeover."""
    people = world.victims(random, int(random.integers(3, 8)), start)
    which = np.repeat(np.arange(len(people)), random.integers(1, 3, len(people)))
    begin = np.full(len(which), start)
    at = moments(random, begin, begin + 2 * DAY)
    together = payments.pay(random, world, people[which], at, np.ones(len(which), dtype=np.bool_))
    host = world.owned.first[people.min()]  # the oldest account: its device is there already
    together.device = np.full(len(which), host)
    ledger.payments.append(together)


def _starts(random: np.random.Generator, count: int) -> list[int]:
    """Moments over the year, more where more is paid; in order."""
    begin, end = np.full(count, MONTH_STARTS[0] + DAY), np.full(count, _LAST_START)
    return [int(moment) for moment in np.sort(moments(random, begin, end))]
