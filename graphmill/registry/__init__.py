"""The registry of models: versions that never change, aliases that move, and a record of every move.

One meaning, whatever the home: versions are ``v0``, ``v1``, …; the same content is the same version; the
aliases are `ALIASES`; whoever moves ``champion`` leaves the old one under ``previous``.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from graphmill import artifact
from graphmill.artifact import Artifact
from graphmill.errors import UserError

ALIASES = ("candidate", "champion", "previous")
"""``candidate``: the newest model; ``champion``: the one in production; ``previous``: the way back."""


@dataclass(frozen=True)
class Version:
    """One registered model; ``evaluation`` is the summary of its newest judgement."""

    name: str
    digest: str
    registered_by: str
    registered_at: str
    evaluation: dict[str, Any]
    seal: str | None = None
    """Of the lineage that it was registered with; None where that was not kept."""

    def __post_init__(self) -> None:
        if not isinstance(self.evaluation, dict):
            raise TypeError("an evaluation is a mapping")

    def holds(self, model: Artifact) -> bool:
        """Whether ``model`` is what was registered: its content, and the lineage that came with it."""
        seal = model.lineage.get("seal")
        return model.digest == self.digest and seal is not None and self.seal in (None, seal)


@dataclass(frozen=True)
class Move:
    """One move of an alias; ``source`` is None on its first, ``when`` is ISO 8601 in UTC."""

    alias: str
    source: str | None
    target: str
    who: str
    when: str
    why: str

    def line(self) -> dict[str, Any]:
        """The move as one line of the history says it: ``source`` and ``target`` are ``from`` and ``to``."""
        names = {"source": "from", "target": "to"}
        return {names.get(key, key): value for key, value in asdict(self).items()}

    @classmethod
    def parse(cls, line: Mapping[str, Any]) -> "Move":
        """The move that `line` wrote."""
        names = {"from": "source", "to": "target"}
        return cls(**{names.get(key, key): value for key, value in line.items()})


class Registry(Protocol):
    """What every home of the registry can do."""

    def register(self, model: str | Path, evaluation: Mapping[str, Any]) -> str:
        """Keep a copy of the model artifact; return its version, an existing one for the same content.

        A model that is there already keeps its version, and gets the newer judgement: other gates, another verdict.

        Raises:
            UserError: when the model is altered or has no lineage, or the copy cannot be kept.
        """

    def path(self, name: str) -> Path:
        """The model folder of a version or alias, verified.

        Raises:
            UserError: when there is no such version or alias, or its files were altered.
        """

    def resolve(self, name: str) -> str:
        """The version that a version or alias names.

        Raises:
            UserError: naming the versions and aliases that there are.
        """

    def aliases(self) -> dict[str, str]:
        """Where each alias that was ever set stands now."""

    def move(self, alias: str, version: str, why: str) -> None:
        """Let ``alias`` name ``version`` (or what another alias names), recording who, when and ``why``.

        Raises:
            UserError: when there is no such alias or version, or the move cannot be written.
        """

    def history(self) -> list[Move]:
        """Every move, oldest first."""

    def versions(self) -> list[Version]:
        """Every version, oldest first."""


def open(home: str | Path, root: Path = Path()) -> Registry:
    """The registry at ``home``: a directory, or a collection of a W&B project.

    Nothing is made or asked yet: a directory is made when the first model is registered.

    Args:
        home: a directory, or ``wandb://ENTITY/PROJECT/COLLECTION``.
        root: what a relative directory is relative to.

    Raises:
        UserError: when ``home`` is not a place that a registry can have.
    """
    place = str(home)
    if place.startswith("wandb://"):
        from graphmill.registry.wandb import WandbRegistry

        return WandbRegistry(place)
    if "://" in place or place.startswith("wandb:/"):
        raise UserError(f"{home}: no registry can be there; give a directory or wandb://ENTITY/PROJECT/COLLECTION")
    from graphmill.registry.local import LocalRegistry

    return LocalRegistry(root / home)


def find(name: str, home: str | Path, root: Path = Path()) -> Artifact:
    """The model that a person names: a folder, or a version or alias of the registry; verified.

    Args:
        name: an existing folder, a version or an alias.
        home: the registry, which is asked for what is no folder.
        root: what a relative home is relative to.

    Raises:
        UserError: when there is none, or it is altered.
    """
    return artifact.read(name if Path(name).is_dir() else open(home, root).path(name), "model")


def rollback(registry: Registry, why: str) -> tuple[str, str]:
    """Make the previous champion the champion again; doing it twice undoes it.

    Returns:
        The version that was champion and the one that is.

    Raises:
        UserError: when there is no previous champion, or its files were altered.
    """
    aliases = registry.aliases()
    if "previous" not in aliases:
        raise UserError("nothing to roll back to: no champion was ever replaced; see `registry list`")
    registry.path("previous")  # a version that is gone or altered serves nobody
    registry.move("champion", aliases["previous"], why)
    return aliases["champion"], aliases["previous"]
