"""Small multiples of the worst items: over the periods, and their distributions then and now."""

from typing import Any

from graphmill.drift.report import line, svg
from graphmill.drift.report.view import View, chosen, key
from graphmill.drift.report.words import change

MOST = 24
LISTED = 150
"""Rows of the table of what is left."""


def section(view: View) -> dict[str, Any]:
    """The worst items as cards, the next ones as rows of a table."""
    items = view.found["items"]
    loud = [item for item in items if item["effect"] is not None or item["state"] not in ("ok", "cold_start")]
    worst = chosen(loud, MOST)
    others = [item for place, item in enumerate(loud) if place not in set(worst)]
    return {
        "cards": [_card(view, loud[place]) for place in worst],
        "rows": [{"item": item, "change": change(item)} for item in others[:LISTED]],
        "hidden": len(items) - len(loud[: MOST + LISTED]),
    }


def scores(view: View) -> Any:
    """The distribution of the scores then and now; empty when one of them is not known."""
    own = ("prediction", "score")
    told = "Scores of the past periods and of the newest"
    return svg.histogram(view.pooled.get(own), view.now.get(own), told, 600, 140)


def _card(view: View, item: dict[str, Any]) -> dict[str, Any]:
    drawn, own = line.item(view, key(item), item["state"]), (item["family"], item["name"])
    told = f"{item['name']}: distribution of the past periods and of the newest"
    bins = svg.histogram(view.pooled.get(own), view.now.get(own), told, 250, 44) if own[0] != "structure" else ""
    return {"item": item, "change": change(item), "line": drawn, "histogram": bins}
