"""Pipeline `scoring`: predictions and embeddings of every node, with a model that exists."""

from kfp import dsl

import components as stages
from pipelines.defaults import PARAMS


@dsl.pipeline(name="scoring", description="Score every node of the task's type.")
def scoring(
    data: str = "data",
    model: str = "model",
    schema: dict = PARAMS["schema"],
    task: dict = PARAMS["task"],
    ingest: dict = PARAMS["ingest"],
    graph: dict = PARAMS["graph"],
    features: dict = PARAMS["features"] | {"fit": False},
    score: dict = PARAMS["score"],
    tracking: dict = PARAMS["tracking"],
):
    """Score every node of the task's type.

    1. ingest: clean tables   2. graph: ids and adjacencies   3. features: values and windows   4. score
    """
    source = dsl.importer(artifact_uri=data, artifact_class=dsl.Dataset, reimport=True)
    trained = dsl.importer(artifact_uri=model, artifact_class=dsl.Model, reimport=True)
    source.set_display_name("data")
    trained.set_display_name("model")
    tables = stages.ingest(data=source.output, schema=schema, task=task, params=ingest, tracking=tracking)
    network = stages.graph(tables=tables.outputs["tables"], params=graph, tracking=tracking)
    values = stages.features(
        tables=tables.outputs["tables"], graph=network.outputs["graph"], params=features, tracking=tracking
    )
    stages.score(
        model=trained.output,
        graph=network.outputs["graph"],
        features=values.outputs["features"],
        params=score,
        tracking=tracking,
    )
