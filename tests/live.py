"""A tiny network cut in two: a snapshot up to a day, and what happened after it as events."""

import numpy as np
import pandas as pd

from graphmill import features, graph, ingest
from graphmill.schema import Schema
from graphmill.serving.event import EVENTS
from graphmill.serving.gathered import Engine
from graphmill.task import Task
from tests import tiny

DAY, END = pd.Timestamp("2025-04-10"), pd.Timestamp("2025-05-01")


def build(frames, root, as_of=None, **changes):
    """Tables to graph/ and features/ in ``root``."""
    params = tiny.params()
    params["features"] |= {"structure": []} | changes
    if as_of is not None:
        params["ingest"]["as_of"] = str(as_of)
    tiny.write(root / "data", frames)
    schema, task = Schema.parse(params["schema"]), Task.parse(params["task"])
    ingest.run(root / "data", root / "tables", schema, task, ingest.Params.parse(params["ingest"]))
    graph.run(root / "tables", root / "graph", graph.Params())
    features.run(root / "tables", root / "graph", root / "features", features.Params.parse(params["features"]))
    return root


def before(frames, day=DAY):
    """The tables as they were on a day."""
    payments, referrals = frames["payments"], frames["referrals"]
    known = payments["paid_at"] + pd.Timedelta("5d") < day
    past = payments.assign(is_fraud=payments["is_fraud"].where(known))
    return frames | {"payments": past[payments["paid_at"] < day], "referrals": referrals[referrals["at"] < day]}


def events(frames, day=DAY, end=END):
    """What happened from that day on, in its order, as a client would send it."""
    found = []
    for row in frames["payments"].to_dict("records"):
        if day <= row["paid_at"] < end:
            found.append((row["paid_at"], {
                "id": row["payment_id"], "kind": "node", "type": "payment", "key": row["payment_id"],
                "time": row["paid_at"].isoformat(),
                "columns": {"amount": row["amount"], "channel": row["channel"]},
                "links": {"customer_id": row["customer_id"], "terminal_id": row["terminal_id"]},
            }))  # fmt: skip
        known = row["paid_at"] + pd.Timedelta("5d")
        if known >= day and row["paid_at"] < end:
            label = {"id": f"label {row['payment_id']}", "kind": "label", "key": row["payment_id"]}
            found.append((max(known, row["paid_at"]), label | {"value": bool(row["is_fraud"])}))
    for place, row in frames["referrals"].iterrows():
        if day <= row["at"] < end:
            found.append((row["at"], {
                "id": f"referral {place}", "kind": "edge", "type": "refers", "source": row["referrer"],
                "target": row["referred"], "time": row["at"].isoformat(), "columns": {"bonus": row["bonus"]},
            }))  # fmt: skip
    return [event for _, event in sorted(found, key=lambda item: item[0])]


def typed(found):
    """Events as the graph takes them."""
    return EVENTS.validate_python(found)


def same(one, other):
    """Two gathered neighbourhoods are equal, number by number."""
    np.testing.assert_array_equal(one.counts, other.counts)
    for depth, kind in np.ndindex(*one.counts.shape):
        if one.counts[depth, kind] > 0:
            for mine, theirs in zip(one.rows(depth, kind), other.rows(depth, kind), strict=True):
                np.testing.assert_allclose(mine, theirs, atol=2e-6, rtol=2e-6, err_msg=f"{depth} {one.types[kind]}")
    for step in range(len(one.steps)):
        for mine, theirs in zip(one.edges(step), other.edges(step), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=2e-6, rtol=2e-6)


class Plain(Engine):
    """A model that anybody can follow: every row weighs its inputs, and adds the means of what its relations bring."""

    hidden = 1

    def forward(self, batch):
        depths = batch.counts.shape[0]
        below = {}
        for depth in reversed(range(depths)):
            here = {}
            for kind in range(len(batch.types)):
                if batch.counts[depth, kind] < 0:
                    continue
                dense, codes = batch.rows(depth, kind)
                total = dense @ np.sin(1 + kind + np.arange(dense.shape[1])) + codes.sum(1)
                for step in np.flatnonzero(batch.steps[:, 0] == depth):
                    relation = batch.steps[step, 1]
                    source, target = batch.ends[relation]
                    if target == kind:
                        pointer, row, own = batch.edges(step)
                        brought = below[source][row] + own.sum(1)
                        sums = np.concatenate([[0], np.cumsum(brought)])
                        mean = (sums[pointer[1:]] - sums[pointer[:-1]]) / np.maximum(np.diff(pointer), 1)
                        total = total + (1 + relation) / 7 * mean
                here[kind] = total.astype(np.float64)
            below = here
        (found,) = [value for value in below.values() if len(value)]
        return found[:, None].astype(np.float32), 0.1 * found
