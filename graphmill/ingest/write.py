"""Writing clean tables and the quarantine; telling what was refused."""

from pathlib import Path
from typing import Any

import ibis

from graphmill.engine import Engine
from graphmill.engine.files import ROW
from graphmill.engine.writer import write
from graphmill.errors import UserError
from graphmill.ingest.refusals import Checked, Refusals
from graphmill.ingest.uses import mentions
from graphmill.schema import Schema

VALUE, END = " ('", "')"
"""What stands before and after the value in a reason."""
SHOWN = 3


def clean(refusals: Refusals, name: str, checked: Checked, folder: Path) -> None:
    """Write the sound rows, ordered by (time, key) or (time, source, target), then by place in the file."""
    rows = refusals.sound(name)
    order = [name for name in (checked.uses.time, *checked.uses.order, ROW) if name]
    ordered = rows.order_by([rows[name].asc(nulls_first=True) for name in order]).drop(ROW)
    to_parquet(refusals.engine, ordered, folder / f"{name}.parquet")


def quarantine(refusals: Refusals, name: str, checked: Checked, folder: Path) -> None:
    """Write the refused rows as they were read, with ``reasons`` and ``row`` numbers, from 1 as messages count."""
    refused = refusals.engine.bring(refusals.refused(name))
    together = refused.group_by(ROW).agg(reasons__=refused.reason.collect(order_by=refused.reason))
    rows = checked.raw.inner_join(together, ROW).order_by(ROW)
    taken = {column: f"{column}_" for column in rows.columns if column.lower() in ("row", "reasons")}
    rows = rows.rename({new: old for old, new in taken.items()})
    rows = rows.mutate(**{ROW: rows[ROW] + 1}).rename(reasons="reasons__", row=ROW)
    folder.mkdir(exist_ok=True)
    local = refusals.engine.local
    path = str(folder / f"{name}.parquet").replace("'", "''")  # Ibis' own writer trips over quotes in a path
    local.con.execute(f"COPY ({local.compile(rows)}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")


def to_parquet(engine: Engine, rows: Any, file: Path) -> None:
    """Write an ordered expression, streaming."""
    write(engine.batches(rows), rows.schema().to_pyarrow(), file)


def derived(engine: Engine, schema: Schema, node: str, folder: Path) -> Any:
    """Nodes of a type without a table: every key that clean rows mention, and when first: ``key``, ``time``."""
    clock = "timestamp(6)" if schema.time == "timestamp" else "int64"
    parts = []
    for table, column, time in mentions(schema, node):
        rows = engine.read(folder / f"{table}.parquet")
        when = rows[time] if time else ibis.null(clock)
        parts.append(rows.select(key=rows[column], time=when.cast(clock)).filter(ibis._.key.notnull()))
    if not parts:
        raise UserError(f"schema.nodes.{node}: no table, and no link or edge mentions it; where are its keys?")
    every = ibis.union(*parts) if len(parts) > 1 else parts[0]
    # one mention without a time makes the node visible always
    always = every.time.isnull().any()
    found = every.group_by("key").agg(time=ibis.cases((always, ibis.null(clock)), else_=every.time.min()))
    return found.order_by([found.time.asc(nulls_first=True), found.key])


def counts(refusals: Refusals, name: str) -> dict[str, int]:
    """Number of refused rows by reason, values left out."""
    refused = refusals.refused(name)
    grouped = refused.group_by(kind=_kind(refused)).agg(rows=refused[ROW].nunique()).order_by(ibis.desc("rows"), "kind")
    return {str(line["kind"]): int(line["rows"]) for line in refusals.engine.arrow(grouped).to_pylist()}


def complain(refusals: Refusals, shares: dict[str, tuple[int, int]], bound: float) -> UserError:
    """The error of a stage that refused too much: a table of what was wrong, with rows to look at."""
    lines = [f"too many rows are refused (ingest.maximum_refused is {bound:g}):", ""]
    lines.append(f"{'table':<16} {'refused':>9} {'of':>11}  reason")
    for name, (refused, rows) in shares.items():
        if rows == 0 or refused / rows <= bound:
            continue
        files = refusals.tables[name].files
        where = files[0] if len(files) == 1 else f"{len(files)} files, {files[0]} …"
        lines.append(f"{name:<16} {refused:>9,} {rows:>11,}  ({refused / rows:.2%}) in {where}")
        for kind, count in counts(refusals, name).items():
            lines.append(f"{'':<16} {count:>9,} {'':>11}  {kind}: {_examples(refusals, name, kind)}")
    return UserError("\n".join([*lines, "", "mend the source, or raise the bound if that share is expected"]))


def _kind(refused: Any) -> Any:
    """A reason without its value; a value may hold anything, a line break too."""
    reason = refused.reason
    valued = reason.contains(VALUE) & reason.endswith(END)
    return ibis.cases((valued, reason.substr(0, reason.find(VALUE))), else_=reason)


def _examples(refusals: Refusals, name: str, kind: str) -> str:
    refused = refusals.refused(name)
    some = refusals.engine.arrow(refused.filter(_kind(refused) == kind).order_by(ROW).limit(SHOWN)).to_pylist()
    return ", ".join(f"row {line[ROW] + 1}{line['reason'].removeprefix(kind)}" for line in some)
