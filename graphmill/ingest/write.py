"""Writing clean tables and the quarantine; telling what was refused."""

from pathlib import Path
from typing import Any

import ibis

from graphmill.errors import UserError
from graphmill.ingest.refusals import Checked, Refusals
from graphmill.schema import Schema

REASON = r"^(.*?)( \('.*'\))?$"
SHOWN = 3


def clean(refusals: Refusals, name: str, checked: Checked, folder: Path) -> None:
    """Write the sound rows, ordered by (time, key) or (time, source, target), then by place in the file."""
    rows = refusals.sound(name)
    order = [rows[column].asc(nulls_first=True) for column in [*checked.uses.order, "row"]]
    to_parquet(rows.order_by(order).drop("row"), folder / f"{name}.parquet")


def quarantine(refusals: Refusals, name: str, checked: Checked, folder: Path) -> None:
    """Write the refused rows as they were read, with their reasons and row numbers."""
    refused = refusals.refused(name)
    together = refused.group_by("row").agg(reasons=refused.reason.collect(order_by=refused.reason))
    rows = checked.raw.inner_join(together, "row").order_by("row")
    folder.mkdir(exist_ok=True)
    to_parquet(rows, folder / f"{name}.parquet")


def to_parquet(rows: Any, file: Path) -> None:
    """Write an expression, streaming."""
    rows.to_parquet(file, compression="zstd")


def derived(schema: Schema, node: str, folder: Path, connection: Any) -> Any:
    """Nodes of a type without a table: every key that clean rows mention, and when first: ``key``, ``time``."""
    clock = "timestamp(6)" if schema.time == "timestamp" else "int64"
    mentions = []
    for described in schema.nodes.values():
        for column, link in described.links.items():
            if link.node == node:
                mentions.append((str(described.table), column, described.time))
    for edge in schema.edges.values():
        for ends, column in ((edge.source_node, edge.source_column), (edge.target_node, edge.target_column)):
            if ends == node:
                mentions.append((edge.table, column, edge.time))
    parts = []
    for table, column, time in mentions:
        rows = connection.read_parquet(str(folder / f"{table}.parquet"))
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
    kind = refused.reason.re_replace(REASON, r"\1")
    grouped = refused.group_by(kind=kind).agg(rows=refused.row.nunique()).order_by(ibis.desc("rows"), "kind")
    return {str(line["kind"]): int(line["rows"]) for line in grouped.to_pyarrow().to_pylist()}


def complain(refusals: Refusals, shares: dict[str, tuple[int, int]], bound: float) -> UserError:
    """The error of a stage that refused too much: a table of what was wrong, with rows to look at."""
    lines = [f"too many rows are refused (ingest.maximum_refused is {bound:g}):", ""]
    lines.append(f"{'table':<16} {'refused':>9} {'of':>11}  reason")
    for name, (refused, rows) in shares.items():
        if rows == 0 or refused / rows <= bound:
            continue
        lines.append(f"{name:<16} {refused:>9,} {rows:>11,}  ({refused / rows:.2%})")
        for kind, count in counts(refusals, name).items():
            lines.append(f"{'':<16} {count:>9,} {'':>11}  {kind}: {_examples(refusals, name, kind)}")
    return UserError("\n".join([*lines, "", "mend the source, or raise the bound if that share is expected"]))


def _examples(refusals: Refusals, name: str, kind: str) -> str:
    refused = refusals.refused(name)
    some = refused.filter(refused.reason.startswith(kind)).order_by("row").limit(SHOWN).to_pyarrow().to_pylist()
    return ", ".join(f"row {line['row'] + 1}{line['reason'].removeprefix(kind)}" for line in some)
