"""Where training stands after each epoch, beside the output, so that a killed run resumes where it was."""

import os
import shutil
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from graphmill.artifact import digest_of, to_json
from graphmill.progress import say
from graphmill.train.ranks import ALONE, Ranks


class Checkpoints:
    """Checkpoints of one training run: kept until it is whole, and only good for the same inputs.

    Args:
        output: the artifact that training will write; checkpoints stand in a hidden sibling.
        identity: inputs and parameters; another identity starts anew.
        ranks: processes that train together: one of them writes and reads, for all.
    """

    def __init__(self, output: Path, identity: dict[str, Any], ranks: Ranks = ALONE) -> None:
        base = output.parent / f".{output.name}.checkpoints"
        self.folder = base / digest_of(to_json(identity).encode())[:16]
        self.ranks = ranks
        if not ranks.leads:
            return
        if base.exists() and not self.folder.exists():
            shutil.rmtree(base)
        self.folder.mkdir(parents=True, exist_ok=True)

    def load(self, name: str) -> dict[str, Any] | None:
        """The newest state of that name, or None; the same for all processes."""
        state: dict[str, Any] | None = self.ranks.agreed(self._read(name) if self.ranks.leads else None)
        return state

    def _read(self, name: str) -> dict[str, Any] | None:
        file = self.folder / f"{name}.pt"
        if not file.exists():
            return None
        try:
            found: dict[str, Any] = torch.load(file, weights_only=True, map_location="cpu")
        except (RuntimeError, EOFError, UnpicklingError) as error:  # a machine went down before its disk had all of it
            say(f"train: checkpoint {file} cannot be read ({type(error).__name__}); {name} begins anew")
            return None
        return found

    def save(self, name: str, state: dict[str, Any]) -> None:
        """Replace the state of that name, atomically."""
        if not self.ranks.leads:
            return
        partial = self.folder / f".{name}.partial"
        torch.save(state, partial)
        os.replace(partial, self.folder / f"{name}.pt")

    def clear(self) -> None:
        """Forget everything: the run is whole."""
        shutil.rmtree(self.folder.parent, ignore_errors=True)
