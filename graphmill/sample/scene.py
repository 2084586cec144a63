"""What every tactic needs: a start, attackers' devices, willing merchants, and a way to book its payments."""

from dataclasses import dataclass, replace

import numpy as np

from graphmill.sample import payments
from graphmill.sample.seasons import DAY, MONTH_STARTS
from graphmill.sample.tables import NONE, Flags, Floats, Ints, Ledger, Payments
from graphmill.sample.world import World

_MOBILE = 0.76
"""Share of phones among the attackers' devices."""


@dataclass(frozen=True)
class Scene:
    """Where fraud is made: its random numbers, the world, and the book of what happened."""

    random: np.random.Generator
    world: World
    ledger: Ledger
    device_ages: Ints
    """Seconds since devices of honest payments were first seen: attackers' devices look no younger."""


def scene(random: np.random.Generator, world: World, ledger: Ledger, honest: Payments) -> Scene:
    """Set the scene after the honest payments are made."""
    rows = np.flatnonzero(honest.device != NONE)
    return Scene(random, world, ledger, honest.at[rows] - world.devices.first_seen[honest.device[rows]])


def any_start(scene: Scene, month: int, days: int) -> int:
    """A moment before which two days, and after which ``days`` and two more, lie in the month."""
    start, end = int(MONTH_STARTS[month]), int(MONTH_STARTS[month + 1])
    return int(scene.random.integers(start + 2 * DAY, end - (days + 2) * DAY))


def devices_of(scene: Scene, at: Ints) -> Ints:
    """New devices for attackers, in use from the moments ``at``; most were seen elsewhere long before."""
    age = scene.random.choice(scene.device_ages, len(at))
    young = scene.random.random(len(at)) < 0.08
    age = np.where(young, scene.random.integers(DAY, 40 * DAY, len(at)), age)
    return scene.world.devices.add(scene.random, at - np.maximum(age, DAY), _MOBILE)


def merchants_for(scene: Scene, count: int, online: float) -> Ints:
    """Merchants of middling size, each online with probability ``online``, `[count]`."""
    shops = scene.world.merchants
    wanted: Flags = scene.random.random(count) < online
    weights = [_middling(shops.popularity, shops.online == mode) for mode in wanted]
    return np.array([scene.random.choice(len(weight), p=weight) for weight in weights], dtype=np.int64)


def stain(scene: Scene, booked: Payments, operation: int, dearer: float) -> None:
    """Book payments as the fraud of an operation: a little dearer, the channel that the device allows."""
    amount = payments.cents(scene.random, scene.world, booked.account, booked.merchant, booked.at)
    fraud = replace(
        booked,
        cents=np.maximum(np.round(amount * dearer), 50).astype(np.int64),
        channel=payments.channels(scene.random, scene.world, booked.device),
        operation=np.full(len(booked.at), operation, dtype=np.int64),
    )
    scene.ledger.payments.append(fraud)


def _middling(popularity: Floats, fits: Flags) -> Floats:
    """Neither the largest, where a wave would drown, nor the smallest, which have no honest customers."""
    rank = np.argsort(np.argsort(popularity[fits])) / max(1, int(fits.sum()))
    weight = np.zeros(len(popularity))
    weight[fits] = np.where((rank > 0.35) & (rank < 0.9), 1.0, 0.02)
    return np.asarray(weight / weight.sum())
