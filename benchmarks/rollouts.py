"""Simulated rollouts: what two models answer, as counts at every look."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphmill.rollout.observation import Observation, Seen

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Model:
    """How a model answers."""

    failing: float
    """Share of its requests that it does not answer."""
    times: Numbers
    """Shares of the steps of the time to answer ``[steps]``."""
    scores: Numbers
    """Shares of the steps of scores ``[20]``."""
    disagreeing: float
    """Share of the same requests that it decides otherwise."""
    precision: float
    """Share of its alarms that are true."""


@dataclass(frozen=True)
class Counts:
    """Counts since the beginning, at every look ``[rollouts, looks]``; histograms ``[rollouts, looks, steps]``.

    Every answer has a score, every request a comparison and a labelled alarm, so that each guard's delay is counted in
    its own evidence.
    """

    requests: Numbers
    failures: Numbers
    times: Numbers
    scores: Numbers
    disagreed: Numbers
    alarms: Numbers
    true: Numbers

    def at(self, places: NDArray[np.bool_]) -> "Counts":
        """Some of the looks ``[rollouts, looks]``, one after the other."""
        return Counts(**{name: counts[places] for name, counts in vars(self).items()})


def draw(model: Model, rollouts: int, looks: int, requests: int, random: np.random.Generator) -> Counts:
    """Rollouts with so many requests between two looks."""
    size = (rollouts, looks)
    asked = np.broadcast_to(requests * np.arange(1.0, looks + 1), size)

    def count(share: float) -> NDArray[np.int64]:
        return random.binomial(requests, share, size)

    def steps(shares: Numbers, many: NDArray[np.int64]) -> Numbers:
        return _summed(random.multinomial(many, shares / shares.sum()))

    failures, all_of_them = count(model.failing), np.full(size, requests)
    return Counts(
        asked, _summed(failures), steps(model.times, all_of_them), steps(model.scores, all_of_them - failures),
        _summed(count(model.disagreeing)), asked, _summed(count(model.precision)),
    )  # fmt: skip


def _summed(counts: NDArray[np.int64]) -> Numbers:
    """From the beginning to each look."""
    return counts.cumsum(1).astype(np.float64)


def observations(
    candidate: Counts, champion: Counts, bounds: Numbers, rollout: int, look: int
) -> tuple[Observation, Observation]:
    """What a source would tell at one look of one rollout: of requests of their own, and of mirrored ones."""

    def seen(counts: Counts) -> Seen:
        times, scores = counts.times[rollout, look].astype(int), counts.scores[rollout, look].astype(int)
        requests, failures, true = (int(one[rollout, look]) for one in (counts.requests, counts.failures, counts.true))
        latency = dict(zip(bounds.tolist(), times.tolist(), strict=True))
        steps = dict(zip((np.arange(1, 21) / 20).tolist(), scores.tolist(), strict=True))
        return Seen(requests, failures, latency, steps, requests, true)

    compared, disagreed = int(candidate.requests[rollout, look]), int(candidate.disagreed[rollout, look])
    return Observation(seen(champion), seen(candidate)), Observation(compared=compared, disagreed=disagreed)
