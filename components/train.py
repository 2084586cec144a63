"""Interface of the stage `train`."""

from kfp.dsl import Dataset, Input, Model, Output

from components.stage import stage


@stage
def train(graph: Input[Dataset], features: Input[Dataset], params: dict, tracking: dict, model: Output[Model]):
    """Train the network and its control models."""
    import os

    from graphmill import train as work
    from graphmill.tracking import tracked

    run = work.run
    if "GRAPHMILL_TRAINJOB" in os.environ:  # several machines, by `cluster.distributed`
        from components.trainjob import run
    with tracked("train", model.path, tracking):
        run(graph.path, features.path, model.path, work.Params.parse(params, "train"))
