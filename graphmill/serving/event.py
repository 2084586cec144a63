"""What happens to the live graph: a new or changed node, an edge, a label. Typed at the door, applied elsewhere."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from graphmill.serving.instance import Strict, Text


class NodeEvent(Strict):
    """A new node or, for a key that is known, new values of the columns given."""

    id: str = Field(min_length=1, max_length=200)
    """Names the event: the same id is applied once, however often it is sent."""
    kind: Literal["node"]
    type: str
    """The node type of the schema."""
    key: Text
    """Key of the node."""
    time: str | int | None = None
    """When the row came to be (required for a new node whose type has a time), or when it changed."""
    columns: dict[str, Any] = Field(default_factory=dict)
    """Columns by name; what is left out is missing, or stays as it was."""
    links: dict[str, Text | None] = Field(default_factory=dict)
    """Foreign keys by column; a node's links never change once it is known."""


class EdgeEvent(Strict):
    """A new edge of an edge table."""

    id: str = Field(min_length=1, max_length=200)
    """Names the event."""
    kind: Literal["edge"]
    type: str
    """The edge table of the schema."""
    source: Text
    """Key of the source node."""
    target: Text
    """Key of the target node."""
    time: str | int | None = None
    """When it happened; required where the schema's edge has a time."""
    columns: dict[str, Any] = Field(default_factory=dict)
    """Columns by name; what is left out is missing."""


class LabelEvent(Strict):
    """A label of a node of the task's type that became known."""

    id: str = Field(min_length=1, max_length=200)
    """Names the event."""
    kind: Literal["label"]
    key: Text
    """Key of the node."""
    value: bool
    """The label."""
    known_at: str | int | None = None
    """When it became known, where the schema's label has a column for that."""


Event = Annotated[NodeEvent | EdgeEvent | LabelEvent, Field(discriminator="kind")]
EVENTS: TypeAdapter[list[NodeEvent | EdgeEvent | LabelEvent]] = TypeAdapter(list[Event])
"""Checks a list of events: ``EVENTS.validate_python(...)``."""
