"""Fraud that lasts for months: rings that share devices and, from the change on, relays fed by a hub."""

from dataclasses import dataclass, replace

import numpy as np

from graphmill.sample import payments
from graphmill.sample.scene import Scene, any_start, devices_of, merchants_for, stain
from graphmill.sample.seasons import CHANGE_MONTH, DAY, HOUR, MONTH_STARTS, MONTHS, moments
from graphmill.sample.tables import NONE, Ints, Logins, Operation, Transfers

RING_SLOTS = 5
"""Rings alive at a time, at scale 1: when one dies the next is born."""
HUBS = 5


@dataclass(frozen=True)
class Cast:
    """Who lasts: row numbers of operations, for each month those that are alive."""

    rings: list[list[int]]
    hubs: list[list[int]]


def cast(scene: Scene) -> Cast:
    """Recruit all rings and hubs of the year."""
    return Cast(_rings(scene), _hubs(scene))


def ring(scene: Scene, cast_: Cast, month: int, count: int) -> int:
    """A wave of a ring: over three days its members pay at its merchants from its devices.

    Returns the number of payments made, at most ``count``.
    """
    number = int(scene.random.choice(cast_.rings[month]))
    band, size = scene.ledger.operations[number], min(count, int(scene.random.integers(5, 13)))
    start = np.full(size, any_start(scene, month, 3))
    at = moments(scene.random, start, start + 3 * DAY)
    account = scene.random.choice(band.accounts, size)
    wave = payments.pay(scene.random, scene.world, account, at, np.ones(size, dtype=np.bool_))
    willing = scene.random.random(size) < 0.72
    merchant = np.where(willing, scene.random.choice(band.merchants, size), wave.merchant)
    in_shop = ~scene.world.merchants.online[merchant] & (scene.random.random(size) < 0.85)
    device = np.where(scene.random.random(size) < 0.7, scene.random.choice(band.devices, size), wave.device)
    device = np.where(in_shop, NONE, device)
    stain(scene, replace(wave, merchant=merchant, device=device), number, 1.12)
    _cover(scene, band, start)
    return size


def relay(scene: Scene, cast_: Cast, month: int, count: int) -> int:
    """A hub feeds several accounts; hours later each pays once or twice, from a device nobody knows.

    Returns the number of payments made, at most ``count``.
    """
    number = int(scene.random.choice(cast_.hubs[month]))
    hub, start = scene.ledger.operations[number], any_start(scene, month, 5)
    fed = scene.world.recruit(scene.random, min(count, int(scene.random.integers(4, 8))), start)
    sent = moments(scene.random, np.full(len(fed), start), np.full(len(fed), start + 2 * DAY))
    amount = scene.random.integers(120, 900, len(fed)) * 100
    scene.ledger.transfers.append(Transfers(np.full(len(fed), hub.hub), fed, sent, amount))
    which = np.sort(np.concatenate([np.arange(len(fed)), scene.random.permutation(len(fed))]))
    which = np.sort(scene.random.permutation(which)[:count]) if len(which) > count else which
    at = moments(scene.random, sent[which] + HOUR, sent[which] + 60 * HOUR)
    remote = scene.random.random(len(which)) < 0.7
    payment = payments.pay(scene.random, scene.world, fed[which], at, remote)
    fresh = devices_of(scene, sent)
    payment.device = np.where(remote, fresh[which], NONE)
    stain(scene, payment, number, 1.1)
    ones = np.ones(len(fed), dtype=np.int64)
    scene.ledger.logins.append(Logins(fed, fresh, sent + scene.random.integers(60, HOUR, len(fed)), ones))
    _grow(hub, payment.merchant, fed, fresh)
    return len(which)


def _rings(scene: Scene) -> list[list[int]]:
    """Rings follow one another in each slot; after the change only half of the slots go on."""
    alive: list[list[int]] = [[] for _ in range(MONTHS)]
    slots = scene.world.size(RING_SLOTS)
    for slot in range(slots):
        month = -int(scene.random.integers(0, 3))
        while month < (MONTHS if slot < max(1, slots // 2) else CHANGE_MONTH - 1):
            first, last = max(month, 0), min(month + int(scene.random.integers(2, 5)), MONTHS - 1)
            if last >= first:
                operation = _ring(scene, first, last)
                for each in alive[first : last + 1]:
                    each.append(operation)
            month = last + 1
    return alive


def _hubs(scene: Scene) -> list[list[int]]:
    """Two thirds of the hubs appear at the change, the others in the last month."""
    alive: list[list[int]] = [[] for _ in range(MONTHS)]
    nothing = np.zeros(0, dtype=np.int64)
    for number in range(scene.world.size(HUBS)):
        first = CHANGE_MONTH - 1 if number % 3 < 2 else MONTHS - 1
        hub = int(scene.world.recruit(scene.random, 1, int(MONTH_STARTS[first]))[0])
        operation = scene.ledger.begin(Operation("relay", nothing, nothing, nothing, first, MONTHS - 1, hub))
        for each in alive[first:]:
            each.append(operation)
    return alive


def _ring(scene: Scene, first: int, last: int) -> int:
    start = int(MONTH_STARTS[first])
    members = scene.world.recruit(scene.random, int(scene.random.integers(5, 13)), start, newer=2.5)
    seen = np.full(int(scene.random.integers(1, 4)), start)
    shops = merchants_for(scene, int(scene.random.integers(2, 5)), online=0.45)
    return scene.ledger.begin(Operation("ring", members, devices_of(scene, seen), shops, first, last))


def _cover(scene: Scene, band: Operation, start: Ints) -> None:
    """Members log in on the ring's devices, and pay for themselves there too: that is not fraud."""
    size = min(len(band.accounts), len(start))
    account, begin = scene.random.choice(band.accounts, size, replace=False), start[:size]
    device = scene.random.choice(band.devices, size)
    at = moments(scene.random, begin - 2 * DAY, begin + DAY)
    scene.ledger.logins.append(Logins(account, device, at, np.ones(size, dtype=np.int64)))
    some = np.flatnonzero(scene.random.random(size) < 0.2)
    later = moments(scene.random, begin[some], begin[some] + 3 * DAY)
    own = payments.pay(scene.random, scene.world, account[some], later, np.ones(len(some), dtype=np.bool_))
    scene.ledger.payments.append(replace(own, device=device[some]))


def _grow(operation: Operation, *more: Ints) -> None:
    merchants, accounts, devices = more
    operation.merchants = np.unique(np.concatenate([operation.merchants, merchants]))
    operation.accounts = np.concatenate([operation.accounts, accounts])
    operation.devices = np.concatenate([operation.devices, devices])
