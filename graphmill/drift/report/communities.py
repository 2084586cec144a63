"""Communities of the period before and of this one, and which groups the edges join then and now."""

from itertools import pairwise
from typing import Any

import numpy as np
from markupsafe import Markup

from graphmill.drift.report.svg import COMMUNITIES, Floats, label, picture, shortened, told
from graphmill.drift.report.view import View
from graphmill.drift.report.words import percent

MOST = 6
"""Graphs that are drawn."""
LARGE = 0.02
"""Share of all nodes from which on a community is spoken of."""
PART = 0.25
"""A community merges or splits when at least two parts are so large."""
KEPT = 0.3
"""A community of whose nodes fewer were in a graph before, or are after, came or went."""
WIDTH, TALL, GAP, BAR = 300, 180, 3, 12
CELL, NAMES = 20, 74


def flows(view: View) -> list[dict[str, Any]]:
    """Each graph's flow between the largest communities, in words and drawn."""
    found: list[dict[str, Any]] = []
    before = _adjacent(view)
    for name, values in view.newest.get("structure", {}).items():
        flow = np.array(values.get("flow") or [[0.0]], float)
        if flow.sum() > 0 and len(found) < MOST:
            sizes = before.get(name, {}).get("community_sizes"), values.get("community_sizes")
            facts = {key: values.get(key) for key in ("communities", "modularity", "orphan_share")}
            found.append({"name": name, "words": changes(flow, *sizes), "plot": drawn(name, flow), **facts})
    return found


def _adjacent(view: View) -> dict[str, Any]:
    """The structure of the period before, where the past reaches that far."""
    last = view.past.history[-1] if view.past.history else {}
    near = last.get("end") == view.newest["start"] or not view.past.reference["timed"]
    return dict(last.get("structure", {})) if near else {}


def changes(flow: Floats, before: list[float] | None = None, now: list[float] | None = None) -> list[str]:
    """What merged, split, came and went, in words; numbers are places by size, 1 the largest.

    Args:
        flow: shares of the nodes that are in both periods, ``[before, now]``; the last of each holds all smaller ones.
        before: shares of the largest communities of the period before, of all its nodes.
        now: of this one.
    """
    last = len(flow) - 1
    main = flow.argmax(axis=1)
    found = []
    for place in range(last):
        own = flow[:, place]
        parts = [row for row in range(last) if main[row] == place and own[row] >= max(LARGE, PART * own.sum())]
        if len(parts) > 1:
            found.append(f"{_listed(parts)} of the period before are {place + 1} now: they merged")
    for row in range(last):
        own = flow[row]
        parts = [place for place in range(last) if own[place] >= max(LARGE, PART * own.sum())]
        if len(parts) > 1:
            found.append(f"{row + 1} of the period before split into {_listed(parts)}")
    found += _alone(now, flow.sum(axis=0), "{} came: few of its nodes were there before")
    return found + _alone(before, flow.sum(axis=1), "{} of the period before went: few of its nodes are left")


def _alone(sizes: list[float] | None, shares: Floats, words: str) -> list[str]:
    known = list(zip(sizes or [], shares[:-1], strict=False))
    return [words.format(place + 1) for place, (size, share) in enumerate(known) if share < KEPT * size >= LARGE * KEPT]


def _listed(places: list[int]) -> str:
    names = [str(place + 1) for place in places]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def drawn(name: str, flow: Floats) -> Markup:
    """Communities before on the left, now on the right, their common nodes as bands between them."""
    left, right = _stack(flow.sum(axis=1)), _stack(flow.sum(axis=0))
    scale = TALL / max(left[-1][1], right[-1][1], 1e-9)
    content, starts, ends = "", [first for first, _ in left], [first for first, _ in right]
    for row, place in np.argwhere(flow > 0.002).tolist():
        size = float(flow[row, place])
        content += _ribbon(starts[row] * scale, ends[place] * scale, size * scale, row, place, size)
        starts[row], ends[place] = starts[row] + size, ends[place] + size
    for x, stack, anchor, at in ((20, left, "end", 16), (WIDTH - 20 - BAR, right, "start", WIDTH - 16)):
        for place, (first, last) in enumerate(stack):
            if last - first > 0.002:
                colour = COMMUNITIES[place] if x == 20 else "#3d4653"
                y, height = 4 + first * scale, max(1.0, (last - first) * scale)
                content += f'<rect x="{x}" y="{y:.1f}" width="{BAR}" height="{height:.1f}" fill="{colour}"/>'
                text = "…" if place == len(stack) - 1 else str(place + 1)
                content += label(at, y + height / 2 + 4, text, anchor, "tick") if height > 8 else ""
    title = f"{name}: communities of the period before, left, and of this one, right"
    return picture(title, content, WIDTH, TALL + 30, "fit")


