"""Versions, as images and servers name them."""

import re
from collections.abc import Mapping
from typing import Any

Version = tuple[int, int]
KUBERNETES: Version = (1, 32)
"""What KServe 0.21 asks for."""
KUBEFLOW: Version = (2, 17)
"""What the pipelines are compiled for."""
KSERVE: Version = (0, 21)
"""What the manifests are checked for, and the first whose canaries get a share of the traffic in mode Standard."""
KNATIVE: Version = (1, 15)
"""The first that takes the predictor's startup probe."""


def parse(text: str) -> Version | None:
    """Major and minor number of ``v1.34.11-gke.100``, ``2.17.0``; None where there are none."""
    found = re.match(r"v?(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def of_image(deployment: Mapping[str, Any], container: str) -> str:
    """The tag of a container's image, of the first one where none has that name; empty when it has a digest alone."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    found = next((one for one in containers if one.get("name") == container), containers[0])
    _, _, tag = found["image"].partition("@")[0].rsplit("/", 1)[-1].partition(":")
    return str(tag)


def text(version: Version) -> str:
    """As people write it."""
    return ".".join(map(str, version))
