"""Training on several machines: stage `train` starts a TrainJob of Kubeflow Trainer, waits, and fetches the model."""

from pathlib import Path

from graphmill.train import Params

VARIABLE = "GRAPHMILL_TRAINJOB"
"""Has the job as JSON, but for what a run knows alone; set where section `cluster.distributed` asks for one."""
NODE = "node"
"""What Kubeflow calls the job's replicated part and its container."""


def run(graph: str | Path, features: str | Path, model: str | Path, params: Params) -> None:
    """Train on several machines and write the model folder; a failed run resumes at its last epoch when tried again.

    Raises:
        UserError: for inputs that the machines cannot see, a cluster that refuses, a job that fails.
    """
    from components.trainjob.stage import run as work  # the names above are all that a pipeline needs

    work(graph, features, model, params)
