"""The stages, in flow order: each function's signature is the only definition of what it reads and writes."""

from kfp import dsl

from components.champion import champion
from components.deploy import deploy
from components.drift import drift
from components.evaluate import evaluate
from components.features import features
from components.graph import graph
from components.ingest import ingest
from components.keep import keep
from components.notify import notify
from components.publish import publish
from components.score import score
from components.train import train

STAGES = {
    "ingest": ingest,
    "graph": graph,
    "features": features,
    "train": train,
    "evaluate": evaluate,
    "drift": drift,
    "score": score,
    "deploy": deploy,
}

PAGES = (dsl.Metrics, dsl.ClassificationMetrics, dsl.HTML, dsl.Markdown)
"""Kinds of output that Kubeflow's pages show; they copy what an artifact holds, so DVC and W&B do not have them."""

__all__ = [
    "PAGES",
    "STAGES",
    "champion",
    "deploy",
    "drift",
    "evaluate",
    "features",
    "graph",
    "ingest",
    "keep",
    "notify",
    "publish",
    "score",
    "train",
]
