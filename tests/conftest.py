"""Fixtures: one tiny network, carried once through all stages, shared by all tests."""

import json
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GRAPHMILL_QUIET", "1")
os.environ["WANDB_MODE"] = "disabled"  # no test tracks its stages but those of tracking

from graphmill import artifact  # noqa: E402
from tests import drift_schemas, tiny  # noqa: E402 - the variables count from the first import on

settings.load_profile("ci")  # the same examples in every run, and no failure because the machine is slow

SHARED = Path(os.environ.get("GRAPHMILL_EXAMPLE_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))


@pytest.fixture(scope="session", autouse=True)
def published_forms():
    """Profiles and reports that are written have the form that is published."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifact, "_seal", drift_schemas.sealing)
        yield


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    """The tiny source tables."""
    return tiny.write(tmp_path_factory.mktemp("tiny") / "data")


@pytest.fixture(scope="session")
def tiny_params(tmp_path_factory) -> Path:
    """The tiny params file."""
    file = tmp_path_factory.mktemp("params") / "params.yaml"
    file.write_text(yaml.safe_dump(tiny.params()))
    return file


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, tiny_data, tiny_params) -> Path:
    """A root folder in which every stage ran once, by its component's own function. Read only."""
    from components.__main__ import run

    root = tmp_path_factory.mktemp("run")
    home = Path.cwd()
    os.chdir(root)
    try:
        for stage in ("ingest", "graph", "features", "train", "evaluate", "drift", "score", "deploy"):
            run(stage, tiny_params, tiny_data, root)
    finally:
        os.chdir(home)
    return root


@pytest.fixture
def manifest():
    """Reads an artifact's manifest."""
    return lambda folder: json.loads((folder / f"{folder.name}.json").read_bytes())
