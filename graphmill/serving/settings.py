"""Everything that a server is told when it starts: one flag a field."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NoReturn, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic.fields import FieldInfo

from graphmill.errors import UserError
from graphmill.params import Section

STREAM = "GRAPHMILL_STREAM"
"""Environment variable that may hold the stream's URL, where it has a password."""


class Settings(Section):
    """What the server serves, where it listens, and how much it takes on."""

    model: str
    """The model: its folder, a version or alias of the registry, or a storage URI."""
    graph: Path
    """Folder above `graph/` and `features/`, the snapshot that the model is served over; a new one there is taken
    over."""
    registry: str = "registry"
    """The registry's home, where the model is named by its version or alias."""
    state: Path | None = None
    """Folder for what must outlive the process: the log of events and compacted snapshots. Without one, no events are
    taken."""
    engine: Literal["auto", "numba", "onnx"] = "auto"
    """What computes a network; `auto` takes the fastest that the model's kind has."""
    neighbours: int = Field(default=10_000, ge=0)
    """Entities: neighbours read of each relation and hop at the most, drawn where there are more; 0 reads all."""
    hidden: Path | None = None
    """Folder of predictions with stored hidden rows (`score.hidden`): a `sage` network then reads one hop less."""
    hidden_age: int = Field(default=604_800, ge=0, le=1_000_000_000)
    """Seconds, or steps, that a stored row may be older than the question; older ones are computed and kept anew."""
    compact_after: int = Field(default=1_000_000, ge=1)
    """Events applied to a snapshot before it is compacted with them."""
    remember: int = Field(default=1_000_000, ge=1)
    """Newest events whose ids are remembered, so that one that is sent again is not applied again."""
    retain: int = Field(default=10_000_000, ge=0)
    """Events kept in the log although a compacted snapshot holds them: so far back can answers be computed again,
    and snapshots of the stages be taken over."""
    room_nodes: int = Field(default=4_000_000, ge=1_000)
    """Room for new nodes of each type beside a snapshot; what is not used takes no memory."""
    room_edges: int = Field(default=64_000_000, ge=10_000)
    """Room for new edges of each relation, and for rows that grow, beside a snapshot; what is not used takes none."""
    model_name: str = Field(default="model", pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]{0,62}[A-Za-z0-9])?$")
    """Name of the model in the paths of every protocol."""
    http_port: int = Field(default=8080, ge=1, le=65535)
    """Port of both REST protocols and the metrics."""
    grpc_port: int = Field(default=8081, ge=1, le=65535)
    """Port of gRPC."""
    enable_grpc: bool = True
    """Whether gRPC is served."""
    workers: int = 1
    """Processes; always 1."""
    grace: int = Field(default=30, ge=0, le=3600)
    """Seconds that running requests have to end when the server is told to stop; REST, then gRPC."""
    queue_limit: int = Field(default=4096, ge=1)
    """Instances that may wait; what comes on top is refused with 429."""
    batch_limit: int = Field(default=256, ge=1)
    """Instances that one forward pass takes; a single larger request still goes through whole."""
    deadline_ms: int = Field(default=2000, ge=1, le=600_000)
    """Milliseconds within which a request has its turn; a request may ask for less, never for more."""
    instances_limit: int = Field(default=1000, ge=1)
    """Instances of one request."""
    explanations_limit: int = Field(default=4, ge=1)
    """Instances of one request that asks for explanations: nothing else is answered while they are computed."""
    links_limit: int = Field(default=64, ge=0)
    """Links of one instance."""
    edges_limit: int = Field(default=1000, ge=0)
    """Edges of one instance."""
    columns_limit: int = Field(default=1000, ge=0)
    """Columns of one instance, and of one of its edges."""
    events_limit: int = Field(default=10_000, ge=1)
    """Events of one request."""
    body_limit: int = Field(default=8 * 1024 * 1024, ge=1024)
    """Bytes of a request's body, also when it is unpacked."""
    text_limit: int = Field(default=1000, ge=1)
    """Characters of a key, a name or a value."""
    nesting_limit: int = Field(default=8, ge=4, le=64)
    """Levels of lists and objects inside one instance or event."""
    token_file: Path | None = None
    """File with the token for events and administration; else the environment's GRAPHMILL_TOKEN."""
    insecure_local: bool = False
    """Take events and administration without a token, and listen on 127.0.0.1 alone."""
    stream: str | None = None
    """URL of the Redis that events are read from; in the environment's GRAPHMILL_STREAM where it has a password."""
    stream_name: str = Field(default="graphmill:events", min_length=1)
    """The stream's key."""
    stream_group: str = Field(default="graphmill", min_length=1)
    """Consumer group of the stream; each replica that has its own state needs its own."""
    prediction_log: str | None = None
    """Folder or URL that answers are logged to."""
    prediction_share: float = Field(default=1.0, ge=0, le=1)
    """Share of the answers that are logged."""
    shadow: Path | None = None
    """File that names a candidate that a share of the answered requests is mirrored to; it may change at any time."""
    access_log: bool = False
    """One line a request; costs about a third of a small request's time."""
    latency_log: bool = False
    """KServe's line a request with the time of each step."""

    @field_validator("workers")
    @classmethod
    def _one(cls, value: int) -> int:
        if value != 1:
            raise ValueError("must be 1: with more, KServe kills whoever starts slowly; run more replicas instead")
        return value

    @field_validator("stream")
    @classmethod
    def _no_password(cls, value: str | None) -> str | None:
        if value and urlsplit(value).scheme not in ("redis", "rediss", "unix"):
            raise ValueError("must be a URL such as redis://host:6379/0")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.instances_limit > self.queue_limit:
            raise ValueError("instances_limit: must be at most queue_limit, or the largest request never has room")
        if self.enable_grpc and self.grpc_port == self.http_port:
            raise ValueError("grpc_port: must differ from http_port")
        return self


def parse(arguments: Sequence[str]) -> Settings:
    """The settings of a command line, whose flags may be written with ``-`` or ``_``.

    Raises:
        UserError: for every flag that is unknown, missing or wrong.
    """
    given, unknown = _parser().parse_known_args([_underscored(argument) for argument in arguments])
    if unknown:
        raise UserError(f"unknown argument {unknown[0]!r}; --help lists them")
    values = vars(given)
    if values.get("stream") and urlsplit(values["stream"]).password:
        raise UserError(f"stream: a password is seen by everyone on this machine; put the URL into {STREAM}")
    if "stream" not in values and os.environ.get(STREAM):
        values["stream"] = os.environ[STREAM]
    return Settings.parse(values)


class _Parser(argparse.ArgumentParser):
    """Tells what is wrong as every other mistake is told."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; --help lists the arguments")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m graphmill.serving",
        description="Serve a model over a live graph: REST v1, the Open Inference Protocol and gRPC.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    for name, field in Settings.model_fields.items():
        switch = {"nargs": "?", "const": "true"} if field.annotation is bool else {}
        parser.add_argument(f"--{name}", help=_help(field), metavar=name.upper(), **switch)  # type: ignore[arg-type]
    return parser


def _help(field: FieldInfo) -> str:
    text = " ".join((field.description or "").split()).replace("%", "%%")
    default = "required" if field.is_required() else f"default: {field.default}"
    return text if field.default is None and not field.is_required() else f"{text} ({default})"


def _underscored(argument: str) -> str:
    name, sign, value = argument.partition("=")
    return name[:2] + name[2:].replace("-", "_") + sign + value if name.startswith("--") else argument
