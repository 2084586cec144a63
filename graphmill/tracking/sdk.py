"""W&B's SDK: the one place that imports it, and only when it is asked for."""

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
