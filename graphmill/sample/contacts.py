"""Honest logins and transfers, with the patterns that look like fraud and are not."""

import numpy as np

from graphmill.sample.seasons import CHANGE, DAY, MONTH_STARTS, MONTHS, moments, month_of
from graphmill.sample.tables import NONE, Ints, Ledger, Logins, Payments, Transfers
from graphmill.sample.world import TRANSFERS, World

_LOGIN_SHARE = 0.31
_CONTACTS = 4
_CLUBS, _PAYERS = 45, 28
"""Accounts at scale 1 that collect from many every month, and that pay out to many every month."""


def logins(random: np.random.Generator, world: World, payments: Payments) -> Logins:
    """A login a few minutes before some of the payments made from afar; one in twenty-five fails first."""
    rows = np.flatnonzero((payments.device != NONE) & (random.random(len(payments.at)) < _LOGIN_SHARE))
    account, device = payments.account[rows], payments.device[rows]
    before = 20 + random.exponential(240.0, len(rows)).astype(np.int64)
    earliest = np.maximum(world.accounts.opened_at[account], MONTH_STARTS[0])
    at = np.maximum(payments.at[rows] - before, earliest + 1)
    failed = np.flatnonzero(random.random(len(rows)) < 0.04)
    retry = np.maximum(at[failed] - random.integers(5, 60, len(failed)), earliest[failed])
    return Logins(
        account=np.concatenate([account, account[failed]]),
        device=np.concatenate([device, device[failed]]),
        at=np.concatenate([at, retry]),
        success=np.concatenate([np.ones(len(rows)), np.zeros(len(failed))]).astype(np.int64),
    )


def transfers(random: np.random.Generator, world: World, ledger: Ledger) -> None:
    """Money between people who know each other, to clubs and landlords, and from those who pay many."""
    _between_contacts(random, world, ledger)
    start = int(MONTH_STARTS[0])
    for collector in world.recruit(random, world.size(_CLUBS), start):
        _every_month(random, world, ledger, int(collector), collects=True)
    for payer in world.recruit(random, world.size(_PAYERS), start):
        _every_month(random, world, ledger, int(payer), collects=False)


def _between_contacts(random: np.random.Generator, world: World, ledger: Ledger) -> None:
    """Each account has a few contacts and sends, at any time, as often as it is active."""
    people, count = len(world.accounts.opened_at), world.size(TRANSFERS)
    contacts = random.integers(0, people, (people, _CONTACTS))
    weight = world.accounts.activity * np.where(world.accounts.opened_at >= CHANGE, 0.2, 1.0)
    sender = random.choice(people, count, p=weight / weight.sum())
    receiver = contacts[sender, random.integers(0, _CONTACTS, count)]
    year = np.full(count, MONTH_STARTS[0]), np.full(count, MONTH_STARTS[-1])
    at = moments(random, *year)
    opened_at = world.accounts.opened_at
    fits = (sender != receiver) & (at > opened_at[sender]) & (at > opened_at[receiver])
    fits &= random.random(count) < world.seasons.volume[month_of(at)] / world.seasons.volume.max()
    rows = np.flatnonzero(fits)
    amount = random.lognormal(4.3, 0.9, len(rows)) * 100
    ledger.transfers.append(Transfers(sender[rows], receiver[rows], at[rows], _whole_euros(amount)))


def _every_month(random: np.random.Generator, world: World, ledger: Ledger, centre: int, collects: bool) -> None:
    """Within a few days of each month, one account receives from, or sends to, much the same accounts."""
    opened_at = world.accounts.opened_at
    group = random.choice(np.flatnonzero(opened_at < MONTH_STARTS[0]), int(random.integers(7, 16)))
    group, due = group[group != centre], int(random.integers(0, 24))
    for month in range(MONTHS):
        others = group[random.random(len(group)) < 0.6]
        start = np.full(len(others), MONTH_STARTS[month] + due * DAY)
        at = moments(random, start, start + 4 * DAY)
        amount = _whole_euros(random.lognormal(4.9, 0.5, len(others)) * 100)
        centres = np.full(len(others), centre, dtype=np.int64)
        sender, receiver = (others, centres) if collects else (centres, others)
        ledger.transfers.append(Transfers(sender, receiver, at, amount))


def _whole_euros(cents: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Ints:
    """Transfers are mostly round: whole euros, in cents."""
    return (np.maximum(np.round(cents / 100), 1) * 100).astype(np.int64)
