"""What each table is used for: every column that schema and task name, with what it must hold."""

from dataclasses import dataclass, field
from typing import Literal

from graphmill.errors import UserError
from graphmill.schema import Column, Schema
from graphmill.task import Task

Kind = Literal["key", "link", "time", "numeric", "category", "boolean", "vector", "label", "text"]


@dataclass
class Use:
    """One column of a table."""

    name: str
    kind: Kind
    required: bool = False
    node: str | None = None
    """The node type whose key a link holds."""
    rules: Column | None = None
    """Range or categories, from the schema."""


@dataclass
class TableUses:
    """One table: its columns, its key, the column its rows are ordered by."""

    table: str
    columns: dict[str, Use] = field(default_factory=dict)
    key: str | None = None
    time: str | None = None
    order: list[str] = field(default_factory=list)
    auxiliary: bool = False
    """A table of labels or splits: its keys must be nodes, and it makes none."""

    def add(self, use: Use) -> None:
        """Add a column; two uses of one column must agree, and the stricter counts."""
        old = self.columns.get(use.name)
        if old is None or old.kind == "text":
            self.columns[use.name] = use
            return
        identifiers = {"key", "link"}
        if old.kind != use.kind and use.kind != "text" and not {old.kind, use.kind} <= identifiers:
            raise UserError(f"table {self.table!r}: column {use.name!r} is used as {old.kind} and as {use.kind}")
        old.required = old.required or use.required
        old.node = old.node or use.node


def table_uses(schema: Schema, task: Task) -> dict[str, TableUses]:
    """Every table that schema and task name, by name."""
    found: dict[str, TableUses] = {}
    for node in schema.nodes.values():
        if node.table is None:
            continue
        table = found.setdefault(node.table, TableUses(node.table))
        if table.key is not None and table.key != node.key:
            raise UserError(f"table {node.table!r} has two keys: {table.key!r} and {node.key!r}")
        table.key, table.time = node.key, node.time
        table.order = [name for name in (node.time, node.key) if name]
        table.add(Use(str(node.key), "key", required=True))
        _columns(table, node.time, node.columns)
        for name, link in node.links.items():
            table.add(Use(name, "link", link.required, link.node))
    for edge in schema.edges.values():
        table = found.setdefault(edge.table, TableUses(edge.table))
        table.time = table.time or edge.time
        table.order = table.order or [name for name in (edge.time, edge.source_column, edge.target_column) if name]
        table.add(Use(edge.source_column, "link", True, edge.source_node))
        table.add(Use(edge.target_column, "link", True, edge.target_node))
        _columns(table, edge.time, edge.columns)
    _task(found, schema, task)
    return found


def _columns(table: TableUses, time: str | None, columns: dict[str, Column]) -> None:
    if time is not None:
        table.add(Use(time, "time", required=True))
    for name, column in columns.items():
        kind: Kind = "time" if column.kind == "timestamp" else column.kind
        table.add(Use(name, kind, column.required, rules=column))


def _task(found: dict[str, TableUses], schema: Schema, task: Task) -> None:
    if task.node not in schema.nodes:
        raise UserError(f"task.node: no node type {task.node!r}; known: {', '.join(schema.nodes)}")
    own = schema.nodes[task.node].table
    label = _auxiliary(found, task.label.table, task.label.key, task.node, own, "task.label")
    label.add(Use(task.label.column, "label"))
    for name in (task.label.known_at, task.label.since):
        if name is not None:
            label.add(Use(name, "time"))
    if task.split.kind == "column":
        split = _auxiliary(found, task.split.table, task.split.key, task.node, own, "task.split")
        for name in task.split.columns:
            split.add(Use(name, "text"))
    if task.slices and own is None:
        raise UserError(f"task.slices: node type {task.node!r} has no table")
    for name in task.slices:
        if name not in found[str(own)].columns:
            found[str(own)].add(Use(name, "text"))


def _auxiliary(
    found: dict[str, TableUses], table: str | None, key: str | None, node: str, own: str | None, name: str
) -> TableUses:
    """The table that holds labels or splits: the node's own or another one with its key."""
    if table is None or key is None:
        if own is None:
            raise UserError(f"{name}: node type {node!r} has no table; name the table that has it with `table` and `key`")
        return found[own]
    if table in found and not found[table].auxiliary:
        raise UserError(f"{name}.table: {table!r} is already a table of the schema")
    uses = found.setdefault(table, TableUses(table, key=key, order=[key], auxiliary=True))
    uses.add(Use(key, "link", True, node))
    return uses
