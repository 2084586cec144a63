"""The verbs of ``python -m pipelines`` that speak to a cluster, as the command line has them."""

import argparse
from pathlib import Path
from typing import Any

from pipelines.cluster import verbs as do
from pipelines.cluster.submit import EXPERIMENT

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
    verb.set_defaults(command=do.upload)

    told = "upload, start a run and follow it to its end"
    verb = verbs.add_parser("submit", parents=[where, what, pace], help=told, description=f"{told}.", **given)
    verb.add_argument("--name", help="of the run; one that has it already is followed instead (pipeline and time)")
    verb.add_argument("--no-wait", action="store_true", help="start it and go")
    verb.set_defaults(command=do.submit)

    told = "let a pipeline run again and again; a changed schedule replaces the one of its name"
    verb = verbs.add_parser("schedule", parents=[where, what], help=told, description=f"{told}.", **given)
    verb.add_argument("--cron", help='five fields as in crontab, UTC, such as "0 4 * * 1"; or six with seconds first')
    verb.add_argument("--name", help="of the schedule (the pipeline's)")
    verb.add_argument("--disable", action="store_true", help="make it, or leave it, without letting it run")
    verb.set_defaults(command=do.schedule)

    told = "list the latest runs, or the tasks of one"
    verb = verbs.add_parser("status", parents=[where, pace], help=told, description=f"{told}.", **given)
    verb.add_argument("run", nargs="?", help="id or name of a run")
    verb.add_argument("--limit", type=int, default=10, help="runs to list (10)")
    verb.add_argument("--json", action="store_true", help="for programs")
    verb.add_argument("--follow", action="store_true", help="follow the run to its end, as submit does")
    verb.set_defaults(command=do.look)

    verb = verbs.add_parser("cancel", parents=[where], help="end a run", description="end a run.", **given)
    verb.add_argument("run", help="id or name of a run")
    verb.set_defaults(command=do.cancel)


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
    parser.add_argument(
        "--overrides", type=Path, metavar="FILE", help="sections as in params.yaml, beneath what -p says"
    )
    parser.add_argument("--data-revision", metavar="REVISION", help="read the data as of this git revision")
    parser.add_argument("--version", help="one that was uploaded before, instead of this checkout's")
    parser.add_argument("--experiment", default=EXPERIMENT, help=f"group of the run ({EXPERIMENT})")
    parser.add_argument("--service-account", help="of the pods (cluster.service_account, else the server's)")
    parser.add_argument("--pipeline-root", help="address for the artifacts (the server's choice)")
    return parser


def _pace() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="follow no longer (as long as it takes)")
    parser.add_argument("--interval", type=float, default=10.0, metavar="SECONDS", help="between two looks (10)")
    return parser
