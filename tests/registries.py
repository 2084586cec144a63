"""Both homes of the registry, with models to put there, and what can befall each of them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from graphmill import artifact, lineage, registry
from graphmill.errors import UserError
from graphmill.registry import Registry
from tests.wandb_server import WRITES, Fault, Server

EVALUATION = {
    "winner": "sage",
    "verdict": "pass",
    "metrics": {"sage": {"roc_auc": 0.9}},
    "gates": [{"name": "beats_features_only", "passed": True, "value": 0.1, "bound": 0.0}],
}


def make_model(folder: Path, text: str, seed: int = 1) -> Path:
    with artifact.write(folder, "model") as draft:
        (draft.folder / "profile").mkdir()
        (draft.folder / "weights.safetensors").write_text(text, encoding="utf-8")
        (draft.folder / "profile" / "profile.json").write_text("{}", encoding="utf-8")
        draft.lineage = lineage.record("train", {"train": {"seed": seed}}, {})
    return folder


def forge(model: Path) -> None:
    """Another lineage, as well sealed as the one that was there."""
    file = model / artifact.LINEAGE
    found = {key: value for key, value in json.loads(file.read_bytes()).items() if key != "seal"}
    found["parameters"] = {"train": {"seed": 99}}
    found["seal"] = artifact.digest_of(artifact.to_json(found).encode())
    file.write_text(artifact.to_json(found), encoding="utf-8")


class Killed(BaseException):
    """Stands for a process that ends at once: nothing that handles errors handles it."""


def essence(home: Registry) -> tuple[Any, ...]:
    """What a crash must not tear, without the times that differ between two tries."""
    moves = [(move.alias, move.source, move.target) for move in home.history()]
    return [version.digest for version in home.versions()], home.aliases(), moves


def process(home: str, *words: str) -> subprocess.Popen[str]:
    """A process of its own that works in a registry: ``register FOLDER`` or ``move ALIAS VERSION WHY``, repeated."""
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    command = [sys.executable, "-m", "tests.registry_writer", home, *words]
    return subprocess.Popen(command, env=environment, text=True, stderr=subprocess.PIPE)


class Local:
    """The home in a directory."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder / "registry")
        self._backup = folder / "backup"

    def open(self) -> Registry:
        return registry.open(self.name)

    def keep(self) -> None:
        """Remember this state."""
        shutil.copytree(self.name, self._backup)

    def restore(self) -> None:
        """Go back to the state that was kept."""
        shutil.rmtree(self.name)
        shutil.copytree(self._backup, self.name)

    @contextmanager
    def crash(self, count: int) -> Iterator[list[str]]:
        """End the writer at its ``count``-th write; yields the writes up to there."""
        seen: list[str] = []
        with pytest.MonkeyPatch.context() as patch:
            for name in ("rename", "replace", "fsync"):
                patch.setattr(os, name, _failing(getattr(os, name), name, seen, count))
            try:
                yield seen
            except Killed:
                pass


class Remote:
    """The home at W&B: a collection of its own at the stand-in."""

    def __init__(self, server: Server, collection: str) -> None:
        self.server, self.collection = server, collection
        self.name = f"wandb://team/payments/{collection}"
        self._state: dict[str, Any] = {}

    def open(self) -> Registry:
        return registry.open(self.name)

    def keep(self) -> None:
        """Remember this state."""
        self._state = deepcopy({name: getattr(self.server, name) for name in Server.STATE})

    def restore(self) -> None:
        """Go back to the state that was kept."""
        for name, value in deepcopy(self._state).items():
            setattr(self.server, name, value)

    @contextmanager
    def crash(self, count: int) -> Iterator[list[str]]:
        """From the ``count``-th write on, the server hears nothing of the writer any more.

        All that lasts is at the server, so this is what the writer's death looks like from there.
        """
        seen: list[str] = []

        def fault(operation: str, _: int) -> Fault:
            if operation in WRITES and len(seen) < count:
                seen.append(operation)
            return Fault(403) if len(seen) == count else Fault()

        self.server.fault = fault
        try:
            yield seen
        except UserError as error:
            assert "cannot" in str(error)
        finally:
            self.server.fault = lambda operation, count: Fault()


def _failing(real: Callable[..., Any], name: str, seen: list[str], count: int) -> Callable[..., Any]:
    def failing(*arguments: Any) -> Any:
        seen.append(name)
        if len(seen) == count:
            raise Killed
        return real(*arguments)

    return failing
