"""Section `tracking`: what W&B is told of a run."""

from typing import Literal

from pydantic import Field

from graphmill.params import Section


class Params(Section):
    """Section `tracking`."""

    mode: Literal["auto", "offline", "off"] = "auto"
    """`auto` is online where an API key is set and offline where none is; `off` records nothing."""
    project: str = Field(default="graphmill", pattern=r"^[^/\\#?%:]{1,128}$")
    """W&B's project, where `WANDB_PROJECT` does not name one."""
    entity: str | None = None
    """W&B's user or team, where `WANDB_ENTITY` does not name one; the key's own unless given."""
    patience: float = Field(default=60.0, gt=0, le=3600)
    """Seconds that a stage waits for its run to be recorded and sent; what is not sent by then waits for a sync."""
