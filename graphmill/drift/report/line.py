"""One item over the periods: past values as a line, where it lies by itself as a band, the newest as a mark."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from graphmill.drift.report.svg import Floats, Scale, diamond, label, path, picture
from graphmill.drift.report.view import Band, Key, View
from graphmill.drift.report.words import number

SHOWN = 120
"""Periods, the newest: more of them are no line any more."""
WIDTH, HEIGHT = 250, 96
LEFT, RIGHT, TOP, BOTTOM = 6, 240, 16, 78


def item(view: View, key: Key, state: str) -> Markup | str:
    """The drawing of an item; empty for one that is no number."""
    values = view.values(key)
    if values is None:
        return ""
    title = f"{key[1]}, {key[2]}"
    first = max(0, len(values) - SHOWN)
    excluded = frozenset(row - first for row in view.past.excluded)
    places = view.table.places[first:].tolist()
    return drawn(title, values[first:], view.band(key), view.labels[first:], excluded, state, places)


def drawn(
    title: str,
    values: Floats,
    band: Band | None,
    labels: Sequence[str],
    excluded: frozenset[int],
    state: str,
    places: Sequence[int] | None = None,
) -> Markup:
    """The drawing.

    Args:
        title: what it shows.
        values: float64 ``[periods]``, the newest last, NaN where there is none.
        band: where the newest would lie; None where that is not known.
        labels: names of the periods.
        excluded: periods that are no part of what is usual: hollow dots.
        state: of the newest value.
        places: the periods' numbers, growing; a period that nobody looked at leaves a gap. By default there is none.
    """
    down = Scale.of([*values, *(band or ())], BOTTOM, TOP)
    numbers = list(places or range(len(values)))
    across = Scale(numbers[0], max(numbers[-1], numbers[0] + 1), LEFT, RIGHT)
    shown = [(across(numbers[row]), down(value), row) for row, value in enumerate(values) if np.isfinite(value)]
    content = ""
    if band is not None:
        top, low = down(band.high), down(band.low)
        content += f'<path class="band" d="M{LEFT} {top:.1f}H{RIGHT}V{low:.1f}H{LEFT}z"/>'
    before = [(x, y) for x, y, place in shown if place < len(values) - 1]
    content += path(before, "past")
    dots = [(x, y) for x, y, place in shown if place in excluded or (len(before) == 1 and place == 0)]
    content += "".join(f'<circle class="left_out" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in dots)
    if shown and shown[-1][2] == len(values) - 1:
        content += diamond(shown[-1][0], shown[-1][1], 5, f"mark_{state}")
    content += label(LEFT, 11, number(down.high), kind="tick") + label(LEFT, 92, number(down.low), kind="tick")
    content += label(RIGHT, 92, f"{labels[0]} – now" if len(labels) > 1 else "now", "end", "tick")
    return picture(_told(title, values, band, state), content, WIDTH, HEIGHT, "fit")


def _told(title: str, values: Floats, band: Band | None, state: str) -> str:
    past = values[:-1][np.isfinite(values[:-1])]
    text = f"{title}: now {number(float(values[-1])) if np.isfinite(values[-1]) else 'no value'}, {state}"
    if len(past):
        text += f"; {len(past)} past periods from {number(float(past.min()))} to {number(float(past.max()))}"
    return text + (f"; usual {number(band.low)} to {number(band.high)}" if band is not None else "")
