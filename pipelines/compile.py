"""Compiling: the pipelines as deterministic YAML."""

from pathlib import Path

from kfp import compiler

from graphmill.progress import say
from pipelines import PIPELINES


def compile_all(output: Path) -> list[Path]:
    """Write ``<pipeline>.yaml`` for every pipeline into ``output`` and return the files."""
    output.mkdir(parents=True, exist_ok=True)
    files = []
    for name, pipeline in PIPELINES.items():
        file = output / f"{name}.yaml"
        compiler.Compiler().compile(pipeline, str(file))
        say(f"compile: {file}")
        files.append(file)
    return files
