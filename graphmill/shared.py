"""Large artifacts on a volume that all steps mount: what travels between them then is a file that says where.

Whoever reads or writes an artifact goes through `graphmill.artifact`, which asks here, so no stage knows of it.
"""

import json
import os
from pathlib import Path

VARIABLE = "GRAPHMILL_SHARED"
"""Names the folder at which the volume is mounted; unset, every artifact is where it is asked for."""
LARGE = ("tables", "graph", "features", "predictions")
"""Kinds that grow with the data. The others are small and stay where people and the pipeline's pages look for them."""
KEY = "artifact_at"


def place(path: Path, kind: str) -> Path:
    """The folder that an artifact is written into: the same path below the volume, where there is one."""
    root = os.environ.get(VARIABLE)
    return Path(root, *path.absolute().parts[1:]) if root and kind in LARGE else path


def point(path: Path, folder: Path) -> None:
    """Leave word at ``path`` that the artifact is in ``folder``; nothing when it is there itself."""
    if folder != path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({KEY: str(folder)}), encoding="utf-8")


def follow(path: Path) -> Path:
    """The folder that a file left by `point` names; any other path is itself."""
    if not path.is_file():
        return path
    try:
        return Path(json.loads(path.read_bytes())[KEY])
    except (ValueError, KeyError, TypeError):
        return path
