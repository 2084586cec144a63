"""The target on one machine: two predictors and a front that splits the traffic between them, each a process.

They outlive the command that starts them, and `status` starts again what serves the champion when it has died; a
candidate that dies has failed. When a rollout has ended well, the old champion's process stays for the way back,
until the next rollout begins or `stop`.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import httpx

from graphmill import artifact
from graphmill.errors import UserError
from graphmill.rollout.machine import SHORT
from graphmill.rollout.observation import Observation
from graphmill.rollout.params import Params
from graphmill.rollout.processes import Processes, check_port, free_port
from graphmill.rollout.scrape import Samples, ask, scores, scrape, since, value
from graphmill.rollout.split import STATE, Backend, Side, Split
from graphmill.rollout.tally import Tallies
from graphmill.rollout.target import Revision, Status, Unreachable

FRONT = "front"
SERVING = (sys.executable, "-m", "graphmill.serving")
RESTARTS = 3
"""Times that one watcher starts a process again before it gives up."""
SIDES: tuple[Side, Side] = ("champion", "candidate")
SHADOW = "shadow.json"
_MIRRORED = ("compared", "disagreed", "failures")


class Local:
    """Two processes behind a front; see `graphmill.rollout.target.Target` for each call.

    Args:
        name: the served name.
        folder: for the split, the processes, their logs and the prediction log.
        graph: folder above ``graph/`` and ``features/``.
        port: of the front, where none runs yet.
        log: folder of the prediction log.
        share: share of the champion's answers that is mirrored.
    """

    def __init__(self, name: str, folder: Path, graph: Path, port: int, log: str, share: float) -> None:
        self._name, self._folder, self._graph = name, folder.resolve(), graph.resolve()
        self._log, self._share = log, share
        self.processes = Processes(self._folder)
        running = self.processes.command(FRONT)
        self._port = int(running[-1].partition("=")[2]) if running and self.processes.alive(FRONT) else port
        self._restarts: Counter[str] = Counter()

    @property
    def url(self) -> str:
        """Where the front answers predictions."""
        return f"{self._front}/v1/models/{self._name}:predict"

    @property
    def _front(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def check(self) -> None:
        """Refuse a port that somebody else has.

        Raises:
            UserError: naming it.
        """
        if not self.processes.alive(FRONT):
            check_port(self._port)

    def start(self, champion: Revision, candidate: Revision) -> None:
        """Run both, and the front; nobody but these runs then."""
        pair = [Backend(one.version, one.digest, str(Path(one.uri).resolve())) for one in (champion, candidate)]
        split = Split.read(self._folder)
        if split is None or not split.open or [split.champion.role, split.candidate.role] != [p.role for p in pair]:
            split = self._begun(*pair)
        split = self._running(replace(split, percent=0))
        for role in set(self.processes.roles()) - {split.champion.role, split.candidate.role, FRONT}:
            self.processes.stop(role)

    def traffic(self, percent: int) -> None:
        """Tell the front."""
        self._running(replace(self._there(), percent=percent))

    def promote(self) -> None:
        """Tell the front; the champion stays for the way back."""
        self.traffic(100)

    def rollback(self) -> None:
        """Tell the front, and stop the candidate: where the front cannot be told, it then falls back by itself."""
        split = Split.read(self._folder)
        if split is None:
            return
        closed = replace(split, percent=0, open=False)
        try:
            self._running(closed)
        finally:
            self.processes.stop(split.candidate.role)

    def status(self) -> Status:
        """Whether both predictors are ready and the front splits as it was told."""
        split = Split.read(self._folder)
        if split is None:
            return Status(False, "no rollout was begun here")
        if split.open and self._died(split.candidate.role):
            return Status(False, self._ended(split.candidate.role, split.candidate.version), failed=True)
        for role, name in ((FRONT, FRONT), (split.champion.role, split.champion.version)):
            if self._died(role) and self._restarts[role] >= RESTARTS:
                return Status(False, self._ended(role, name), failed=True)
        split = self._running(split)
        for side in SIDES if split.open else SIDES[:1]:
            if reason := self._unready(split.backend(side)):
                return Status(False, reason)
        if split.open and not split.began:
            self._count_from_here(split)
        told = self._told()
        if told is None:
            return Status(False, "the front is starting")
        return Status(told[0] == split.percent, "the front takes it over", traffic=told[0])

    def save(self, state: str) -> None:
        """Nothing: the rollout's own folder is on this machine."""

    def saved(self) -> str | None:
        """Nothing."""
        return None

    def close(self) -> None:
        """Nothing is held."""

    def stop(self) -> None:
        """End every process; a rollout that was running goes on with `resume`.

        Raises:
            UserError: when what runs cannot be told.
        """
        for role in sorted(self.processes.roles(), key=lambda role: role != FRONT):
            self.processes.stop(role)

    def observe(self, champion: str, candidate: str, since: float) -> Observation:
        """The front's counts, and what both predictors' metrics say since they were put side by side."""
        split, told = Split.read(self._folder), self._told()
        if told is None:
            raise Unreachable(f"the front at {self._front} does not answer")
        if split is None or (split.champion.digest[:SHORT], split.candidate.digest[:SHORT]) != (champion, candidate):
            return Observation()
        now = {side: scrape(split.backend(side).url) for side in SIDES}
        first, second = (_since(split, side, now[side]) for side in SIDES)
        mirrored = [value(first, f"graphmill_shadow_{what}_total", candidate) for what in _MIRRORED]
        counts = told[1]
        return Observation(counts.champion.seen(scores(first)), counts.candidate.seen(scores(second)), *mirrored)

    def _begun(self, champion: Backend, candidate: Backend) -> Split:
        """Two versions side by side; a process that runs already is kept."""
        for backend in (champion, candidate):
            if self._died(backend.role):
                self.processes.stop(backend.role)  # what an earlier rollout left is no failure of this one
        return Split(champion, candidate)

    def _running(self, split: Split) -> Split:
        """What a split needs runs, and the front and the champion are told; what is so already stays as it is."""
        for side in SIDES if split.open else SIDES[:1]:
            backend = split.backend(side)
            there = self.processes.command(backend.role)
            gone = side == "champion" and not self.processes.alive(backend.role)
            split = split.at(side, self._start(backend) if there is None or gone else _url(there))
        if split != Split.read(self._folder):
            split.write(self._folder)
        self._mirror(split)
        if not self.processes.alive(FRONT):
            self._restarts[FRONT] += self.processes.command(FRONT) is not None
            command = [sys.executable, "-m", "graphmill.rollout.front", f"--folder={self._folder}"]
            self.processes.start(FRONT, [*command, f"--port={self._port}"])
        return split

    def _count_from_here(self, split: Split) -> None:
        """Both are ready: they are compared, and the champion mirrors, from now on."""
        before: dict[str, Samples] = {side: scrape(split.backend(side).url) for side in SIDES}
        split = replace(split, began=time.time(), before=before)
        split.write(self._folder)
        self._mirror(split)

    def _start(self, backend: Backend) -> str:
        self._restarts[backend.role] += self.processes.command(backend.role) is not None
        port = free_port()
        flags = [
            f"--model={backend.model}", f"--graph={self._graph}", f"--model_name={self._name}",
            f"--shadow={self._folder / SHADOW}", f"--prediction_log={self._log}", "--enable_grpc=false",
            "--insecure_local", "--grace=5", f"--http_port={port}",
        ]  # fmt: skip
        self.processes.start(backend.role, [*SERVING, *flags])
        return f"http://127.0.0.1:{port}"

    def _mirror(self, split: Split) -> None:
        """Have the champion mirror to the candidate while both run and it answers itself."""
        digests = {side: split.backend(side).digest[:SHORT] for side in SIDES}
        url = f"{split.candidate.url}/v1/models/{self._name}:predict"
        mirrored = split.open and split.began and split.percent < 100
        told = json.dumps({**digests, "url": url, "share": self._share}) if mirrored else ""
        file = self._folder / SHADOW
        try:
            if not file.exists() or file.read_text(encoding="utf-8") != told:
                artifact.write_text(file, told)
        except OSError as error:
            raise UserError(f"{file}: cannot be written: {error.strerror or error}") from error

    def _there(self) -> Split:
        split = Split.read(self._folder)
        if split is None or not split.open:
            raise UserError(f"{self._name}: no candidate runs on this machine; `start` begins a rollout")
        return split

    def _died(self, role: str) -> bool:
        return self.processes.command(role) is not None and not self.processes.alive(role)

    def _ended(self, role: str, name: str) -> str:
        return f"the process of {name} has ended; {self.processes.tail(role)}"

    def _unready(self, backend: Backend) -> str:
        """Why a predictor does not answer predictions; empty when it does."""
        try:
            answer = ask(f"{backend.url}/v2/models/{self._name}/ready")
        except httpx.HTTPError as error:
            return f"{backend.version} does not answer yet ({type(error).__name__})"
        return "" if answer.status_code == 200 else f"{backend.version}: {answer.text[:300]}"

    def _told(self) -> tuple[int | None, Tallies] | None:
        """The split that the front carries out, and what it counted; None where ours does not answer."""
        try:
            found = ask(f"{self._front}{STATE}").json()
            if found["folder"] != str(self._folder):
                return None
            return found["percent"], Tallies.parse(json.dumps(found["counts"]))
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return None


def _since(split: Split, side: Side, now: Samples) -> Samples:
    return since(split.before.get(side, {}), now)


def _url(command: Sequence[str]) -> str:
    """Where a predictor that was started so listens."""
    return f"http://127.0.0.1:{command[-1].partition('=')[2]}"


def open(params: Params, name: str, folder: Path, graph: Path, port: int) -> Local:
    """The local target of a served name; nothing is started yet.

    Args:
        params: section `rollout`.
        name: the served name.
        folder: of the rollout's state.
        graph: folder above ``graph/`` and ``features/``.
        port: of the front.
    """
    log = params.prediction_log or str((folder / "local" / "predictions").resolve())
    return Local(name, folder / "local", graph, port, log, params.shadow_share)
