"""One tiny payment network that every test shares: small enough for a second, large enough to learn from."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from graphmill import artifact

DAYS = 120
START = pd.Timestamp("2025-01-01")


@contextmanager
def altered(source: Path, kind: str, target: Path) -> Iterator[Path]:
    """A copy of an artifact, sealed anew with what is changed in its folder meanwhile."""
    written = artifact.read(source, kind)
    with artifact.write(target, kind) as draft:
        shutil.copytree(written.path, draft.folder, dirs_exist_ok=True)
        draft.manifest |= written.manifest
        (draft.folder / artifact.LINEAGE).unlink()
        yield draft.folder


def tables(seed: int = 0, payments: int = 900) -> dict[str, pd.DataFrame]:
    """Customers, terminals, payments and referrals; payments at a few bad terminals are often fraud."""
    state = np.random.default_rng(seed)
    customers = pd.DataFrame(
        {
            "customer_id": [f"c{number:03d}" for number in range(60)],
            "country": state.choice(["de", "fr", "it"], 60),
            "age": np.where(state.random(60) < 0.1, np.nan, state.integers(18, 80, 60)),
            "opened_at": START - pd.to_timedelta(state.integers(1, 500, 60), unit="D"),
        }
    )
    terminals = pd.DataFrame({"terminal_id": [f"t{number}" for number in range(20)], "risk": state.random(20)})
    seconds = np.sort(state.choice(DAYS * 86_400, payments, replace=False))
    terminal = state.integers(0, 20, payments)
    bad = terminal < 4
    fraud = state.random(payments) < np.where(bad, 0.5, 0.05)
    rows = pd.DataFrame(
        {
            "payment_id": [f"p{number:05d}" for number in range(payments)],
            "customer_id": customers["customer_id"].to_numpy()[state.integers(0, 60, payments)],
            "terminal_id": terminals["terminal_id"].to_numpy()[terminal],
            "paid_at": START + pd.to_timedelta(seconds, unit="s"),
            "amount": np.round(state.lognormal(3, 1, payments) + 3 * fraud, 2),
            "channel": state.choice(["online", "store"], payments),
            "is_fraud": fraud,
        }
    )
    pairs = state.integers(0, 60, (50, 2))
    referrals = pd.DataFrame(
        {
            "referrer": customers["customer_id"].to_numpy()[pairs[:, 0]],
            "referred": customers["customer_id"].to_numpy()[pairs[:, 1]],
            "at": START + pd.to_timedelta(state.integers(0, DAYS * 86_400, 50), unit="s"),
            "bonus": state.integers(1, 20, 50).astype(float),
        }
    )
    return {"customers": customers, "terminals": terminals, "payments": rows, "referrals": referrals}


def write(folder: Path, frames: dict[str, pd.DataFrame] | None = None) -> Path:
    """Write the tables as Parquet files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in (frames or tables()).items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)
    return folder


def params() -> dict[str, Any]:
    """Parameters for the tiny network: every section, a few seconds in all."""
    return yaml.safe_load(PARAMS)


PARAMS = """
schema:
  nodes:
    customer:
      table: customers
      key: customer_id
      columns: {country: category, age: numeric, opened_at: timestamp}
    terminal: {table: terminals, key: terminal_id, columns: {risk: numeric}}
    payment:
      table: payments
      key: payment_id
      time: paid_at
      columns: {amount: {kind: numeric, minimum: 0, scale: log}, channel: category}
      links: {customer_id: customer, terminal_id: terminal}
  edges:
    refers:
      table: referrals
      source: {customer: referrer}
      target: {customer: referred}
      time: at
      columns: {bonus: numeric}
task:
  node: payment
  label: {column: is_fraud, known_after: 5d}
  split: {kind: temporal, train_end: 2025-03-15, validation_end: 2025-04-05}
  slices: [channel]
ingest: {as_of: 2025-05-01}
graph: {}
features:
  windows:
    - {over: payment.customer_id.customer, sizes: [7d, 30d], columns: {amount: [sum, mean]}}
    - {over: payment.terminal_id.terminal, sizes: [30d], known_label: true}
train:
  model: {hidden: 16}
  fanouts: [3, 5]
  epochs: 4
  batch_size: 128
  controls: {fanouts: [3, 10], rounds: 40, minimum_leaf: 10}
evaluate: {bootstrap: 50, maximum_milliseconds: 5000}
drift: {}
score: {}
deploy: {name: tiny}
"""
