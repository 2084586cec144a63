"""Interface of what a predictor needs beside the release."""

from kfp.dsl import Dataset, Input

from components.stage import stage


@stage
def publish(release: Input[Dataset], graph: Input[Dataset], features: Input[Dataset], params: dict):
    """Carry the snapshot, and released models that are elsewhere, to the claims that predictors read."""
    from graphmill.deploy import Params
    from graphmill.deploy import publish as work

    work.run(release.path, graph.path, features.path, Params.parse(params, "deploy"))
