"""The release: a copy of the manifests for one service and version, which ``kubectl apply -k`` takes as it is.

`manifests/` says where and how things run, and is Kustomize's. What a release adds is what the registry and the
parameters alone know: the name, the namespace, the version, the images' digests, and whether a rollout is due.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from graphmill.deploy.params import Params
from graphmill.errors import UserError
from graphmill.explain import nearest
from graphmill.registry import Version
from graphmill.rollout.params import Params as Rollout

NAME = "graphmill-model"
"""The name that the manifests are written for."""
MODES = {"canary-standard": "standard", "canary-knative": "knative"}
"""The component that decides KServe's mode, and the rollout's target that goes with it."""
IMAGES = {"graphmill-serve": "image", "graphmill-stage": "rollout_image"}
"""Images of the manifests, and the parameters that say which they are."""
HTTPS = 443


@dataclass(frozen=True)
class Release:
    """What a release is made of.

    Args:
        params: section `deploy`.
        rollout: section `rollout`, as the rollout's job will read it.
        served: the version that has the traffic when the release is applied.
        candidate: the version that the rollout's job brings into production; None when none is due.
    """

    params: Params
    rollout: Rollout
    served: Version
    candidate: Version | None

    def write(self, folder: Path) -> None:
        """Write the manifests' copy and the kustomization into ``folder``.

        Raises:
            UserError: when there are no manifests or no such overlay, or the overlay is of another mode than
                the rollout.
        """
        source = home()
        target = self._target(source)
        _copy(source, folder / "manifests", self.params)
        rollout = {**self.rollout.canonical(), "target": target}
        rollout.pop("context", None)  # a laptop's way into the cluster; the job is there already
        _dump(folder / "params.yaml", {"deploy": self.params.canonical(), "rollout": rollout})
        _dump(folder / "service.yaml", self._service())
        if self.candidate is not None:
            _dump(folder / "rollout.yaml", self._job(self.candidate.name))
        _dump(folder / "kustomization.yaml", self._kustomization())

    def _target(self, source: Path) -> str:
        mode, given = mode_of(source, self.params.overlay), self.rollout.target
        if given not in ("local", mode):
            told = f"rollout.target is {given}, but overlay {self.params.overlay} has the component canary-{mode}"
            raise UserError(f"{told}; change one of them")
        return mode

    def _service(self) -> list[dict[str, Any]]:
        """The version, on the object and on its pods: KServe copies what only the object has, and restarts them."""
        model = {"graphmill/model-version": self.served.name, "graphmill/model-digest": self.served.digest}
        uri = self.params.uri(self.served.name, self.served.digest)
        return [
            {"op": "replace", "path": "/spec/predictor/model/storageUri", "value": uri},
            *(
                {"op": "add", "path": f"{place}/annotations/{key.replace('/', '~1')}", "value": value}
                for place in ("/metadata", "/spec/predictor")
                for key, value in model.items()
            ),
        ]

    def _job(self, version: str) -> list[dict[str, Any]]:
        arguments = "/spec/template/spec/containers/0/args/-"
        return [
            {"op": "replace", "path": "/metadata/name", "value": f"{self.params.name}-rollout-{version}"},
            {"op": "replace", "path": "/spec/suspend", "value": False},
            {"op": "add", "path": arguments, "value": f"--candidate={version}"},
        ]

    def _kustomization(self) -> dict[str, Any]:
        name = self.params.name
        service = {"target": {"kind": "InferenceService"}, "path": "service.yaml"}
        return {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": self.params.namespace,
            "resources": [f"manifests/overlays/{self.params.overlay}"],
            "labels": [{"pairs": {"app.kubernetes.io/instance": name}}],
            "images": [_image(image, getattr(self.params, field)) for image, field in IMAGES.items()],
            "configMapGenerator": [{"name": f"{name}-rollout", "behavior": "merge", "files": ["params.yaml"]}],
            "patches": [service, self._rollout_patch(), *self._network_patches()],
        }

    def _rollout_patch(self) -> dict[str, Any]:
        if self.candidate is not None:
            return {"target": {"kind": "Job"}, "path": "rollout.yaml", "options": {"allowNameChange": True}}
        deleted = {"$patch": "delete", "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "any"}}
        return {"target": {"kind": "Job"}, "patch": yaml.safe_dump(deleted, sort_keys=False)}

    def _network_patches(self) -> list[dict[str, Any]]:
        """A model that is not on a claim is fetched by the pod itself."""
        if self.params.storage_uri.startswith("pvc://"):
            return []
        opened = {"op": "add", "path": "/spec/egress/-", "value": {"ports": [{"port": HTTPS, "protocol": "TCP"}]}}
        target = {"kind": "NetworkPolicy", "name": f"^{self.params.name}$"}
        return [{"target": target, "patch": yaml.safe_dump([opened], sort_keys=False)}]


def home() -> Path:
    """The folder `manifests/`: the one that ``GRAPHMILL_MANIFESTS`` names, else the one beside this package.

    Raises:
        UserError: when it is not there.
    """
    folder = Path(os.environ.get("GRAPHMILL_MANIFESTS") or Path(__file__).parents[2] / "manifests")
    if not (folder / "overlays").is_dir():
        raise UserError(f"{folder}: no manifests here; set GRAPHMILL_MANIFESTS to the folder of base and overlays")
    return folder


def overlays(source: Path) -> list[str]:
    """Names of the overlays of a folder of manifests."""
    return sorted(file.parent.name for file in (source / "overlays").glob("*/kustomization.yaml"))


def mode_of(source: Path, overlay: str) -> str:
    """The rollout's target that an overlay is made for.

    Raises:
        UserError: when there is no such overlay, or it does not say.
    """
    if overlay not in overlays(source):
        raise UserError(f"deploy.overlay: no overlay {overlay!r} in {source}{nearest(overlay, overlays(source))}")
    file = source / "overlays" / overlay / "kustomization.yaml"
    components = [Path(item).name for item in yaml.safe_load(file.read_text(encoding="utf-8")).get("components", [])]
    found = [MODES[name] for name in components if name in MODES]
    if len(found) != 1:
        raise UserError(f"{file}: give one of the components {' and '.join(MODES)}; there are {len(found)}")
    return found[0]


def _copy(source: Path, target: Path, params: Params) -> None:
    """What the overlay is built of, with the service's name in it."""
    for part in ("base", "components", f"overlays/{params.overlay}"):
        shutil.copytree(source / part, target / part)
    for file in target.rglob("*.yaml"):
        file.write_text(file.read_text(encoding="utf-8").replace(NAME, params.name), encoding="utf-8")


def _image(name: str, reference: str) -> dict[str, str]:
    """An entry of Kustomize's ``images``; of a tag and a digest the digest counts."""
    place, _, digest = reference.partition("@")
    repository, _, tag = place.rpartition(":") if ":" in place.rsplit("/", 1)[-1] else (place, "", "")
    found = {"name": name, "newName": repository}
    if digest:
        return {**found, "digest": digest}
    return {**found, "newTag": tag} if tag else found


def _dump(file: Path, content: Mapping[str, Any] | list[dict[str, Any]]) -> None:
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
