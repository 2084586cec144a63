"""Stage `ingest`: sources are read, checked against the data contract, and written as clean tables."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import ibis

from graphmill import artifact, lineage
from graphmill.clock import moment, text
from graphmill.errors import UserError
from graphmill.ingest import sources, write
from graphmill.ingest.contract import as_text, check_columns, judge
from graphmill.ingest.params import Params as Params
from graphmill.ingest.refusals import Checked, Refusals, clock_literal
from graphmill.ingest.uses import table_uses
from graphmill.progress import say, track
from graphmill.schema import Schema
from graphmill.task import Task

Counts = dict[str, dict[str, Any]]


def run(data: str | Path, tables: str | Path, schema: Schema, task: Task, params: Params) -> None:
    """Write clean tables, and beside them the rows that were refused.

    Raises:
        UserError: for a table or column that is not there, a file that cannot be read, a label that is not
            binary, more refused rows than allowed, an empty table.
    """
    spill = Path(tables).parent / f".{Path(tables).name}.spill"
    with sources.folder(Path(data), params) as folder, artifact.write(tables, "tables") as draft:
        connection = ibis.duckdb.connect(
            spill / "work.duckdb" if _mkdir(spill) else None,
            memory_limit=params.memory_limit,
            threads=params.threads,
            temp_directory=str(spill / "temporary"),
        )
        try:
            facts = _ingest(connection, folder, draft.folder, schema, task, params)
        except duckdb.Error as error:
            raise sources.broken("ingest", [str(data)], error) from None
        finally:
            connection.disconnect()
            shutil.rmtree(spill, ignore_errors=True)
        draft.manifest |= {"schema": schema.canonical(), "task": task.canonical()} | facts
        parameters = {"schema": schema.canonical(), "task": task.canonical(), "ingest": params.canonical()}
        draft.lineage = lineage.record("ingest", parameters, {}, data=lineage.data_digest(folder))
    rows = sum(item["rows"] for item in facts["tables"].values())
    refused = sum(item["refused"] for item in facts["tables"].values())
    moment_text = text(facts["as_of"], schema.time)
    say(f"ingest: {rows:,} rows in {len(facts['tables'])} tables, {refused:,} refused, as of {moment_text}")


def _mkdir(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return True


def _ingest(
    connection: Any, data: Path, folder: Path, schema: Schema, task: Task, params: Params
) -> dict[str, Any]:
    given = None if params.as_of is None else moment(params.as_of, schema.time, "ingest.as_of")
    uses = table_uses(schema, task)
    files = {name: sources.find(name, data, params) for name in uses}
    checked = {name: _check(connection, name, uses, files[name], schema, task) for name in track(uses, "check")}
    leave_out = params.later == "leave_out"
    refusals = Refusals(connection, schema, checked)
    now = int(datetime.now(UTC).timestamp() * 1e6) if schema.time == "timestamp" else None
    bounds = [None if time is None else clock_literal(time, schema.time) for time in (given, now)]
    refusals.begin(bounds[0], bounds[1], leave_out)
    refusals.follow_links(leave_out)
    facts = _count(refusals, checked, params.maximum_refused)
    for name, table in track(checked.items(), "write"):
        write.clean(refusals, name, table, folder)
        if facts[name]["refused"]:
            write.quarantine(refusals, name, table, folder / "quarantine")
    for node, described in schema.nodes.items():
        if described.table is None:
            write.to_parquet(write.derived(schema, node, folder, connection), folder / f"{node}.parquet")
    newest = [item["last"] for item in facts.values() if item["last"] is not None]
    return {
        "as_of": given if given is not None else max(newest, default=-1) + 1,
        "tables": facts,
        "contract": {
            "refused": {name: write.counts(refusals, name) for name, item in facts.items() if item["refused"]},
            "sources": {name: [Path(file).name for file in found] for name, found in files.items()},
            "digest": sources.digest(files),
        },
    }


def _check(
    connection: Any, name: str, uses: dict[str, Any], files: list[str], schema: Schema, task: Task
) -> Checked:
    raw = sources.read(connection, name, files)
    check_columns(raw, uses[name], files)
    try:
        _check_label(raw, uses[name], task)
        rows = connection.create_table(f"checked_{name}", judge(raw, uses[name], schema, task.label.positive))
    except duckdb.Error as error:
        raise sources.broken(name, files, error) from None
    return Checked(uses[name], files, rows, raw)


def _check_label(raw: Any, uses: Any, task: Task) -> None:
    """A label without `positive` must be boolean; with it, the value must occur."""
    if task.label.column not in uses.columns or uses.columns[task.label.column].kind != "label":
        return
    value = as_text(raw[task.label.column])
    found = raw.select(value=value).filter(ibis._.value.notnull()).distinct().order_by("value").limit(20)
    values = [line["value"] for line in found.to_pyarrow().to_pylist()]
    listed = ", ".join(repr(item) for item in values[:10]) + (", …" if len(values) > 10 else "")
    where = f"task.label: column {task.label.column!r} of table {uses.table!r}"
    if task.label.positive is not None:
        if values and task.label.positive not in values:
            raise UserError(f"{where} never is {task.label.positive!r}; its values: {listed}")
        return
    accepted = {"true", "t", "yes", "y", "1", "false", "f", "no", "n", "0"}
    odd = [item for item in values if item.lower() not in accepted]
    if odd:
        raise UserError(f"{where} holds {listed}; set task.label.positive to the value to predict")


def _count(refusals: Refusals, checked: dict[str, Checked], bound: float) -> Counts:
    """Rows, refused rows and time range of every table.

    Raises:
        UserError: when a table refuses more than its share, or has no sound row.
    """
    facts: Counts = {}
    shares: dict[str, tuple[int, int]] = {}
    for name, table in checked.items():
        total = int(table.rows.count().execute())
        refused = int(refusals.refused(name).row.nunique().execute())
        shares[name] = (refused, total)
        facts[name] = {"rows": total - refused, "refused": refused, "left_out": table.left_out}
        facts[name] |= _range(refusals.sound(name), table.uses.time)
    if any(rows and refused / rows > bound for refused, rows in shares.values()):
        raise write.complain(refusals, shares, bound)
    for name, item in facts.items():
        if item["rows"] == 0:
            left = f" ({item['left_out']:,} lie after the as-of moment)" if item["left_out"] else ""
            raise UserError(f"table {name!r} ({', '.join(checked[name].files)}) has no rows{left}")
    return facts


def _range(rows: Any, time: str | None) -> dict[str, int | None]:
    if time is None:
        return {"first": None, "last": None}
    value = rows[time]
    if value.type().is_timestamp():
        value = value.delta(ibis.timestamp("1970-01-01"), unit="microsecond")
    found = rows.agg(first=value.min(), last=value.max()).to_pyarrow().to_pylist()[0]
    return {name: None if found[name] is None else int(found[name]) for name in ("first", "last")}
