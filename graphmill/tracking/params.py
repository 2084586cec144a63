"""Section `tracking`: what W&B is told of a run."""

from typing import Literal

from pydantic import Field

from graphmill.params import Section


class Params(Section):
    """Section `tracking`."""

    mode: Literal["auto", "offline", "off"] = "auto"
    """`auto` is online where an API key is set and offline where none is; `off` records nothing."""
    project: str = Field(default="graphmill", pattern=r"^[^/\\#?%:]{1,128}$")
    """W&B's project."""
    entity: str | None = None
    """W&B's user or team; the key's own unless given."""
