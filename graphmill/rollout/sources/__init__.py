"""Where the guards' observations come from: Prometheus, the prediction log with labels, or several together."""

from pathlib import Path

from graphmill.errors import UserError
from graphmill.rollout.observation import Source
from graphmill.rollout.params import Params
from graphmill.rollout.sources.joined import Joined
from graphmill.rollout.sources.labels import Labels
from graphmill.rollout.sources.prediction_log import PredictionLog
from graphmill.rollout.sources.prometheus import Prometheus

__all__ = ["join", "open"]


def open(params: Params) -> Source:
    """The sources that the parameters name, as one. Nothing is asked yet.

    Raises:
        UserError: when they name none: a rollout that nobody watches is not begun.
    """
    found = _named(params)
    if not found:
        raise UserError("the guards have nothing to read: give rollout.prometheus or rollout.prediction_log")
    return found[0] if len(found) == 1 else Joined(*found)


def join(first: Source, params: Params) -> Source:
    """A target's own source, and behind it those that the parameters name: what the first sees counts.

    Raises:
        UserError: when a parameter makes no sense.
    """
    found = _named(params)
    return Joined(first, *found) if found else first


def _named(params: Params) -> list[Source]:
    found: list[Source] = []
    if params.prometheus is not None:
        found.append(Prometheus(params.prometheus))
    if params.prediction_log is not None:
        labels = None if params.labels is None else Labels(Path(params.labels))
        found.append(PredictionLog(Path(params.prediction_log), labels))
    elif params.labels is not None:
        raise UserError("rollout.labels: needs rollout.prediction_log, where it stands which key was alarmed")
    return found
