"""What the verbs of ``python -m pipelines`` that speak to a cluster do."""

import argparse
import sys
from typing import Any

from graphmill.errors import UserError
from graphmill.progress import say
from pipelines.cluster import overrides, source, status, watch
from pipelines.cluster import schedule as schedules
from pipelines.cluster import submit as submits
from pipelines.cluster import upload as uploads
from pipelines.cluster.client import Cluster
from pipelines.cluster.errors import Unreachable

RUNS = {"run": "run", "name": "name", "state": "state", "created": "created", "seconds": "seconds"}
TASKS = {"task": "task", "state": "state", "started": "started", "seconds": "seconds", "error": "error"}


def run(given: argparse.Namespace) -> int:
    """Carry out a verb; its exit status, but for `UserError`, which is the caller's."""
    try:
        given.command(given)
    except watch.Failed as error:
        print(error, file=sys.stderr)
        return 1
    except (Unreachable, watch.Unfinished) as error:
        print(error, file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130
    return 0


def upload(given: argparse.Namespace) -> None:
    """Upload pipelines."""
    from pipelines import PIPELINES

    sources = [source.compiled(name) for name in given.pipelines or PIPELINES]
    cluster = Cluster(given.host, given.namespace)
    for compiled in sources:
        _warn(compiled)
        uploads.upload(cluster, compiled)


def submit(given: argparse.Namespace) -> None:
    """Start a run and follow it."""
    cluster, found, version, parameters = _prepared(given)
    run = submits.submit(cluster, found, version, parameters, _place(given), given.name)
    if not given.no_wait:
        _follow(cluster, run.run_id, found.titles, given)


def schedule(given: argparse.Namespace) -> None:
    """Make, change or disable a schedule."""
    name = given.name or given.pipeline
    if given.cron is None:
        if not given.disable:
            raise UserError("schedule needs --cron, or --disable for one that is there")
        schedules.disable(Cluster(given.host, given.namespace), name)
        return
    plan = schedules.Plan(name, schedules.cron(given.cron), not given.disable)
    cluster, found, version, parameters = _prepared(given)
    schedules.schedule(cluster, found, version, parameters, _place(given), plan)


def look(given: argparse.Namespace) -> None:
    """List runs, or the tasks of one."""
    if given.follow and not given.run:
        raise UserError("--follow needs a run")
    cluster = Cluster(given.host, given.namespace)
    if not given.run:
        runs = status.latest(cluster, given.limit)
        status.show_json(runs) if given.json else status.show(runs, RUNS)
        return
    found = status.find(cluster, given.run)
    titles = status.titles(cluster, found)
    if given.follow:
        _follow(cluster, found.run_id, titles, given)
        return
    told = status.one(cluster, found, titles)
    if given.json:
        status.show_json(told)
        return
    say(f"{told['name']}: {told['state']}{': ' if told['error'] else ''}{told['error']} {told['link']}")
    status.show(told["tasks"], TASKS)


def cancel(given: argparse.Namespace) -> None:
    """End a run."""
    cluster = Cluster(given.host, given.namespace)
    found = status.find(cluster, given.run)
    if found.state in watch.ENDS:
        say(f"cancel: run {found.run_id} has ended already: {found.state}")
        return
    cluster.api.terminate_run(found.run_id)
    say(f"cancel: run {found.run_id} is being cancelled")


def _prepared(given: argparse.Namespace) -> tuple[Cluster, source.Source, Any, dict[str, Any]]:
    """The server, and on it the version that is to run with its parameters: nothing is sent for a typing error."""
    said = (given.parameters, given.data_revision, given.overrides)
    if given.version is None:
        found = source.compiled(given.pipeline)
        parameters = overrides.parameters(found, *said)
        _warn(found)
        cluster = Cluster(given.host, given.namespace)
        return cluster, found, uploads.upload(cluster, found), parameters
    cluster = Cluster(given.host, given.namespace)
    version = uploads.version(cluster, given.pipeline, given.version)
    found = source.stored(version)
    return cluster, found, version, overrides.parameters(found, *said)


def _follow(cluster: Cluster, run_id: str, titles: dict[str, str], given: argparse.Namespace) -> None:
    pace = watch.Pace(given.interval, given.timeout)
    try:
        ended = watch.follow(cluster, run_id, titles, pace)
    except KeyboardInterrupt:
        print(watch.going_on(run_id), file=sys.stderr)
        raise
    say(f"run {run_id}: {ended.state}")


def _place(given: argparse.Namespace) -> submits.Place:
    from pipelines.placement import CLUSTER  # reads params.yaml

    return submits.Place(given.experiment, given.service_account or CLUSTER.service_account, given.pipeline_root)


def _warn(compiled: source.Source) -> None:
    """Say when a cluster could hardly pull the image."""
    for image in sorted(compiled.images):
        if "@" not in image and "/" not in image:
            told = f"{compiled.name}: image {image} names no registry"
            print(f"{told}: set GRAPHMILL_IMAGE (registry/name@sha256:…) unless every node has it", file=sys.stderr)
