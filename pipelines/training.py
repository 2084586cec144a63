"""Pipeline `training`: from source tables to a judged, registered model."""

from kfp import dsl

import components as stages
from pipelines.defaults import PARAMS


@dsl.pipeline(name="training", description="Train, judge and register a model.")
def training(
    data: str = "data",
    schema: dict = PARAMS["schema"],
    task: dict = PARAMS["task"],
    ingest: dict = PARAMS["ingest"],
    graph: dict = PARAMS["graph"],
    features: dict = PARAMS["features"],
    train: dict = PARAMS["train"],
    evaluate: dict = PARAMS["evaluate"],
    deploy: dict = PARAMS["deploy"],
    rollout: dict = PARAMS["rollout"],
    tracking: dict = PARAMS["tracking"],
):
    """Train, judge and register a model.

    1. ingest: clean tables   2. graph: ids and adjacencies   3. features: values, windows, examples
    4. train: the network and its controls   5. evaluate: metrics and gates   6. deploy: register, move aliases
    """
    source = dsl.importer(artifact_uri=data, artifact_class=dsl.Dataset, reimport=True)
    source.set_display_name("data")
    tables = stages.ingest(data=source.output, schema=schema, task=task, params=ingest, tracking=tracking)
    network = stages.graph(tables=tables.outputs["tables"], params=graph, tracking=tracking)
    values = stages.features(
        tables=tables.outputs["tables"], graph=network.outputs["graph"], params=features, tracking=tracking
    )
    model = stages.train(
        graph=network.outputs["graph"], features=values.outputs["features"], params=train, tracking=tracking
    )
    judged = stages.evaluate(
        model=model.outputs["model"],
        graph=network.outputs["graph"],
        features=values.outputs["features"],
        params=evaluate,
        tracking=tracking,
    )
    release = stages.deploy(
        model=model.outputs["model"],
        evaluation=judged.outputs["evaluation"],
        params=deploy,
        rollout=rollout,
        tracking=tracking,
    )
    judged.set_caching_options(False)  # it asks the registry for the champion
    release.set_caching_options(False)  # it moves aliases
