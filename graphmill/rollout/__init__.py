"""Rollout: a version takes over the traffic in steps that are watched, and any step is undone when a guard breaks."""

from graphmill.rollout.params import Params as Params

__all__ = ["Params"]
