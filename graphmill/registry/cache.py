"""Models that were fetched from a server: one verified folder a digest, kept on this machine."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from graphmill import artifact
from graphmill.errors import UserError
from graphmill.registry.moves import KIND
from graphmill.registry.storage import flush_tree, locked

VARIABLE = "GRAPHMILL_CACHE"
"""Names the cache's folder; ``graphmill`` in the user's cache folder unless it is set."""
PATIENCE = 900.0
"""Seconds to wait for another process that is fetching the same model."""


def folder() -> Path:
    """The cache's folder, which may not be there yet."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graphmill"


def fetch(digest: str, download: Callable[[Path], None]) -> Path:
    """The model folder with ``digest``: the one that is here, if it is unaltered, else a new one.

    Args:
        digest: the model's, as `graphmill.artifact.read` computes it.
        download: writes the model into a folder.

    Raises:
        UserError: when what was downloaded is not that model, or the cache cannot be written.
    """
    home = folder() / "models" / digest
    try:
        home.mkdir(parents=True, exist_ok=True)
        with locked(home / ".lock", PATIENCE):
            if not _holds(home / KIND, digest):
                _fill(home, digest, download)
    except OSError as error:
        reason = f"{error.strerror or error} ({error.filename or home})"
        raise UserError(
            f"{home}: cannot be written: {reason}; make room, or name another folder in {VARIABLE}"
        ) from error
    return home / KIND


def _holds(model: Path, digest: str) -> bool:
    try:
        return artifact.read(model, KIND).digest == digest
    except UserError:
        return False


def _fill(home: Path, digest: str, download: Callable[[Path], None]) -> None:
    """Into a hidden sibling, verified, then one rename; what a killed process left is cleared."""
    partial = home / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        download(partial)
        if artifact.read(partial, KIND).digest != digest:
            raise UserError("its digest is another one")
        flush_tree(partial)
        shutil.rmtree(home / KIND, ignore_errors=True)
        os.rename(partial, home / KIND)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
