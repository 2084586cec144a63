"""The sample's tables as Arrow tables: names instead of row numbers, and a type for every column."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from graphmill.sample.devices import SYSTEMS
from graphmill.sample.make import Sample
from graphmill.sample.names import Names
from graphmill.sample.population import CATEGORIES, COUNTRIES, KINDS
from graphmill.sample.tables import CHANNELS, NONE, Ints

_MOMENT = pa.timestamp("us", tz="UTC")


def tables(sample: Sample, named: Names) -> dict[str, pa.Table]:
    """All tables by name, each sorted by its key or its time."""
    return {
        "accounts": _accounts(sample, named),
        "merchants": _merchants(sample, named),
        "devices": _devices(sample, named),
        "payments": _payments(sample, named),
        "logins": _logins(sample, named),
        "transfers": _transfers(sample, named),
    }


def _accounts(sample: Sample, named: Names) -> pa.Table:
    accounts = sample.world.accounts
    columns = {
        "account_id": pa.array(named.account),
        "opened_at": _moments(accounts.opened_at),
        "country": _texts(COUNTRIES, accounts.country),
        "age": pa.array(accounts.age, pa.int32(), mask=accounts.age < 0),
        "kind": _texts(KINDS, accounts.kind),
        "monthly_income": pa.array(accounts.income, pa.float64(), mask=np.isnan(accounts.income)),
    }
    return pa.table(columns)


def _merchants(sample: Sample, named: Names) -> pa.Table:
    merchants = sample.world.merchants
    columns = {
        "merchant_id": pa.array(named.merchant),
        "category": _texts(tuple(CATEGORIES), merchants.category),
        "country": _texts(COUNTRIES, merchants.country),
        "online": pa.array(merchants.online),
    }
    return pa.table(columns)


def _devices(sample: Sample, named: Names) -> pa.Table:
    devices, order = sample.world.devices, named.device_order
    columns = {
        "device_id": pa.array(named.device[order]),
        "os": _texts(SYSTEMS, devices.system[order]),
        "first_seen_at": _moments(devices.first_seen[order]),
    }
    return pa.table(columns)


def _payments(sample: Sample, named: Names) -> pa.Table:
    payments = sample.payments
    columns = {
        "payment_id": pa.array(named.payment),
        "account_id": pa.array(named.account[payments.account]),
        "merchant_id": pa.array(named.merchant[payments.merchant]),
        "device_id": pa.array(named.device[payments.device], mask=payments.device == NONE),
        "paid_at": _moments(payments.at),
        "amount": _amounts(payments.cents),
        "channel": _texts(CHANNELS, payments.channel),
        "is_fraud": pa.array(payments.operation != NONE),
    }
    return pa.table(columns)


def _logins(sample: Sample, named: Names) -> pa.Table:
    logins = sample.logins
    columns = {
        "account_id": pa.array(named.account[logins.account]),
        "device_id": pa.array(named.device[logins.device]),
        "at": _moments(logins.at),
        "success": pa.array(logins.success == 1),
    }
    return pa.table(columns)


def _transfers(sample: Sample, named: Names) -> pa.Table:
    transfers = sample.transfers
    columns = {
        "sender_id": pa.array(named.account[transfers.sender]),
        "receiver_id": pa.array(named.account[transfers.receiver]),
        "at": _moments(transfers.at),
        "amount": _amounts(transfers.cents),
    }
    return pa.table(columns)


def _moments(seconds: Ints) -> Any:
    return pa.array(seconds * 1_000_000, _MOMENT)


def _amounts(cents: Ints) -> Any:
    amounts: npt.NDArray[np.float64] = cents / 100
    return pa.array(amounts, pa.float64())


def _texts(words: tuple[str, ...], codes: Ints) -> Any:
    return pa.array(np.array(words)[codes])
