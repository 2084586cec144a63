"""Looking: the latest runs, or the tasks of one."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from rich.console import Console
from rich.table import Table

from graphmill.errors import UserError
from pipelines.cluster import source
from pipelines.cluster.client import Cluster
from pipelines.cluster.errors import Absent
from pipelines.cluster.tasks import decision, tasks, text
from pipelines.cluster.watch import cancelled

ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def latest(cluster: Cluster, limit: int) -> list[dict[str, Any]]:
    """The latest runs, the newest first, as plain values."""
    asked = {"namespace": cluster.namespace, "sort_by": "created_at desc"}
    return [_run(cluster, run) for run in islice(cluster.listed(cluster.api.list_runs, "runs", **asked), max(0, limit))]


def one(cluster: Cluster, run: Any, titles: Mapping[str, str]) -> dict[str, Any]:
    """A run with its tasks, and what drift decided in one of `monitoring`, as plain values."""
    found = tasks(run, titles)
    told = [
        {
            "task": task.title,
            "key": task.key,
            "state": task.state,
            "cached": task.cached,
            "started": _iso(task.started),
            "seconds": task.seconds and round(task.seconds, 1),
            "error": task.error,
        }
        for task in found
    ]
    return {**_run(cluster, run), "error": text(run.error), "decision": decision(found), "tasks": told}


def find(cluster: Cluster, wanted: str) -> Any:
    """A run by its id, or the newest of a name.

    Raises:
        UserError: when there is none.
    """
    if ID.fullmatch(wanted):
        try:
            return cluster.api.get_run(wanted)
        except Absent as error:
            raise UserError(f"there is no run {wanted}: {error}") from None
    found = cluster.named(cluster.api.list_runs, "runs", wanted, namespace=cluster.namespace)
    if not found:
        raise UserError(f"there is no run named {wanted!r}; `python -m pipelines status` lists the latest")
    return cluster.api.get_run(found[0].run_id)


def titles(cluster: Cluster, run: Any) -> dict[str, str]:
    """Names in the UI of the tasks of a run's pipeline; empty when its version is gone."""
    version = run.pipeline_version_reference
    try:
        if version is not None and version.pipeline_version_id:
            asked = (version.pipeline_id, version.pipeline_version_id)
            return source.stored(cluster.api.get_pipeline_version(*asked)).titles
        spec = run.pipeline_spec or {}
        return source.Source("", spec.get("pipeline_spec", spec), "").titles
    except (UserError, KeyError):
        return {}


def show(told: list[dict[str, Any]], columns: Mapping[str, str]) -> None:
    """A table on standard output: values by column, `columns` its titles; whole lines where nobody looks."""
    table = Table(box=None, pad_edge=False)
    for title in columns.values():
        table.add_column(title, overflow="fold")
    for row in told:
        table.add_row(*(_cell(row[key]) for key in columns))
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = 240
    console.print(table)


def show_json(told: Any) -> None:
    """The same for programs."""
    print(json.dumps(told, indent=2))


def _run(cluster: Cluster, run: Any) -> dict[str, Any]:
    seconds = None
    if run.created_at is not None:
        end = run.finished_at if run.finished_at is not None and run.finished_at.year > 1970 else datetime.now(UTC)
        seconds = round((end - run.created_at).total_seconds())
    return {
        "run": run.run_id,
        "name": run.display_name,
        "state": "CANCELED" if run.state == "FAILED" and cancelled(run) else run.state,
        "created": _iso(run.created_at),
        "seconds": seconds,
        "link": cluster.link("runs", "details", run.run_id),
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else None


def _cell(value: Any) -> str:
    return "" if value is None else str(value)
