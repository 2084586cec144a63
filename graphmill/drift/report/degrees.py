"""Degree distributions then and now on logarithmic axes: the share of the nodes that have at least so many edges."""

from typing import Any

import numpy as np
from markupsafe import Markup

from graphmill.drift.report.svg import Scale, label, path, picture
from graphmill.drift.report.view import View
from graphmill.drift.structure.degrees import PER_OCTAVE

MOST = 24
WIDTH, HEIGHT = 250, 170
LEFT, RIGHT, TOP, BOTTOM = 46, 226, 8, 146


def section(view: View) -> list[dict[str, Any]]:
    """Each end of each relation that has a histogram now or had one."""
    found = []
    names = dict.fromkeys([name for family, name in (*view.now, *view.pooled) if family == "structure"])
    for name in list(names)[:MOST]:
        then, now = (counts.get(("structure", name)) for counts in (view.pooled, view.now))
        if sum(then or []) or sum(now or []):
            end = name.removesuffix(": degree")
            found.append({"name": end, "plot": drawn(end, then or [], now or [])})
    return found


def drawn(name: str, then: list[int], now: list[int]) -> Markup:
    """Both distributions of one end of a relation, from counts of ``PER_OCTAVE`` bins a doubling of the degree."""
    lines = {"then": tail(then), "now": tail(now)}
    points = [point for line in lines.values() for point in line]
    decades = (max(1, int(np.ceil(max(x for x, _ in points)))), min(-1, int(np.floor(min(y for _, y in points)))))
    across, down = Scale(0, decades[0], LEFT, RIGHT), Scale(decades[1], 0, BOTTOM, TOP)
    content = ""
    for power in range(decades[0] + 1):
        content += f'<path class="grid" d="M{across(power):.1f} {TOP}V{BOTTOM}"/>'
        if power % -(-decades[0] // 4) == 0:  # five labels at most have room
            content += label(across(power), BOTTOM + 13, _short(power), "middle", "tick")
    for power in range(decades[1], 1):
        content += f'<path class="grid" d="M{LEFT} {down(power):.1f}H{RIGHT}"/>'
        if power % -(decades[1] // 5) == 0:
            content += label(LEFT - 4, down(power) + 4, f"{10.0**power:g}", "end", "tick")
    content += "".join(
        path([(across(x), down(y)) for x, y in line], f"{kind}_line") for kind, line in lines.items() if line
    )
    means = {kind: f"largest about {10 ** line[-1][0]:,.0f}" if line else "none" for kind, line in lines.items()}
    title = f"Degrees, {name}: past periods {means['then']}, now {means['now']}"
    return picture(title, content, WIDTH, HEIGHT, "fit")


def _short(power: int) -> str:
    """A power of ten: 1, 10, 100, 1k … 100M."""
    return f"{10 ** (power % 3)}{('', 'k', 'M', 'G')[power // 3]}"


def tail(counts: list[int]) -> list[tuple[float, float]]:
    """``(log10 of a degree, log10 of the share of the nodes that have at least so many)`` of every bin that has any."""
    if not sum(counts):
        return []
    left = np.cumsum(np.array(counts[::-1], float))[::-1] / sum(counts)
    return [
        (place / PER_OCTAVE * float(np.log10(2)), float(np.log10(share)))
        for place, (count, share) in enumerate(zip(counts, left, strict=True))
        if count
    ]
