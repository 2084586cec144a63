"""A rollout from its first check to its end, as a command or a job runs it."""

import logging
import time
from pathlib import Path
from typing import Any

from graphmill import registry
from graphmill.deploy.params import Params as Deploy
from graphmill.errors import UserError
from graphmill.progress import say
from graphmill.registry import Registry, Version
from graphmill.rollout import sources
from graphmill.rollout.checks import check
from graphmill.rollout.machine import Machine
from graphmill.rollout.observation import Source
from graphmill.rollout.params import Params
from graphmill.rollout.state import State, Store
from graphmill.rollout.target import Revision, Target, Unreachable

LOG = logging.getLogger(__name__)


class Rollout:
    """A served name and everything that its rollout needs.

    Args:
        params: section `rollout`.
        deploy: section `deploy`: the served name, its namespace, the registry and where models are stored.
        graph: folder above ``graph/`` and ``features/`` that is served; None where it is not at hand.
        port: of the local target's front.
    """

    def __init__(self, params: Params, deploy: Deploy, graph: Path | None, port: int) -> None:
        self._params, self._deploy, self._graph = params, deploy, graph
        self.home: Registry = registry.open(deploy.home)
        self.store = Store(Path(params.home), deploy.name)
        self.target, source = _open(params, deploy, graph, self.store.folder, port)
        self.machine = Machine(params, self.home, self.target, source, self.store, time.time, say)

    def start(self, candidate: str, champion: str, again: bool) -> State:
        """Check both versions and write the first state.

        Raises:
            UserError: when one of them may not be rolled out, or another rollout has not ended.
        """
        if champion not in self.home.aliases() and champion == "champion":
            raise UserError("there is no champion yet: the first version takes all of the traffic when it is deployed")
        stable, new = self.home.resolve(champion), check(self.home, candidate, self._graph)
        if stable == new.name:
            raise UserError(f"{stable} is the champion already; train another: change params.yaml, then `dvc repro`")
        self._refuse_again(new, again)
        state = State(self._deploy.name, self._revision(stable), self._revision(new.name), began=time.time())
        with self.store.held():
            return self.machine.begin(state)

    def follow(self) -> State:
        """Look again and again until the rollout has ended.

        Raises:
            UserError: for what the user must mend; the rollout stays where it stands.
        """
        phase = None
        while True:
            try:
                with self.store.held():
                    state = self.machine.tick()
            except Unreachable as error:
                LOG.warning("%s; trying again", error)
            else:
                if state.ended:
                    return state
                if (state.phase, state.step) != phase:
                    phase = (state.phase, state.step)
                    continue  # what a change asks for is begun at once
            time.sleep(self._params.poll_seconds)

    def roll_back(self, why: str) -> State:
        """End the rollout, or undo the last one.

        Raises:
            UserError: when there is nothing to roll back.
        """
        with self.store.held():
            state = self.machine.state()
            if state is None or state.phase == "rolled_back":
                raise UserError(f"{self._deploy.name}: nothing to roll back")
            if state.phase != "rolling_back":
                self.machine.roll_back(state, why)
        return self.follow()

    def _revision(self, version: str) -> Revision:
        record = next(item for item in self.home.versions() if item.name == version)
        if self._params.target == "local":
            return Revision(version, record.digest, str(self.home.path(version)))
        names: dict[str, Any] = {"name": self._deploy.name, "version": version, "digest": record.digest}
        return Revision(version, record.digest, self._deploy.storage_uri.format(**names))

    def _refuse_again(self, candidate: Version, again: bool) -> None:
        """A version that was rolled back is bad until somebody says otherwise."""
        for entry in reversed(self.store.log()):
            if entry["phase"] == "rolled_back" and entry["candidate"]["digest"] == candidate.digest and not again:
                told = f"{candidate.name} was rolled back at {entry['when']}: {entry['reason']}"
                raise UserError(f"{told}; --again tries it once more")


def _open(params: Params, deploy: Deploy, graph: Path | None, folder: Path, port: int) -> tuple[Target, Source]:
    """The target that the parameters name, and what its guards are told."""
    if params.target == "local":
        from graphmill.rollout import local

        if graph is None:
            raise UserError("the local target needs --graph: the folder above graph/ and features/")
        target = local.open(params, deploy.name, folder, graph, port)
        return target, sources.join(target, params)
    from graphmill.rollout import cluster

    return cluster.open(params, deploy.name, deploy.namespace), sources.open(params)
