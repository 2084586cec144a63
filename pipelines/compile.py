"""Compiling: the pipelines as deterministic YAML."""

import tempfile
from pathlib import Path

import yaml
from kfp import compiler

from components.image import IMAGE, PINNED
from graphmill.artifact import write_text
from graphmill.progress import say
from pipelines import PIPELINES, placement


def compile_all(output: Path) -> list[Path]:
    """Write ``<pipeline>.yaml`` for every pipeline into ``output`` and return the files."""
    if not PINNED:
        say(f"compile: {IMAGE} is no digest and may become another image: Kubeflow's cache is off in all stages")
    output.mkdir(parents=True, exist_ok=True)
    files = []
    for name, pipeline in PIPELINES.items():
        file = output / f"{name}.yaml"
        write_text(file, text(pipeline))
        say(f"compile: {file}")
        files.append(file)
    return files


def text(pipeline: object) -> str:
    """One compiled pipeline, keys sorted: the compiler writes nested defaults in another order each time.

    Raises:
        UserError: when a cluster would lose the registry.
    """
    placement.check()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "pipeline.yaml")
        compiler.Compiler().compile(pipeline, str(file))
        documents = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    information = documents[0]["pipelineInfo"]
    header = f"# {information['name']}: {information['description']} Written by `python -m pipelines compile`.\n"
    return header + yaml.safe_dump_all(documents, sort_keys=True, allow_unicode=True, width=120)
