"""The runs that are kept on the disk: what is whole, what is sent, what waits."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphmill.tracking.sender import SENT
from graphmill.tracking.writer import SIDECAR


@dataclass(frozen=True)
class Kept:
    """A run's folder; ``facts`` are empty where the recorder did not finish, or another program wrote it."""

    folder: Path
    facts: dict[str, Any]

    @property
    def state(self) -> str:
        """``sent``, ``waiting`` or ``unfinished``."""
        if not self.facts:
            return "unfinished"
        return "sent" if (self.folder / SENT).exists() else "waiting"

    @property
    def begun(self) -> str:
        """When it was recorded, from the folder's name: ``2025-11-02 10:15:00``."""
        day, time = self.folder.name.split("-")[2].split("_")
        return f"{day[:4]}-{day[4:6]}-{day[6:]} {time[:2]}:{time[2:4]}:{time[4:]}"

    def size(self) -> int:
        """Bytes on the disk."""
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())


def runs(home: Path) -> Iterator[Kept]:
    """The runs below ``home``, oldest first, so that what a run used is sent before it."""
    for folder in sorted((home / "wandb").glob("offline-run-????????_??????-*")):
        try:
            facts = json.loads((folder / SIDECAR).read_bytes())
        except (OSError, ValueError):
            facts = {}
        yield Kept(folder, facts)
