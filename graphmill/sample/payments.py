"""Honest payments; and how any payment gets its merchant, device, channel and amount."""

import numpy as np

from graphmill.sample import devices
from graphmill.sample.population import CATEGORIES, FAVOURITES
from graphmill.sample.seasons import CHANGE_MONTH, MONTH_STARTS, MONTHS, busyness, moments, month_of
from graphmill.sample.tables import APP, CARD_PRESENT, NONE, ONLINE, Flags, Ints, Payments
from graphmill.sample.world import PAYMENTS, World

_HABIT = np.array([0.34, 0.22, 0.16, 0.12, 0.09, 0.07])
_EXPLORING = np.where(np.arange(MONTHS) + 1 >= CHANGE_MONTH, 0.42, 0.24)
"""Share of payments outside the favourites; from the change on they also crowd at the largest merchants."""
_CROWDING = 1.6
_ORDER_AHEAD = 0.12
_MEDIANS = np.array([median for _, median, _ in CATEGORIES.values()])


def honest(random: np.random.Generator, world: World) -> Payments:
    """A year of honest payments: about `PAYMENTS` x scale rows, none before its account was opened."""
    account, month = _who_and_when(random, world)
    start = np.maximum(MONTH_STARTS[month], world.accounts.opened_at[account] + 60)
    at = moments(random, start, MONTH_STARTS[month + 1])
    share = world.accounts.remote[account]
    odds = world.seasons.online[month] * share / (1 - share)
    return pay(random, world, account, at, random.random(len(at)) < odds / (1 + odds))


def pay(random: np.random.Generator, world: World, account: Ints, at: Ints, remote: Flags) -> Payments:
    """Payments as the accounts usually make them, at the moments ``at``, ``remote`` or with the card."""
    merchant = merchants(random, world, account, at, remote & (random.random(len(at)) >= _ORDER_AHEAD))
    device = np.where(remote, devices.choose(random, world.owned, account, at), NONE)
    return Payments(
        account=account,
        merchant=merchant,
        device=device,
        at=at,
        cents=cents(random, world, account, merchant, at),
        channel=channels(random, world, device),
        operation=np.full(len(at), NONE, dtype=np.int64),
    )


def merchants(random: np.random.Generator, world: World, account: Ints, at: Ints, online: Flags) -> Ints:
    """A favourite of the account or, sometimes, any popular merchant, `[n]`."""
    favourite = random.choice(FAVOURITES, len(account), p=_HABIT)
    chosen = world.accounts.favourites[account, online.astype(np.int64), favourite]
    month = month_of(at)
    exploring = random.random(len(account)) < _EXPLORING[month]
    for mode in (False, True):
        for crowded in (False, True):
            weight = world.merchants.popularity ** (_CROWDING if crowded else 1.0)
            weight = weight * (world.merchants.online == mode)
            rows = np.flatnonzero(exploring & (online == mode) & ((month + 1 >= CHANGE_MONTH) == crowded))
            chosen[rows] = random.choice(len(weight), len(rows), p=weight / weight.sum())
    return chosen


def cents(random: np.random.Generator, world: World, account: Ints, merchant: Ints, at: Ints) -> Ints:
    """Amounts in cents: lognormal around what the merchant's category costs, by account and month, `[n]`."""
    usual = _MEDIANS[world.merchants.category[merchant]] * world.seasons.amount[month_of(at)]
    amount = usual * world.accounts.thrift[account] * random.lognormal(0.0, 0.65, len(account))
    return np.maximum(np.round(amount * 100), 50).astype(np.int64)


def channels(random: np.random.Generator, world: World, device: Ints) -> Ints:
    """Without a device the card was present; phones pay in the app about half of the time, `[n]`."""
    in_app = world.devices.is_mobile(device) & (random.random(len(device)) < 0.55)
    return np.where(device == NONE, CARD_PRESENT, np.where(in_app, APP, ONLINE)).astype(np.int64)


def _who_and_when(random: np.random.Generator, world: World) -> tuple[Ints, Ints]:
    """The account and the month of each payment: Poisson counts, less in a month not fully open."""
    opened_at = world.accounts.opened_at[:, None]
    start, end = MONTH_STARTS[None, :-1], MONTH_STARTS[None, 1:]
    rest = busyness(end) - busyness(np.clip(opened_at + 60, start, end))
    open_share = rest / (busyness(end) - busyness(start))
    expected = world.accounts.activity[:, None] * world.seasons.volume[None, :] * open_share
    counts = random.poisson(expected * (PAYMENTS * world.scale / expected.sum())).ravel()
    cell = np.repeat(np.arange(len(counts)), counts)
    return cell // MONTHS, cell % MONTHS
