"""Small drawings as inline SVG."""

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

WIDTH, HEIGHT = 150, 34


def line(values: list[float], now: float | None) -> Markup | str:
    """The past periods as a line, the newest as a dot."""
    if not values or now is None:
        return ""
    every = np.array([*values, now])
    low, span = float(every.min()), float(np.ptp(every)) or 1.0
    across = np.linspace(4, WIDTH - 6, len(every))
    down = HEIGHT - 5 - (every - low) / span * (HEIGHT - 10)
    points = " ".join(f"{x:.0f},{y:.1f}" for x, y in zip(across[:-1], down[:-1], strict=True))
    dot = f'<circle class="last" cx="{across[-1]:.0f}" cy="{down[-1]:.1f}" r="3.5"/>'
    return _svg(f'<polyline class="past" points="{points}"/>{dot}', WIDTH, HEIGHT)


def histogram(then: list[int] | None, now: list[int] | None, width: int = WIDTH, height: int = HEIGHT) -> Markup | str:
    """Two distributions on the same edges: filled then, a line now."""
    if not then or not now or not sum(then) or not sum(now):
        return ""
    shares = np.array([then, now], float)
    shares = shares / shares.sum(axis=1, keepdims=True)
    tall = shares / shares.max() * (height - 2)
    paths = [_steps(row, width, height) for row in tall]
    return _svg(f'<path class="then" d="{paths[0]} V{height} H0 Z"/><path class="now" d="{paths[1]}"/>', width, height)


def _steps(tall: NDArray[np.float64], width: int, height: int) -> str:
    """A stair of bars as a path, from the left bottom."""
    step = width / len(tall)
    stairs = "".join(f"V{height - value:.1f}H{(place + 1) * step:.1f}" for place, value in enumerate(tall))
    return f"M0 {height}{stairs}"


def _svg(content: str, width: int, height: int) -> Markup:
    """Only numbers of ours are inside."""
    opening = f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="plot">'
    return Markup(f"{opening}{content}</svg>")
