"""What each table is used for: every column that schema and task name, with what it must hold."""

from dataclasses import dataclass, field
from typing import Literal

from graphmill.errors import UserError
from graphmill.schema import Column, Schema
from graphmill.task import Task

Kind = Literal["key", "link", "time", "numeric", "category", "boolean", "vector", "label", "text"]
IDENTIFIERS = {"key", "link"}


@dataclass
class Use:
    """One column of a table."""

    name: str
    kind: Kind
    required: bool = False
    nodes: list[str] = field(default_factory=list)
    """The node types whose key a link holds."""
    rules: list[Column] = field(default_factory=list)
    """Range or categories, from the schema."""


@dataclass
class TableUses:
    """One table: its columns, its key, the columns its rows are ordered by."""

    table: str
    columns: dict[str, Use] = field(default_factory=dict)
    key: str | None = None
    time: str | None = None
    order: list[str] = field(default_factory=list)
    """What orders rows of one time: the key, or source and target."""
    auxiliary: bool = False
    """A table of labels or splits: its keys must be nodes, and it makes none."""

    def add(self, use: Use) -> None:
        """Add a column; two uses of one column must agree, and both count."""
        old = self.columns.get(use.name)
        if old is None or old.kind == "text":
            self.columns[use.name] = use
            return
        if old.kind != use.kind and use.kind != "text" and not {old.kind, use.kind} <= IDENTIFIERS:
            raise UserError(f"table {self.table!r}: column {use.name!r} is used as {old.kind} and as {use.kind}")
        old.required = old.required or use.required
        old.nodes += [node for node in use.nodes if node not in old.nodes]
        old.rules += use.rules

    def clocked(self, time: str | None) -> None:
        """Set the time of the rows; a table has one."""
        if self.time is not None and time not in (None, self.time):
            raise UserError(
                f"table {self.table!r} has two times: {self.time!r} and {time!r}; give one of its types another "
                "name of a table, and let ingest.sources point both at the same files"
            )
        self.time = self.time or time


def table_uses(schema: Schema, task: Task) -> dict[str, TableUses]:
    """Every table that schema and task name, by name."""
    found: dict[str, TableUses] = {}
    for node in schema.nodes.values():
        if node.table is None or node.key is None:
            continue
        table = found.setdefault(node.table, TableUses(node.table))
        if table.key not in (None, node.key):
            raise UserError(f"table {node.table!r} has two keys: {table.key!r} and {node.key!r}")
        table.key, table.order = node.key, [node.key]
        table.add(Use(node.key, "key", required=True))
        _columns(table, node.time, node.columns)
        for name, link in node.links.items():
            table.add(Use(name, "link", link.required, [link.node]))
    for edge in schema.edges.values():
        table = found.setdefault(edge.table, TableUses(edge.table))
        table.order = table.order or [edge.source_column, edge.target_column]
        table.add(Use(edge.source_column, "link", True, [edge.source_node]))
        table.add(Use(edge.target_column, "link", True, [edge.target_node]))
        _columns(table, edge.time, edge.columns)
    _task(found, schema, task)
    return found


def mentions(schema: Schema, node: str) -> list[tuple[str, str, str | None]]:
    """Where links and edges mention a node type: (table, column, time)."""
    found = []
    for described in schema.nodes.values():
        links = [column for column, link in described.links.items() if link.node == node]
        found += [(str(described.table), column, described.time) for column in links]
    for edge in schema.edges.values():
        ends = ((edge.source_node, edge.source_column), (edge.target_node, edge.target_column))
        found += [(edge.table, column, edge.time) for end, column in ends if end == node]
    return found


def _columns(table: TableUses, time: str | None, columns: dict[str, Column]) -> None:
    table.clocked(time)
    if time is not None:
        table.add(Use(time, "time", required=True))
    for name, column in columns.items():
        kind: Kind = "time" if column.kind == "timestamp" else column.kind
        table.add(Use(name, kind, column.required, rules=[column]))


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
            raise UserError(
                f"{name}: node type {node!r} has no table; name the table that has it with `table` and `key`"
            )
        return found[own]
    if table in found and not found[table].auxiliary:
        raise UserError(f"{name}.table: {table!r} is already a table of the schema")
    uses = found.setdefault(table, TableUses(table, key=key, order=[key], auxiliary=True))
    if uses.key != key:
        raise UserError(f"table {table!r} has two keys: {uses.key!r} and {key!r}")
    uses.add(Use(key, "link", True, [node]))
    return uses
