"""W&B's SDK: the one place that imports it, and only when it is asked for."""

from pathlib import Path
from typing import Any

from graphmill.errors import UserError


def load() -> Any:
    """The module ``wandb``.

    Raises:
        UserError: when it is not installed.
    """
    try:
        import wandb
    except ImportError as error:
        raise UserError("wandb is not installed; install the extra `stage`, or choose another home or mode") from error
    return wandb


def sync(folder: Path) -> None:
    """W&B's own ``wandb sync`` of one run's folder, which leaves a mark beside the run when all arrived.

    Raises:
        Exception: whatever the command raises; it is not told apart.
    """
    from wandb.cli.cli import cli

    cli(["sync", str(folder)], standalone_mode=False)
