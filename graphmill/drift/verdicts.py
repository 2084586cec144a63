"""Items that need no past periods: labels that are missing, the estimate, the audit gap, sequential tests."""

from typing import Any

from graphmill.drift.items import Item
from graphmill.drift.measures import mature
from graphmill.drift.params import Params

Block = dict[str, Any]


def items(newest: Block, reference: Block, params: Params) -> list[Item]:
    """Every such item of the newest period's profile."""
    block = newest.get("performance")
    if block is None:
        return []
    found = _unlabelled(block, reference, params) + _estimated(block.get("estimated"), reference, params)
    return found + _audit(block.get("audit"), params) + _streams(block.get("streams"), newest["start"])


def _unlabelled(block: Block, reference: Block, params: Params) -> list[Item]:
    """What cannot be said because labels are not there: the label rate, and figures of groups."""
    found = []
    if block["examples"] and not mature(block, params.label_share, params.positives):
        found.append(_missing("prediction", "label", "label rate"))
    metric = str(reference.get("metric")).replace("_", " ")
    groups = block["groups"] or ({"every cohort": {"state": "insufficient_labels"}} if block["examples"] else {})
    return found + [
        _missing("performance", name, metric)
        for name, group in groups.items()
        if group["state"] == "insufficient_labels"
    ]


def _missing(family: str, name: str, statistic: str) -> Item:
    return Item(family, name, statistic, "rate", None, None, None, 0, state="insufficient_labels")


def _estimated(now: Block | None, reference: Block, params: Params) -> list[Item]:
    """A drop of the estimate is a warning at the most: it asks for labels."""
    if now is None:
        return []
    found, frozen = [], reference["estimate"]["expected"]
    for name in {reference["metric"]: None, "accuracy": None}:
        if name not in now["figures"] or name not in frozen:
            continue
        figure, before = now["figures"][name], frozen[name]["value"]
        item = _item("estimated", name, figure["value"], before)
        if before - figure["value"] >= params.estimated_drop and figure["high"] < before:
            item.state = "warn"
        found.append(item)
    return found


def _audit(audit: Block | None, params: Params) -> list[Item]:
    """An alarm where the audited figures are worse than the scores expect, by more than the estimate errs."""
    if audit is None:
        return []
    if audit["state"] != "ok":
        return [_missing("performance", "audit gap", "accuracy")]
    found = []
    for name, figure in audit["figures"].items():
        item = _item("audit gap", name, figure["audited"]["value"], figure["expected"])
        item.p = figure["p"]
        if abs(figure["gap"]) >= params.audit_floor and figure["p"] < params.audit_level:
            item.state = "alarm"
        found.append(item)
    return found


def _streams(block: Block | None, start: int) -> list[Item]:
    """A sequential test that alarmed inside the newest period is a warning."""
    found = []
    for test, times in (block or {}).get("tests", {}).items():
        recent = sum(time >= start for time in times)
        item = Item("performance", "stream of errors", test, "rate", float(recent), 0.0, None, 0)
        item.state = "warn" if recent else "ok"
        found.append(item)
    return found


def _item(name: str, statistic: str, value: float, expected: float) -> Item:
    words = statistic.replace("_", " ")
    return Item("performance", name, words, "rate", value, expected, None, 0, effect=value - expected)
