"""Who is there before any fraud: accounts, merchants, and what each account likes to do."""

from dataclasses import dataclass

import numpy as np

from graphmill.sample.seasons import CHANGE, DAY, MONTH_STARTS
from graphmill.sample.tables import Flags, Floats, Ints

COUNTRIES = ("DE", "FR", "NL", "ES", "IT", "PL", "AT", "BE")
COUNTRY_SHARES = np.array([0.28, 0.19, 0.13, 0.12, 0.11, 0.08, 0.05, 0.04])
KINDS = ("personal", "business")

CATEGORIES: dict[str, tuple[float, float, float]] = {
    "groceries": (0.15, 26.0, 0.15),
    "restaurant": (0.11, 24.0, 0.2),
    "fast_food": (0.07, 11.0, 0.35),
    "fashion": (0.09, 48.0, 0.55),
    "electronics": (0.07, 95.0, 0.6),
    "fuel": (0.05, 52.0, 0.05),
    "pharmacy": (0.04, 17.0, 0.3),
    "travel": (0.05, 140.0, 0.75),
    "hotel": (0.03, 125.0, 0.5),
    "public_transport": (0.03, 9.0, 0.55),
    "taxi": (0.03, 19.0, 0.7),
    "digital_goods": (0.06, 12.0, 1.0),
    "streaming": (0.02, 11.0, 1.0),
    "books": (0.03, 18.0, 0.55),
    "home": (0.04, 62.0, 0.4),
    "sports": (0.03, 44.0, 0.45),
    "beauty": (0.03, 27.0, 0.4),
    "gift_cards": (0.02, 38.0, 0.7),
    "telecom": (0.02, 29.0, 0.6),
    "tickets": (0.03, 46.0, 0.7),
}
"""Share of the merchants, median amount, share of them that is online."""

FAVOURITES = 6
_BEFORE, _DURING, _FLOOD = 0.6, 0.2, 0.2
"""Accounts opened before the year, up to the change, and after it: then a quarter more than there were."""


@dataclass(frozen=True)
class Accounts:
    """The accounts in the order of their opening, `[A]` each; codes are positions in the names above."""

    opened_at: Ints
    country: Ints
    age: Ints
    """-1 where it is missing."""
    kind: Ints
    income: Floats
    """A month's, in euros; NaN where it is missing."""
    activity: Floats
    """Payments in an ordinary month, relative to the others."""
    thrift: Floats
    """What its payments multiply the usual amount by."""
    remote: Floats
    """Share of its payments made from afar; 0 for accounts that only use the card."""
    favourites: Ints
    """Merchants, `[A, 2, FAVOURITES]`: shops first, then online ones."""


@dataclass(frozen=True)
class Merchants:
    """The merchants, `[M]` each."""

    category: Ints
    country: Ints
    online: Flags
    popularity: Floats


def merchants(random: np.random.Generator, count: int) -> Merchants:
    """Draw merchants with heavy-tailed popularity; both shops and online ones always exist."""
    shares, _, online_shares = (np.array(column) for column in zip(*CATEGORIES.values(), strict=True))
    category = random.choice(len(shares), count, p=shares / shares.sum())
    online = random.random(count) < online_shares[category]
    online[:2] = [False, True]
    popularity: Floats = np.power(random.permutation(count) + 6.0, -0.85)
    return Merchants(category, random.choice(len(COUNTRIES), count, p=COUNTRY_SHARES), online, popularity)


def accounts(random: np.random.Generator, count: int, shops: Merchants) -> Accounts:
    """Draw accounts; later rows were opened later."""
    opened_at = np.sort(_openings(random, count))
    country = random.choice(len(COUNTRIES), count, p=COUNTRY_SHARES)
    kind = (random.random(count) < 0.08).astype(np.int64)
    age = np.clip(18 + random.gamma(3.2, 8.0, count), 18, 92).astype(np.int64)
    income = random.lognormal(7.85, 0.5, count) * np.where(kind == 1, 2.5, 1.0)
    wealth = (income / 2_600.0) ** 0.2
    return Accounts(
        opened_at=opened_at,
        country=country,
        age=np.where((kind == 1) | (random.random(count) < 0.05), -1, age),
        kind=kind,
        income=np.where(random.random(count) < 0.07, np.nan, np.round(income, -1)),
        activity=np.minimum(random.lognormal(0.0, 0.9, count), 14.0) * np.where(opened_at >= CHANGE, 0.7, 1.0),
        thrift=wealth * random.lognormal(0.0, 0.2, count),
        remote=np.where(random.random(count) < 0.14, 0.0, random.beta(4.8, 2.2, count)),
        favourites=_favourites(random, country, shops),
    )


def _openings(random: np.random.Generator, count: int) -> Ints:
    """Seconds since 1970: years of growth, a steady year, then the flood, strongest at its start."""
    start, end = int(MONTH_STARTS[0]), int(MONTH_STARTS[-1])
    flood, during = round(_FLOOD * count), round(_DURING * count)
    before = start - (random.exponential(700.0, count - flood - during) % 3_650) * DAY
    steady = random.uniform(start, CHANGE, during)
    late = CHANGE + (end - DAY - CHANGE) * random.beta(1.0, 1.7, flood)
    return np.concatenate([before, steady, late]).astype(np.int64)


def _favourites(random: np.random.Generator, country: Ints, shops: Merchants) -> Ints:
    """Popular merchants, mostly of the own country; online ones may be abroad."""
    chosen = np.zeros((len(country), 2, FAVOURITES), dtype=np.int64)
    for code in range(len(COUNTRIES)):
        rows = np.flatnonzero(country == code)
        for mode, abroad in enumerate((0.02, 0.15)):
            weight = shops.popularity * (shops.online == bool(mode)) * np.where(shops.country == code, 1.0, abroad)
            size = (len(rows), FAVOURITES)
            chosen[rows, mode] = random.choice(len(weight), size, p=weight / weight.sum())
    return chosen
