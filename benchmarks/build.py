"""Raw payments to a graph with a week's windows: the stages ingest, graph and features, against pandas.

Each runs in a process of its own, whose CPU time and peak memory the system counts, libraries included.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks import payments
from benchmarks.contest import result, show

ROWS, SMALL_ROWS, FIRST_ROWS = 2_000_000, 20_000, 1_000
EACH = (20, 2)
"""Payments an account: many, and few."""
WEEK = "7d"
SCHEMA = {
    "nodes": {
        "account": {},
        "payment": {
            "table": "payments", "key": "payment_id", "time": "paid_at", "columns": {"amount": "numeric"},
            "links": {"payer": "account", "payee": "account"},
        },
    }
}  # fmt: skip
TASK = {
    "node": "payment", "label": {"column": "flagged"},
    "split": {"kind": "temporal", "train_end": "as_of - 80d", "validation_end": "as_of - 45d"},
}  # fmt: skip


class Cost(NamedTuple):
    """Of one process."""

    cpu: float
    """Seconds."""
    wall: float
    """Seconds."""
    memory: int
    """Megabytes, at the peak."""
    answer: dict[str, Any]


class Spent:
    """CPU seconds by part."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self.start = time.process_time()

    def end(self, part: str) -> None:
        """What was spent since the last end belongs to this part."""
        now = time.process_time()
        self.parts[part], self.start = now - self.start, now


def ours(folder: Path) -> dict[str, Any]:
    """The stages as `dvc repro` runs them, and the windows of every payment."""
    from graphmill import features, graph, ingest
    from graphmill.features.store import Features
    from graphmill.graph.store import Graph
    from graphmill.schema import Schema
    from graphmill.task import Task

    spent = Spent()
    schema, task = Schema.parse(SCHEMA, "schema"), Task.parse(TASK, "task")
    ingest.run(
        folder / "data", folder / "tables", schema, task, ingest.Params.parse({"maximum_refused": 0.05}, "ingest")
    )
    spent.end("clean rows")
    graph.run(folder / "tables", folder / "graph", graph.Params.parse({}, "graph"))
    spent.end("ids and adjacencies")
    window = {"over": "payment.payer.account", "sizes": [WEEK], "columns": {"amount": ["sum"]}, "since_last": False}
    wanted = features.Params.parse({"fit": False, "structure": [], "windows": [window]}, "features")
    features.run(folder / "tables", folder / "graph", folder / "features", wanted)
    network, found = Graph.open(folder / "graph"), Features.open(folder / "features")
    payer = network.relations["account.rev_payer.payment"].indices
    times = network.node_time("payment")
    state = found.state(network, "account", np.asarray(payer), times)
    names = found.state_names(network, "account")
    count, total = (state[:, names.index(f"payment.payer.account.{name}.{WEEK}")] for name in ("count", "amount.sum"))
    spent.end("windows")
    order = [network.relations[f"payment.{side}.account"] for side in ("payer", "payee")]
    return _answer(count, total, [np.diff(item.indptr) for item in order]) | {"parts": spent.parts}


def peer(folder: Path) -> dict[str, Any]:
    """The same with pandas: rows once, keys to numbers, two time-sorted adjacencies, a rolling window."""
    spent = Spent()
    frame = pd.read_parquet(folder / "data" / "payments.parquet").drop_duplicates("payment_id")
    frame = frame.sort_values(["paid_at", "payment_id"], ignore_index=True)
    frame.to_parquet(folder / "payments.parquet")
    spent.end("clean rows")
    ids, keys = pd.factorize(pd.concat([frame["payer"], frame["payee"]]))
    frame["payer_id"], frame["payee_id"] = ids[: len(frame)], ids[len(frame) :]
    degrees = []
    for side in ("payer_id", "payee_id"):
        order = frame[side].sort_values(kind="stable").index
        counts = frame[side].value_counts().reindex(range(len(keys)), fill_value=0).to_numpy()
        np.save(folder / f"{side}.indptr.npy", np.concatenate([[0], counts.cumsum()]))
        np.save(folder / f"{side}.indices.npy", order.to_numpy())
        degrees.append(counts)
    spent.end("ids and adjacencies")
    by_time = frame.set_index("paid_at")
    rolling = by_time.groupby("payer_id")["amount"].rolling(WEEK, closed="left")
    count, total = rolling.count().fillna(0), rolling.sum().fillna(0)
    pd.DataFrame({"count": count, "total": total}).to_parquet(folder / "windows.parquet")
    spent.end("windows")
    return _answer(count.to_numpy(), total.to_numpy(), degrees) | {"parts": spent.parts}


