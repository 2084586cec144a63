"""Interface of the stage `deploy`."""

from kfp.dsl import Dataset, Input, Model, Output

from components.stage import stage


@stage
def deploy(model: Input[Model], evaluation: Input[Dataset], params: dict, tracking: dict, release: Output[Dataset]):
    """Register the model with its lineage, move its aliases and render what the cluster needs."""
    from graphmill import deploy as work
    from graphmill.tracking import tracked

    with tracked("deploy", release.path, tracking):
        work.run(model.path, evaluation.path, release.path, work.Params.parse(params, "deploy"))
