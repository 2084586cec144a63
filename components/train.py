"""Interface of the stage `train`."""

from kfp.dsl import Dataset, Input, Model, Output

from components.stage import stage


@stage
def train(graph: Input[Dataset], features: Input[Dataset], params: dict, tracking: dict, model: Output[Model]):
    """Train the network and its control models."""
    from graphmill import train as work
    from graphmill.tracking import tracked

    with tracked("train", model.path, tracking):
        work.run(graph.path, features.path, model.path, work.Params.parse(params, "train"))
