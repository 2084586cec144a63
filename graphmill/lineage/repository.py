"""What git says of a checkout: its revision, whether one exists, and the source that a revision has."""

import io
import subprocess
import tarfile
from pathlib import Path

from graphmill.artifact import digest_of

PATIENCE = 60
"""Seconds that git may take to answer."""


def git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command that takes no locks, None where it fails."""
    found = _output(folder, *arguments)
    return None if found is None else found.decode(errors="replace").strip()


def is_checkout(folder: Path) -> bool:
    """Whether ``folder`` lies in a git repository."""
    return git(folder, "rev-parse", "--git-dir") is not None


def has(folder: Path, revision: str) -> bool:
    """Whether the repository of ``folder`` has the commit ``revision``."""
    return git(folder, "cat-file", "-e", f"{revision}^{{commit}}") is not None


def python_files(folder: Path, revision: str) -> dict[str, str] | None:
    """SHA-256 of every ``*.py`` file that ``folder`` had at ``revision``, by its name there; None where it was not."""
    content = _output(folder, "archive", "--format=tar", revision, "--", ".")
    if content is None:
        return None
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        files = {item.name: archive.extractfile(item) for item in archive if item.name.endswith(".py")}
        return {name: digest_of(stream.read()) for name, stream in files.items() if stream is not None}


def _output(folder: Path, *arguments: str) -> bytes | None:
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
