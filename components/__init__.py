"""The stages, in flow order: each function's signature is the only definition of what it reads and writes."""

from components.deploy import deploy
from components.drift import drift
from components.evaluate import evaluate
from components.features import features
from components.graph import graph
from components.ingest import ingest
from components.keep import keep
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

__all__ = ["STAGES", "deploy", "drift", "evaluate", "features", "graph", "ingest", "keep", "score", "train"]
