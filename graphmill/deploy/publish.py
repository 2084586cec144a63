"""What a predictor reads beside its release, carried to the claims that it mounts: the snapshot, and released models.

A release says where things are and brings none of them. Where a claim is not mounted there is nobody to read it.
"""

import os
from pathlib import Path

from graphmill import artifact, progress, registry
from graphmill.deploy.params import Params
from graphmill.errors import UserError

MODELS, SNAPSHOT = "GRAPHMILL_MODELS", "GRAPHMILL_SNAPSHOT"
"""Variables: where the claims `NAME-models` and `NAME-graph` are mounted; unset, nobody reads them."""
CLAIM = "pvc://"


def run(release: str | Path, graph: str | Path, features: str | Path, params: Params) -> None:
    """Carry the models of ``release`` and the snapshot to where the variables say that the claims are mounted.

    Running again changes nothing. Predictors that run take a new snapshot over by themselves.

    Args:
        release: the artifact `release`.
        graph: the artifact `graph`.
        features: the artifact `features`, of that graph.
        params: section `deploy`.

    Raises:
        UserError: when an artifact is altered, the features are of another graph, or a claim is not mounted or cannot
            be written.
    """
    told = []
    if models := _mounted(MODELS):
        told.append(_models(release, params, models))
    if snapshot := _mounted(SNAPSHOT):
        told.append(_snapshot(graph, features, snapshot))
    progress.say(f"publish: {', '.join(told) or 'no claim is mounted here: nothing is carried'}")


def _mounted(variable: str) -> Path | None:
    """The folder that ``variable`` names; None where it is not set."""
    if not (given := os.environ.get(variable)):
        return None
    if not Path(given).is_dir():
        raise UserError(f"{variable}: no folder {given}; is the claim mounted there?")
    return Path(given)


def _models(release: str | Path, params: Params, models: Path) -> str:
    """The versions that the release names: of a registry on the claim they are there already."""
    facts = artifact.read(release, "release").manifest
    names = [facts["serves"], facts["version"] if facts["rollout_due"] else None]
    home = registry.open(params.home)
    digests = {version.name: version.digest for version in home.versions()}
    carried = []
    for name in dict.fromkeys(filter(None, names)):
        uri = params.uri(name, digests[name])
        if not uri.startswith(CLAIM):
            return f"models are read from {uri.partition('://')[0]}"
        target = models.joinpath(*uri.removeprefix(CLAIM).split("/")[1:])
        source = artifact.read(home.path(name), "model")
        if not _there(source, target):
            artifact.copy(source, target)
            carried.append(name)
    return f"models carried: {', '.join(carried)}" if carried else "models are there"


def _snapshot(graph: str | Path, features: str | Path, home: Path) -> str:
    """Both folders are brought first and renamed then, so that a predictor meets two that fit but for a moment."""
    network, values = artifact.read(graph, "graph"), artifact.read(features, "features")
    if values.lineage.get("inputs", {}).get("graph", network.digest) != network.digest:
        raise UserError(f"{features}: of another graph than {graph}; run `features` again")
    if all(_there(found, home / found.kind) for found in (network, values)):
        return "the snapshot is there"
    incoming = home / ".incoming"
    for found in (network, values):
        artifact.copy(found, incoming / found.kind)
    for found in (network, values):
        artifact.replace(incoming / found.kind, home / found.kind)
    incoming.rmdir()
    return f"snapshot {network.digest[:12]} carried"


def _there(source: artifact.Artifact, target: Path) -> bool:
    """Whether it was carried before, and is whole."""
    try:
        return artifact.read(target, source.kind).digest == source.digest
    except UserError:
        return False
