"""truth.json: what was planted where and when, and so what every alarm should find."""

from typing import Any

import numpy as np

from graphmill.sample.make import Sample
from graphmill.sample.names import Names
from graphmill.sample.seasons import CHANGE, CHANGE_MONTH, MONTHS, YEAR, month_of
from graphmill.sample.tables import CARD_PRESENT, NONE, Flags, Floats, Ints, Operation
from graphmill.sample.tactics import TACTICS

KNOWN_AFTER_DAYS = 7
_CHANGES = (
    "relay replaces most of the rings",
    "families begin to share devices",
    "a quarter more accounts than there were open",
    "payments outside an account's favourites crowd at the largest merchants",
)
_QUIET = (
    "months differ only by nature (volume, amounts, online share, holidays; accounts and devices grow older "
    "all year): any other alarm here is a false one"
)


def truth(sample: Sample, named: Names) -> dict[str, Any]:
    """The whole truth as JSON values; it lies beside the tables and no schema reads it."""
    months = [_month(sample, month) for month in range(MONTHS)]
    operations = _operations(sample, named)
    return {
        "seed": sample.seed,
        "scale": sample.world.scale,
        "sizes": _sizes(sample, named),
        "label": {"table": "payments", "column": "is_fraud", "known_after": f"{KNOWN_AFTER_DAYS}d"},
        "change": {"month": _month_name(CHANGE_MONTH - 1), "at": _text(CHANGE), "what": list(_CHANGES)},
        "quiet": {"from": _month_name(0), "until": _month_name(CHANGE_MONTH - 2), "what": _QUIET},
        "months": months,
        "alarms": _alarms(months),
        "rings": [item["id"] for item in operations if item["tactic"] == "ring"],
        "operations": operations,
    }


def _sizes(sample: Sample, named: Names) -> dict[str, int]:
    return {
        "accounts": len(named.account),
        "merchants": len(named.merchant),
        "devices": len(named.device),
        "payments": len(named.payment),
        "logins": len(sample.logins.at),
        "transfers": len(sample.transfers.at),
    }


def _month(sample: Sample, month: int) -> dict[str, Any]:
    """Counts and shares of one month, measured on the events themselves."""
    paid = sample.payments
    here = month_of(paid.at) == month
    fraud = paid.operation[here & (paid.operation != NONE)]
    tactic = np.array([item.tactic for item in sample.operations])[fraud]
    counts = {name: int(np.count_nonzero(tactic == name)) for name in TACTICS}
    return {
        "month": _month_name(month),
        "payments": int(here.sum()),
        "fraud": len(fraud),
        "fraud_share": round(len(fraud) / int(here.sum()), 5),
        "tactics": {
            name: {"count": count, "share": round(count / max(1, len(fraud)), 4)} for name, count in counts.items()
        },
        "accounts_opened": int(np.count_nonzero(_in_month(sample.world.accounts.opened_at, month))),
        "shared_device_share": _shared(paid.account[here], paid.device[here]),
        "largest_merchants_share": _largest(paid.merchant[here], len(sample.world.merchants.online)),
        "card_present_share": round(float(np.mean(paid.channel[here] == CARD_PRESENT)), 4),
        "mean_amount": round(float(np.mean(paid.cents[here])) / 100, 2),
    }


def _shared(account: Ints, device: Ints) -> float:
    """Share of the payments with a device whose device two or more accounts paid from in the same month."""
    used = device != NONE
    pairs = np.unique(np.stack([device[used], account[used]]), axis=1)
    shared: Flags = np.bincount(pairs[0], minlength=int(device.max()) + 1) >= 2
    return round(float(np.mean(shared[device[used]])), 4)


def _largest(merchant: Ints, count: int) -> float:
    """Share of the payments at the twentieth part of the merchants that has most."""
    sizes: Floats = np.sort(np.bincount(merchant, minlength=count))[::-1] / len(merchant)
    return round(float(sizes[: max(1, count // 20)].sum()), 4)


def _operations(sample: Sample, named: Names) -> list[dict[str, Any]]:
    """Every operation with the identifiers of all that took part in it and of its payments."""
    booked = np.flatnonzero(sample.payments.operation != NONE)
    booked = booked[np.argsort(sample.payments.operation[booked], kind="stable")]
    edges = np.searchsorted(sample.payments.operation[booked], np.arange(len(sample.operations) + 1))
    numbers: dict[str, int] = {}
    described = []
    for row, operation in enumerate(sample.operations):
        numbers[operation.tactic] = numbers.get(operation.tactic, 0) + 1
        made = booked[edges[row] : edges[row + 1]]
        if len(made):
            identifier = f"{operation.tactic}-{numbers[operation.tactic]:03d}"
            described.append(_operation(operation, identifier, sample.payments.at[made], made, named))
    return described


def _operation(operation: Operation, identifier: str, at: Ints, made: Ints, named: Names) -> dict[str, Any]:
    hub = {} if operation.hub == NONE else {"hub": str(named.account[operation.hub])}
    return {
        "id": identifier,
        "tactic": operation.tactic,
        "first_payment_at": _text(int(at.min())),
        "last_payment_at": _text(int(at.max())),
        "accounts": named.account[np.unique(operation.accounts)].tolist(),
        "devices": sorted(named.device[np.unique(operation.devices)].tolist()),
        "merchants": named.merchant[np.unique(operation.merchants)].tolist(),
        "payments": named.payment[made].tolist(),
        **hub,
    }


def _alarms(months: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What changes at the change, how much, and from when on it can be known."""
    before, after = months[: CHANGE_MONTH - 1], months[CHANGE_MONTH - 1 :]
    start = f"{YEAR}-{CHANGE_MONTH:02d}-01"
    known = f"{YEAR}-{CHANGE_MONTH:02d}-{1 + KNOWN_AFTER_DAYS:02d}"
    signals = (
        ("structure", "shared_device_share", "payments on devices that several accounts use", start),
        ("structure", "largest_merchants_share", "payments at the largest twentieth of the merchants", start),
        ("structure", "accounts_opened", "accounts opened in the month", start),
    )
    alarms: list[dict[str, Any]] = [
        {"family": family, "signal": signal, "what": what, "from": since}
        | {"before": _mean(before, signal), "after": _mean(after, signal)}
        for family, signal, what, since in signals
    ]
    relay = [float(item["tactics"]["relay"]["share"]) for item in months]
    what = "a model trained before the change misses relay payments: recall falls, labels permitting"
    return [
        *alarms,
        {"family": "performance", "signal": "relay", "what": what, "from": known}
        | {"before": round(float(np.mean(relay[: CHANGE_MONTH - 1])), 4)}
        | {"after": round(float(np.mean(relay[CHANGE_MONTH - 1 :])), 4)},
    ]


def _mean(months: list[dict[str, Any]], signal: str) -> float:
    return round(float(np.mean([item[signal] for item in months])), 4)


def _in_month(at: Ints, month: int) -> Flags:
    inside: Flags = np.datetime_as_string(at.astype("datetime64[s]"), unit="M") == _month_name(month)
    return inside


def _month_name(month: int) -> str:
    return f"{YEAR}-{month + 1:02d}"


def _text(at: int) -> str:
    return f"{np.datetime64(at, 's')}Z"
