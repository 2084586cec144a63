"""Which rows are refused: by their own values, as duplicates, by the clock, and by links that lead nowhere."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import ibis

from graphmill.clock import Clock
from graphmill.engine import Engine
from graphmill.engine.files import ROW
from graphmill.ingest.contract import REASONS, reason
from graphmill.ingest.uses import TableUses, mentions
from graphmill.schema import Schema


@dataclass
class Checked:
    """One table after its contract: typed rows in the database, refused ones by row number."""

    place: int
    """Names what the engine keeps of this table: names of tables may differ by case alone, its may not."""
    uses: TableUses
    files: list[str]
    rows: Any
    """Typed columns, ``row__`` and ``reasons__``."""
    raw: Any
    """The table as it stands in its files, with ``row__``: an expression of the engine's ``local``."""
    late: Any = None
    """The rows that are left out, where there are any."""
    left_out: int = 0


class Refusals:
    """Refused rows of every table, kept by the engine as (row, reason)."""

    def __init__(self, engine: Engine, schema: Schema, tables: dict[str, Checked]) -> None:
        self.engine = engine
        self.schema = schema
        self.tables = tables

    def leave_out(self, as_of: Any) -> None:
        """Set rows after a moment aside without refusing them, and labels of nodes that only those rows make."""
        for checked in self.tables.values():
            time = checked.uses.time
            if time is not None:
                late = (checked.rows[time] > as_of).fill_null(False)
                self._set_aside(checked, checked.rows.filter(late), checked.rows.filter(~late))
        for checked in self.tables.values():
            if checked.uses.auxiliary and checked.uses.key is not None:
                key = checked.uses.key
                (node,) = checked.uses.columns[key].nodes
                late = self._keys(node, lambda name: self.tables[name].late)
                if late is not None:
                    gone = late.anti_join(self._keys(node, lambda name: self.tables[name].rows), "key")
                    rows = self.engine.keep(f"labels_{checked.place}", checked.rows)
                    same = rows[key] == gone.key
                    self._set_aside(checked, rows.semi_join(gone, same), rows.anti_join(gone, same))

    def collect(self, bound: Any, what: str) -> None:
        """Collect what each row says of itself: its reasons, a time after ``bound``, a key that came before."""
        for name, checked in self.tables.items():
            rows, time = checked.rows, checked.uses.time
            own = rows.filter(rows[REASONS].length() > 0)
            self.engine.keep(f"refused_{checked.place}", own.select(ROW, reason=own[REASONS].unnest()))
            if time is not None and bound is not None:
                late = rows.filter(rows[time] > bound)
                self._add(name, late.select(ROW, reason=reason(time, what, late[time])))
            if checked.uses.key is not None:
                self._duplicates(name, checked, checked.uses.key)

    def follow_links(self) -> None:
        """Refuse rows whose links lead to no sound row, until no refusal makes another row dangle."""
        changed = set(self.tables)
        while changed:
            changed = {name for name in self.tables if self._dangling(name, changed)}

    def sound(self, name: str) -> Any:
        """The rows of a table that nothing speaks against."""
        return self.tables[name].rows.anti_join(self.refused(name), ROW).drop(REASONS)

    def refused(self, name: str) -> Any:
        """Refused rows of a table: ``row__`` and ``reason``, a line for each reason."""
        return self.engine.table(f"refused_{self.tables[name].place}")

    def _set_aside(self, checked: Checked, late: Any, rows: Any) -> None:
        checked.late, checked.rows = late, rows
        checked.left_out = int(late.count().execute())

    def _duplicates(self, name: str, checked: Checked, key: str) -> None:
        """A key may stand once: the first sound row by time, then by place in the file, keeps it."""
        rows = self.sound(name)
        twice = rows.group_by(key=rows[key]).having(ibis._.count() > 1).agg().filter(ibis._.key.notnull())
        rows = rows.semi_join(twice, rows[key] == twice.key)
        order = [rows[column] for column in (checked.uses.time, ROW) if column]
        place = ibis.row_number().over(group_by=rows[key], order_by=order)
        again = rows.select(ROW, key=rows[key], place=place).filter(ibis._.place > 0)
        self._add(name, again.select(ROW, reason=reason(key, "duplicate key", again.key)))

    def _dangling(self, name: str, changed: set[str]) -> bool:
        """Whether rows were added that link into a table that lost rows."""
        checked, added = self.tables[name], False
        for use in checked.uses.columns.values():
            for node in use.nodes:
                if not changed & self._homes(node) or (self._derived(node) and not checked.uses.auxiliary):
                    continue
                keys = self._keys(node, self.sound)
                rows = checked.rows.select(ROW, value=checked.rows[use.name]).filter(ibis._.value.notnull())
                lost = rows.anti_join(keys, rows.value == keys.key)
                lost = lost.select(ROW, reason=reason(use.name, f"no {node}", lost.value))
                added |= self._add(name, ibis.difference(lost, self.refused(name)))
        return added

    def _derived(self, node: str) -> bool:
        return self.schema.nodes[node].table is None

    def _homes(self, node: str) -> set[str]:
        """The tables whose rows make nodes of a type."""
        table = self.schema.nodes[node].table
        return {name for name, _, _ in mentions(self.schema, node)} if table is None else {table}

    def _keys(self, node: str, rows: Callable[[str], Any]) -> Any:
        """The keys of a node type as some rows have them, in a column ``key``; None where there are no such rows."""
        described = self.schema.nodes[node]
        places = [(described.table, described.key)]
        if described.table is None:
            places = [(table, column) for table, column, _ in mentions(self.schema, node)]
        tables = [(rows(str(table)), column) for table, column in places]
        keys = [table.select(key=table[column]) for table, column in tables if table is not None]
        return ibis.union(*keys) if len(keys) > 1 else next(iter(keys), None)

    def _add(self, name: str, rows: Any) -> bool:
        return bool(self.engine.add(f"refused_{self.tables[name].place}", rows))


def clock_literal(moment: int, clock: Clock) -> Any:
    """A moment as the database compares it with a time column."""
    if clock == "step":
        return ibis.literal(moment, "int64")
    return ibis.literal(datetime(1970, 1, 1) + timedelta(microseconds=moment), "timestamp(6)")
