"""What holds every retraining back, whatever asks for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from graphmill.drift.decision import Block, Check, Past
from graphmill.drift.rules import Rules


@dataclass(frozen=True)
class Case:
    """A check, the earlier ones, oldest first, and the rules to judge it by."""

    check: Check
    past: Sequence[Past]
    rules: Rules

    @cached_property
    def retrains(self) -> list[Past]:
        """Checks after which a challenger was to be trained."""
        return [item for item in self.past if item.answer == "retrain"]


def guards(case: Case) -> list[Block]:
    """Everything that holds every trigger back."""
    every = (_rollout, _too_soon, _budget, _labels, _edges, _rejections)
    return [block for guard in every if (block := guard(case)) is not None]


def _rollout(case: Case) -> Block | None:
    if not case.retrains or case.retrains[-1].outcome != "pending":
        return None
    spent = case.check.moment - case.retrains[-1].check.moment
    if spent < case.rules.cooldown:  # the cool-down says enough
        return None
    words = f"the challenger of {case.rules.told(spent)} ago passed its gates and still waits: roll it out or refuse it"
    return Block("rollout", words)


def _too_soon(case: Case) -> Block | None:
    if not case.retrains:
        return None
    refused = _refused(case)
    wait = round(case.rules.cooldown * case.rules.backoff**refused)
    spent = case.check.moment - case.retrains[-1].check.moment
    if spent >= wait:
        return None
    told = f"the last retraining was {case.rules.told(spent)} ago, {case.rules.told(wait)} must pass"
    if refused:
        return Block("backoff", f"{told} after {refused} refused challengers in a row")
    return Block("cooldown", told)


def _budget(case: Case) -> Block | None:
    rules = case.rules
    since = case.check.moment - rules.per
    spent = sum(item.check.moment > since for item in case.retrains)
    if spent < rules.most:
        return None
    return Block("budget", f"{spent} retrainings in the last {rules.told(rules.per)}, at most {rules.most}")


def _labels(case: Case) -> Block | None:
    new, least = case.check.new_labels, case.rules.least_labels
    if new is None or new >= least:
        return None
    return Block(
        "labels", f"{new:,} new labelled examples to train on, {least:,} needed (does task.split move with the data?)"
    )


def _edges(case: Case) -> Block | None:
    new, least = case.check.new_edges, case.rules.least_edges
    if new is None or new >= least:
        return None
    return Block("edges", f"the edges grew by {new:.2%} since the training, {least:.2%} needed")


def _rejections(case: Case) -> Block | None:
    refused = _refused(case)
    if refused < case.rules.rejections:
        return None
    return Block("rejections", f"{refused} challengers in a row were refused: retraining does not cure this drift")


def _refused(case: Case) -> int:
    """Challengers refused in a row beside this champion, since a person last acknowledged a check."""
    count = 0
    for item in reversed(case.past):
        if item.check.model != case.check.model or item.acknowledged:
            break
        count += item.answer == "retrain" and item.outcome == "rejected"
    return count
