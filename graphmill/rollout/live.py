"""The line of a terminal that says how far a rollout is, while it waits; none where nobody looks."""

import logging
import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.logging import RichHandler
from rich.text import Text

from graphmill.progress import quiet

CONSOLE = Console(stderr=True, highlight=False)


class Line:
    """One line that is replaced; what is printed meanwhile stands above it."""

    def __init__(self) -> None:
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if not quiet():
            terminal = sys.stdout.isatty()
            self._live = Live(console=CONSOLE, auto_refresh=False, transient=True, redirect_stdout=terminal)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, text: str) -> None:
        """Replace it."""
        if self._live is not None:
            self._live.update(Text(text, style="dim", overflow="ellipsis", no_wrap=True), refresh=True)


def log_warnings() -> None:
    """Have warnings printed where they do not tear the line."""
    if quiet():
        logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    else:
        handler = RichHandler(console=CONSOLE, show_time=False, show_path=False)
        logging.basicConfig(format="%(message)s", level=logging.WARNING, handlers=[handler])
