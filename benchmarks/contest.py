"""Timing contenders fairly on a machine that is not ours alone: interleaved, medians, CPU time beside wall time."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

Times = dict[str, list[float]]


def contest(contenders: dict[str, Callable[[], Any]], rounds: int, warm: int = 1) -> dict[str, tuple[float, float]]:
    """Run every contender ``warm + rounds`` times, turn about: median seconds of CPU and wall time by name."""
    cpu: Times = {name: [] for name in contenders}
    wall: Times = {name: [] for name in contenders}
    for turn in range(warm + rounds):
        for name, run in contenders.items():
            start, began = time.process_time(), time.perf_counter()
            run()
            if turn >= warm:
                cpu[name].append(time.process_time() - start)
                wall[name].append(time.perf_counter() - began)
    return {name: (median(cpu[name]), median(wall[name])) for name in contenders}


def show(title: str, found: dict[str, tuple[float, float]], ours: str) -> None:
    """A table of contenders: CPU and wall milliseconds, and how many times our CPU time each takes."""
    print(title)
    table = Table()
    for name in ("contender", "CPU ms", "wall ms", "times ours"):
        table.add_column(name, justify="left" if name == "contender" else "right")
    for name, (cpu, wall) in found.items():
        table.add_row(name, f"{cpu * 1e3:,.3f}", f"{wall * 1e3:,.3f}", f"{cpu / found[ours][0]:.2f}")
    Console(width=120).print(table)


def result(
    name: str, what: str, found: dict[str, tuple[float, float]], ours: str, peer: str, **more: Any
) -> dict[str, Any]:
    """The line of JSON: ``ratio`` is the peer's median CPU time over ours."""
    return {
        "name": name,
        "ratio": round(found[peer][0] / found[ours][0], 2),
        "ours": ours,
        "peer": peer,
        "cpu": {contender: cpu for contender, (cpu, _) in found.items()},
        "wall": {contender: wall for contender, (_, wall) in found.items()},
        "what": what,
    } | more


def growth(nodes: int, edges: int, work: Callable[[int, int], Callable[[], Any]], rounds: int, warm: int = 1) -> float:
    """The power of the edges that the CPU time grows with, from a twentieth of them to all, nodes in proportion.

    Args:
        nodes: of the whole graph.
        edges: of the whole graph.
        work: what is timed, for a graph of so many nodes and edges.
        rounds: timed runs on each.
        warm: runs before these.
    """
    sizes = [edges // 20, edges // 5, edges]
    spent = []
    for size in sizes:
        spent.append(contest({"work": work(nodes * size // edges, size)}, rounds, warm)["work"][0])
    return exponent(sizes, spent)


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """The power of the size that the time grows with: 1 is linear."""
    import numpy as np

    return round(float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0]), 2)
