"""The verbs of ``python -m pipelines`` that speak to a cluster."""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

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
STATUSES = """exit status: 0 done; 1 the run failed or was cancelled; 2 something for you to mend; 3 it is not known how
it ends: no answer from the server, or --timeout is over; 130 stopped by Ctrl-C, which leaves the run going"""


def add(verbs: Any) -> None:
    """Add the verbs to the command line."""
    where = _where()
    what = _what()
    pace = _pace()
    given = {"epilog": STATUSES, "formatter_class": argparse.RawDescriptionHelpFormatter}
    told = "compile, and upload what the server does not have yet"
    verb = verbs.add_parser("upload", parents=[where], help=told, description=f"{told}.", **given)
    verb.add_argument("pipelines", nargs="*", metavar="PIPELINE", help="training, scoring, monitoring (all)")
    verb.set_defaults(command=upload)

    told = "upload, start a run and follow it to its end"
    verb = verbs.add_parser("submit", parents=[where, what, pace], help=told, description=f"{told}.", **given)
    verb.add_argument("--name", help="of the run; one that has it already is followed instead (pipeline and time)")
    verb.add_argument("--no-wait", action="store_true", help="start it and go")
    verb.set_defaults(command=submit)

    told = "let a pipeline run again and again; a changed schedule replaces the one of its name"
    verb = verbs.add_parser("schedule", parents=[where, what], help=told, description=f"{told}.", **given)
    verb.add_argument("--cron", help='five fields as in crontab, UTC, such as "0 4 * * 1"; or six with seconds first')
    verb.add_argument("--name", help="of the schedule (the pipeline's)")
    verb.add_argument("--overrides", type=Path, help="YAML file of sections as in params.yaml, beneath what -p says")
    verb.add_argument("--disable", action="store_true", help="make it, or leave it, without letting it run")
    verb.set_defaults(command=schedule)

    told = "list the latest runs, or the tasks of one"
    verb = verbs.add_parser("status", parents=[where, pace], help=told, description=f"{told}.", **given)
    verb.add_argument("run", nargs="?", help="id or name of a run")
    verb.add_argument("--limit", type=int, default=10, help="runs to list (10)")
    verb.add_argument("--json", action="store_true", help="for programs")
    verb.add_argument("--follow", action="store_true", help="follow the run to its end, as submit does")
    verb.set_defaults(command=look)

    verb = verbs.add_parser("cancel", parents=[where], help="end a run", description="end a run.", **given)
    verb.add_argument("run", help="id or name of a run")
    verb.set_defaults(command=cancel)


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
    cluster, found, version, parameters = _prepared(given, given.parameters)
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
    cluster, found, version, parameters = _prepared(given, [*_file(given.overrides), *given.parameters])
    schedules.schedule(cluster, found, version, parameters, _place(given), plan)


def look(given: argparse.Namespace) -> None:
    """List runs, or the tasks of one."""
    if given.follow and not given.run:
        raise UserError("--follow needs a run")
    cluster = Cluster(given.host, given.namespace)
    if not given.run:
        told = status.latest(cluster, given.limit)
        status.show_json(told) if given.json else status.show(told, RUNS)
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


def _prepared(given: argparse.Namespace, parameters: list[str]) -> tuple[Cluster, source.Source, Any, dict[str, Any]]:
    """The server, and on it the version that is to run with its parameters: nothing is sent for a typing error."""
    if given.version is None:
        found = source.compiled(given.pipeline)
        checked = overrides.parameters(found, parameters, given.data_revision)
        _warn(found)
        cluster = Cluster(given.host, given.namespace)
        return cluster, found, uploads.upload(cluster, found), checked
    cluster = Cluster(given.host, given.namespace)
    version = uploads.version(cluster, given.pipeline, given.version)
    found = source.stored(version)
    return cluster, found, version, overrides.parameters(found, parameters, given.data_revision)


def _follow(cluster: Cluster, run_id: str, titles: dict[str, str], given: argparse.Namespace) -> None:
    pace = watch.Pace(given.interval, given.timeout)
    try:
        ended = watch.follow(cluster, run_id, titles, pace)
    except KeyboardInterrupt:
        print(watch.going_on(run_id), file=sys.stderr)
        raise SystemExit(130) from None
    say(f"run {run_id}: {ended.state}")


def _place(given: argparse.Namespace) -> submits.Place:
    return submits.Place(given.experiment, given.service_account, given.pipeline_root)


def _file(path: Path | None) -> list[str]:
    """The sections of a file as overrides, one a key."""
    if path is None:
        return []
    from graphmill.params import load

    sections = load(path)
    return [
        f"{name}.{key}={yaml.safe_dump(value, default_flow_style=True, width=10**6)}"
        for name, section in sections.items()
        for key, value in section.items()
    ]


def _warn(compiled: source.Source) -> None:
    """Say when a cluster could hardly pull the image."""
    for image in sorted(compiled.images):
        if "@" not in image and "/" not in image:
            told = f"{compiled.name}: image {image} names no registry"
            print(f"{told}: set GRAPHMILL_IMAGE (registry/name@sha256:…) unless every node has it", file=sys.stderr)


def _where() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--host", help="address of the server (KFP_HOST, or the service of this cluster)")
    parser.add_argument("--namespace", help="of the runs, where several users share a server (KFP_NAMESPACE)")
    return parser


def _what() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("pipeline", metavar="PIPELINE", help="training, scoring or monitoring")
    parser.add_argument(
        *("-p", "--parameter"),
        dest="parameters",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="a parameter of the run, such as train.epochs=5 or data=s3://bucket/data; may be given again",
    )
    parser.add_argument("--data-revision", metavar="REVISION", help="read the data as of this git revision")
    parser.add_argument("--version", help="one that was uploaded before, instead of this checkout's")
    parser.add_argument("--experiment", default=submits.EXPERIMENT, help=f"group of the run ({submits.EXPERIMENT})")
    parser.add_argument("--service-account", help="of the pods (the server's choice)")
    parser.add_argument("--pipeline-root", help="address for the artifacts (the server's choice)")
    return parser


def _pace() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="follow no longer (as long as it takes)")
    parser.add_argument("--interval", type=float, default=10.0, metavar="SECONDS", help="between two looks (10)")
    return parser
