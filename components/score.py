"""Interface of the stage `score`."""

from kfp.dsl import Dataset, Input, Model, Output

from components.stage import stage


@stage
def score(
    model: Input[Model],
    graph: Input[Dataset],
    features: Input[Dataset],
    params: dict,
    tracking: dict,
    predictions: Output[Dataset],
):
    """Score every node of the task's type and write predictions and embeddings."""
    from graphmill import score as work
    from graphmill.tracking import tracked

    with tracked("score", predictions.path, tracking):
        work.run(model.path, graph.path, features.path, predictions.path, work.Params.parse(params, "score"))
