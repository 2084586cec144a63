"""Questions for a machine that nobody asks: the graph's own examples, so that a laptop sees a whole rollout."""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from graphmill.features.store import Features


@contextmanager
def asked(graph: Path, url: str, rate: float, seed: int = 0) -> Iterator[None]:
    """Have a predictor asked from another thread meanwhile; what it answers, or fails to, is its own matter.

    Args:
        graph: folder above ``graph/`` and ``features/``.
        url: of the model's ``:predict``.
        rate: requests a second, one node each.
        seed: of their order.
    """
    over = threading.Event()
    thread = threading.Thread(target=_ask, args=(_keys(graph, seed), url, rate, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _keys(graph: Path, seed: int) -> list[str]:
    """Keys of the examples, in any order."""
    keys = Features.open(graph / "features").examples["key"].astype(str).unique()
    return list(np.random.default_rng(seed).permutation(keys))


def _ask(keys: list[str], url: str, rate: float, over: threading.Event) -> None:
    due = time.monotonic()
    with httpx.Client(timeout=5, trust_env=False) as client:
        for key in itertools.cycle(keys):
            if over.wait(max(due - time.monotonic(), 0)):
                return
            due = max(due + 1 / rate, time.monotonic() - 1)  # what was missed for long is not made up for
            try:
                client.post(url, json={"instances": [{"id": key}]})
            except httpx.HTTPError:
                continue  # the guards see it too
