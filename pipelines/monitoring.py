"""Pipeline `monitoring`: score, look for drift, and train a challenger when that is due."""

from kfp import dsl

import components as stages
from pipelines.defaults import PARAMS


@dsl.pipeline(name="monitoring", description="Score, watch for drift, retrain when it is due.")
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
    """Score, watch for drift, retrain when it is due.

    1. ingest   2. graph   3. features   4. score, with the champion   5. drift: the decision
    6. on `retrain`: train, evaluate beside the champion, deploy; on any other answer: say why the champion is kept
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
    predictions = stages.score(model=trained.output, **found, params=score, tracking=tracking)
    decision = stages.drift(model=trained.output, **found, params=drift, tracking=tracking).after(predictions)
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
        kept = stages.keep(drift_report=decision.outputs["drift_report"])
        kept.set_caching_options(False)
