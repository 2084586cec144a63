"""The order of the making: the world, what honest people do, the fraud, then the names."""

import math
from dataclasses import dataclass

import numpy as np

from graphmill.errors import UserError
from graphmill.sample import contacts, lookalikes, payments, tactics
from graphmill.sample.scene import scene
from graphmill.sample.seasons import stream
from graphmill.sample.tables import Ledger, Logins, Operation, Payments, Transfers, join
from graphmill.sample.world import World, world

LEAST, MOST = 0.05, 20.0


@dataclass(frozen=True)
class Sample:
    """All that is written: the world, its events in order of time, and the truth about the fraud."""

    seed: int
    world: World
    payments: Payments
    logins: Logins
    transfers: Transfers
    operations: list[Operation]


def make(seed: int = 7, scale: float = 1.0) -> Sample:
    """Make the sample; equal arguments make equal samples.

    Raises:
        UserError: when the seed is negative or the scale is out of range.
    """
    if seed < 0:
        raise UserError(f"--seed: {seed} is negative; give 0 or more")
    if not (math.isfinite(scale) and LEAST <= scale <= MOST):
        raise UserError(f"--scale: {scale} is out of range; give {LEAST} to {MOST} (1.0: 210,000 payments)")
    stage, ledger = world(seed, scale), Ledger()
    ledger.payments.append(payments.honest(stream(seed, "payments"), stage))
    lookalikes.perform(stream(seed, "lookalikes"), stage, ledger)
    honest = join(ledger.payments)
    ledger.logins.append(contacts.logins(stream(seed, "logins"), stage, honest))
    contacts.transfers(stream(seed, "transfers"), stage, ledger)
    tactics.plant(scene(stream(seed, "fraud"), stage, ledger, honest), honest)
    paid, entered, moved = join(ledger.payments), join(ledger.logins), join(ledger.transfers)
    _seen_before_use(stage, paid, entered)
    return Sample(seed, stage, paid, entered, moved, ledger.operations)


def _seen_before_use(stage: World, paid: Payments, entered: Logins) -> None:
    """A device is first seen at least a minute before anyone uses it."""
    for device, at in ((paid.device, paid.at), (entered.device, entered.at)):
        used = device >= 0
        np.minimum.at(stage.devices.first_seen, device[used], at[used] - 60)
