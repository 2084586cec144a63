"""A temporary folder with git work trees that never stays: not after an error, Ctrl-C or a kill."""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from graphmill.errors import UserError
from graphmill.lineage.repository import git

PREFIX = "graphmill-rebuild-"
KEPT = "graphmill-kept-"
"""What is kept is called otherwise, so that no later run takes it for a dead one's."""


@dataclass(frozen=True)
class Scratch:
    """The folder; ``lock`` is an open handle that says that it is in use, to be handed to every child."""

    folder: Path
    checkout: Path
    lock: int

    def tree(self, revision: str) -> Path:
        """A work tree of the repository at a revision, made once: where ``checkout`` is in it.

        Raises:
            UserError: when git cannot make it.
        """
        tree = self.folder / f"code-{revision[:12]}"
        if not tree.exists():
            quiet = ("-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false")
            command = ["git", *quiet, "worktree", "add", "--quiet", "--detach", str(tree), revision]
            done = subprocess.run(command, cwd=self.checkout, capture_output=True, text=True, check=False)
            if done.returncode:
                raise UserError(f"{tree}: git cannot check out {revision}: {done.stderr.strip()}")
        return tree / (git(self.checkout, "rev-parse", "--show-prefix") or "")


@contextmanager
def scratch(checkout: Path, parent: Path, keep: bool) -> Iterator[Scratch]:
    """A folder under ``parent``, gone afterwards unless it is to be kept; what dead runs left goes first.

    A termination signal counts as Ctrl-C meanwhile, so that a killed run tidies up too.
    """
    _prune(checkout, parent)
    folder = Path(tempfile.mkdtemp(prefix=KEPT if keep else PREFIX, dir=parent))
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield Scratch(folder, checkout, handle)
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
            git(checkout, "worktree", "prune")
        os.close(handle)
        signal.signal(signal.SIGTERM, before)


def _prune(checkout: Path, parent: Path) -> None:
    """Remove this user's folders that no living run, nor a child of one, holds."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_uid == os.getuid():
                shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(handle)
    git(checkout, "worktree", "prune")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
