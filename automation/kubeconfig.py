"""The way into a cluster, by the cloud that the job has signed in to, or by a kubeconfig that is a secret."""

import os
from collections.abc import Mapping
from pathlib import Path

from automation.process import show
from graphmill.errors import UserError
from graphmill.progress import say


def write(variables: Mapping[str, str]) -> None:
    """Write a kubeconfig; the cloud's own command does where KUBE_CLUSTER is set.

    Args:
        variables: KUBE_CLUSTER and KUBE_LOCATION with AWS_ROLE (EKS) or GCP_WORKLOAD_IDENTITY_PROVIDER (GKE), else
            KUBECONFIG_DATA, a kubeconfig's text.

    Raises:
        UserError: when neither is given, the cloud refuses, or a kubeconfig is there that would be lost.
    """
    name, place = variables.get("KUBE_CLUSTER", ""), variables.get("KUBE_LOCATION", "")
    if name.startswith("-") or place.startswith("-"):
        raise UserError(f"KUBE_CLUSTER and KUBE_LOCATION are names, not {name!r} and {place!r}")
    if name and variables.get("AWS_ROLE"):
        _cloud("aws", "eks", "update-kubeconfig", "--name", name, "--region", place)
    elif name and variables.get("GCP_WORKLOAD_IDENTITY_PROVIDER"):
        _cloud("gcloud", "container", "clusters", "get-credentials", name, "--location", place)
    elif text := variables.get("KUBECONFIG_DATA"):
        file = Path(variables.get("KUBECONFIG") or Path.home() / ".kube" / "config")
        if file.exists():
            raise UserError(f"{file} is there already and stays as it is")
        file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as target:
            target.write(text)
    else:
        raise UserError("no way into a cluster: set KUBE_CLUSTER with a cloud's role, or the secret KUBECONFIG_DATA")
    say(f"kubeconfig: {name or 'from the secret'}")


def _cloud(*command: str) -> None:
    if show(*command):
        raise UserError(f"`{' '.join(command[:3])}` failed; does the role of this environment know the cluster?")
