"""Measure the engine against a peer in the same run: `python -m benchmarks NAME [--small]`."""

import argparse
import json
import os
import sys
from importlib import import_module

# two threads on a shared core can cost many times one; set before numpy and torch count the cores
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

NAMES = {
    "sampling": "neighbourhoods into blocks, against an exact numpy sampler (and pyg-lib where it is there)",
    "training": "a training step and a full-batch pass, against PyTorch Geometric",
    "inference": "all nodes layer by layer, against torch.sparse and gather and scatter",
    "windows": "point-in-time aggregates, against a plain gather and brute force",
    "build": "payments to a graph with 7-day windows, against pandas",
    "serving": "the predictor under load, with and without events, against an echo on the same server",
    "structure": "a period's structure, against DuckDB; and what drift of graphs and embeddings raises",
    "guards": "what a rollout's guards let through and roll back, against a threshold and a repeated test",
    "drift": "what drift alarms on with and without drift, against tests of rows and the share of drifted columns",
    "policy": "when it pays to retrain: quiet years, steps, and replays against never and every period",
    "concept": "performance without labels and its audit, against raw scores and a naive audit",
}


def main() -> int:
    """Run one benchmark: a table, and one JSON object as the last line."""
    listed = "\n".join(f"  {name:<10} {what}" for name, what in NAMES.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=f"names:\n{listed}\n\nThe last line is JSON; its `ratio` is the peer's median CPU time over ours.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=NAMES, metavar="NAME", help="what to measure; see below")
    parser.add_argument("--small", action="store_true", help="a tenth of the size or less: ends within a minute")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    found = import_module(f"benchmarks.{arguments.name}").run(arguments.small)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
