"""A graph larger than the memory of the process is profiled, trained on and scored."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from graphmill import artifact
from tests import large

HOME = Path(__file__).parent.parent
PEOPLE, EDGES, TRAIN = 500_000, 16_000_000, 2_000
BUDGET = 560_000_000
"""Bytes of memory of its own that the process may take beside its libraries; mapped files do not count."""

CHILD = """
import json, os, resource, shutil, sys
import lightgbm, numba, pandas, pyarrow.parquet, torch
from graphmill import artifact, score, train
from graphmill.drift import baseline, structure
from graphmill.drift.source import Source
from graphmill.features.store import Features
from graphmill.graph.store import Graph

structure.MOST_EDGES = 1_000_000  # as a whole a graph takes sixty bytes an edge; beyond the bound it is left out

def status(name):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(name))

root, budget = sys.argv[1], int(sys.argv[2])
base = status("VmData")
resource.setrlimit(resource.RLIMIT_DATA, (base + budget, base + budget))
params = {"epochs": 1, "fanouts": [5, 5], "batch_size": 128, "memory_limit": "80MB", "model": {"hidden": 32},
          "negatives": "all", "controls": {"rounds": 5, "fanouts": [3, 1]}}
if sys.argv[3] == "profile":
    graph, features = Graph.open(f"{root}/graph"), Features.open(f"{root}/features")
    source = Source(graph, features, features.examples)
    with artifact.write(f"{root}/features", "features") as draft:
        shutil.copytree(features.artifact.path, draft.folder, dirs_exist_ok=True, copy_function=os.link)
        os.remove(draft.folder / "lineage.json")
        draft.manifest |= features.manifest
        baseline.write(draft.folder, baseline.begin(source), source)
elif sys.argv[3] == "train":
    train.run(f"{root}/graph", f"{root}/features", f"{root}/model", train.Params.parse(params, "train"))
else:
    score.run(f"{root}/model", f"{root}/graph", f"{root}/features", f"{root}/predictions",
              score.Params.parse({}, "score"))
try:
    bytearray(budget)
except MemoryError:
    print("the limit holds")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit on a process's own memory is Linux's")
def test_a_graph_larger_than_memory_is_trained_on_and_scored(tmp_path):
    large.write(tmp_path, PEOPLE, EDGES, TRAIN)
    arrays = sum(file.stat().st_size for file in tmp_path.glob("*/**/*.npy"))
    assert arrays > 1.3 * BUDGET
    environment = os.environ | {
        "PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2",
        "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others set a gigabyte aside, used or not
    }  # fmt: skip
    for stage in ("profile", "train", "score"):
        command = [sys.executable, "-c", CHILD, str(tmp_path), str(BUDGET), stage]
        done = subprocess.run(command, env=environment, text=True, capture_output=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "the limit holds" in done.stdout
    predictions = artifact.read(tmp_path / "predictions", "predictions")
    assert pq.ParquetFile(predictions.path / "predictions.parquet").metadata.num_rows == PEOPLE
    validation = json.loads((tmp_path / "model" / "model.json").read_text())["validation"]
    assert max(validation["sage"]) > 0.7
