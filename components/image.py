"""The image that every stage runs in: one reference, a digest in CI."""

import os

import graphmill
from graphmill.lineage import PACKAGE, source_digest

TAG = f"{graphmill.__version__}-{source_digest(PACKAGE)[:12]}"
"""Names the source: a tag that stays the same while the code changes would make the pipelines' cache answer with old
results."""
IMAGE = os.environ.get("GRAPHMILL_IMAGE", f"graphmill-stage:{TAG}")
"""``GRAPHMILL_IMAGE`` (``registry/name@sha256:…``), else what `make images` builds here."""
PINNED = "@sha256:" in IMAGE
"""Whether it can never be another image. A tag can: Kubeflow's cache, which compares names, would not notice."""
