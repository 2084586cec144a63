"""Pipeline `training`: from source tables to a judged, registered model."""

from kfp import dsl

import components as stages
from pipelines.defaults import PARAMS
from pipelines.placement import placed


@dsl.pipeline(name="training", display_name="Graphmill training", description="Train, judge and register a model.")
@placed
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
    revision: str = "",
):
    """Train, judge and register a model.

    1. ingest: clean tables   2. graph: ids and adjacencies   3. features: values, windows, examples
    4. train: the network and its controls   5. evaluate: metrics and gates   6. deploy: register, move aliases

    Args:
        data: Folder of the source tables: a URI of the object store (`s3://bucket/data`).
        schema: What the tables are: nodes, edges, columns.
        task: What is predicted, for whom, and how examples are split.
        ingest: Data contract, as-of moment, memory.
        graph: Memory and threads of the graph's making.
        features: Scaling, windows, structure.
        train: The network, its training and the control models.
        evaluate: Gates, margins, slices, the model card's words.
        deploy: Name, registry, namespace, images of the release.
        rollout: Steps and guards with which a new version takes over the traffic.
        tracking: What W&B is told.
        revision: Commit that is told how the run ended; the image's own unless given.
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
    stages.publish(
        release=release.outputs["release"],
        graph=network.outputs["graph"],
        features=values.outputs["features"],
        params=deploy,
    )
