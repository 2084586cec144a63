"""How much memory a piece of work adds to its process, from what Linux says of it."""

import gc
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any


def added(work: Callable[[], Any]) -> int:
    """Megabytes that the work adds, at its peak, to what the process holds before it."""
    gc.collect()
    with open("/proc/self/clear_refs", "w") as stream:
        stream.write("5")  # forget the peak of what came before
    before = _status("VmRSS")
    work()
    return (_status("VmHWM") - before) // 1_000


def peaks(module: str, roads: Iterable[str], nodes: int, edges: int) -> dict[str, int]:
    """Megabytes that each road adds, each from ``peak`` of the module in a process of its own; printed too."""
    found = {}
    for road in roads:
        code = f"from {module} import peak; print(peak({road!r}, {nodes}, {edges}))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        found[road] = int(done.stdout.splitlines()[-1])
    print("peak memory beyond graph and rows, MB:", ", ".join(f"{road} {value:,}" for road, value in found.items()))
    return found


def _status(name: str) -> int:
    """Kilobytes."""
    with open("/proc/self/status") as stream:
        return next(int(line.split()[1]) for line in stream if line.startswith(name))
