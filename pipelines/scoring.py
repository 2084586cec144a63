"""Pipeline `scoring`: predictions and embeddings of every node, with a model that exists."""

from kfp import dsl

import components as stages
from pipelines.defaults import PARAMS
from pipelines.placement import placed


@dsl.pipeline(name="scoring", display_name="Graphmill scoring", description="Score every node of the task's type.")
@placed
def scoring(
    data: str = "data",
    model: str = "champion",
    schema: dict = PARAMS["schema"],
    task: dict = PARAMS["task"],
    ingest: dict = PARAMS["ingest"],
    graph: dict = PARAMS["graph"],
    features: dict = PARAMS["features"] | {"fit": False},
    score: dict = PARAMS["score"],
    deploy: dict = PARAMS["deploy"],
    tracking: dict = PARAMS["tracking"],
    revision: str = "",
):
    """Score every node of the task's type.

    1. ingest: clean tables   2. graph: ids and adjacencies   3. features: values and windows   4. score

    Args:
        data: Folder of the source tables: a URI of the object store (`s3://bucket/data`).
        model: Model that scores: an alias or version of the registry, or a folder.
        schema: What the tables are: nodes, edges, columns.
        task: What is predicted, for whom, and how examples are split.
        ingest: Data contract, as-of moment, memory.
        graph: Memory and threads of the graph's making.
        features: Scaling, windows, structure.
        score: Moment and stored hidden rows.
        deploy: Name, registry, namespace, images of the release.
        tracking: What W&B is told.
        revision: Commit that is told how the run ended; the image's own unless given.
    """
    source = dsl.importer(artifact_uri=data, artifact_class=dsl.Dataset, reimport=True)
    trained = stages.champion(version=model, params=deploy)
    source.set_display_name("data")
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
