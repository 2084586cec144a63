"""Following a run to its end, task by task."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from graphmill.errors import UserError
from graphmill.progress import say
from pipelines.cluster import logs
from pipelines.cluster.client import Cluster
from pipelines.cluster.errors import Absent, Unreachable
from pipelines.cluster.tasks import Task, failed, tasks, text

ENDS = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")
"""States that a run does not leave; ``kfp`` itself does not know the last."""
CANCELLED = ("CANCELING", "CANCELED")
SILENCE = 600.0
"""Seconds for which a server that stopped answering is asked again: an upgrade takes minutes."""
LINES = 20
"""Last lines of a failed task's log."""
UNTOLD = "RUNTIME_STATE_UNSPECIFIED"


class Failed(Exception):
    """A run did not do what it was to do; the text says why."""


class Unfinished(Exception):
    """A run goes on, and is watched no longer."""


@dataclass(frozen=True)
class Pace:
    """How a run is watched.

    Attributes:
        interval: seconds between two looks.
        timeout: seconds after which it is watched no longer; None for never.
    """

    interval: float = 10.0
    timeout: float | None = None


def follow(cluster: Cluster, run_id: str, titles: Mapping[str, str], pace: Pace) -> Any:
    """Print what changes until the run ends.

    Args:
        cluster: the server.
        run_id: of the run.
        titles: names in the UI by key, of the pipeline's tasks; empty when they are not known.
        pace: how often it is looked at, and how long.

    Returns:
        The ``V2beta1Run``, which succeeded, or was skipped because a cache has its results.

    Raises:
        Failed: when it failed or was cancelled.
        Unfinished: when the time is over, or the server stopped answering or refuses: the run itself goes on.
        UserError: when it was deleted.
    """
    end = time.monotonic() + (pace.timeout if pace.timeout is not None else float("inf"))
    told: dict[str, str] = {}
    heard = time.monotonic()
    while True:
        try:
            run = cluster.api.get_run(run_id)
        except Absent:
            raise  # somebody deleted it
        except UserError as error:
            raise Unfinished(f"{error}; {going_on(run_id)}") from error
        except Unreachable as error:
            if time.monotonic() > min(heard + SILENCE, end):
                raise Unfinished(f"{error}; {going_on(run_id)}") from error
        else:
            heard = time.monotonic()
            _tell(run, titles, told)
            if run.state in ENDS:
                return _judged(cluster, run, titles)
        if time.monotonic() >= end:
            raise Unfinished(f"not done after {pace.timeout:g} s; {going_on(run_id)}")
        time.sleep(max(0.0, min(pace.interval, end - time.monotonic())))


def going_on(run_id: str) -> str:
    """How to follow or end a run that is no longer watched."""
    verb = "python -m pipelines"
    return f"the run goes on: `{verb} status {run_id} --follow` follows it, `{verb} cancel {run_id}` ends it"


def cancelled(run: Any) -> bool:
    """Whether a run was cancelled: the server may call it failed once its pods are gone."""
    before = [status.state for status in run.state_history or [] if status.state != run.state]
    return run.state in CANCELLED or (run.state == "FAILED" and before[-1:] == ["CANCELING"])


def _tell(run: Any, titles: Mapping[str, str], told: dict[str, str]) -> None:
    for task in tasks(run, titles):
        _say(told, task.id, task.state, f"{task.state:<9} {task.title}{_note(task)}")
    if run.state in ("CANCELING", "PAUSED"):
        _say(told, "", run.state, f"{run.state:<9} the run")


def _say(told: dict[str, str], about: str, state: str, line: str) -> None:
    if state != UNTOLD and told.get(about) != state:
        told[about] = state
        say(f"{datetime.now():%H:%M:%S} {line}")


def _note(task: Task) -> str:
    if task.cached:
        return " (from the cache)"
    return f" ({task.seconds:.0f} s)" if task.state in ENDS and task.seconds is not None else ""


def _judged(cluster: Cluster, run: Any, titles: Mapping[str, str]) -> Any:
    if run.state in ("SUCCEEDED", "SKIPPED"):
        return run
    if cancelled(run):
        raise Failed(f"run {run.run_id} was cancelled: {cluster.link('runs', 'details', run.run_id)}")
    raise Failed(explain(cluster, run, titles))


def explain(cluster: Cluster, run: Any, titles: Mapping[str, str]) -> str:
    """Why a run failed: the task, what the server says of it, and its last lines."""
    broken = failed(run, titles)
    reason = text(run.error)
    if not broken:
        return f"run {run.run_id} failed: {reason or 'the server does not say why'}; {logs.advice(cluster, run.run_id)}"
    first = broken[0]
    others = f" (and {', '.join(repr(task.title) for task in broken[1:])})" if broken[1:] else ""
    head = f"run {run.run_id} failed in task {first.title!r}{others}"
    if said := first.error or reason:
        head = f"{head}: {said}"
    lines = logs.tail(cluster, run.run_id, first, LINES)
    if not lines:
        return f"{head}\nits log: {logs.advice(cluster, run.run_id)}"
    return "\n".join([f"{head}\nthe last lines of its log:", *(f"  {line}" for line in lines)])
