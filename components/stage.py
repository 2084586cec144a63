"""The decorator of every stage."""

from functools import partial
from typing import Any

from kfp import dsl

from components.image import IMAGE

stage: Any = (
    partial(dsl.component, base_image=IMAGE, install_kfp_package=False)
    if hasattr(dsl, "component")
    else lambda function: function
)
"""A Kubeflow component that runs in the one image, where kfp and graphmill are installed already. In a step kfp has
only what a step needs; one that imports from this package finds the functions as they are."""
