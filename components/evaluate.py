"""Interface of the stage `evaluate`."""

from kfp.dsl import Dataset, Input, Model, Output

from components.stage import stage


@stage
def evaluate(
    model: Input[Model], graph: Input[Dataset], features: Input[Dataset], params: dict, evaluation: Output[Dataset]
) -> str:
    """Judge the models on the test part; the answer is `pass` or `block`."""
    from graphmill import evaluate as work

    return work.run(model.path, graph.path, features.path, evaluation.path, work.Params.parse(params, "evaluate"))
