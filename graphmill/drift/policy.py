"""From a report to one word: pure, so that the same report always gives the same decision."""

from typing import Any

from graphmill.drift.params import Params

RETRAIN, WATCH, PAGE, OK = "retrain", "watch", "page", "ok"


def state(report: dict[str, Any]) -> str:
    """The report's state: broken rules first, then parts that failed, then the worst family.

    Returns:
        ``ok``, ``warn``, ``alarm``, ``cold_start`` (too few past periods in every family to judge by) or ``error``.
    """
    states = {family["state"] for family in report["families"].values()}
    if report["integrity"]:
        return "alarm"
    for candidate in ("error", "alarm", "warn", "ok"):
        if candidate in states:
            return candidate
    return "cold_start"


def decide(report: dict[str, Any], params: Params) -> str:
    """The decision.

    Args:
        report: ``integrity``, and ``families`` with a ``state`` each.
        params: section `drift`; ``retrain_on`` names the families whose alarm counts.

    Returns:
        ``page``: a rule is broken or a part failed. A person must look, and nothing may be trained on this data.
        ``retrain``: an alarm. ``watch``: a warning, or too little history to judge. ``ok``: nothing.
    """
    found = state(report)
    if report["integrity"] or found == "error":
        return PAGE
    alarmed = {name for name, family in report["families"].items() if family["state"] == "alarm"}
    if alarmed & set(params.retrain_on):
        return RETRAIN
    return OK if found == "ok" else WATCH
