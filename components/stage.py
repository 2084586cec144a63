"""The decorator of every stage."""

from functools import partial

from kfp import dsl

from components.image import IMAGE

stage = partial(dsl.component, base_image=IMAGE, install_kfp_package=False)
"""A Kubeflow component that runs in the one image, where kfp and graphmill are installed already."""
