"""The order of the stages: one Kubeflow pipeline a purpose."""

from pipelines.monitoring import monitoring
from pipelines.scoring import scoring
from pipelines.training import training

PIPELINES = {"training": training, "scoring": scoring, "monitoring": monitoring}

__all__ = ["PIPELINES", "monitoring", "scoring", "training"]
