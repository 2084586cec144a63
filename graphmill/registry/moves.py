"""What the homes of the registry have in common: which moves one wish makes, and what a name means."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from graphmill import artifact
from graphmill.errors import UserError
from graphmill.registry import ALIASES, Move

KIND = "model"


def wished(aliases: Mapping[str, str], alias: str, target: str, who: str, when: str, why: str) -> list[Move]:
    """The moves that letting ``alias`` name ``target`` makes where the aliases stand at ``aliases``.

    None where it stands there already; a champion that is replaced is left under ``previous``.
    """
    source = aliases.get(alias)
    if source == target:
        return []
    moves = [Move(alias, source, target, who, when, why)]
    if alias == "champion" and source is not None:
        reason = f"champion moved to {target}"
        moves.append(Move("previous", aliases.get("previous"), source, who, when, reason))
    return moves


def standing(moves: Iterable[Move]) -> dict[str, str]:
    """Where the aliases stand after ``moves``: the last target of each, in the order of `ALIASES`."""
    last = {move.alias: move.target for move in moves}
    return {alias: last[alias] for alias in ALIASES if alias in last}


def check_alias(alias: str) -> None:
    """Refuse an alias that the registry does not have.

    Raises:
        UserError: naming those that it has.
    """
    if alias not in ALIASES:
        raise UserError(f"no alias {alias!r}; known: {', '.join(ALIASES)}")


def resolve(place: str | Path, name: str, versions: Sequence[str], aliases: Mapping[str, str]) -> str:
    """The version that ``name``, a version or an alias, means.

    Raises:
        UserError: when there is none, naming what there is.
    """
    version = aliases.get(name, name)
    if version in versions:
        return version
    if name in aliases:
        raise UserError(f"{place}: {name} is {version}, which is gone; restore it or move {name}")
    known = ", ".join([*versions, *aliases]) or "none: nothing was registered here"
    raise UserError(f"{place}: no version or alias {name!r}; known: {known}")


def source(model: str | Path) -> artifact.Artifact:
    """The model that is to be registered, verified, with its lineage.

    Raises:
        UserError: when it is altered, or its origin is unknown.
    """
    found = artifact.read(model, KIND)
    if not found.lineage:
        raise UserError(f"{model}: no {artifact.LINEAGE}: its origin is unknown; train it again")
    return found
