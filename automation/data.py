"""The data of a run: whose they are, where they come from, and that nothing rewrites them in passing."""

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from automation.process import run, show
from graphmill.errors import UserError
from graphmill.progress import say

FILE = "data.dvc"
BRANCH = "ingest/data"
"""The branch of the one kind of pull request that may change `data.dvc`."""
REMOTE = "ci"
"""Name of the remote that a job gets beside those of the repository; only in .dvc/config.local."""
PLUGINS = {"s3": "dvc-s3==3.3.0", "gs": "dvc-gs==3.1.0"}
"""What DVC needs to speak to a store, by the scheme of its address."""
MIRRORS = {
    "s3": ("aws", "s3", "sync", "--delete", "--only-show-errors"),
    "gs": ("gcloud", "storage", "rsync", "--recursive", "--delete-unmatched-destination-objects"),
}
"""What makes a folder equal to one in a store, by the scheme of its address."""


def remote(url: str) -> None:
    """Give this clone a default remote for what stages write, and DVC the means to speak to it.

    Who asks there is no business of DVC's configuration: the cloud's own variables say it.

    Raises:
        UserError: for an address of an unknown kind.
    """
    scheme = _scheme(url, (*PLUGINS, "file"))
    if scheme in PLUGINS and show(sys.executable, "-m", "pip", "install", "--quiet", PLUGINS[scheme]):
        raise UserError(f"{PLUGINS[scheme]} could not be installed")
    run("dvc", "remote", "add", "--local", "--default", "--force", REMOTE, url.removeprefix("file://"))
    say(f"remote: {url}")


def fetch(source: str, params: Path = Path("params.yaml"), folder: Path = Path("data")) -> bool:
    """Make ``data/`` what the source has now and write `data.dvc`; whether anything changed.

    Nothing is recorded unless stage `ingest` accepts the tables.

    Args:
        source: folder with the tables: ``s3://…``, ``gs://…``, or ``file:///…``.
        params: the parameters that `ingest` checks the tables with.
        folder: the landing folder.

    Raises:
        UserError: when the source cannot be read, the tables break their contract, or a job would keep them in its own
            checkout.
    """
    _lasting()
    _mirror(source, folder)
    if not any(folder.iterdir()):
        raise UserError(f"{source}: is empty; an empty folder is not taken for the newest data")
    if show(sys.executable, "-m", "components", "ingest", "--params", str(params)):
        raise UserError(f"{source}: stage `ingest` refuses the tables; {FILE} stays as it is")
    run("dvc", "add", "--quiet", str(folder))
    changed = bool(run("git", "status", "--porcelain", "--", FILE))
    if changed:
        run("dvc", "push", "--quiet", FILE)
    say(f"fetch: {FILE} {'changed' if changed else 'is as it was'}")
    return changed


def _lasting() -> None:
    """Refuse to store data in the checkout of a job, which ends with it: the proposal would name what nobody has."""
    if not os.environ.get("GITHUB_ACTIONS"):
        return
    configured = dict(line.partition("=")[::2] for line in run("dvc", "config", "--list").splitlines())
    own = re.search(r"^ +remote: (.+)$", Path(FILE).read_text(encoding="utf-8"), re.M) if Path(FILE).exists() else None
    name = own[1] if own else configured.get("core.remote", "")
    place = configured.get(f"remote.{name}.url", "")
    if "://" not in place and Path(place).resolve().is_relative_to(Path.cwd()):
        told = f"the remote {name!r} of {FILE} is {place}, which ends with this job" if name else "DVC has no remote"
        way = f"name one that lasts in {FILE}, or take the line `remote:` away there and set DVC_REMOTE"
        raise UserError(f"{told}; {way} (docs/github.md)")


def _mirror(source: str, folder: Path) -> None:
    """Make a folder equal to the source: what is gone there goes here too."""
    scheme = _scheme(source, (*MIRRORS, "file"))
    if scheme == "file":
        shutil.rmtree(folder, ignore_errors=True)
        try:
            shutil.copytree(source.removeprefix("file://"), folder)
        except OSError as error:
            raise UserError(f"{source}: cannot be read: {error}") from None
        return
    folder.mkdir(exist_ok=True)
    run(*MIRRORS[scheme], source.rstrip("/") + "/", f"{folder}/")


def intact() -> None:
    """Refuse a work tree in which `data.dvc` is not what was committed, or ``data/`` not what it says.

    Raises:
        UserError: naming what differs. `dvc repro` would rewrite the file and say nothing.
    """
    if run("git", "diff", "--name-only", "HEAD", "--", FILE):
        raise UserError(f"{FILE} is not as committed: `git diff {FILE}` shows it; a run never changes its data")
    status = json.loads(run("dvc", "status", "--json", FILE) or "{}")
    if status.get(FILE):
        raise UserError(f"data/ is not what {FILE} says: `dvc checkout {FILE}`, or `dvc add data` and commit it")


def guard(base: str, event: Mapping[str, str] = os.environ) -> None:
    """Refuse a pull request that changes `data.dvc`, unless it is the one that the schedule `ingest` opens.

    Args:
        base: the revision that the pull request goes to.
        event: HEAD_REPOSITORY and HEAD_BRANCH, of the event; GITHUB_REPOSITORY; DATA_SOURCE, empty where no schedule
            brings data yet and people set it up by hand.

    Raises:
        UserError: for any other pull request that changes it.
    """
    if not run("git", "diff", "--name-only", f"{base}...HEAD", "--", FILE):
        say(f"guard: {FILE} is untouched")
        return
    ours = event.get("HEAD_REPOSITORY", "") == event.get("GITHUB_REPOSITORY", "")
    if ours and (event.get("HEAD_BRANCH") == BRANCH or not event.get("DATA_SOURCE")):
        say(f"guard: {FILE} may be changed here")
        return
    raise UserError(f"{FILE} is changed by the pull request of the schedule `ingest` (branch {BRANCH}) only")


def _scheme(url: str, known: tuple[str, ...]) -> str:
    scheme, found, place = url.partition("://")
    if not found or not place or scheme not in known or url.startswith("-"):
        raise UserError(f"{url!r}: must begin with one of {', '.join(f'{name}://' for name in known)}")
    return scheme
