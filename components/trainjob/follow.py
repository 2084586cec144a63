"""A TrainJob from its beginning to its end: what it does meanwhile is said, and at the end it is deleted."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from components.trainjob import NODE
from components.trainjob.door import Absent, Door, Exists, Object, Unreachable
from graphmill.errors import UserError
from graphmill.progress import say
from graphmill.train import LOST

INTERVAL = 5.0
"""Seconds between two looks."""
PATIENCE = 600.0
"""Seconds without an answer that are put up with."""
LINES = 40
"""Of a failed pod's log: torchrun's own report has nearly thirty."""
GRACE = 30.0
"""Seconds in which the one that others lost is waited for, when it has not yet been seen to fail."""
INDEX = "batch.kubernetes.io/job-completion-index"
"""Label with a pod's number among the machines."""


Look = tuple[Object, list[Any]]
"""A job as it is, and its pods."""


class Failure(NamedTuple):
    """A container that ended with an error; ``round`` is how often its machine had, this time included."""

    pod: str
    node: str
    round: int
    at: datetime
    reason: str
    log: str


def to_its_end(door: Door, job: Object, restarts: int, starting: float | None = None) -> None:
    """Make a job, wait until it is complete, and delete it whatever happens.

    Args:
        door: to the cluster.
        job: a TrainJob.
        restarts: how often a machine may fail.
        starting: seconds in which all its machines must run; None for any time.

    Raises:
        UserError: when it is refused, does not begin, fails, is deleted by somebody, or is not heard of for long.
    """
    name, nodes = job["metadata"]["name"], job["spec"]["trainer"]["numNodes"]
    _make(door, job)
    say(f"train: TrainJob {name} in {door.namespace}: {nodes} nodes")
    try:
        _wait(_begun(_looks(door, name), door, name, nodes, starting), door, name, restarts)
    finally:
        with suppress(Unreachable, Absent, UserError):  # it has an owner, and goes with it at the latest
            door.delete(name)


def _make(door: Door, job: Object) -> None:
    """Create a job; what a run before left of it goes first."""
    end = time.monotonic() + PATIENCE
    name, told = job["metadata"]["name"], ""
    while time.monotonic() < end:
        try:
            return door.create(job)
        except Exists as error:  # ours, of a pod that was killed or whose answer was lost: it resumes from its files
            told = str(error)
            with suppress(Absent, Unreachable):
                door.delete(name)
        except Unreachable as error:
            told = str(error)
        except Absent as error:
            raise UserError(f"train: the TrainJob cannot be made: {error}") from error
        time.sleep(INTERVAL)
    raise UserError(f"train: TrainJob {name} could not be made for {PATIENCE:.0f} seconds: {told}")


def _wait(looks: Iterator[Look], door: Door, name: str, restarts: int) -> None:
    failures: dict[tuple[str, int], Failure] = {}
    before, clear = "", time.monotonic()
    for found, pods in looks:
        if (state := _state(found, pods)) != before:
            say(f"train: {state}")
            before = state
        _note(door, pods, failures)
        if _true(found, "Complete"):
            return _last_line(door, pods)
        ended, now = _true(found, "Failed"), time.monotonic()
        failed = max((failure.round for failure in failures.values()), default=0)
        if not (ended or failed > restarts):
            clear = now
        elif now - clear > GRACE or any(item.round == failed and LOST not in item.log for item in failures.values()):
            raise UserError(_told(name, ended, failures))


def _begun(looks: Iterator[Look], door: Door, name: str, nodes: int, starting: float | None) -> Iterator[Look]:
    """The same looks, as long as the job has its machines in time.

    Raises:
        UserError: when it has not.
    """
    made, begun = time.monotonic(), starting is None
    for found, pods in looks:
        yield found, pods
        begun = begun or sum(pod.status.phase not in (None, "Pending") for pod in pods) >= nodes
        if not begun and starting is not None and time.monotonic() - made > starting:
            told = f"train: TrainJob {name} has not begun for {starting:.0f} seconds ({_state(found, pods)})"
            raise UserError(f"{told}; `kubectl -n {door.namespace} get events` tells what held it, such as a quota")