def _stack(shares: Floats) -> list[tuple[float, float]]:
    """Where each bar begins and ends, with gaps between them."""
    gap = GAP / TALL
    borders = np.cumsum([0.0, *shares])
    return [(first + place * gap, last + place * gap) for place, (first, last) in enumerate(pairwise(borders.tolist()))]


def _ribbon(start: float, end: float, size: float, row: int, place: int, share: float) -> str:
    """A band from a community before to one now."""
    x, far, middle = 20 + BAR, WIDTH - 20 - BAR, WIDTH / 2
    top, low = 4 + start, 4 + end
    way = f"M{x} {top:.1f}C{middle} {top:.1f} {middle} {low:.1f} {far} {low:.1f}v{size:.1f}"
    way += f"C{middle} {low + size:.1f} {middle} {top + size:.1f} {x} {top + size:.1f}z"
    return told(
        f"{row + 1} → {place + 1}: {percent(share)}", f'<path class="flow" fill="{COMMUNITIES[row]}" d="{way}"/>'
    )


def mixings(view: View) -> list[dict[str, Any]]:
    """Each graph's mixing matrix in the newest past period that has one of the same groups, and now."""
    found: list[dict[str, Any]] = []
    for name, values in view.newest.get("structure", {}).items():
        now = values.get("mixing")
        if now is None or len(found) >= MOST:
            continue
        when, then = _then(view, name, now)
        facts = {key: values.get(key) for key in ("adjusted_homophily", "mixing_shift")}
        rows, columns = now["groups"]
        found.append({
            "name": name, "by": " × ".join(dict.fromkeys(now["by"])), "now": matrix(f"{name}, now", now, then),
            "when": when, "then": matrix(f"{name}, {when}", then) if then else "",
            "columns": [] if rows == columns else columns, **facts,
        })  # fmt: skip
    return found


def _then(view: View, name: str, now: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    for place in reversed(range(len(view.past.history))):
        then: dict[str, Any] | None = view.past.history[place].get("structure", {}).get(name, {}).get("mixing")
        if then is not None and (then["by"], then["groups"]) == (now["by"], now["groups"]):
            return f"the period up to {view.labels[place]}", then
    return "", None


def matrix(title: str, mixing: dict[str, Any], other: dict[str, Any] | None = None) -> Markup:
    """Shares of the edges from each group, down, to each, across; framed where they moved by two points or more."""
    shares = np.array(mixing["shares"], float)
    rows, columns = mixing["groups"]
    moved = np.abs(shares - np.array(other["shares"])) >= 0.02 if other else np.zeros(shares.shape, bool)
    left, top = NAMES, 16
    content = ""
    for place in range(len(columns)):
        content += label(left + place * CELL + CELL / 2, 11, str(place + 1), "middle", "tick")
    for row, name in enumerate(rows):
        y = top + row * CELL
        text = shortened(f"{row + 1} {name}" if rows == columns else str(name), 10)
        content += told(str(name), label(left - 5, y + CELL / 2 + 4, text, "end", "tick"))
        content += "".join(
            _cell(left + place * CELL, y, float(share), bool(moved[row, place]), f"{name} to {columns[place]}")
            for place, share in enumerate(shares[row])
        )
    return picture(f"Mixing, {title}", content, left + len(columns) * CELL + 2, top + len(rows) * CELL + 2, "matrix")


def _cell(x: float, y: float, share: float, moved: bool, title: str) -> str:
    strength = share**0.5
    red, green, blue = (round(255 - strength * (255 - dark)) for dark in (8, 48, 107))
    size = CELL - 2
    box = f'<rect x="{x + 1}" y="{y + 1}" width="{size}" height="{size}" fill="#{red:02x}{green:02x}{blue:02x}"'
    box += ' class="moved"/>' if moved else "/>"
    kind = "light" if strength > 0.5 else "dark"
    text = label(x + CELL / 2, y + CELL / 2 + 3.5, f"{100 * share:.0f}", "middle", kind) if share >= 0.005 else ""
    return told(f"{title}: {percent(share)}", box + text)
