"""How much memory a piece of work adds to its process, from what Linux says of it."""

import gc
from collections.abc import Callable
from typing import Any


def added(work: Callable[[], Any]) -> int:
    """Megabytes that the work adds, at its peak, to what the process holds before it."""
    gc.collect()
    with open("/proc/self/clear_refs", "w") as stream:
        stream.write("5")  # forget the peak of what came before
    before = _status("VmRSS")
    work()
    return (_status("VmHWM") - before) // 1_000


def _status(name: str) -> int:
    """Kilobytes."""
    with open("/proc/self/status") as stream:
        return next(int(line.split()[1]) for line in stream if line.startswith(name))
