"""The tasks of a run, as people know them.

Argo runs a KFP task as several nodes: ``train-driver`` (looks at the cache), ``train`` (a group) and inside it
``executor`` (the pod, one more a retry). The API lists them all, flat. Here the group stands for the task, and
what its executors say is added.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

DRIVER = "-driver"
EXECUTOR = "executor"
PLUMBING = re.compile(rf"root|.*{DRIVER}|{EXECUTOR}.*|(condition|condition-branches|for-loop|exit-handler)-\d+")
"""Names of nodes that are no task, where the pipeline's own tasks are not known."""
IMPLEMENTATIONS = ("system-container-impl", "retry-system-container-impl")
"""Argo's templates of the pod in which a task's code runs."""
KEPT = re.compile(r"Keep: (\w+)")
"""Title of the task that a run of `monitoring` has where the model stays, and why."""
FAILED = "FAILED"


@dataclass(frozen=True)
class Task:
    """One task of a run.

    Attributes:
        id: unique in the run.
        key: name in the compiled pipeline.
        title: name in the UI.
        state: KFP's own word, such as ``RUNNING``.
        cached: whether an earlier run's result was taken.
        started: when; None before.
        ended: when; None before.
        error: what the server says of it; mostly empty.
        pods: names that its pod may have, the likeliest first.
    """

    id: str
    key: str
    title: str
    state: str
    cached: bool
    started: datetime | None
    ended: datetime | None
    error: str
    pods: tuple[str, ...]

    @property
    def seconds(self) -> float | None:
        """How long it took, or takes until now; None before it began."""
        if self.started is None:
            return None
        return max(0.0, ((self.ended or datetime.now(UTC)) - self.started).total_seconds())


def tasks(run: Any, titles: Mapping[str, str]) -> list[Task]:
    """The tasks of a ``V2beta1Run`` that have begun, in the order in which they did.

    Args:
        run: as the API gives it.
        titles: names in the UI by key, of the pipeline's tasks; empty when they are not known.
    """
    nodes = list((run.run_details.task_details if run.run_details else None) or [])
    by_hash = {_hash(node.pod_name): node for node in nodes if node.pod_name}
    found = [_task(node, by_hash, titles) for node in nodes if _shown(node, titles)]
    return sorted(found, key=lambda task: (task.started is None, task.started or 0, task.title))


def failed(run: Any, titles: Mapping[str, str]) -> list[Task]:
    """The tasks that ended a run, the first first."""
    return [task for task in tasks(run, titles) if task.state == FAILED]


def decision(found: Iterable[Task]) -> str | None:
    """What drift decided in a run of `monitoring`, by the branch that the run took; None before, and in other runs."""
    found = list(found)
    if not any(task.key == "drift" and task.state == "SUCCEEDED" for task in found):
        return None
    kept = [match[1] for task in found if (match := KEPT.fullmatch(task.title))]
    return kept[0] if kept else "retrain" if any(task.key == "train" for task in found) else None


def text(error: Any) -> str:
    """The message of a ``GoogleRpcStatus``; empty without one."""
    return " ".join((error.message or "").split()) if error else ""


def _shown(node: Any, titles: Mapping[str, str]) -> bool:
    name = node.display_name or ""
    if name.endswith(DRIVER) and node.state == FAILED:
        name = name.removesuffix(DRIVER)  # then the task itself never begins
    if titles:
        return name in titles or name in titles.values()
    whole = node.pod_name == node.display_name  # the node of the run itself: no other has a pod of its own name
    return bool(name) and not whole and not PLUMBING.fullmatch(name)


def _task(node: Any, by_hash: Mapping[str, Any], titles: Mapping[str, str]) -> Task:
    key = node.display_name
    title = titles.get(key, key)
    if key.endswith(DRIVER):
        key = key.removesuffix(DRIVER)
        title = f"{titles.get(key, key)} (its driver)"
    executors = _executors(node, by_hash)
    states = {executor.state for executor in executors}
    state = "PENDING" if node.state == "RUNNING" and states == {"PENDING"} else node.state
    error = next(filter(None, (text(item.error) for item in (node, *executors))), "")
    return Task(
        id=node.task_id or node.pod_name or key,
        key=key,
        title=title,
        state=state or "RUNTIME_STATE_UNSPECIFIED",
        cached=states == {"SKIPPED"} and node.state == "SUCCEEDED",
        started=_time(node.start_time),
        ended=_time(node.end_time),
        error=error,
        pods=_pods(node, executors),
    )


def _executors(node: Any, by_hash: Mapping[str, Any]) -> list[Any]:
    """The executors inside a task. A node's children go on into the tasks after it, so others are not followed."""
    found = []
    for child in node.child_tasks or []:
        inner = by_hash.get(_hash(child.pod_name or ""))
        if inner is not None and (inner.display_name or "").startswith(EXECUTOR):
            found += _executors(inner, by_hash) or [inner]
    return found


def _pods(node: Any, executors: list[Any]) -> tuple[str, ...]:
    """Children are told by the ids of their nodes, from which the names of their pods follow."""
    known = [executor.pod_name for executor in reversed(executors)]
    guesses = [
        f"{workflow}-{template}-{number}"
        for child in (node.child_tasks or [])
        if child.pod_name
        for workflow, _, number in [child.pod_name.rpartition("-")]
        for template in IMPLEMENTATIONS
    ]
    own = [node.pod_name] if node.pod_name else []
    return tuple(dict.fromkeys(known or [*own, *guesses]))


def _hash(pod: str) -> str:
    """What the id of a node and the name of its pod have in common."""
    return pod.rpartition("-")[2]


def _time(moment: datetime | None) -> datetime | None:
    """Kubeflow writes the beginning of 1970, or of year 1, for what has not happened."""
    return moment if moment is not None and moment.year > 1970 else None
