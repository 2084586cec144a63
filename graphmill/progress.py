"""Progress of long work: a bar on a terminal, nothing where nobody looks (CI, pipes, quiet mode)."""

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def quiet() -> bool:
    """Whether bars are off: ``GRAPHMILL_QUIET`` is set or standard error is not a terminal."""
    return bool(os.environ.get("GRAPHMILL_QUIET")) or not sys.stderr.isatty()


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Iterate with a bar on standard error."""
    if quiet():
        yield from items
        return
    from rich.console import Console  # only where there is somebody to look
    from rich.progress import track as rich_track

    yield from rich_track(items, description, total=total, console=Console(stderr=True), transient=True)


def say(text: str) -> None:
    """The one line with which a stage ends, on standard output."""
    print(text, flush=True)
