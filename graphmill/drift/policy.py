"""From checks to one word. Pure: the same checks and the same rules always give the same decision.

A trigger wants something; a block holds it back and says so in words. Nothing is retrained on data that cannot be
trusted, on one alarm alone, twice for the same alarm, too soon, too often, or without anything new to learn from.
"""

from collections.abc import Sequence
from typing import Any

from graphmill.drift.decision import JUDGED, OF_THE_MODEL, Answer, Block, Check, Decision, Past, Trigger
from graphmill.drift.guards import Case, guards
from graphmill.drift.rules import Rules


def decide(check: Check, past: Sequence[Past], rules: Rules) -> Decision:
    """The decision on a check.

    Args:
        check: the newest check.
        past: earlier checks, oldest first.
        rules: the settled policy.

    Returns:
        ``page``: a person must look: the data cannot be trusted, a part failed, or retraining does not cure the drift.
        ``retrain``: train a challenger. ``request_labels``: only labels can tell. ``watch``: an alarm or a warning
        that asks for nothing yet, or too little history to judge. ``ok``: nothing.
    """
    case = Case(check, past, rules)
    triggers = (*_alarms(case), *_due(case))
    if check.broken or check.failed:
        blocks = [Block("integrity", f"broken feed: {item}") for item in check.broken]
        blocks += [Block("failure", f"failed: {item}") for item in check.failed]
        return _told("page", triggers, blocks)
    free = [item for item in triggers if not item.blocks]
    blocks = guards(case) if free else []
    names = {block.name for block in blocks}
    if free and not blocks:
        return _told("retrain", triggers, blocks)
    if names & {"rejections", "rollout"}:  # only a person can go on from here
        return _told("page", triggers, blocks)
    if check.estimated_drop is not None or ("labels" in names and any(item.family for item in free)):
        return _told("request_labels", triggers, blocks, check.estimated_drop)
    calm = set(check.states.values()) <= {"ok", "cold_start"} and "ok" in check.states.values()
    return _told("ok" if calm and not triggers else "watch", triggers, blocks)


def _alarms(case: Case) -> list[Trigger]:
    found = []
    for family in case.rules.retrain_on:
        if case.check.states.get(family) == "alarm":
            name = "performance" if family == "performance" else "drift"
            block = _repeated(case, family) or _answered(case, family) or _unseen(case, family)
            found.append(Trigger(name, f"alarm in {family}", family, (block,) if block else ()))
    return found


def _seen(case: Case, family: str) -> list[Past]:
    """Past checks that judged a family, oldest first: of the model itself those of this model only."""
    same = family in OF_THE_MODEL
    return [
        item
        for item in case.past
        if item.states.get(family) in JUDGED and not (same and item.check.model != case.check.model)
    ]


def _apart(case: Case, family: str) -> list[Past]:
    """Past checks that looked at other data than the newest, and than each other, newest first."""
    found, last = [], case.check.moment
    for item in reversed(_seen(case, family)):
        if last - item.check.moment >= case.rules.period:
            found.append(item)
            last = item.check.moment
    return found


def _repeated(case: Case, family: str) -> Block | None:
    rules = case.rules
    before = [item.states[family] for item in _apart(case, family)[: rules.checks - 1]]
    count = 1 + before.count("alarm")
    if count >= rules.alarms:
        return None
    words = f"{family} alarmed in {count} of the last {len(before) + 1} checks; {rules.alarms} of {rules.checks} count"
    return Block("persistence", words)


def _answered(case: Case, family: str) -> Block | None:
    """Whether a champion was made of the same alarm: since the last run of clean checks."""
    clean = longest = 0
    apart = _apart(case, family)
    for item in reversed(_seen(case, family)):
        clean = 0 if item.states[family] == "alarm" else clean + (item in apart)
        longest = max(longest, clean)
        if clean >= case.rules.clear_after:
            return None
        if family in item.families and item.outcome == "promoted":
            words = (
                f"the alarm in {family} was answered {case.rules.told(case.check.moment - item.check.moment)} ago and "
                f"is over after {case.rules.clear_after} clean checks in a row; the most since were {longest}"
            )
            return Block("hysteresis", words)
    return None


def _unseen(case: Case, family: str) -> Block | None:
    """Whether a new training would learn nothing of what alarmed: labels come late, and the split keeps the newest."""
    until, began, clean = case.check.learns_until, case.check.moment, 0
    for item in reversed(_seen(case, family)):
        clean = 0 if item.states[family] == "alarm" else clean + 1
        if clean >= case.rules.clear_after:
            break
        began = began if clean else item.check.moment
    if until is None or until >= began or not case.rules.wait_for_labels:
        return None
    gap = case.rules.told(began - until)
    return Block("unseen", f"a new training would learn up to {gap} before the alarm in {family} came, nothing of it")


def _due(case: Case) -> list[Trigger]:
    check, rules, found = case.check, case.rules, []
    last = max(
        [item.check.moment for item in case.retrains] + ([] if check.trained is None else [check.trained]), default=None
    )
    if rules.schedule is not None and last is not None and check.moment - last >= rules.schedule:
        found.append(Trigger("schedule", f"the last training was {rules.told(check.moment - last)} ago"))
    if rules.volume is not None and check.labels and (check.new_labels or 0) >= rules.volume * check.labels:
        found.append(Trigger("volume", f"{check.new_labels:,} new labelled examples besides {check.labels:,}"))
    return found


def _told(answer: Answer, triggers: Sequence[Trigger], blocks: Sequence[Block], drop: float | None = None) -> Decision:
    """The decision with its words: what asked, then what held it back."""
    asked = [item.words for item in triggers]
    if drop is not None:
        asked.append(f"the estimated metric fell by {drop:.3f}")
    held = [block.words for item in triggers for block in item.blocks] + [block.words for block in blocks]
    words = ". ".join(filter(None, ["; ".join(asked), f"Held back: {'; '.join(held)}" if held else ""]))
    return Decision(answer, tuple(triggers), tuple(blocks), f"{words}." if words else "")


def state(report: dict[str, Any]) -> str:
    """A report's state: broken rules first, then parts that failed, then the worst family.

    Returns:
        ``ok``, ``warn``, ``alarm``, ``insufficient_labels`` (nothing changed, but how good predictions are is not
        known), ``cold_start`` (too few past periods in every family to judge by) or ``error``.
    """
    states = {family["state"] for family in report["families"].values()}
    if report["integrity"]:
        return "alarm"
    for candidate in ("error", "alarm", "warn", "insufficient_labels", "ok"):
        if candidate in states:
            return candidate
    return "cold_start"
