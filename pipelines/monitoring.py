"""Pipeline `monitoring`: score, look for drift, and train a challenger when that is due."""

from kfp import dsl

import components as stages
from pipelines.defaults import PARAMS
from pipelines.placement import placed

KEPT = ("page", "request_labels", "watch")
"""Decisions that keep the model, beside `ok`. Kubeflow's API tells which tasks a run had and not what they returned, so
each has a task of its own."""


@dsl.pipeline(
    name="monitoring",
    display_name="Graphmill monitoring",
    description="Score, watch for drift, retrain when it is due.",
)
@placed
def monitoring(
    data: str = "data",
    model: str = "champion",
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
    revision: str = "",
):
    """Score, watch for drift, retrain when it is due.

    1. ingest   2. graph   3. features   4. score, with the champion   5. drift: the decision
    6. on `retrain`: train, evaluate beside the champion, deploy; else the task `Keep` of the decision says why not

    Args:
        data: Folder of the source tables: a URI of the object store (`s3://bucket/data`).
        model: Model that scores: an alias or version of the registry, or a folder.
        schema: What the tables are: nodes, edges, columns.
        task: What is predicted, for whom, and how examples are split.
        ingest: Data contract, as-of moment, memory.
        graph: Memory and threads of the graph's making.
        features: Scaling, windows, structure.
        train: The network, its training and the control models.
        evaluate: Gates, margins, slices, the model card's words.
        drift: What is watched and when a model is trained again.
        score: Moment and stored hidden rows.
        deploy: Name, registry, namespace, images of the release.
        rollout: Steps and guards with which a new version takes over the traffic.
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
    found = {"graph": network.outputs["graph"], "features": values.outputs["features"]}
    predictions = stages.score(model=trained.output, **found, params=score, tracking=tracking)
    decision = stages.drift(model=trained.output, **found, params=drift, tracking=tracking).after(predictions)
    titles = {}

    def keep(answer: str) -> None:
        task = stages.keep(drift_report=decision.outputs["drift_report"])
        titles[task.name] = f"Keep: {answer}"

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
        stages.publish(release=release.outputs["release"], **found, params=deploy)
    for answer in KEPT:
        with dsl.Elif(decision.outputs["Output"] == answer, name=answer):
            keep(answer)
    with dsl.Else(name="ok"):
        keep("ok")
    return titles
