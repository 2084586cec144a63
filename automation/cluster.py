"""A run on Kubeflow, as a job of a workflow makes it: submitted under a name, followed, and read afterwards."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from automation.process import run, show
from automation.summary import answer, tell
from graphmill.errors import UserError

PIPELINES = ("training", "scoring", "monitoring")
STATUSES = {1: "it failed or was cancelled", 3: "it goes on, and nobody knows how it ends"}


@dataclass(frozen=True)
class Order:
    """What is to run.

    Args:
        pipeline: its name.
        name: of the run; a job that is repeated under one name follows the run that it started before.
        overrides: as ``section.key=value``.
        revision: of the data; empty where the pipeline is told otherwise where they are.
        root: address under which Kubeflow keeps the artifacts; empty for the server's choice.
        timeout: seconds to follow it.
        commit: whose status tells how the run ended; empty for the one that the image was built from.
    """

    pipeline: str
    name: str
    overrides: tuple[str, ...] = ()
    revision: str = ""
    root: str = ""
    timeout: str = ""
    commit: str = ""

    @classmethod
    def here(cls, variables: Mapping[str, str]) -> "Order":
        """The order that a job's environment names.

        Raises:
            UserError: for an unknown pipeline or an override that is none.
        """
        pipeline = variables.get("PIPELINE", "")
        if pipeline not in PIPELINES:
            raise UserError(f"PIPELINE must be one of {', '.join(PIPELINES)}, not {pipeline!r}")
        started = (variables.get("GITHUB_RUN_ID"), variables.get("GITHUB_RUN_ATTEMPT"))
        return cls(
            pipeline,
            f"{pipeline}-{'-'.join(map(str, started))}" if all(started) else "",
            overrides(variables.get("OVERRIDES", "")),
            variables.get("DATA_REVISION", ""),
            variables.get("KFP_PIPELINE_ROOT", ""),
            variables.get("TIMEOUT", ""),
            variables.get("GITHUB_SHA", ""),
        )

    def command(self) -> list[str]:
        """The client's command line."""
        options = {
            "--name": self.name,
            "--data-revision": self.revision,
            "--pipeline-root": self.root,
            "--timeout": self.timeout,
        }
        given = [f"{name}={value}" for name, value in options.items() if value]
        told = (f"revision={self.commit}",) if self.commit else ()  # first: an override of it counts
        return ["submit", *given, *(f"--parameter={one}" for one in (*told, *self.overrides)), "--", self.pipeline]


def overrides(text: str) -> tuple[str, ...]:
    """The overrides in a text, one a line.

    Raises:
        UserError: for a line that is none.
    """
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    for line in lines:
        if not re.match(r"[a-z_]+(\.\w+)*=", line):
            raise UserError(f"{line!r}: write an override as section.key=value, one a line")
    return lines


def submit(order: Order) -> None:
    """Run it to its end, and tell the jobs after it: ``run``, ``trained``, and of monitoring the ``decision``.

    Raises:
        UserError: when it did not succeed.
    """
    if status := show(sys.executable, "-m", "pipelines", *order.command()):
        why = STATUSES.get(status, "the client says why above")
        raise UserError(f"{order.pipeline} {order.name}: {why} (status {status})")
    if not order.name:
        return  # by hand, and read by a person
    found = json.loads(run(sys.executable, "-m", "pipelines", "status", "--json", order.name))
    trained = _ran(found["tasks"], "train")
    answer("run", str(found["run"]))
    answer("trained", str(trained).lower())
    if order.pipeline == "monitoring":
        answer("decision", found["decision"] or "unknown")
    tell(f"{order.pipeline}: [{found['name']}]({found['link']}) {found['state']}")


def _ran(tasks: Sequence[Mapping[str, Any]], stage: str) -> bool:
    """Whether a stage was run, or its earlier result taken."""
    return any(task["state"] == "SUCCEEDED" and stage in re.findall(r"\w+", task["task"].lower()) for task in tasks)
