"""The predictor under load, beside an echo that costs nothing to compute: `python -m benchmarks serving`.

Servers run in processes of their own, the client in another; servers are asked turn about, so that what else the
machine does falls on all of them. The *floor* is an echo behind our own front, the *stock* echo is KServe's server as
it comes, and *unbatched* is our model under KServe's own server, one forward a request.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import world
from benchmarks.load import PROTOCOLS

CONCURRENCY = (1, 8, 32)
RATE = 5_000
"""Events a second beside the questions."""
ROUNDS, FEW = 3, 1
"""Times that every server is asked; of a small run."""


def run(small: bool) -> dict[str, Any]:
    """Serve, ask, tell: latencies by protocol and concurrency, with and without events, beside the floor."""
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        made = world.small(folder) if small else world.large(folder)
        ours = stack.enter_context(server(
            ["graphmill.serving", "--model", str(made.artifacts / "model"), "--graph", str(made.artifacts),
             "--state", str(folder / "state"), "--insecure_local"], "model",
        ))  # fmt: skip
        floor = stack.enter_context(server(["benchmarks.echo", "front"], "echo"))
        stock = stack.enter_context(server(["benchmarks.echo", "stock", "--quiet"], "echo"))
        single = stack.enter_context(
            server(["benchmarks.unbatched", str(made.artifacts / "model"), str(made.artifacts)], "model")
        )
        servers = {"ours": ours, "floor": floor, "stock": stock, "unbatched": single}
        found = _quiet(servers, made, *((300, FEW) if small else (600, ROUNDS)))
        busy = _busy(ours, made, 2 if small else 10)
        return _told(found, busy, servers, small)


def _quiet(servers: dict[str, dict[str, Any]], made: "world.Made", requests: int, rounds: int) -> dict[str, Any]:
    """Requests without events, server after server in every round: p50, p99 and requests a second of CPU."""
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for protocol in PROTOCOLS:
            for many in CONCURRENCY:
                for name, given in servers.items():
                    if name in ("stock", "unbatched") and (protocol != "v1" or many == 8):
                        continue  # what they are there for: the stock's latency alone, the throughput of 32
                    before = _spent(given["pid"])
                    one = client({
                        "kind": "ask", "protocol": protocol, "concurrency": many, "requests": requests * min(many, 4),
                        "warm": 20 * many, "keys": made.keys, **given,
                    })  # fmt: skip
                    one["server"] = _spent(given["pid"]) - before
                    found.setdefault(f"{name} {protocol} {many}", []).append(one)
    return {name: _summary(rounds) for name, rounds in found.items()}


def _summary(rounds: list[dict[str, Any]]) -> dict[str, float]:
    latencies = [np.array(one["latencies"]) for one in rounds]
    return {
        "p50": median(float(np.median(one)) for one in latencies),
        "p99": median(float(np.quantile(one, 0.99)) for one in latencies),
        "per_core": median(len(one["latencies"]) / one["server"] for one in rounds),
        "per_second": median(len(one["latencies"]) / one["seconds"] for one in rounds),
    }


def _busy(ours: dict[str, Any], made: "world.Made", seconds: int) -> dict[str, Any]:
    """The same questions while events come in."""
    told: dict[str, Any] = {}
    task = {"kind": "events", "rate": RATE, "batch": 100, "seconds": seconds, **made.events, **ours}
    for many in CONCURRENCY:
        writer = start({**task, "run": many})
        rounds = []
        while writer.poll() is None:
            before = _spent(ours["pid"])
            one = client({
                "kind": "ask", "protocol": "v1", "concurrency": many, "requests": 300, "warm": 0, "keys": made.keys,
                **ours,
            })  # fmt: skip
            rounds.append(one | {"server": _spent(ours["pid"]) - before})
        assert writer.stdout is not None
        sent = json.loads(writer.stdout.read())
        told[f"ours v1 {many}"] = _summary(rounds) | {
            "events_per_second": sent["events"] / sent["seconds"],
            "visible_p99": float(np.quantile(sent["latencies"], 0.99)),
        }
    return told


def _told(found: dict[str, Any], busy: dict[str, Any], servers: Any, small: bool) -> dict[str, Any]:
    console = Console(width=120)
    for title, rows in (("without events", found), (f"with {RATE:,} events a second", busy)):
        table = Table(title=title)
        for name in ("server, protocol, concurrency", "p50 ms", "p99 ms", "requests/s", "requests/s a core"):
            table.add_column(name, justify="left" if name.startswith("server") else "right")
        for name, row in rows.items():
            numbers = (f"{row['p50'] * 1e3:.3f}", f"{row['p99'] * 1e3:.3f}", f"{row['per_second']:,.0f}")
            table.add_row(name, *numbers, f"{row['per_core']:,.0f}")
        console.print(table)
    ours, floor = found["ours v1 1"], found["floor v1 1"]
    least = min(row["events_per_second"] for row in busy.values())
    return {
        "name": "serving",
        "ratio": round(ours["p50"] / floor["p50"], 2),
        "ratio_to_stock": round(ours["p50"] / found["stock v1 1"]["p50"], 2),
        "throughput_ratio": round(found["ours v1 32"]["per_core"] / found["unbatched v1 32"]["per_core"], 2),
        "events_per_second": round(least),
        "visible_p99_seconds": round(max(row["visible_p99"] for row in busy.values()), 4),
        "cold_start_seconds": {name: round(given["started"], 2) for name, given in servers.items()},
        "without_events": found,
        "with_events": busy,
        "small": small,
        "what": "ratio: our median latency of one known node over the echo's behind the same front, v1, one client; "
        "throughput_ratio: requests a second of server CPU, 32 clients, over KServe's own server without batching",
    }


@contextmanager
def server(arguments: list[str], name: str) -> Iterator[dict[str, Any]]:
    """A server in a process of its own, ready: its ports, name, process and seconds to ready."""
    http, grpc = free(), free()
    command = [sys.executable, "-m", *arguments, "--http_port", str(http), "--grpc_port", str(grpc)]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
        try:
            while not _ready(http, name):
                if process.poll() is not None or time.perf_counter() - began > 120:
                    log.seek(0)
                    raise SystemExit(f"{' '.join(arguments)} did not start:\n{log.read().decode()[-2_000:]}")
                time.sleep(0.02)
            started = time.perf_counter() - began
            yield {"http": http, "grpc": grpc, "name": name, "pid": process.pid, "started": started}
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def free() -> int:
    """A port that is free now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _ready(port: int, name: str) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/v2/models/{name}/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def start(task: dict[str, Any]) -> subprocess.Popen[str]:
    """A client at work."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(task))
    process.stdin.close()
    return process


def client(task: dict[str, Any]) -> dict[str, Any]:
    """What a client measured."""
    process = start(task)
    assert process.stdout is not None
    told = process.stdout.read()
    if process.wait():
        raise SystemExit("the client failed; what it said stands above")
    found: dict[str, Any] = json.loads(told)
    return found


def _spent(process: int) -> float:
    """CPU seconds of a process so far."""
    with open(f"/proc/{process}/stat") as stream:
        fields = stream.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
