"""Small line charts as inline SVG."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup

COLOURS = ["#2c6fbb", "#c0632f", "#4a8f4d", "#8a5fa8", "#777777"]
WIDTH, HEIGHT, LEFT, BOTTOM, EDGE = 340, 260, 50, 36, 12
FEW = 20
"""Lines of up to so many points show them."""


@dataclass(frozen=True)
class Axis:
    """Both axes of a chart; on a logarithmic one, what lies below its begin is drawn at its begin."""

    ticks: list[float]
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Where a value lies between the first tick and the last: 0 to 1."""
        low, high = self.ticks[0], self.ticks[-1]
        if self.logarithmic:
            low, high, value = np.log10(low), np.log10(high), np.log10(max(value, low))
        return float((value - low) / (high - low))


UNIT = Axis([0, 0.25, 0.5, 0.75, 1])


def fitting(predicted: pd.Series, observed: pd.Series) -> Axis:
    """An axis from 0 with round ticks, or a logarithmic one where shares span decades, as those of rare classes do."""
    high = max(float(predicted.max()), float(observed.max()), 1e-6)
    low = float(observed[observed > 0].min()) if (observed > 0).any() else high
    if high / low > 30:
        decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        return Axis([10.0**decade for decade in decades], logarithmic=True)
    step = next(one * 10.0**tens for tens in range(-8, 2) for one in (1, 2, 2.5, 5) if 5 * one * 10.0**tens >= high)
    return Axis([step * count for count in range(int(np.ceil(high / step - 1e-9)) + 1)])


def chart(frame: pd.DataFrame, x: str, y: str, axis: Axis = UNIT, diagonal: bool = False) -> Markup:
    """One line a model."""
    parts = [_axes(x, y, axis)]
    if diagonal:
        parts.append(f'<path class="guide" d="M{_x(0):.0f} {_y(0):.0f}L{_x(1):.0f} {_y(1):.0f}"/>')
    for place, (name, rows) in enumerate(frame.groupby("model", sort=False)):
        colour = COLOURS[place % len(COLOURS)]
        spots = [(_x(axis.share(a)), _y(axis.share(b))) for a, b in zip(rows[x], rows[y], strict=True)]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in spots)
        parts.append(f"<g><title>{Markup.escape(str(name))}</title>")
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.8" points="{line}"/>')
        if len(rows) <= FEW:
            parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.6" fill="{colour}"/>' for a, b in spots]
        parts.append("</g>")
    label = Markup.escape(f"{y} against {x}".replace("_", " "))
    return Markup(f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>')


def series(values: dict[str, list[float]], x: str) -> Markup:
    """Each series scaled to its own range: for a learning curve."""
    frames = []
    for name, numbers in values.items():
        low, high = min(numbers), max(numbers)
        span = (high - low) or 1.0
        steps = max(len(numbers) - 1, 1)
        rows = {x: [place / steps for place in range(len(numbers))], "scaled": [(v - low) / span for v in numbers]}
        frames.append(pd.DataFrame(rows).assign(model=name))
    return chart(pd.concat(frames), x, "scaled")


def _axes(x: str, y: str, axis: Axis) -> str:
    lines = [f'<path class="axis" d="M{_x(0):.0f} {_y(1):.0f}V{_y(0):.0f}H{_x(1):.0f}"/>']
    for tick in axis.ticks:
        across, up, text = _x(axis.share(tick)), _y(axis.share(tick)), f"{tick:g}"
        lines.append(f'<text x="{across:.0f}" y="{_y(0) + 14:.0f}" text-anchor="middle">{text}</text>')
        lines.append(f'<text x="{LEFT - 5}" y="{up + 4:.0f}" text-anchor="end">{text}</text>')
    middle, words = _y(0.5), [name.replace("_", " ") for name in (x, y)]
    lines.append(f'<text x="{_x(0.5):.0f}" y="{HEIGHT - 4}" text-anchor="middle">{words[0]}</text>')
    turned = f'text-anchor="middle" transform="rotate(-90 11 {middle:.0f})"'
    lines.append(f'<text x="11" y="{middle:.0f}" {turned}>{words[1]}</text>')
    return "".join(lines)


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - EDGE)


def _y(share: float) -> float:
    return (HEIGHT - BOTTOM) - share * (HEIGHT - BOTTOM - EDGE)
