"""Telling GitHub that something happened (`repository_dispatch`): a workflow that waits for it begins."""

import json
import re
from collections.abc import Mapping

from automation.github import GitHub
from graphmill.errors import UserError
from graphmill.progress import say

EVENTS = ("drift", "candidate")
"""Drift asks for a training; a candidate waits for its promotion."""
MOST = 10
"""Keys that GitHub takes in a payload."""


def body(event: str, payload: Mapping[str, str]) -> dict[str, object]:
    """What is sent.

    Raises:
        UserError: for an event that no workflow waits for, or a payload of another form.
    """
    if event not in EVENTS:
        raise UserError(f"{event!r}: no workflow waits for it; known: {', '.join(EVENTS)}")
    if len(payload) > MOST or not all(re.fullmatch(r"[a-z_]+", key) for key in payload):
        raise UserError(f"the payload takes at most {MOST} names of small letters, not {', '.join(payload)}")
    return {"event_type": event, "client_payload": {key: value[:500] for key, value in payload.items()}}


def dispatch(github: GitHub, event: str, payload: Mapping[str, str]) -> None:
    """Send it."""
    sent = body(event, payload)
    github.send("POST", "/dispatches", sent)
    say(f"dispatch: {json.dumps(sent)}")
