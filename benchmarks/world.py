"""What is served under load: the sample, or a network of a million nodes and ten million edges, with a model."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from benchmarks import payments
from graphmill.artifact import to_json

ACCOUNTS, PAYMENTS, CONTACTS = 90_000, 900_000, 2_300_000
HOME = Path(__file__).parent.parent
LARGE = """
schema:
  nodes:
    account: {}
    device: {}
    payment:
      table: payments
      key: payment_id
      time: paid_at
      columns: {amount: {kind: numeric, scale: log}}
      links: {payer: account, payee: account, device: device}
  edges:
    contact: {table: contacts, source: {account: caller}, target: {account: called}, time: at}
task:
  node: payment
  label: {column: flagged, known_after: 7d}
  split: {kind: temporal, train_end: as_of - 80d, validation_end: as_of - 45d}
ingest: {as_of: "2026-01-01", memory_limit: 4GB, maximum_refused: 0.05}
graph: {memory_limit: 4GB}
features:
  windows:
    - {over: payment.payer.account, sizes: [1d, 30d], columns: {amount: [mean]}, known_label: true}
    - {over: payment.device.device, sizes: [1d, 30d], known_label: true}
  structure: []
train:
  {model: {kind: sage, hidden: 64}, fanouts: [10, 5], epochs: 1, negatives: 5, controls: {fanouts: [5, 5], rounds: 50}}
"""


class Made(NamedTuple):
    """Artifacts of a model and its snapshot, keys to ask for, and what an event is made of."""

    artifacts: Path
    keys: list[str]
    events: dict[str, Any]


def small(folder: Path) -> Made:
    """The sample, a tenth of its size."""
    subprocess.run(
        [sys.executable, "-m", "graphmill.sample", "--output", str(folder / "data"), "--scale", "0.1"], check=True
    )
    params = yaml.safe_load((HOME / "params.yaml").read_text())
    params["train"] |= {"epochs": 2}
    _stages(folder, params)
    return _made(folder, "2025-11-02T00:00:00")


def large(folder: Path) -> Made:
    """A million nodes; ten million edges, both directions counted."""
    payments.write(folder / "data", PAYMENTS, ACCOUNTS)
    state = np.random.default_rng(1)
    ends = state.integers(0, ACCOUNTS, (2, CONTACTS))
    names = [payments.name("account", part) for part in ends]
    when = pa.array(payments.START + state.integers(0, payments.YEAR, CONTACTS), pa.timestamp("us"))
    pq.write_table(pa.table({"caller": names[0], "called": names[1], "at": when}), folder / "data" / "contacts.parquet")
    _stages(folder, yaml.safe_load(LARGE))
    _serve_network(folder / "artifacts" / "model")
    return _made(folder, "2026-01-02T00:00:00")


def _stages(folder: Path, params: dict[str, Any]) -> None:
    file = folder / "params.yaml"
    file.write_text(yaml.safe_dump(params), encoding="utf-8")
    for stage in ("ingest", "graph", "features", "train"):
        place = ["--params", str(file), "--data", str(folder / "data"), "--root", str(folder)]
        subprocess.run([sys.executable, "-m", "components", stage, *place], check=True, env=dict(os.environ))


def _serve_network(model: Path) -> None:
    """Let the network be served: labels are drawn at random here, so whoever won, it is not what is measured."""
    file = model / "model.json"
    manifest = json.loads(file.read_bytes())
    file.write_text(to_json(manifest | {"winner": "sage"}), encoding="utf-8")
    (model / "lineage.json").unlink()  # it speaks of another manifest


def _made(folder: Path, time: str) -> Made:
    artifacts = folder / "artifacts"
    described = json.loads((artifacts / "graph" / "graph.json").read_bytes())["schema"]["nodes"]["payment"]
    state = np.random.default_rng(0)
    links = {}
    for column, link in described["links"].items():
        found = pq.read_table(artifacts / "graph" / "nodes" / f"{link['node']}.parquet")["key"].to_pylist()
        links[column] = [found[place] for place in state.integers(0, len(found), 500)]
    keys = pq.read_table(artifacts / "graph" / "nodes" / "payment.parquet")["key"].to_pylist()
    numeric = [name for name, column in described["columns"].items() if column["kind"] == "numeric"]
    events = {"node": "payment", "time": time, "links": links, "columns": numeric}
    return Made(artifacts, [keys[place] for place in state.integers(0, len(keys), 2_000)], events)
