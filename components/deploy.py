"""Interface of the stage `deploy`."""

from kfp.dsl import Dataset, Input, Model, Output

from components.stage import stage


@stage
def deploy(
    model: Input[Model],
    evaluation: Input[Dataset],
    params: dict,
    rollout: dict,
    tracking: dict,
    release: Output[Dataset],
):
    """Register the model with its lineage, move its aliases and write what the cluster needs."""
    from graphmill import deploy as work
    from graphmill.rollout import Params as Rollout
    from graphmill.tracking import tracked

    with tracked("deploy", release.path, tracking):
        given = work.Params.parse(params, "deploy"), Rollout.parse(rollout, "rollout")
        work.run(model.path, evaluation.path, release.path, *given)
