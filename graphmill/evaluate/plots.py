"""Small line charts as inline SVG."""

import pandas as pd
from markupsafe import Markup

COLOURS = ["#2c6fbb", "#c0632f", "#4a8f4d", "#8a5fa8", "#777777"]
WIDTH, HEIGHT, LEFT, BOTTOM = 340, 260, 44, 34


def chart(frame: pd.DataFrame, x: str, y: str, diagonal: bool = False, log: bool = False) -> Markup:
    """One line a model over the unit square; with ``log`` both axes are cut at the data's range."""
    high = 1.0 if not log else max(float(frame[[x, y]].max().max()), 1e-9)
    parts = [_axes(x, y, high)]
    if diagonal:
        parts.append(f'<path class="guide" d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}"/>')
    for place, (name, rows) in enumerate(frame.groupby("model", sort=False)):
        colour = COLOURS[place % len(COLOURS)]
        points = " ".join(f"{_x(a / high):.1f},{_y(b / high):.1f}" for a, b in zip(rows[x], rows[y], strict=True))
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.8" points="{points}"/>')
        if len(rows) <= 20:
            parts += [
                f'<circle cx="{_x(a / high):.1f}" cy="{_y(b / high):.1f}" r="2.6" fill="{colour}"/>'
                for a, b in zip(rows[x], rows[y], strict=True)
            ]
        parts.append(f'<title>{Markup.escape(str(name))}</title>')
    label = Markup.escape(f"{y} against {x}")
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    )


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


def _axes(x: str, y: str, high: float) -> str:
    lines = [f'<path class="axis" d="M{_x(0)} {_y(1)}V{_y(0)}H{_x(1)}"/>']
    for share in (0.0, 0.5, 1.0):
        text = f"{share * high:.3g}"
        lines.append(f'<text x="{_x(share):.0f}" y="{_y(0) + 14}" text-anchor="middle">{text}</text>')
        lines.append(f'<text x="{LEFT - 5}" y="{_y(share) + 4:.0f}" text-anchor="end">{text}</text>')
    lines.append(f'<text x="{_x(0.5):.0f}" y="{HEIGHT - 4}" text-anchor="middle">{x.replace("_", " ")}</text>')
    middle = _y(0.5)
    name = y.replace("_", " ")
    lines.append(f'<text x="11" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 11 {middle:.0f})">{name}</text>')
    return "".join(lines)


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - 10)


def _y(share: float) -> float:
    return (HEIGHT - BOTTOM) - share * (HEIGHT - BOTTOM - 10)
