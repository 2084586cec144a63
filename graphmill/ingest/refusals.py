"""Which rows are refused: by their own values, as duplicates, by the clock, and by links that lead nowhere."""

from dataclasses import dataclass, field
from typing import Any

import ibis

from graphmill.clock import Clock
from graphmill.ingest.uses import TableUses
from graphmill.schema import Schema


@dataclass
class Checked:
    """One table after its contract: typed rows in the database, refused ones by row number."""

    uses: TableUses
    files: list[str]
    rows: Any
    """Typed columns, ``row`` and ``reasons__``."""
    raw: Any
    """The table as it stands in its files, with ``row``."""
    left_out: int = 0
    refused: dict[str, int] = field(default_factory=dict)


class Refusals:
    """Refused rows of every table, kept in the database as (row, reason)."""

    def __init__(self, connection: Any, schema: Schema, tables: dict[str, Checked]) -> None:
        self.connection = connection
        self.schema = schema
        self.tables = tables

    def begin(self, as_of: Any, now: Any, leave_out: bool) -> None:
        """Collect what each row says of itself: its reasons, the clock, a key that came before."""
        for name, checked in self.tables.items():
            rows = checked.rows
            if as_of is not None and leave_out and checked.uses.time:
                late = rows[checked.uses.time] > as_of
                checked.left_out = int(rows.filter(late).count().execute())
                kept = rows.filter(late.fill_null(False) == ibis.literal(False))
                rows = checked.rows = self.connection.create_table(f"kept_{name}", kept)
            own = rows.filter(rows.reasons__.length() > 0)
            own = own.select("row", reason=own.reasons__.unnest())
            self.connection.create_table(f"refused_{name}", own)
            self._clock(name, checked, as_of, now)
            if checked.uses.key is not None:
                self._duplicates(name, checked, checked.uses.key)

    def follow_links(self, leave_out: bool) -> None:
        """Refuse rows whose links lead to no sound row, until no refusal makes another row dangle."""
        while any([self._dangling(name, checked, leave_out) for name, checked in self.tables.items()]):
            pass

    def sound(self, name: str) -> Any:
        """The rows of a table that nothing speaks against."""
        rows = self.tables[name].rows
        return rows.anti_join(self.refused(name), "row").drop("reasons__")

    def refused(self, name: str) -> Any:
        """Refused rows of a table: ``row`` and ``reason``, a line for each reason."""
        return self.connection.table(f"refused_{name}")

    def _clock(self, name: str, checked: Checked, as_of: Any, now: Any) -> None:
        time = checked.uses.time
        if time is None:
            return
        rows = checked.rows
        for bound, what in ((as_of, "after the as-of moment"), (None if as_of is not None else now, "in the future")):
            if bound is not None:
                reason = ibis.literal(f"{time}: {what} ('") + rows[time].cast("string") + ibis.literal("')")
                self._add(name, rows.filter(rows[time] > bound).select("row", reason=reason))

    def _duplicates(self, name: str, checked: Checked, key: str) -> None:
        """A key may stand once: the first row by time, then by place in the file, keeps it."""
        rows = checked.rows.anti_join(self.refused(name), "row").filter(ibis._[key].notnull())
        order = [rows[column] for column in (checked.uses.time, "row") if column]
        place = ibis.row_number().over(group_by=rows[key], order_by=order)
        again = rows.select("row", key=rows[key], place=place).filter(ibis._.place > 0)
        reason = ibis.literal(f"{key}: duplicate key ('") + again.key + ibis.literal("')")
        self._add(name, again.select("row", reason=reason))

    def _dangling(self, name: str, checked: Checked, leave_out: bool) -> bool:
        added = False
        for use in checked.uses.columns.values():
            linked = self.schema.nodes[use.node].table if use.node else None
            if use.kind != "link" or linked is None:
                continue
            keys = self.sound(linked).select(key=ibis._[self.tables[linked].uses.key])
            rows = self.sound(name).filter(ibis._[use.name].notnull())
            lost = rows.select("row", value=ibis._[use.name]).anti_join(keys, [("value", "key")])
            reason = ibis.literal(f"{use.name}: no {use.node} ('") + lost.value + ibis.literal("')")
            if checked.uses.auxiliary and leave_out:
                count = int(lost.count().execute())
                checked.left_out += count
                checked.rows = self.connection.create_table(
                    f"known_{name}_{use.name}", checked.rows.anti_join(lost, "row")
                )
                continue
            added |= self._add(name, lost.select("row", reason=reason))
        return added

    def _add(self, name: str, rows: Any) -> bool:
        before = self.refused(name).count().execute()
        self.connection.insert(f"refused_{name}", rows)
        return bool(self.refused(name).count().execute() > before)


def clock_literal(moment: int, clock: Clock) -> Any:
    """A moment as the database compares it with a time column."""
    if clock == "step":
        return ibis.literal(moment, "int64")
    return (ibis.timestamp("1970-01-01") + ibis.literal(moment, "int64").as_interval("us")).cast("timestamp(6)")
