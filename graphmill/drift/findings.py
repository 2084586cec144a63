"""What is new, gone or not known yet: findings beside the statistics, so that none of it passes as ``ok``."""

from collections.abc import Iterator
from typing import Any

from graphmill.drift import verdicts
from graphmill.drift.baseline import Past
from graphmill.drift.items import Item
from graphmill.drift.measures import measures
from graphmill.drift.params import Family, Params
from graphmill.drift.profile import Profile

LATEST = 3
"""Accepted past periods, the newest, that say what is usual."""


def findings(newest: Profile, past: Past, params: Params) -> list[Item]:
    """New columns and types, first categories never seen, columns that ran dry, labels that are not there yet."""
    found = [_told("feature", told, "unreadable check") for told in past.left_out]
    found += [*_new(newest, past.reference), *_strange(newest, past, params), *_dry(newest, past, params)]
    return found + verdicts.items(newest, past.reference, params)


def unreadable(files: list[str]) -> list[Item]:
    """Files of labels or of the prediction log that could not be read: what they say is not known."""
    return [_told("performance", file, "unreadable file") for file in files]


def _new(newest: Profile, reference: dict[str, Any]) -> Iterator[Item]:
    """What the model does not know: harmless to it, but somebody should know."""
    for name in newest.get("unknown", []):
        yield _told("feature", name, "new column")
    for key, words in (("node_types", "new node type"), ("relations", "new edge type")):
        for name in newest.get(key, []):
            if name not in reference.get(key, [name]):
                yield _told("structure", name, words)


def _strange(newest: Profile, past: Past, params: Params) -> Iterator[Item]:
    """Categories that no period before had, where none of many periods brought a new one."""
    for scope, columns in newest.get("columns", {}).items():
        for name, summary in columns.items():
            before = [_unseen(profile, scope, name) for profile in past.usual]
            known = [share for share in before if share is not None]
            if summary.get("unseen") and len(known) >= params.enough and not any(known):
                yield _told("feature", f"{scope}: {name}", "new category")


def _unseen(profile: Profile, scope: str, name: str) -> Any:
    return profile.get("columns", {}).get(scope, {}).get(name, {}).get("unseen")


def _dry(newest: Profile, past: Past, params: Params) -> Iterator[Item]:
    """Statistics that each of the latest periods had and this one has not: a column, a share, an end without edges."""
    latest = past.usual[-LATEST:]
    if len(latest) < LATEST:
        return
    label = (params.label_share, params.positives)
    usual = [{(item.family, item.name) for item in measures(one, past.reference, *label)} for one in latest]
    now = {(item.family, item.name) for item in measures(newest, past.reference, *label)}
    for family, name in sorted(set.intersection(*usual) - now):
        if name != "label":  # which has a state of its own
            yield _told(family, name, "no value")


def _told(family: Family, name: str, statistic: str, state: str = "warn") -> Item:
    return Item(family, name, statistic, "rate", None, None, None, 0, state=state)
