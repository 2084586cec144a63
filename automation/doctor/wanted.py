"""What a cluster must have, told from the parameters and from the very manifests that a release is made of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphmill.deploy import Params as Deploy
from graphmill.deploy.__main__ import objects as released
from graphmill.deploy.objects import Objects
from graphmill.deploy.release import home, mode_of
from graphmill.params import load
from graphmill.rollout.params import Params as Rollout
from pipelines.platform import Cluster

KUBEFLOW = "kubeflow"
"""Namespace of Kubeflow Pipelines, and of its runs where it serves one team alone."""

PREPARE = "python -m graphmill.deploy prepare | kubectl apply -f -"
"""What makes accounts, rights and claims before there is a release."""


@dataclass(frozen=True)
class Right:
    """Something that an account must be allowed to do."""

    verb: str
    group: str
    resource: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{f' {self.name}' if self.name else ''}"


@dataclass(frozen=True)
class Wanted:
    """What is asked of a cluster.

    Args:
        deploy: section `deploy`.
        rollout: section `rollout`.
        cluster: section `cluster`.
        objects: what the release of the overlay applies.
        mode: `standard` or `knative`, as the overlay has it.
        runs: namespace of the pipelines' runs.
        image: of the stages, `GRAPHMILL_IMAGE`; empty when it is not set.
        distributed: `cluster.distributed`: whether and with what several machines train.
    """

    deploy: Deploy
    rollout: Rollout
    cluster: Cluster
    objects: Objects
    mode: str
    runs: str
    image: str
    distributed: Mapping[str, Any]

    @classmethod
    def here(cls, params: Path, variables: Mapping[str, str]) -> "Wanted":
        """What a params file and the environment ask for.

        Args:
            params: the file.
            variables: KFP_NAMESPACE, the profile of the runs; GRAPHMILL_IMAGE, the image of the stages.

        Raises:
            UserError: when a section is wrong, there is no such overlay, or kubectl is not installed.
        """
        sections = load(params)
        deploy = Deploy.parse(sections["deploy"], "deploy")
        rollout = Rollout.parse(sections["rollout"], "rollout")
        cluster = Cluster.parse(sections["cluster"], "cluster")
        mode = mode_of(home(), deploy.overlay)
        objects = Objects(released(deploy))
        runs = variables.get("KFP_NAMESPACE") or KUBEFLOW
        distributed = cluster.canonical().get("distributed") or {}
        return cls(deploy, rollout, cluster, objects, mode, runs, variables.get("GRAPHMILL_IMAGE", ""), distributed)

    @property
    def namespace(self) -> str:
        """Where the service lives."""
        return self.deploy.namespace

    def kinds(self) -> dict[str, set[str]]:
        """Kinds that the release applies, by group and version."""
        found: dict[str, set[str]] = {}
        for item in self.objects.all:
            found.setdefault(item["apiVersion"], set()).add(item["kind"])
        return found

    def accounts(self) -> dict[str, list[Right]]:
        """Service accounts of the release, each with what its roles allow."""
        roles = {item["metadata"]["name"]: item["rules"] for item in self.objects.of("Role")}
        found: dict[str, list[Right]] = {name: [] for name in self.objects.names("ServiceAccount")}
        for binding in self.objects.of("RoleBinding"):
            rules = roles[binding["roleRef"]["name"]]
            for subject in binding["subjects"]:
                found.setdefault(subject["name"], []).extend(right for rule in rules for right in _rights(rule))
        return found

    def claims(self) -> dict[tuple[str, str], set[str]]:
        """Claims by namespace and name, each with the access modes that it must have, if any certain ones."""
        found = {
            (self.namespace, item["metadata"]["name"]): set(item["spec"]["accessModes"])
            for item in self.objects.of("PersistentVolumeClaim")
        }
        named = self.cluster.claims.canonical()
        for key, name in named.items():
            if name:
                modes = {"ReadWriteMany"} if key == "shared" else set()
                found.setdefault((self.runs, name.replace("{name}", self.deploy.name)), modes)
        return found

    def variables(self) -> dict[str, str]:
        """Variables that must come from a Secret, and what asks for each."""
        report = self.cluster.report.to
        asked = {
            "WANDB_API_KEY": "deploy.home" if self.deploy.home.startswith("wandb://") else "",
            "GITHUB_TOKEN": "cluster.report" if "github" in report else "",
            "GRAPHMILL_WEBHOOK": "cluster.report" if "webhook" in report else "",
        }
        return {name: why for name, why in asked.items() if why}


def _rights(rule: Mapping[str, Any]) -> Iterator[Right]:
    for group in rule["apiGroups"]:
        for resource in rule["resources"]:
            for name in rule.get("resourceNames") or [""]:
                for verb in rule["verbs"]:
                    yield Right(verb, group, resource, name)
