"""Recurring runs: one of a name, and it is what the last call said."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from graphmill.errors import UserError
from graphmill.progress import say
from pipelines.cluster.client import Cluster
from pipelines.cluster.patience import once
from pipelines.cluster.source import Source
from pipelines.cluster.submit import Place, experiment, reference

FIELD = re.compile(r"[\w*/,?-]+")
CONCURRENCY = 1
"""Runs of one schedule at a time: two trainings would move the same aliases."""


@dataclass(frozen=True)
class Plan:
    """What recurs.

    Attributes:
        name: of the schedule.
        cron: six fields, the first for seconds, in the server's time zone (UTC unless it was told another).
        enabled: whether it runs.
    """

    name: str
    cron: str
    enabled: bool


def cron(text: str) -> str:
    """A cron expression as Kubeflow wants it: six fields, the first for seconds; five begin at second 0.

    Raises:
        UserError: when it is none.
    """
    fields = text.split()
    if len(fields) == 1 and fields[0].startswith("@"):
        return text.strip()
    if len(fields) not in (5, 6) or not all(FIELD.fullmatch(field) for field in fields):
        raise UserError(f"--cron {text!r}: five fields (minute hour day month weekday), or six with seconds first")
    return " ".join(fields if len(fields) == 6 else ["0", *fields])


def schedule(
    cluster: Cluster, source: Source, version: Any, parameters: dict[str, Any], place: Place, plan: Plan
) -> Any:
    """Let a version run again and again: no catching up after a pause, one run at a time.

    The new one is made before its predecessors go, so that a call that is interrupted leaves a schedule; the next
    call takes away what is too many.

    Returns:
        The ``V2beta1RecurringRun``.

    Raises:
        UserError: when the server refuses it.
        Unreachable: when the server does not answer.
    """
    body = _body(cluster, version, parameters, place, plan)

    def same() -> Any | None:
        return next((item for item in _named(cluster, plan.name) if item.description == body.description), None)

    before = [item.recurring_run_id for item in _named(cluster, plan.name)]
    found = once(same, lambda: cluster.api.recurring_runs.recurring_run_service_create_recurring_run(body))
    if (found.mode == "ENABLE") != plan.enabled:
        _switch(cluster, found, plan.enabled)
    for item in _named(cluster, plan.name):
        if item.recurring_run_id != found.recurring_run_id:
            cluster.api.delete_recurring_run(item.recurring_run_id)
    done = "is as before" if found.recurring_run_id in before else "replaces its predecessor" if before else "is new"
    state = "" if plan.enabled else ", disabled"
    link = cluster.link("recurringrun", "details", found.recurring_run_id)
    say(f"schedule: {plan.name} ({source.version} at {plan.cron!r}{state}) {done}: {link}")
    return found


def disable(cluster: Cluster, name: str) -> None:
    """Let a schedule rest as it is.

    Raises:
        UserError: when there is none of that name.
    """
    found = _named(cluster, name)
    if not found:
        raise UserError(f"there is no schedule {name!r}; --cron makes one")
    for item in found:
        _switch(cluster, item, False)
    say(f"schedule: {name} is disabled")


def _named(cluster: Cluster, name: str) -> list[Any]:
    return cluster.named(cluster.api.list_recurring_runs, "recurring_runs", name, namespace=cluster.namespace)


def _switch(cluster: Cluster, item: Any, enabled: bool) -> None:
    call = cluster.api.enable_recurring_run if enabled else cluster.api.disable_recurring_run
    call(item.recurring_run_id)


def _body(cluster: Cluster, version: Any, parameters: dict[str, Any], place: Place, plan: Plan) -> Any:
    models = cluster.api.api_models
    asked = [version.pipeline_version_id, parameters, vars(place), plan.cron]
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]
    return models.V2beta1RecurringRun(
        display_name=plan.name,
        # The server fills in what was left open, so what was asked for is told from the digest.
        description=f"{version.display_name}, made by `python -m pipelines schedule` ({digest})",
        experiment_id=experiment(cluster, place.experiment),
        pipeline_version_reference=reference(cluster, version),
        runtime_config=models.V2beta1RuntimeConfig(parameters=parameters, pipeline_root=place.root),
        service_account=place.service_account,
        trigger=models.V2beta1Trigger(cron_schedule=models.V2beta1CronSchedule(cron=plan.cron)),
        max_concurrency=str(CONCURRENCY),
        no_catchup=True,
        mode="ENABLE" if plan.enabled else "DISABLE",
    )