def _answer(count: np.ndarray, total: np.ndarray, degrees: list[np.ndarray]) -> dict[str, Any]:
    """What both roads must agree on."""
    return {
        "payments": len(count),
        "in windows": int(count.astype(np.float64).sum()),
        "amount": float(total.astype(np.float64).sum()),
        "degrees": [[int((degree**2).sum()), int(degree.max())] for degree in degrees],
    }


def run(small: bool) -> dict[str, Any]:
    """Measure and return the line of JSON: few payments an account, as the yardstick has them, and many."""
    rows = SMALL_ROWS if small else ROWS
    what = f"{rows:,} payments and 2 % sent twice: rows once, ids, time-sorted adjacencies, {WEEK} windows of each"
    ratios, memory, parts = {}, {}, {}
    found: dict[str, tuple[float, float]] = {}
    _warm()
    for each in EACH:
        costs = _compare(rows, rows // each)
        found = {"stages": costs["ours"][:2], "pandas": costs["peer"][:2]}
        show(f"{what}; {each} an account", found, "stages")
        ratios[f"{each} an account"] = round(costs["peer"].cpu / costs["ours"].cpu, 2)
        memory[f"{each} an account"] = {"stages": costs["ours"].memory, "pandas": costs["peer"].memory}
        parts[f"{each} an account"] = _parts(costs)
        print(f"peak memory, MB: stages {costs['ours'].memory:,}, pandas {costs['peer'].memory:,}")
    return result("build", f"{what}; {EACH[-1]} an account", found, "stages", "pandas",
                  ratios=ratios, parts=parts, peak_memory_mb=memory)  # fmt: skip


def _parts(costs: dict[str, Cost]) -> dict[str, float]:
    """How many times our CPU time pandas takes, part by part; libraries are loaded in none of them."""
    ours, theirs = costs["ours"].answer["parts"], costs["peer"].answer["parts"]
    for name, spent in ours.items():
        print(f"  {name:<20} stages {spent:8.2f} s   pandas {theirs[name]:8.2f} s   {theirs[name] / spent:6.2f}")
    return {name: round(theirs[name] / spent, 2) for name, spent in ours.items()}


def _warm() -> None:
    """Compile and cache the kernels."""
    with tempfile.TemporaryDirectory() as scratch:
        payments.write(Path(scratch) / "data", FIRST_ROWS, FIRST_ROWS // EACH[0])
        _cost("ours", Path(scratch), "warm")


def _compare(rows: int, accounts: int) -> dict[str, Cost]:
    """Both roads on the same payments, with the same answer."""
    with tempfile.TemporaryDirectory() as scratch:
        payments.write(Path(scratch) / "data", rows, accounts)
        costs = {road: _cost(road, Path(scratch), road) for road in ("ours", "peer")}
    for name in ("payments", "in windows", "degrees"):
        assert costs["ours"].answer[name] == costs["peer"].answer[name]
    np.testing.assert_allclose(costs["ours"].answer["amount"], costs["peer"].answer["amount"], rtol=1e-5)
    return costs


def _cost(road: str, scratch: Path, name: str) -> Cost:
    """Run a road in a process of its own."""
    folder = scratch / name
    folder.mkdir()
    (folder / "data").symlink_to(scratch / "data")
    call = f"print(json.dumps(build.{road}(Path({str(folder)!r}))))"
    code = f"import json; from pathlib import Path; from benchmarks import build; {call}"
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen([sys.executable, "-c", code], stdout=output)
        _, status, used = os.wait4(child.pid, 0)
        if status:
            raise RuntimeError(f"{road} failed with status {status}")
        wall = time.perf_counter() - began
        output.seek(0)
        answer = json.loads(output.read().splitlines()[-1])
    shutil.rmtree(folder)
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss // 1_000, answer)
