"""The values that a pipeline's form shows: those of params.yaml."""

import os
from pathlib import Path

from graphmill.params import load

PARAMS = load(Path(os.environ.get("GRAPHMILL_PARAMS", Path(__file__).parent.parent / "params.yaml")))
"""Sections of params.yaml, or of the file that ``GRAPHMILL_PARAMS`` names."""
