"""Drawings as inline SVG: each has a title for those who cannot see it, and nothing that is fetched or run."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

COMMUNITIES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a800", "#5b5b9f", "#8a94a2")
"""Okabe and Ito's colours, which colour-blind people tell apart, in another order; the last is for all others."""

Points = Sequence[tuple[float, float]]
Floats = NDArray[np.float64]


def picture(title: str, content: str, width: int, height: int, kind: str = "") -> Markup:
    """A drawing; ``content`` is SVG of ours in which names are escaped already."""
    head = f'<svg class="{kind}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
    return Markup(f"{head}<title>{escape(title)}</title>{content}</svg>")


def label(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    """A line of text; names are escaped here."""
    attributes = f' text-anchor="{anchor}"' if anchor != "start" else ""
    attributes += f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(text)}</text>'


def path(points: Points, kind: str) -> str:
    """A line through points."""
    if not points:
        return ""
    return f'<path class="{kind}" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in points)}"/>'


def told(text: str, content: str) -> str:
    """A part that says what it is when it is pointed at."""
    return f"<g><title>{escape(text)}</title>{content}</g>"


def diamond(x: float, y: float, size: float, kind: str) -> str:
    """A mark of its own shape."""
    return (
        f'<path class="{kind}" d="M{x - size:.1f} {y:.1f}L{x:.1f} {y - size:.1f}L{x + size:.1f} {y:.1f}'
        f'L{x:.1f} {y + size:.1f}Z"/>'
    )


def shortened(text: str, most: int) -> str:
    """A name that fits."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


class Scale:
    """Values to places on a drawing; a range of nothing is in the middle."""

    def __init__(self, low: float, high: float, first: float, last: float) -> None:
        self.low, self.high = low, high
        self._first, self._last = first, last

    def __call__(self, value: float) -> float:
        if self.high <= self.low:
            return (self._first + self._last) / 2
        return self._first + (value - self.low) / (self.high - self.low) * (self._last - self._first)

    @classmethod
    def of(cls, values: Sequence[float], first: float, last: float) -> "Scale":
        """From the least to the largest of the finite values."""
        finite = [value for value in values if np.isfinite(value)] or [0.0]
        return cls(min(finite), max(finite), first, last)


def histogram(then: list[int] | None, now: list[int] | None, title: str, width: int, height: int) -> Markup | str:
    """Two distributions on the same edges: filled then, a line now; empty when one of them is."""
    if not then or not now or not sum(then) or not sum(now):
        return ""
    shares = np.array([then, now], float)
    shares = shares / shares.sum(axis=1, keepdims=True)
    tall = shares / shares.max() * (height - 2)
    paths = [_steps(row, width, height) for row in tall]
    content = f'<path class="then" d="{paths[0]}V{height}H0Z"/><path class="now" d="{paths[1]}"/>'
    return picture(title, content, width, height)


def _steps(tall: Floats, width: int, height: int) -> str:
    """A stair of bars as a path, from the left bottom."""
    step = width / len(tall)
    stairs = "".join(f"V{height - value:.1f}H{(place + 1) * step:.1f}" for place, value in enumerate(tall))
    return f"M0 {height}{stairs}"
