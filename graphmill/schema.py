"""What the tables mean: node types, edge types and columns. The code knows nothing else about them."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from graphmill.params import Section, quoted

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
Kind = Literal["numeric", "category", "boolean", "timestamp", "vector"]


def _table(value: str) -> str:
    if not value or value.startswith(".") or set(value) & set("/\\"):
        raise ValueError("must be the name of a table: not empty, not a path, no dot in front")
    return value


Table = Annotated[str, AfterValidator(_table)]


class Column(Section):
    """One column; ``amount: numeric`` is short for ``amount: {kind: numeric}``. Any value may be missing."""

    kind: Kind
    """How the column is read."""
    required: bool = False
    """Whether a row without it is refused."""
    minimum: float | None = None
    """Smallest value allowed (numeric)."""
    maximum: float | None = None
    """Largest value allowed (numeric)."""
    categories: list[str] | None = None
    """The values allowed (category); without it every value is."""
    scale: Literal["standard", "quantile", "log", "none"] | None = None
    """How the column is scaled; without it, as `features.scale` says."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @field_validator("categories", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return [quoted(item) for item in value] if isinstance(value, list) else value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind != "numeric" and (self.minimum is not None or self.maximum is not None):
            raise ValueError(f"minimum and maximum are for numeric columns, not {self.kind}")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum:g} is above maximum {self.maximum:g}")
        if self.kind != "category" and self.categories is not None:
            raise ValueError(f"categories are for category columns, not {self.kind}")
        if self.kind not in ("numeric", "vector") and self.scale is not None:
            raise ValueError(f"scale is for numeric and vector columns, not {self.kind}")
        return self


class Link(Section):
    """A foreign key; ``customer_id: customer`` is short for ``customer_id: {node: customer}``."""

    node: str
    """The node type whose key the column holds."""
    required: bool = False
    """Whether a row without it is refused."""
    reverse: bool = True
    """Whether messages also flow from the linked node to this one."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"node": value} if isinstance(value, str) else value


class NodeType(Section):
    """Entities or events. Without a table its nodes are the keys that links and edges mention."""

    table: Table | None = None
    """The table with one row a node."""
    key: str | None = None
    """The column that names a node: unique, never missing."""
    time: str | None = None
    """When the row came to be; before that moment nothing reads it. An event has one."""
    columns: dict[str, Column] = Field(default_factory=dict)
    """The columns that may become features."""
    links: dict[str, Link] = Field(default_factory=dict)
    """Foreign keys, each an edge type of its own."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.table is not None and self.key is None:
            raise ValueError("a node type with a table needs `key`")
        if self.table is None and (self.key or self.time or self.columns or self.links):
            raise ValueError("a node type without a `table` has no key, time, columns or links")
        return self


class EdgeType(Section):
    """A table with one row an edge."""

    table: Table
    """The table."""
    source: dict[str, str]
    """Where messages come from: ``{node type: column}``."""
    target: dict[str, str]
    """Where messages go to: ``{node type: column}``."""
    time: str | None = None
    """When the edge came to be."""
    columns: dict[str, Column] = Field(default_factory=dict)
    """The columns that may become edge features."""
    reverse: bool = True
    """Whether messages also flow from target to source, as an edge type ``rev_<name>``."""
    undirected: bool = False
    """Whether each row is one edge in both directions of the same type."""

    @field_validator("source", "target")
    @classmethod
    def _one(cls, value: dict[str, str]) -> dict[str, str]:
        if len(value) != 1:
            raise ValueError("must be one {node type: column}")
        return value

    @model_validator(mode="after")
    def _same(self) -> Self:
        if self.undirected and self.source_node != self.target_node:
            raise ValueError("an undirected edge type joins nodes of one type")
        return self

    @property
    def source_node(self) -> str:
        return next(iter(self.source))

    @property
    def target_node(self) -> str:
        return next(iter(self.target))

    @property
    def source_column(self) -> str:
        return self.source[self.source_node]

    @property
    def target_column(self) -> str:
        return self.target[self.target_node]


class Schema(Section):
    """Section `schema`: everything graphmill knows about the tables."""

    time: Literal["timestamp", "step"] = "timestamp"
    """The clock: dates and times, or whole-numbered steps."""
    time_unit: Literal["s", "ms", "us"] = "s"
    """What a number means where a timestamp column holds numbers (since 1970)."""
    nodes: dict[str, NodeType] = Field(min_length=1)
    """Node types by name."""
    edges: dict[str, EdgeType] = Field(default_factory=dict)
    """Edge tables by name."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in (*self.nodes, *self.edges):
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a name: a letter, then letters, digits and _ only")
        for name, node_type in self.nodes.items():
            if node_type.table is None and name in self.tables():
                raise ValueError(f"nodes.{name}: has no table, so it cannot have the name of one; rename it")
        relations = [relation.name for relation in self.relations()]
        for name in relations:
            if relations.count(name) > 1:
                raise ValueError(f"edge type {name!r} is declared twice")
        for relation in self.relations():
            for node in (relation.source, relation.target):
                if node not in self.nodes:
                    raise ValueError(f"{relation.where}: no node type {node!r}; known: {', '.join(self.nodes)}")
        return self

    def relations(self) -> list["Relation"]:
        """Every edge type that messages flow along, by name, reverses after their own."""
        found = []
        for node, description in self.nodes.items():
            for column, link in description.links.items():
                found += _link_relations(node, column, link)
        for name, edge in self.edges.items():
            found += _edge_relations(name, edge)
        return found

    def tables(self) -> list[str]:
        """Names of the tables, each once, by the name of their type."""
        names = [node.table for node in self.nodes.values()] + [edge.table for edge in self.edges.values()]
        return list(dict.fromkeys(name for name in names if name))


class Relation(Section):
    """One edge type as the graph stores it: the in-neighbours (source) of each target node."""

    source: str
    label: str
    target: str
    node: str | None = None
    """The node type whose link this is, else None."""
    edge: str | None = None
    """The edge table this is, else None."""
    column: str | None = None
    """The link's column."""
    reversed: bool = False
    """Whether messages flow against the declared direction."""
    undirected: bool = False

    @property
    def name(self) -> str:
        """Folder name: ``<source>.<relation>.<target>``."""
        return f"{self.source}.{self.label}.{self.target}"

    @property
    def where(self) -> str:
        """Where the schema declares it."""
        return f"nodes.{self.node}.links.{self.column}" if self.node else f"edges.{self.edge}"


def _link_relations(node: str, column: str, link: Link) -> list[Relation]:
    label = re.sub(r"\W", "_", column)
    forward = Relation(source=node, label=label, target=link.node, node=node, column=column)
    back = Relation(source=link.node, label=f"rev_{label}", target=node, node=node, column=column, reversed=True)
    return [forward, back] if link.reverse else [forward]


def _edge_relations(name: str, edge: EdgeType) -> list[Relation]:
    source, target = edge.source_node, edge.target_node
    forward = Relation(source=source, label=name, target=target, edge=name, undirected=edge.undirected)
    back = Relation(source=target, label=f"rev_{name}", target=source, edge=name, reversed=True)
    return [forward, back] if edge.reverse and not edge.undirected else [forward]
