"""Where embeddings stand over the periods: displacement, discrepancy, neighbours kept."""

from typing import Any

from graphmill.drift.report import line
from graphmill.drift.report.view import View

SHOWN = ("displacement", "discrepancy", "neighbours kept", "mean norm")


def section(view: View) -> dict[str, Any] | None:
    """A drawing each; why there are none; None for a profile without the part."""
    block = view.newest.get("embeddings")
    if block is None:
        return None
    if "absent" in block:
        return {"absent": block["absent"], "plots": []}
    states = {item["statistic"]: item["state"] for item in view.found["items"] if item["family"] == "embedding"}
    plots = []
    for statistic in SHOWN:
        own = ("embedding", "embeddings", statistic)
        state = states.get(statistic, "ok")
        if drawing := line.item(view, own, state):
            plots.append({"name": statistic, "state": state, "plot": drawing})
    absent = "" if plots else f"{block.get('rows', 0)} nodes in the newest period: too few to speak of"
    return {"absent": absent, "plots": plots}
