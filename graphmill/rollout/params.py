"""Section `rollout`: in which steps a version takes over the traffic, and what ends it on the way."""

from typing import Literal, Self

from pydantic import Field, model_validator

from graphmill.params import Section


class Step(Section):
    """One step; it ends when both its time and its requests have passed and no guard is broken."""

    traffic: int = Field(ge=0, le=100)
    """Percent of the requests that the candidate answers; 0: shadow, it is asked beside the champion and not heard."""
    minutes: float = Field(default=10, ge=0, le=10_080)
    """Minutes that the step takes at least."""
    requests: int = Field(default=200, ge=0)
    """Requests that the candidate must have judged in this step, mirrored ones in the shadow."""


class Guards(Section):
    """What a candidate must keep to; `null` switches a guard off."""

    error_rate: float | None = Field(default=0.01, gt=0, lt=1)
    """Share of failed requests that it may have more than the champion."""
    latency_ratio: float | None = Field(default=1.4, gt=1)
    """Its 99th percentile of the time to answer may be so many times the champion's; two steps of the histogram."""
    score_distance: float | None = Field(default=0.15, gt=0, lt=1)
    """Largest distance of its scores' distribution function from the champion's (Kolmogorov and Smirnov's)."""
    disagreement: float | None = Field(default=0.1, gt=0, lt=1)
    """Share of the same requests that it decides otherwise than the champion."""
    precision: float | None = Field(default=0.1, gt=0, lt=1)
    """How much lower its share of true alarms may be than the champion's, as labels come."""
    false_alarm: float = Field(default=0.01, gt=0, lt=0.5)
    """Chance that a rollout of a model that keeps to every guard is rolled back, however often one looks."""


class Params(Section):
    """Section `rollout`."""

    target: Literal["local", "knative", "standard"] = "local"
    """Where: two processes on this machine, or KServe in one of its two modes."""
    context: str | None = None
    """Context of the kubeconfig; null: the cluster that this runs in, else the kubeconfig's current one."""
    shadow_share: float = Field(default=0.1, gt=0, le=1)
    """Share of the champion's requests that are mirrored to the candidate."""
    steps: tuple[Step, ...] = (
        Step(traffic=0), Step(traffic=5), Step(traffic=25, minutes=30), Step(traffic=100, minutes=30),
    )  # fmt: skip
    """The steps in their order; the last gives it all of the traffic, and makes it the champion at its end."""
    guards: Guards = Guards()
    """What ends it."""
    home: str = "rollouts"
    """Folder of the rollouts' states, one file a served name."""
    prometheus: str | None = None
    """URL of a PromQL endpoint that the guards ask, such as http://prometheus.monitoring:9090."""
    prediction_log: str | None = None
    """Folder of the prediction logs, for the guards that Prometheus cannot answer."""
    labels: str | None = None
    """Table with the labels that became known (Parquet or CSV: key, label), for the precision."""
    poll_seconds: float = Field(default=10, gt=0, le=3600)
    """Seconds between looks."""
    ready_minutes: float = Field(default=10, gt=0)
    """Minutes within which a change must have been carried out, or it is rolled back."""
    blind_minutes: float = Field(default=15, gt=0)
    """Minutes without an answer from the guards' sources after which it is rolled back."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        traffic = [step.traffic for step in self.steps]
        if not traffic or traffic[-1] != 100:
            raise ValueError("steps: the last must have traffic 100")
        if traffic != sorted(set(traffic)):
            raise ValueError(f"steps: traffic must rise from step to step, not {', '.join(map(str, traffic))}")
        return self