def _looks(door: Door, name: str) -> Iterator[Look]:
    """The job and its pods, again and again.

    Raises:
        UserError: when the job is gone, or nothing is heard for long.
    """
    heard = time.monotonic()
    while True:
        try:
            found = door.get(name), door.pods(name)
            heard = time.monotonic()
            yield found
        except Absent:
            raise UserError(f"train: TrainJob {name} was deleted by somebody; the stage can be tried again") from None
        except Unreachable as error:
            if time.monotonic() - heard > PATIENCE:
                raise UserError(f"train: no word of TrainJob {name} for {PATIENCE:.0f} seconds: {error}") from error
        time.sleep(INTERVAL)


def _true(job: Object, kind: str) -> Object | None:
    """The job's condition of a kind, when it holds."""
    conditions = job.get("status", {}).get("conditions", [])
    return next((item for item in conditions if item["type"] == kind and item["status"] == "True"), None)


def _state(job: Object, pods: list[Any]) -> str:
    """The job in a line: its conditions, how many pods are in which phase, and what they wait for."""
    kinds = [kind for kind in ("Suspended", "Failed", "Complete") if _true(job, kind)]
    phases = Counter(pod.status.phase for pod in pods)
    counted = ", ".join(f"{count} {phase}" for phase, count in sorted(phases.items()))
    waiting = sorted({reason for pod in pods for reason in _waits(pod)})
    return "; ".join(filter(None, [", ".join(kinds), f"pods: {counted or 'none yet'}", *waiting]))


def _waits(pod: Any) -> list[str]:
    """Why a pod does not run: no node for it, an image or a volume that is not there."""
    held = [item for item in pod.status.conditions or [] if item.type == "PodScheduled" and item.status == "False"]
    states = [item.state.waiting for item in pod.status.container_statuses or [] if item.state and item.state.waiting]
    told = [(item.reason, item.message) for item in (*held, *states)]
    return [f"{reason}: {message}" if message else str(reason) for reason, message in told]


def _note(door: Door, pods: list[Any], failures: dict[tuple[str, int], Failure]) -> None:
    """Keep the words of each failure while they can be had: the next restart, or the job's end, takes them away."""
    for pod in pods:
        status = next((item for item in pod.status.container_statuses or [] if item.name == NODE), None)
        if status is None:
            continue
        for attempt, state in ((status.restart_count - 1, status.last_state), (status.restart_count, status.state)):
            ended = state and state.terminated
            key = (pod.metadata.uid, attempt)
            if not ended or ended.exit_code == 0 or key in failures:
                continue
            log = door.log(pod.metadata.name, LINES, previous=attempt < status.restart_count)
            node = (pod.metadata.labels or {}).get(INDEX, "?")
            at = ended.finished_at or datetime.now(UTC)
            reason = f"{ended.reason or 'Error'}, exit status {ended.exit_code}"
            nth = 1 + sum(failure.node == node for failure in failures.values())
            failures[key] = Failure(pod.metadata.name, node, nth, at, reason, log)


def _told(name: str, condition: Object | None, failures: dict[tuple[str, int], Failure]) -> str:
    """Which machine failed of its own, in the last round, and the last lines that it printed."""
    why = f" ({condition['reason']}: {condition.get('message', '')})" if condition else ""
    if not failures:
        return f"train: TrainJob {name} failed{why}; no pod of it has ended with an error"
    last = max(failure.round for failure in failures.values())
    first = min(
        (failure for failure in failures.values() if failure.round == last),
        key=lambda failure: (LOST in failure.log, failure.at),
    )
    told = f"train: TrainJob {name} failed{why}; node {first.node} first: pod {first.pod}, {first.reason}"
    return f"{told}; the last lines of its log:\n{first.log.rstrip() or '(none)'}"


def _last_line(door: Door, pods: list[Any]) -> None:
    """Say what the first machine said last, which is what the stage ends with."""
    for pod in pods:
        if (pod.metadata.labels or {}).get(INDEX) == "0" and (lines := door.log(pod.metadata.name, LINES).splitlines()):
            told = [line for line in lines if line.startswith("train: ")]
            return say((told or lines)[-1])
