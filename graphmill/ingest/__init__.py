"""Stage `ingest`: sources are read, checked against the data contract, and written as clean tables."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import ibis

from graphmill import artifact, lineage
from graphmill.clock import moment, text
from graphmill.engine import Engine, connect
from graphmill.engine.files import ROW
from graphmill.errors import UserError
from graphmill.explain import nearest
from graphmill.ingest import revision, sources, write
from graphmill.ingest.contract import as_text, check_columns, fits_label, judge, usual_lengths
from graphmill.ingest.params import Params as Params
from graphmill.ingest.read import broken, read
from graphmill.ingest.refusals import Checked, Refusals, clock_literal
from graphmill.ingest.uses import TableUses, table_uses
from graphmill.progress import say, track
from graphmill.schema import Schema
from graphmill.task import Task, check_times

Counts = dict[str, dict[str, Any]]

SHOWN = 10
"""Values of a label that an error lists."""


def run(data: str | Path, tables: str | Path, schema: Schema, task: Task, params: Params) -> None:
    """Write clean tables, and beside them the rows that were refused.

    Raises:
        UserError: for a table or column that is not there, a file that cannot be read, a label that is not
            binary, more refused rows than allowed, an empty table of nodes or labels.
    """
    check_times(task, schema.time)
    with (
        revision.folder(Path(data), params) as folder,
        artifact.write(tables, "tables") as draft,
        connect(params, Path(tables).parent / f".{Path(tables).name}.spill", "ingest") as engine,
    ):
        facts = _ingest(engine, folder, draft.folder, schema, task, params)
        draft.manifest |= {"schema": schema.canonical(), "task": task.canonical()} | facts
        parameters = {"schema": schema.canonical(), "task": task.canonical(), "ingest": params.canonical()}
        draft.lineage = lineage.record("ingest", parameters, {}, _data_digest(folder))
    rows = sum(item["rows"] for item in facts["tables"].values())
    refused = sum(item["refused"] for item in facts["tables"].values())
    timed = any(item["last"] is not None for item in facts["tables"].values())
    as_of = f", as of {text(facts['as_of'], schema.time)}" if timed else ""
    say(f"ingest: {rows:,} rows in {len(facts['tables'])} tables, {refused:,} refused{as_of}")


def _data_digest(folder: Path) -> str | None:
    """None where all sources lie elsewhere: those are in the contract's digest alone."""
    try:
        return lineage.data_digest(folder)
    except UserError:
        return None


def _ingest(engine: Engine, data: Path, folder: Path, schema: Schema, task: Task, params: Params) -> dict[str, Any]:
    given = None if params.as_of is None else moment(params.as_of, schema.time, "ingest.as_of")
    uses = table_uses(schema, task)
    for name in params.sources.keys() - uses.keys():
        raise UserError(f"ingest.sources: no table {name!r} in schema or task{nearest(name, uses)}")
    files = {name: sources.find(name, data, params) for name in uses}
    checked = {
        name: _check(engine, place, uses[name], files[name], schema, task)
        for place, name in enumerate(track(uses, "check"))
    }
    refusals = Refusals(engine, schema, checked)
    _refuse(refusals, given, schema, params)
    facts = _count(refusals, checked, params.maximum_refused)
    for name, table in track(checked.items(), "write"):
        write.clean(refusals, name, table, folder)
        if facts[name]["refused"]:
            write.quarantine(refusals, name, table, folder / "quarantine")
    for node, described in schema.nodes.items():
        if described.table is None:
            write.to_parquet(engine, write.derived(engine, schema, node, folder), folder / f"{node}.parquet")
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


def _refuse(refusals: Refusals, given: int | None, schema: Schema, params: Params) -> None:
    now = int(datetime.now(UTC).timestamp() * 1e6) if schema.time == "timestamp" else None
    latest = now if given is None else given
    bound = None if latest is None else clock_literal(latest, schema.time)
    if given is not None and params.later == "leave_out":
        refusals.leave_out(bound)
    refusals.collect(bound, "in the future" if given is None else "after the as-of moment")
    refusals.follow_links()


def _check(engine: Engine, place: int, uses: TableUses, files: list[str], schema: Schema, task: Task) -> Checked:
    raw = read(engine, uses.table, files)
    check_columns(raw, uses, files)
    try:
        _check_label(engine, raw, uses, task)
        lengths = usual_lengths(engine, raw, uses, place)
        rows = engine.scan(f"checked_{place}", judge(raw, uses, schema, task.label.positive, lengths))
    except duckdb.Error as error:
        raise broken(uses.table, files, error) from None
    return Checked(place, uses, files, rows, raw)


def _check_label(engine: Engine, raw: Any, uses: TableUses, task: Task) -> None:
    """A label without `positive` must be boolean; with it, the value must occur."""
    use = uses.columns.get(task.label.column)
    if use is None or use.kind != "label":
        return
    value = as_text(raw[use.name])
    found = raw.select(value=value, fits=fits_label(value, task.label.positive)).filter(ibis._.value.notnull())
    distinct = engine.scan("labels", found.distinct()).distinct()
    if task.label.positive is None:
        wrong = distinct.filter(~distinct.fits).count().execute() > 0
        told = "set task.label.positive to the value to predict"
    else:
        wrong = distinct.filter(distinct.fits).count().execute() == 0
        told = f"task.label.positive is {task.label.positive!r}, which never occurs"
    values = [line["value"] for line in engine.arrow(distinct.order_by("value").limit(SHOWN)).to_pylist()]
    if wrong and values:
        listed = ", ".join(map(repr, values)) + (", …" if len(values) == SHOWN else "")
        raise UserError(f"task.label: column {use.name!r} of table {uses.table!r} holds {listed}; {told}")


def _count(refusals: Refusals, checked: dict[str, Checked], bound: float) -> Counts:
    """Rows, refused rows and time range of every table.

    Edges may be none at all: on a quiet day that is what there is to tell. Of nodes and labels that cannot be.

    Raises:
        UserError: when a table refuses more than its share, or has no sound row.
    """
    facts: Counts = {}
    shares: dict[str, tuple[int, int]] = {}
    for name, table in checked.items():
        total = int(table.rows.count().execute())
        refused = int(refusals.refused(name)[ROW].nunique().execute())
        shares[name] = (refused, total)
        facts[name] = {"rows": total - refused, "refused": refused, "left_out": table.left_out}
        facts[name] |= _range(refusals.engine, refusals.sound(name), table.uses.time)
    if any(rows and refused / rows > bound for refused, rows in shares.values()):
        raise write.complain(refusals, shares, bound)
    for name, item in facts.items():
        quiet = checked[name].uses.key is None and item["refused"] == 0
        if item["rows"] == 0 and not quiet:
            why = list(write.counts(refusals, name))
            why += [f"{item['left_out']:,} lie after the as-of moment"] if item["left_out"] else []
            told = f"no sound row ({', '.join(why)})" if why else "no rows"
            raise UserError(f"table {name!r} ({', '.join(checked[name].files)}) has {told}")
    return facts


def _range(engine: Engine, rows: Any, time: str | None) -> dict[str, int | None]:
    if time is None:
        return {"first": None, "last": None}
    value = rows[time]
    if value.type().is_timestamp():
        value = engine.microseconds(value)
    found = engine.arrow(rows.agg(first=value.min(), last=value.max())).to_pylist()[0]
    return {name: None if found[name] is None else int(found[name]) for name in ("first", "last")}
