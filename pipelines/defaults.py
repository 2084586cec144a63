"""The values that a pipeline's form shows: those of params.yaml."""

import os
from pathlib import Path
from typing import Any

from graphmill.params import load


def given(value: Any) -> Any:
    """A value without its empty keys: Kubeflow has no null, and an empty parameter means its default."""
    if isinstance(value, dict):
        return {key: given(item) for key, item in value.items() if item is not None}
    return [given(item) for item in value] if isinstance(value, list) else value


PARAMS = given(load(Path(os.environ.get("GRAPHMILL_PARAMS", Path(__file__).parent.parent / "params.yaml"))))
"""Sections of params.yaml, or of the file that ``GRAPHMILL_PARAMS`` names."""
