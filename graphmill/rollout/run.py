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
from graphmill.rollout import local, sources
from graphmill.rollout.checks import check
from graphmill.rollout.live import Line
from graphmill.rollout.local import Local
from graphmill.rollout.machine import Machine
from graphmill.rollout.observation import Source
from graphmill.rollout.params import Params
from graphmill.rollout.state import ENDED, State, Store
from graphmill.rollout.target import Revision, Target, Unreachable

LOG = logging.getLogger(__name__)
HERE = Path("artifacts")
"""Where the stages put the graph and the features on this machine."""
STOPPED = "stopped"
"""Why a rollout was ended that says nothing about the candidate."""
NEXT = "train another: change a number in params.yaml (`train.seed`, say), then `make repro`"


class Rollout:
    """A served name and everything that its rollout needs.

    Args:
        params: section `rollout`.
        deploy: section `deploy`: the served name, its namespace, the registry and where models are stored.
        graph: folder above ``graph/`` and ``features/`` that is served; None where it is not at hand, which on this
            machine means `HERE`.
        port: of the local target's front.
    """

    def __init__(self, params: Params, deploy: Deploy, graph: Path | None, port: int) -> None:
        self._params, self._deploy = params, deploy
        self.graph = HERE if graph is None and params.target == "local" else graph
        self.home: Registry = registry.open(deploy.home)
        self.store = Store(Path(params.home), deploy.name)
        self.target, source = _open(params, deploy, self.graph, self.store.folder, port)
        self.machine = Machine(params, self.home, self.target, source, self.store, time.time, say)

    def start(self, candidate: str, champion: str, again: bool) -> State:
        """Check both versions and write the first state.

        Raises:
            UserError: when one of them may not be rolled out, or another rollout has not ended.
        """
        if champion not in self.home.aliases() and champion == "champion":
            told = "there is no champion yet: the first version that passes its gates becomes it; run `make repro`"
            raise UserError(told)
        stable, new = self.home.resolve(champion), check(self.home, candidate, self.graph)
        if stable == new.name:
            raise UserError(f"{stable} is the champion already, and there is no other candidate; {NEXT}")
        self._refuse_again(new, again)
        if isinstance(self.target, Local):
            self.target.check()
        state = State(self._deploy.name, self._revision(stable), self._revision(new.name), began=time.time())
        with self.store.held():
            return self.machine.begin(state)

    def follow(self, insist: bool = False) -> State:
        """Look again and again until the rollout has ended.

        An error of the first look is raised: the rollout stays where it stands. Later ones are told, and it is tried
        again: a candidate that has traffic must not be left alone.

        Args:
            insist: do not wait for another watcher that hangs.

        Raises:
            UserError: for what the user must mend.
        """
        seen, told = None, ""
        with Line() as progress:
            while True:
                try:
                    with self.store.held(insist):
                        state = self.machine.tick()
                except (UserError, Unreachable) as error:
                    if seen is None and isinstance(error, UserError) and not self.machine.owing:
                        raise
                    told = _told_once(f"{error}; trying again", told)
                else:
                    if state.ended:
                        return state
                    progress.show(self.machine.progress(state))
                    if (state.phase, state.step) != seen:
                        seen = state.phase, state.step
                        continue  # what a change asks for is begun at once
                time.sleep(self._params.poll_seconds)

    def roll_back(self, why: str) -> State:
        """End the rollout, or undo the last one; at once, whoever else watches it.

        Raises:
            UserError: when there is nothing to roll back.
        """
        with self.store.held(insist=True):
            state = self.machine.state()
            if state is None or state.phase == "rolled_back":
                raise UserError(f"{self._deploy.name}: nothing to roll back")
            if state.phase != "rolling_back":
                self.machine.roll_back(state, why)
        return self.follow(insist=True)

    def url(self) -> str:
        """Where the local front answers predictions.

        Raises:
            UserError: when the service is not on this machine.
        """
        return self._local("--rate asks the local front").url

    def stop(self) -> None:
        """End the processes on this machine; a rollout that has not ended is rolled back first.

        Raises:
            UserError: when the service is not on this machine.
        """
        local = self._local("`stop` ends the local processes")
        state = self.machine.state()
        if state is not None and not state.ended:
            self.roll_back(STOPPED)
        local.stop()

    def close(self) -> None:
        """Let go of what this process holds."""
        self.target.close()

    def _local(self, what: str) -> Local:
        if not isinstance(self.target, Local):
            raise UserError(f"{what}, and rollout.target is {self._params.target}")
        return self.target

    def _revision(self, version: str) -> Revision:
        record = next(item for item in self.home.versions() if item.name == version)
        if self._params.target == "local":
            return Revision(version, record.digest, str(self.home.path(version)))
        names: dict[str, Any] = {"name": self._deploy.name, "version": version, "digest": record.digest}
        return Revision(version, record.digest, self._deploy.storage_uri.format(**names))

    def _refuse_again(self, candidate: Version, again: bool) -> None:
        """A version that was rolled back is bad until somebody says otherwise."""
        ends = [entry for entry in self.store.log() if entry["candidate"]["digest"] == candidate.digest]
        ends = [entry for entry in ends if entry["phase"] in ENDED and entry["reason"] != STOPPED]
        if ends and ends[-1]["phase"] == "rolled_back" and not again:
            told = f"{candidate.name} was rolled back at {ends[-1]['when']}: {ends[-1]['reason']}"
            raise UserError(f"{told}; --again tries it once more, or {NEXT}")


def _told_once(text: str, before: str) -> str:
    """Warn, unless that was the last warning."""
    if text != before:
        LOG.warning("%s", text)
    return text


def _open(params: Params, deploy: Deploy, graph: Path | None, folder: Path, port: int) -> tuple[Target, Source]:
    """The target that the parameters name, and what its guards are told."""
    if params.target == "local":
        assert graph is not None, "it is HERE"
        target = local.open(params, deploy.name, folder, graph, port)
        return target, sources.join(target, params)
    from graphmill.rollout import cluster

    return cluster.open(params, deploy.name, deploy.namespace), sources.open(params)
