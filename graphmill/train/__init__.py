"""Stage `train`: the network, and the control models that it must beat."""

from pathlib import Path

from graphmill.train.params import Params as Params

LOST = "lost another one"
"""How a process says that it ended since one that it trains together with did."""


def run(graph: str | Path, features: str | Path, model: str | Path, params: Params) -> None:
    """Train on every split and write the model folder; a killed run resumes at its last epoch.

    Raises:
        UserError: for altered inputs, a GPU that is not there, training that diverges.
    """
    # who only reads the parameters needs no torch
    if params.processes > 1:
        from graphmill.train.launch import run as together

        together(graph, features, model, params)
        return
    from graphmill.train.stage import run as work

    work(graph, features, model, params)
