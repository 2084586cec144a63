"""A deterministic table of payments, as raw as they come: text keys, a few rows sent twice, no order."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

YEAR = 365 * 86_400 * 1_000_000
START = 1_735_689_600_000_000
"""2025-01-01 in microseconds."""
TWICE = 0.02
PART = 1_000_000


def write(folder: Path, rows: int, accounts: int, seed: int = 0) -> None:
    """Write ``payments.parquet``: id, payer, payee, device, time, amount, a flag; some rows twice, word for word."""
    folder.mkdir(parents=True, exist_ok=True)
    state = np.random.default_rng(seed)
    weight = np.minimum(state.pareto(1.5, accounts) + 1, accounts**0.58)
    border = np.cumsum(weight) / weight.sum()
    with pq.ParquetWriter(folder / "payments.parquet", _schema(), compression="zstd") as writer:
        for first in range(0, rows, PART):
            count = min(PART, rows - first)
            table = _part(state, border, first, count, rows)
            again = state.permutation(count)[: int(TWICE * count)]
            writer.write_table(pa.concat_tables([table, table.take(pa.array(again))]))


def _schema() -> pa.Schema:
    text = {name: pa.string() for name in ("payment_id", "payer", "payee", "device")}
    return pa.schema({**text, "paid_at": pa.timestamp("us"), "amount": pa.float64(), "flagged": pa.bool_()})


def _part(state: Any, border: Any, first: int, count: int, rows: int) -> pa.Table:
    ends = [name("account", np.searchsorted(border, state.random(count)).clip(0, len(border) - 1)) for _ in range(2)]
    columns = {
        "payment_id": name("payment", np.arange(first, first + count)),
        "payer": ends[0],
        "payee": ends[1],
        "device": name("device", state.integers(0, max(rows // 100, 5), count)),
        "paid_at": pa.array(START + state.integers(0, YEAR, count), pa.timestamp("us")),
        "amount": pa.array(np.round(state.lognormal(3, 1, count), 2)),
        "flagged": pa.array(state.random(count) < 0.01),
    }
    return pa.table(columns, _schema())


def name(kind: str, numbers: np.ndarray) -> pa.Array:
    """Texts such as ``account-7``."""
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(kind, pa.array(numbers).cast(pa.string()), "-")
