"""Models that were fetched from a server: one verified folder a digest, kept on this machine."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from graphmill import artifact
from graphmill.errors import UserError
from graphmill.registry import Version
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


def fetch(version: Version, download: Callable[[Path], None]) -> Path:
    """The model folder of ``version``: the one that is here, if it is unaltered, else a new one.

    Args:
        version: its record.
        download: writes the model into a folder.

    Raises:
        UserError: when what was downloaded is not that model, or the cache cannot be written.
    """
    home = folder() / "models" / version.digest
    try:
        home.mkdir(parents=True, exist_ok=True)
        with locked(home / ".lock", PATIENCE):
            if not _holds(home / KIND, version):
                _fill(home, version, download)
    except OSError as error:
        reason = f"{error.strerror or error} ({error.filename or home})"
        raise UserError(
            f"{home}: cannot be written: {reason}; make room, or name another folder in {VARIABLE}"
        ) from error
    return home / KIND


def _holds(model: Path, version: Version) -> bool:
    try:
        return version.holds(artifact.read(model, KIND))
    except UserError:
        return False


def _fill(home: Path, version: Version, download: Callable[[Path], None]) -> None:
    """Into a hidden sibling, verified, then one rename; what a killed process left is cleared."""
    partial = home / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        download(partial)
        if not version.holds(artifact.read(partial, KIND)):
            raise UserError("not the model that was registered, or not with its lineage")
        flush_tree(partial)
        shutil.rmtree(home / KIND, ignore_errors=True)
        os.rename(partial, home / KIND)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
