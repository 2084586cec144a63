"""The image that every stage runs in: one reference, a digest in CI."""

import hashlib
import os
from pathlib import Path

import graphmill
from graphmill.lineage import PACKAGE, data_digest, source_digest

CODE = ("graphmill", "components", "pipelines")
REST = ("manifests", "images", "Dockerfile", "pyproject.toml")
"""What an image is made of, beside params.yaml: a step is told its numbers."""


def tag(root: Path) -> str:
    """The tag of the images of a checkout: its version and twelve digits of all that is built into them.

    A tag that stayed the same while one of it changes would leave a cluster with yesterday's manifests or packages, and
    the pipelines' cache with old results. Of an installed package there is only the code.
    """
    found = [source_digest(root / name) for name in CODE if (root / name).is_dir()]
    found += [f"{name} {data_digest(root / name)}" for name in REST if (root / name).exists()]
    return f"{graphmill.__version__}-{hashlib.sha256(' '.join(found).encode()).hexdigest()[:12]}"


TAG = tag(PACKAGE.parent)
"""Names the source of this checkout."""
IMAGE = os.environ.get("GRAPHMILL_IMAGE", f"graphmill-stage:{TAG}")
"""``GRAPHMILL_IMAGE`` (``registry/name@sha256:…``), else what `make images` builds here."""
PINNED = "@sha256:" in IMAGE
"""Whether it can never be another image. A tag can: Kubeflow's cache, which compares names, would not notice."""
