"""The predictor: answers from the live graph, takes events in, changes to a new snapshot without dropping a request."""

import asyncio
import logging
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from graphmill.clock import text
from graphmill.errors import UserError
from graphmill.progress import say
from graphmill.serving import metrics, scorer
from graphmill.serving.event import EVENTS, NodeEvent
from graphmill.serving.hello import curls
from graphmill.serving.instance import Answer, GraphVersion, Instance, Options, Refusal
from graphmill.serving.live import snapshot
from graphmill.serving.live.checks import check
from graphmill.serving.log import Log, NotNow
from graphmill.serving.record import Record
from graphmill.serving.served import Served, load
from graphmill.serving.settings import Settings
from graphmill.serving.shadow import Shadow
from graphmill.serving.source import find
from graphmill.serving.stream import Stream, ended

LOG = logging.getLogger(__name__)
WATCH = 10.0
"""Seconds between looks at the snapshot's folder, and at how much came beside it."""
RENEW = 0.1
"""Seconds between looks for stored rows that events touched: a node of many events is computed once for all of them."""


class LivePredictor:
    """A model on a live graph. Everything but `start` and `stop` is called on the thread of the event loop.

    Args:
        settings: what to serve, and how.
    """

    def __init__(self, settings: Settings) -> None:
        self.name = settings.model_name
        self._settings = settings
        self._model, self.version = find(settings.model, settings.registry)
        self._served: Served | None = None
        self._log: Log | None = None
        self._stream: Stream | None = None
        self._record: Record | None = None
        self._shadow: Shadow | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._trouble: str | None = "the graph is being loaded"
        self._changing = asyncio.Lock()

    @property
    def state(self) -> Path | None:
        """Folder of the log and of compacted snapshots."""
        return self._settings.state

    # --- questions

    def answer(self, instances: Sequence[Instance], options: Options) -> list[Answer | Refusal]:
        """One answer for each instance, from one forward over one state of the graph."""
        served = self._ready()
        now = scorer.now(served.live, served.newest)
        found = served.scorer.answer(instances, options, now, _timed)
        tally = served.scorer.tally
        metrics.MISSING.inc(tally.missing)
        metrics.PRESENT.inc(tally.values - tally.missing)
        return found

    def graph(self) -> GraphVersion:
        """The state of the graph that `answer` would see now; nothing before the first is loaded."""
        return GraphVersion("", 0, 0.0) if self._served is None else self._served.version()

    def moment(self, at: int) -> str | int:
        """A moment as answers tell it: text, or a step."""
        clock = self._ready().live.graph.clock
        return at if clock == "step" else text(at, clock)

    def problem(self) -> str | None:
        """Why the server is not ready; None when it is."""
        if self._log is not None and self._log.problem is not None:
            return self._log.problem
        return self.blocked()

    def blocked(self) -> str | None:
        """Why questions cannot be answered now: a full disk is no reason, it keeps events out alone."""
        if self._trouble is not None:
            return self._trouble
        if self._stream is not None and not self._stream.caught_up:
            return self._stream.problem or "the events of the stream are being read"
        return None

    def _ready(self) -> Served:
        assert self._served is not None, "asked before it was ready"
        return self._served

    # --- events

    async def accept(self, events: list[dict[str, Any]]) -> list[int | None]:
        """The offset of each event once it is on disk and visible; None for one that was accepted before.

        Raises:
            UserError: naming the index of a bad event; then none of them was accepted.
            NotNow: when the disk has no room.
        """
        if self._log is None:
            raise UserError("this server takes no events: it was started without --state")
        if self._served is None:
            raise NotNow("the graph is being loaded")
        for place, reason in self._wrong(events):
            raise UserError(f"events[{place}]: {reason}")
        if self._stream is not None:  # the stream is the log of all replicas: this one hears of it like the others
            await self._stream.add(events)
            return [self._ready().offset] * len(events)
        return await self._log.append(events)

    def _wrong(self, events: list[dict[str, Any]]) -> list[tuple[int, str]]:
        """Index of each bad event, and what is wrong with it."""
        live = self._ready().live
        found: list[tuple[int, str]] = []
        before: set[tuple[str, str]] = set()
        for place, given in enumerate(events):
            try:
                event = EVENTS.validate_python([given])[0]
                check(live, event, before)
            except ValidationError as error:
                found.append((place, "; ".join(str(item["msg"]) for item in error.errors(include_url=False))))
            except UserError as error:
                found.append((place, str(error)))
            else:
                if isinstance(event, NodeEvent):
                    before.add((event.type, str(event.key)))
        return found

    def _committed(self, first: int, events: list[dict[str, Any]]) -> None:
        """Durable events become visible; the log calls this in their order."""
        served = self._served
        if served is None or self._trouble is not None:
            return  # it is read from the log when the graph is there
        try:
            served.apply(first, events)
        except Exception as error:  # half a batch may be there: nothing is answered until the graph is opened again
            LOG.error("events cannot be applied", exc_info=not isinstance(error, UserError))
            self._trouble = f"events cannot be applied: {error}"
            return
        metrics.EVENTS.inc(len(events))
        metrics.DELTA_EDGES.set(sum(int(rows.used[0]) for rows in served.live.rows.values()) - served.edges)
        metrics.DELTA_NODES.set(sum(map(len, served.live.names.values())) - served.nodes)

    # --- snapshots

    async def reload(self) -> dict[str, Any]:
        """Change to the newest snapshot: requests are answered from the old one until the new one is there.

        Raises:
            UserError: when it cannot be served; the old one stays.
        """
        async with self._changing:
            # what is written but not yet durable must not be read: it may still be taken back
            served = await asyncio.to_thread(self._load, None if self._log is None else self._log.end)
            if self._log is not None and self._log.end > served.offset:
                late = [event for _, event in self._log.read(served.offset)]
                served.apply(served.offset, late)
            self._served, self._trouble = served, None
            return {"snapshot": served.base, "offset": served.offset}

    async def compact(self) -> dict[str, Any]:
        """Write the live graph as a snapshot in another process, and change to it.

        Raises:
            UserError: when this server keeps no state, or the disk is full.
        """
        if self.state is None or self._log is None:
            raise UserError("nothing to compact: this server was started without --state")
        served, offset = self._ready(), self._ready().offset
        output = self.state / "snapshots" / f"{offset:020d}"
        output.parent.mkdir(parents=True, exist_ok=True)
        async with self._changing:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "graphmill.serving.live.compact", "--snapshot", str(served.folder),
                "--log", str(self.state / "log"), "--offset", str(offset), "--output", str(output),
                "--nodes", str(self._settings.room_nodes), "--edges", str(self._settings.room_edges),
                stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            try:
                told = (await process.communicate())[1].decode(errors="replace").strip()
            except asyncio.CancelledError:
                process.kill()
                raise
        if process.returncode:
            raise UserError(f"the graph could not be compacted: {told[-500:]}")
        found = await self.reload()
        self._tidy(output)
        return found

    def _load(self, stop: int | None) -> Served:
        settings = self._settings
        return load(
            self._model, settings.graph, settings.state, settings.room_nodes, settings.room_edges,
            settings.neighbours, settings.engine, stop, settings.hidden, settings.hidden_age,
        )  # fmt: skip

    def _tidy(self, kept: Path) -> None:
        """Older snapshots go; of the log, what no restart and no repeated event needs."""
        for folder in kept.parent.iterdir():
            if folder != kept:
                shutil.rmtree(folder, ignore_errors=True)
        if self._log is not None:
            self._log.trim(int(kept.name) - self._settings.retain)

    async def _watch(self) -> None:
        """Take over new snapshots, compact when much came beside the old one, tell the metrics."""
        while True:
            await asyncio.sleep(WATCH)
            try:
                served = self._ready()
                if await asyncio.to_thread(snapshot.version, self._settings.graph) != served.base:
                    LOG.info("a new snapshot: %s", await self.reload())
                elif self.state is not None and served.offset - served.opened >= self._settings.compact_after:
                    LOG.info("compacted: %s", await self.compact())
                elif self._trouble is not None:
                    await self.reload()
            except UserError as error:
                LOG.error("the snapshot stays as it is: %s", error)

    async def _renew(self) -> None:
        """Compute the stored rows that events touched, a few at a time, between requests."""
        while True:
            await asyncio.sleep(RENEW)
            while self._trouble is None and self._ready().renew():
                await asyncio.sleep(0)

    # --- life

    async def start(self) -> None:
        """Load, replay the log, catch up with the stream."""
        settings = self._settings
        if settings.state is not None:
            settings.state.mkdir(parents=True, exist_ok=True)
            self._log = Log.open(settings.state / "log", settings.remember)
            self._log.on_commit = self._committed
        await self.reload()
        if settings.stream is not None:
            if self._log is None:
                raise UserError("--stream needs --state: a folder for the log of what was read")
            self._stream = Stream(settings.stream, settings.stream_name, settings.stream_group)
            metrics.REFUSED.set_function(partial(getattr, self._stream, "refused"))
            self._tasks.append(asyncio.create_task(self._stream.run(self._from_stream)))
        await self._start_logs()
        self._tasks.append(asyncio.create_task(self._watch()))
        if settings.hidden is not None:
            self._tasks.append(asyncio.create_task(self._renew()))
        if settings.insecure_local:  # a person at a laptop
            lines = "\n\n".join(curls(self._ready().live, self.name, settings.http_port))
            say(f"{self.name} {self.version} is ready; ask it from another shell:\n\n{lines}\n")

    async def _start_logs(self) -> None:
        """What is told of the answers: which model gave them, each of them, and what a candidate says to the same."""
        settings = self._settings
        node, digest = self._ready().live.graph.task.node, self._model.artifact.digest[:16]
        metrics.MODEL.clear()
        metrics.MODEL.labels(digest).set(1)
        if settings.prediction_log is not None:
            self._record = Record(settings.prediction_log, settings.prediction_share, node, digest)
            metrics.LOST.set_function(partial(getattr, self._record, "dropped"))
            self._record.start()
        if settings.shadow is not None:
            self._shadow = Shadow(settings.shadow, digest, node, settings.prediction_log)
            await self._shadow.start()

    async def _from_stream(self, events: list[dict[str, Any]]) -> dict[int, str]:
        """Make what the stream brings durable and visible; why others are refused, by their index."""
        wrong = dict(self._wrong(events))
        assert self._log is not None
        await self._log.append([event for place, event in enumerate(events) if place not in wrong])
        return wrong

    def record(self, request: str, asked: Sequence[Instance], answers: Sequence[Answer], graph: GraphVersion) -> None:
        """Keep what was answered to a request, where that is wanted."""
        if self._record is not None:
            self._record.offer(request, asked, answers, graph)

    def mirror(self, request: str, asked: Sequence[Instance], answers: Sequence[Answer]) -> None:
        """Ask the candidate the same, where there is one."""
        if self._shadow is not None:
            self._shadow.offer(request, asked, answers)

    async def stop(self) -> None:
        """Finish what is on its way, and close."""
        for task in self._tasks:
            await ended(task)
        if self._shadow is not None:
            await self._shadow.stop()
        if self._record is not None:
            await self._record.stop()
        if self._log is not None:
            await self._log.close()


def _timed(stage: str, seconds: float) -> None:
    metrics.STAGE[stage].observe(seconds)


def open_predictor(settings: Settings) -> LivePredictor:
    """The predictor of a server.

    Raises:
        UserError: when there is no such model, or it is altered.
    """
    return LivePredictor(settings)
