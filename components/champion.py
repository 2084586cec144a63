"""Interface of what brings a model that exists into a pipeline."""

from kfp.dsl import Model, Output

from components.stage import stage


@stage
def champion(version: str, params: dict, model: Output[Model]):
    """Bring the champion, another version or alias of the registry, or the model in a folder."""
    from graphmill import artifact, registry
    from graphmill.deploy import Params

    artifact.copy(registry.find(version, Params.parse(params, "deploy").home), model.path)
