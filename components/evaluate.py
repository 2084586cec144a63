"""Interface of the stage `evaluate`."""

from kfp.dsl import Dataset, Input, Model, Output

from components.stage import stage


@stage
def evaluate(
    model: Input[Model],
    graph: Input[Dataset],
    features: Input[Dataset],
    params: dict,
    tracking: dict,
    evaluation: Output[Dataset],
) -> str:
    """Judge the models on the test part; the answer is `pass` or `block`."""
    from graphmill import evaluate as work
    from graphmill.tracking import tracked

    with tracked("evaluate", evaluation.path, tracking):
        return work.run(model.path, graph.path, features.path, evaluation.path, work.Params.parse(params, "evaluate"))
