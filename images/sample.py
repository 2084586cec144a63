"""A small model and graph that the predictor's kernels are compiled over: ``python images/sample.py FOLDER``.

Runs in the image `stage`, as the image `serve` is built. Quality does not matter, only that every kind of array is
there.
"""

import os
import sys
from pathlib import Path
from typing import Any

import yaml

from components.__main__ import run
from graphmill import score
from graphmill.params import load
from graphmill.sample.make import make
from graphmill.sample.write import write

SCALE = 0.05
"""Of the sample: 10,000 payments."""
HURRY: dict[str, Any] = {"epochs": 1, "negatives": 3, "controls": {"rounds": 20, "negatives": 3, "minimum_leaf": 5}}


def main() -> None:
    """Make the tables, carry them through the stages up to the model, and store hidden rows of either kind."""
    folder = Path(sys.argv[1])
    write(make(seed=7, scale=SCALE), str(folder / "data"))
    params = folder / "params.yaml"
    sections = load(Path(os.environ.get("GRAPHMILL_PARAMS", "params.yaml")))
    sections["train"] |= HURRY
    sections["tracking"] = {"mode": "off"}
    params.write_text(yaml.safe_dump(sections))
    for stage in ("ingest", "graph", "features", "train"):
        run(stage, params, folder / "data", folder)
    model, graph, features = (folder / "artifacts" / name for name in ("model", "graph", "features"))
    for kind in ("int8", "float32"):
        score.run(model, graph, features, folder / kind, score.Params(newest="1d", hidden=kind))


if __name__ == "__main__":
    main()
