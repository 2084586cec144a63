"""Fraud that is over in days (mules, card testing, account takeover), and how much of each there is."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from graphmill.sample import payments
from graphmill.sample.lasting import cast, relay, ring
from graphmill.sample.scene import Scene, any_start, devices_of, merchants_for, stain
from graphmill.sample.seasons import CHANGE_MONTH, DAY, HOUR, MONTHS, moments, month_of
from graphmill.sample.tables import Ints, Logins, Operation, Payments, Transfers

TACTICS = ("ring", "mule", "card_testing", "takeover", "relay")
_SHARES_BEFORE = np.array([0.40, 0.20, 0.18, 0.22, 0.0])
_SHARES_AFTER = np.array([0.08, 0.17, 0.15, 0.18, 0.42])
_PREVALENCE = (0.0090, 0.0114)
_TESTED = 900
"""Card testers keep amounts around this many cents."""


def plant(scene: Scene, honest: Payments) -> None:
    """Commit the year's fraud: each month about 1 % of the payments, shared out among the tactics."""
    lasting = cast(scene)
    makers: dict[str, Callable[[int, int], int]] = {
        "ring": lambda month, count: ring(scene, lasting, month, count),
        "mule": lambda month, count: mule(scene, month, count),
        "card_testing": lambda month, count: card_testing(scene, month, count),
        "takeover": lambda month, count: takeover(scene, month, count),
        "relay": lambda month, count: relay(scene, lasting, month, count),
    }
    honest_counts = np.bincount(month_of(honest.at), minlength=MONTHS)
    for month in range(MONTHS):
        for tactic, count in zip(TACTICS, _quotas(scene, month, int(honest_counts[month])), strict=True):
            while count > 0:
                count -= makers[tactic](month, count)


def mule(scene: Scene, month: int, count: int) -> int:
    """One account receives from many within two days and pays it out within the next day and a half.

    Returns the number of payments made, at most ``count``.
    """
    random, start = scene.random, any_start(scene, month, 4)
    size = min(count, int(random.integers(3, 8)))
    account = scene.world.recruit(random, 1, start, newer=1.5)
    sender = scene.world.victims(random, int(random.integers(6, 14)), start)
    begin = np.full(len(sender), start)
    sent = moments(random, begin, begin + 2 * DAY)
    amount = random.integers(50, 540, len(sender)) * 100
    scene.ledger.transfers.append(Transfers(sender, np.full(len(sender), account[0]), sent, amount))
    last = np.full(size, int(sent.max()) + HOUR)
    who = np.full(size, account[0])
    remote = random.random(size) < np.clip(scene.world.accounts.remote[who], 0.3, 0.9)
    payout = payments.pay(random, scene.world, who, moments(random, last, last + 36 * HOUR), remote)
    stain(scene, payout, _begin(scene, "mule", account, payout, month), 1.25)
    return size


def card_testing(scene: Scene, month: int, count: int) -> int:
    """A burst of small payments with many stolen cards at one merchant, within about an hour.

    Returns the number of payments made, at most ``count``.
    """
    random, start = scene.random, any_start(scene, month, 1)
    account = scene.world.victims(random, min(count, int(random.integers(12, 27))), start)
    size, length = len(account), int(random.integers(25, 80)) * 60
    at = start + random.integers(0, length, size)
    burst = payments.pay(random, scene.world, account, at, np.ones(size, dtype=np.bool_))
    burst.merchant = np.full(size, merchants_for(scene, 1, online=1.0)[0])
    robots = devices_of(scene, np.full(int(random.integers(3, 9)), start))
    burst.device = random.choice(robots, size)
    stain(scene, burst, _begin(scene, "card_testing", account, burst, month), 1.0)
    small = np.round(_TESTED * random.lognormal(0.0, 0.55, size)).astype(np.int64)
    scene.ledger.payments[-1].cents = np.maximum(np.minimum(scene.ledger.payments[-1].cents, small), 50)
    return size


def takeover(scene: Scene, month: int, count: int) -> int:
    """One device logs into many accounts, often only at the second or third try, and pays from each.

    Returns the number of payments made, at most ``count``.
    """
    random, start = scene.random, any_start(scene, month, 2)
    account = scene.world.victims(random, min(count, int(random.integers(3, 11))), start)
    device = devices_of(scene, np.array([start]))
    entered = moments(random, np.full(len(account), start), np.full(len(account), start + 2 * DAY))
    tries = random.choice(4, len(account), p=[0.6, 0.2, 0.12, 0.08])
    _break_in(scene, account, int(device[0]), entered, tries)
    which = np.repeat(np.arange(len(account)), random.integers(1, 4, len(account)))[:count]
    at = entered[which] + 30 + random.exponential(0.8 * HOUR, len(which)).astype(np.int64)
    spree = payments.pay(random, scene.world, account[which], at, np.ones(len(which), dtype=np.bool_))
    spree = replace(spree, device=np.full(len(which), device[0]))
    stain(scene, spree, _begin(scene, "takeover", account, spree, month), 1.15)
    return len(which)


def _break_in(scene: Scene, account: Ints, device: int, entered: Ints, tries: Ints) -> None:
    """Failed logins a few seconds apart, then the one that succeeds."""
    failed = np.repeat(np.arange(len(account)), tries)
    who = np.concatenate([account, account[failed]])
    at = np.concatenate([entered, entered[failed] - scene.random.integers(10, 600, len(failed))])
    success = np.concatenate([np.ones(len(account)), np.zeros(len(failed))]).astype(np.int64)
    scene.ledger.logins.append(Logins(who, np.full(len(who), device), at, success))


def _begin(scene: Scene, tactic: str, account: Ints, made: Payments, month: int) -> int:
    devices = np.unique(made.device[made.device >= 0])
    return scene.ledger.begin(Operation(tactic, account, devices, np.unique(made.merchant), month, month))


def _quotas(scene: Scene, month: int, honest: int) -> list[int]:
    """Payments of each tactic in a month, largest remainders rounded up."""
    shares = _SHARES_BEFORE if month + 1 < CHANGE_MONTH else _SHARES_AFTER
    shares = shares * scene.random.uniform(0.85, 1.15, len(shares))
    prevalence = scene.random.uniform(*_PREVALENCE)
    total = round(honest * prevalence / (1 - prevalence))
    exact = shares / shares.sum() * total
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact)[: total - int(counts.sum())]] += 1
    return [int(count) for count in counts]
