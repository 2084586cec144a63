"""Tracking: what W&B is told of a stage's run; nothing fails and nothing waits where it cannot be told."""

from graphmill.tracking.params import Params as Params
from graphmill.tracking.places import RUN_VARIABLE as RUN_VARIABLE
from graphmill.tracking.places import new_group as new_group
from graphmill.tracking.stage import tracked as tracked

__all__ = ["RUN_VARIABLE", "Params", "new_group", "tracked"]
