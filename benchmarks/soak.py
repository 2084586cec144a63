"""An hour of mixed load, once, by hand: `python -m benchmarks.soak --minutes 60 --output soak.csv`.

Every second questions of all protocols and a batch of events go to one server; every round its memory and
latencies are written down. At the end every event must be there, also after a restart.
"""

import argparse
import csv
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np

from benchmarks import world
from benchmarks.load import PROTOCOLS
from benchmarks.serving import client, server

QUESTIONS, EVENTS, EVERY = 200, 100, 20.0
"""Questions of each protocol in a round, events a second for two seconds of it; seconds between rounds."""


def main() -> None:
    """Run it; what it found ends in one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--output", type=Path, default=Path("soak.csv"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        print(json.dumps(soak(world.small(folder), folder / "state", given.minutes * 60, given.output)))


def soak(made: world.Made, state: Path, seconds: float, output: Path) -> dict[str, Any]:
    """Ask and tell for so long; rows of (seconds, megabytes, p50, p99, events) go to ``output``."""
    arguments = ["graphmill.serving", "--model", str(made.artifacts / "model"), "--graph", str(made.artifacts)]
    arguments += ["--state", str(state), "--insecure_local", "--compact_after", "5000"]
    rows, sent, number = [], 0, 0
    with output.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["seconds", "megabytes", "p50_ms", "p99_ms", "events"])
        with server(arguments, "model") as ours:
            began = time.monotonic()
            while time.monotonic() - began < seconds:
                turn = time.monotonic()
                found = [
                    client({"kind": "ask", "protocol": protocol, "concurrency": 4, "requests": QUESTIONS, "warm": 4,
                            "keys": made.keys, **ours})["latencies"]
                    for protocol in PROTOCOLS
                ]  # fmt: skip
                told = client({"kind": "events", "rate": EVENTS, "batch": EVENTS // 4, "seconds": 2, "run": number,
                               **made.events, **ours})  # fmt: skip
                sent, number = sent + told["events"], number + 1
                latencies = np.concatenate(found) * 1e3
                row = [time.monotonic() - began, _megabytes(ours["pid"]), *np.quantile(latencies, [0.5, 0.99]), sent]
                table.writerow([f"{value:.4g}" for value in row[:-1]] + [sent])
                stream.flush()
                rows.append(row)
                time.sleep(max(0.0, EVERY - (time.monotonic() - turn)))
            applied = _offset(ours["http"])
        with server(arguments, "model") as again:
            after = _offset(again["http"])
            fresh = _megabytes(again["pid"])
    memory = np.array([row[1] for row in rows])
    return {"sent": sent, "applied": applied, "after_restart": after, "rounds": len(rows),
            "megabytes_first_tenth": float(memory[: len(rows) // 10 + 1].mean()),
            "megabytes_last_tenth": float(memory[-(len(rows) // 10 + 1) :].mean()),
            "megabytes_restarted": fresh}  # fmt: skip


def _megabytes(process: int) -> float:
    with open(f"/proc/{process}/statm") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _offset(port: int) -> int:
    with urlopen(f"http://127.0.0.1:{port}/v1/graph", timeout=60) as answer:
        return int(json.loads(answer.read())["offset"])


if __name__ == "__main__":
    main()
