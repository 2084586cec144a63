"""Tracking: what W&B is told of a stage's run; nothing fails and nothing waits where it cannot be told."""

from graphmill.tracking.params import Params as Params

__all__ = ["Params"]
