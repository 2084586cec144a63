"""One comment on the pull request, written anew each time: the report of the run that ended."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from automation import page
from automation.github import GitHub
from graphmill.errors import UserError
from graphmill.progress import say


def post(report: Path, github: GitHub, event: Mapping[str, str] = os.environ) -> None:
    """Show the report on the open pull request whose head is the commit that was measured.

    Which pull request that is, GitHub says, and nothing that the run left: ``event`` has HEAD_REPOSITORY, HEAD_BRANCH,
    HEAD_SHA and RUN_URL of the event itself.

    Raises:
        UserError: for a report of another form, or an event that lacks something.
    """
    head = {name: event.get(name, "") for name in ("HEAD_REPOSITORY", "HEAD_BRANCH", "HEAD_SHA")}
    if missing := [name for name, value in head.items() if not value]:
        raise UserError(f"{', '.join(missing)}: not set; the workflow gives what the event says")
    if not report.is_file():
        say("comment: the run left no report; nothing is said")
        return
    number = pull_request(github, *head.values())
    if number is None:
        say(f"comment: no open pull request has {head['HEAD_SHA'][:12]} as its head; nothing is said")
        return
    run = event.get("RUN_URL", "")
    if run and not re.fullmatch(r"https://[\w./-]+", run):
        raise UserError(f"RUN_URL: {run!r} is no address of a run")
    text = page.render(page.read(report), run)
    before = mine(github.pages(f"/issues/{number}/comments"))
    if before is None:
        github.send("POST", f"/issues/{number}/comments", {"body": text})
    else:
        github.send("PATCH", f"/issues/comments/{before}", {"body": text})
    say(f"comment: pull request {number}")


def pull_request(github: GitHub, repository: str, branch: str, revision: str) -> int | None:
    """The number of the open pull request from that branch whose newest commit is ``revision``."""
    owner = repository.partition("/")[0]
    for found in github.pages(f"/pulls?state=open&head={quote(f'{owner}:{branch}', safe='')}"):
        source = (found["head"].get("repo") or {}).get("full_name", "")
        if found["head"]["sha"] == revision and source.lower() == repository.lower():
            return int(found["number"])
    return None


def mine(comments: list[dict[str, Any]]) -> int | None:
    """The comment that an earlier run wrote: a bot's, and with our mark on its first line."""
    for found in comments:
        if found["user"]["type"] == "Bot" and str(found["body"]).startswith(page.MARK):
            return int(found["id"])
    return None
