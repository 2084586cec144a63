"""The order of the stages: one Kubeflow pipeline a purpose."""

from typing import Any

NAMES = ("training", "scoring", "monitoring")


def __getattr__(name: str) -> Any:
    """``PIPELINES``, by name: traced when they are first asked for, since they show the values of a params file."""
    if name != "PIPELINES":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipelines.monitoring import monitoring
    from pipelines.scoring import scoring
    from pipelines.training import training

    return {"training": training, "scoring": scoring, "monitoring": monitoring}
