"""Pipeline `monitoring`: has the data drifted? If so a new model is trained, else the old one scores."""

from kfp import dsl

import components as stages
from pipelines.defaults import PARAMS


@dsl.pipeline(name="monitoring", description="Watch for drift; retrain when it is found, else score.")
def monitoring(
    data: str = "data",
    model: str = "model",
    schema: dict = PARAMS["schema"],
    task: dict = PARAMS["task"],
    ingest: dict = PARAMS["ingest"],
    graph: dict = PARAMS["graph"],
    features: dict = PARAMS["features"],
    train: dict = PARAMS["train"],
    evaluate: dict = PARAMS["evaluate"],
    drift: dict = PARAMS["drift"],
    score: dict = PARAMS["score"],
    deploy: dict = PARAMS["deploy"],
    rollout: dict = PARAMS["rollout"],
    tracking: dict = PARAMS["tracking"],
):
    """Watch for drift; retrain when it is found, else score.

    1. ingest   2. graph   3. features   4. drift: the decision
    5. on `retrain`: train, evaluate, deploy; on any other answer: score with the model that is there
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
    found = {"graph": network.outputs["graph"], "features": values.outputs["features"]}
    decision = stages.drift(model=trained.output, **found, params=drift, tracking=tracking)
    decision.set_caching_options(False)  # it decides on the newest data each time
    with dsl.If(decision.outputs["Output"] == "retrain", name="retrain"):
        challenger = stages.train(**found, params=train, tracking=tracking)
        judged = stages.evaluate(model=challenger.outputs["model"], **found, params=evaluate, tracking=tracking)
        release = stages.deploy(
            model=challenger.outputs["model"],
            evaluation=judged.outputs["evaluation"],
            params=deploy,
            rollout=rollout,
            tracking=tracking,
        )
        judged.set_caching_options(False)
        release.set_caching_options(False)
    with dsl.Else(name="keep"):
        stages.score(model=trained.output, **found, params=score, tracking=tracking)
