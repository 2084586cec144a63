"""A pull request that changes one file, made through GitHub's API: no job needs credentials for git."""

import base64
from urllib.parse import quote

from automation.github import GitHub, Refused
from graphmill.errors import UserError
from graphmill.progress import say

BYTES = 1_000_000


def propose(github: GitHub, name: str, content: bytes, branch: str, words: tuple[str, str]) -> int | None:
    """Open a pull request that gives a file this content, or renew the one that is open.

    The branch is ours alone: it is set to the default branch each time, with one commit on top.

    Args:
        github: the repository.
        name: of the file, from the repository's root.
        content: of the file.
        branch: of the pull request.
        words: its title, which is the commit's too, and its text.

    Returns:
        The pull request's number; None when the default branch has the file so.

    Raises:
        UserError: when GitHub refuses, or the file is too large to be one.
    """
    base = str(github.get("")["default_branch"])
    if len(content) > BYTES:
        raise UserError(f"{name}: more than {BYTES} bytes; only small files go into git")
    before = _blob(github, name, base)
    if before is not None and before[1] == content:
        say(f"propose: {base} has {name} so")
        return None
    _reset(github, branch, github.get(f"/git/ref/heads/{base}")["object"]["sha"])
    change = {"message": words[0], "content": base64.b64encode(content).decode(), "branch": branch}
    if before is not None:
        change["sha"] = before[0]
    github.send("PUT", f"/contents/{quote(name)}", change)
    owner = github.repository.partition("/")[0]
    for found in github.pages(f"/pulls?state=open&head={quote(f'{owner}:{branch}', safe='')}"):
        number = int(found["number"])
        github.send("PATCH", f"/pulls/{number}", {"title": words[0], "body": words[1]})
        say(f"propose: pull request {number} is renewed")
        return number
    opened = github.send("POST", "/pulls", {"title": words[0], "body": words[1], "head": branch, "base": base})
    say(f"propose: pull request {opened['number']}")
    return int(opened["number"])


def _blob(github: GitHub, name: str, branch: str) -> tuple[str, bytes] | None:
    """The file on the branch, by its git digest; None where it is not."""
    try:
        found = github.get(f"/contents/{quote(name)}?ref={quote(branch)}")
    except Refused as error:
        if error.status == 404:
            return None
        raise
    return found["sha"], base64.b64decode(found["content"])


def _reset(github: GitHub, branch: str, revision: str) -> None:
    """Make the branch, or move it."""
    try:
        github.send("PATCH", f"/git/refs/heads/{branch}", {"sha": revision, "force": True})
    except Refused as error:
        if error.status not in (404, 422):  # GitHub says 422 of a reference that is not there
            raise
        github.send("POST", "/git/refs", {"ref": f"refs/heads/{branch}", "sha": revision})
