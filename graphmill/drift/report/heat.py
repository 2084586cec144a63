"""The heat map: what each item's charts said in every past period, and now.

A past period is judged as a check at its end would have judged it, from the periods before it alone.
"""

from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from graphmill.drift import compare
from graphmill.drift.baseline import Past
from graphmill.drift.items import SEVERITY
from graphmill.drift.report.svg import label, picture, told
from graphmill.drift.report.view import Key, View, key
from graphmill.drift.report.words import number

MOST = 40
"""Rows."""
PERIODS = 31
"""Columns: the newest ones."""
STEP, TALL = 10, 16
HEADER = 30


class Cell(NamedTuple):
    """A verdict on an item in one period."""

    state: str
    by_size: bool
    """Whether there was too little history for the charts."""
    rises: bool


def section(view: View) -> dict[str, Any] | None:
    """Rows by family, the worst of all items; None when no item has a number, or there is no past."""
    told_of = [item for item in view.found["items"] if item["value"] is not None]
    if not told_of or not view.past.history:
        return None
    cells = _past_cells(view)
    shown = _worst(told_of, cells)
    families = []
    for family in dict.fromkeys(item["family"] for item in shown):
        rows = [_row(view, item, cells) for item in shown if item["family"] == family]
        families.append({"name": family, "rows": rows})
    return {"families": families, "header": _header(view), "hidden": len(told_of) - len(shown)}


def _past_cells(view: View) -> list[dict[Key, Cell]]:
    """Of every past period that is shown, oldest first; the first ones have too little before them for the charts."""
    past, found = view.past, []
    for row in range(max(0, len(past.history) - PERIODS + 1), len(past.history)):
        if row < view.params.enough:
            there = np.isfinite(view.table.values[row])
            measured = [measure for measure, some in zip(view.table.newest, there, strict=True) if some]
            found.append({measure.key: Cell("cold_start", True, True) for measure in measured})
            continue
        before = Past(past.reference, past.history[:row], min(past.trained, row), _before(past.excluded, row))
        own = compare.items(past.history[row], before, view.params)
        plain = [item.canonical() for item in own if item.value is not None]
        found.append({key(item): _cell(item, view) for item in plain})
    return found


def _before(excluded: frozenset[int], row: int) -> frozenset[int]:
    return frozenset(one for one in excluded if one < row)


def _cell(item: dict[str, Any], view: View) -> Cell:
    by_size = item["past"] < view.params.enough
    state = item["state"] if item["past"] > 0 or item["p"] is not None else "cold_start"
    return Cell(state, by_size, (item["effect"] or 0.0) >= 0)


def _worst(items: list[dict[str, Any]], cells: list[dict[Key, Cell]]) -> list[dict[str, Any]]:
    """By what is said now, then by how often it alarmed, else as the report has them."""

    def rank(place: int) -> tuple[int, int, int]:
        item = items[place]
        own = [row[key(item)] for row in cells if key(item) in row]
        alarms = sum(cell.state == "alarm" and not cell.by_size for cell in own)
        return -SEVERITY.index(item["state"]), -alarms, place

    chosen = sorted(range(len(items)), key=rank)[:MOST]
    families = list(compare.FAMILIES)
    return sorted((items[place] for place in chosen), key=lambda item: families.index(item["family"]))


def _row(view: View, item: dict[str, Any], cells: list[dict[Key, Cell]]) -> dict[str, Any]:
    own = [row.get(key(item)) for row in cells]
    return {"item": item, "strip": _strip(view, item, [*own, _cell(item, view)])}


def _strip(view: View, item: dict[str, Any], cells: list[Cell | None]) -> Markup:
    """One row: quiet cells in a path each of their kind, loud ones with what they say."""
    values = view.values(key(item))
    shown = np.full(len(cells), np.nan) if values is None else values[-len(cells) :]
    quiet, loud = {"ok": "", "thin": ""}, ""
    for place, (cell, name) in enumerate(zip(cells, view.labels[-len(cells) :], strict=True)):
        left = place * STEP + (4 if place == len(cells) - 1 else 0)
        if cell is None:
            continue
        if cell.state in ("warn", "alarm"):
            loud += told(_said(cell, name, float(shown[place])), _loud(cell, left))
        else:
            kind = "thin" if cell.by_size or cell.state != "ok" else "ok"
            quiet[kind] += f"M{left + 0.5} 1.5h{STEP - 2}v{TALL - 3}h-{STEP - 2}z"
    drawn = "".join(f'<path class="{kind}" d="{way}"/>' for kind, way in quiet.items() if way)
    counts = [sum(cell is not None and cell.state == state for cell in cells) for state in ("alarm", "warn")]
    title = f"{item['name']}, {item['statistic']}: {counts[0]} alarms, {counts[1]} warnings in {len(cells)} periods"
    return picture(f"{title}; now {item['state']}", drawn + loud, len(cells) * STEP + 4, TALL, "strip")


def _said(cell: Cell, name: str, value: float) -> str:
    known = f", {number(value)}" if np.isfinite(value) else ""
    return f"{name}: {cell.state}{' by size' * cell.by_size}{known}"


def _loud(cell: Cell, left: float) -> str:
    """A filled cell; the triangle points where the value went."""
    middle, (tip, foot) = left + STEP / 2 - 0.5, (5, 11) if cell.rises else (11, 5)
    box = f'<path class="{cell.state}" d="M{left} 1h{STEP - 1}v{TALL - 2}h-{STEP - 1}z"/>'
    mark = f"M{middle - 2.5:.1f} {foot}L{middle:.1f} {tip}L{middle + 2.5:.1f} {foot}z"
    return f'{box}<path class="mark" d="{mark}"/>'


def _header(view: View) -> Markup:
    """When the first of the periods ended, and the last one; crosses over those that count as unusual."""
    count = min(len(view.profiles), PERIODS)
    first = len(view.profiles) - count
    content = label(0, 10, view.labels[first]) if count > 6 else ""
    content += label(count * STEP + 4, 10, "now", "end") if count > 2 else ""
    for row in sorted(view.past.excluded):
        if row >= first:
            left = (row - first) * STEP
            cross = f'<path class="cross" d="M{left + 1} 18l7 7m0-7l-7 7"/>'
            content += told(f"{view.labels[row]}: left out of what is usual", cross)
    title = f"{count} periods from {view.labels[first]} to {view.labels[-1]}"
    return picture(title, content, count * STEP + 4, HEADER, "strip")
