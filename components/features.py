"""Interface of the stage `features`."""

from kfp.dsl import Dataset, Input, Output

from components.stage import stage


@stage
def features(tables: Input[Dataset], graph: Input[Dataset], params: dict, tracking: dict, features: Output[Dataset]):
    """Write raw values, point-in-time windows, fitted transforms, examples and their split."""
    from graphmill import features as work
    from graphmill.tracking import tracked

    with tracked("features", features.path, tracking):
        work.run(tables.path, graph.path, features.path, work.Params.parse(params, "features"))
