"""The namespace: accounts, secrets and images that its pods name."""

import json
from collections.abc import Iterator

from automation.doctor.door import Door
from automation.doctor.finding import Answer, missing, ok, warning
from automation.doctor.wanted import PREPARE, Wanted

PULL = "kubernetes.io/dockerconfigjson"
"""Type of a Secret with which images are pulled."""


def namespace(door: Door, wanted: Wanted) -> Iterator[Answer]:
    """Whether there is one."""
    for name in dict.fromkeys((wanted.namespace, wanted.runs)):
        if door.object("namespaces", name) is None:
            yield missing(f"there is no namespace {name}", f"kubectl create namespace {name}")
        else:
            yield ok(f"namespace {name}")


def accounts(door: Door, wanted: Wanted) -> Iterator[Answer]:
    """Whether the service accounts are there, and can pull images where a secret is named for that."""
    places = {name: wanted.namespace for name in wanted.accounts()}
    if wanted.cluster.service_account:
        places[wanted.cluster.service_account] = wanted.runs
    for name, place in places.items():
        found = door.object("serviceaccounts", name, place)
        if found is None:
            yield missing(f"no ServiceAccount {name} in namespace {place}", PREPARE)
            continue
        pulls = {item["name"] for item in found.get("imagePullSecrets") or []}
        lacking = [{"name": secret} for secret in wanted.cluster.image_pull_secrets if secret not in pulls]
        if lacking and name != wanted.cluster.service_account:  # a run's pods are given theirs by the pipeline
            patch = json.dumps({"imagePullSecrets": [*(found.get("imagePullSecrets") or []), *lacking]})
            told = f"ServiceAccount {name} pulls images without {lacking[0]['name']}"
            yield warning(told, f"kubectl -n {place} patch serviceaccount {name} -p '{patch}'")
        else:
            yield ok(f"ServiceAccount {name} in namespace {place}")


def secrets(door: Door, wanted: Wanted) -> Iterator[Answer]:
    """Whether the Secrets that pods read have the keys that they read; what these are is nobody's business here."""
    for secret in wanted.cluster.secrets:
        yield _secret(door, secret.name, wanted.runs, list(secret.keys), secret.optional)
    given = {variable for secret in wanted.cluster.secrets for variable in secret.keys.values()}
    for variable, why in wanted.variables().items():
        if variable not in given:
            told = f"{why} needs {variable}, which no Secret of cluster.secrets gives"
            yield missing(told, "name one there (docs/pipelines.md#secrets), and compile again")
    yield _secret(door, f"{wanted.deploy.name}-serving", wanted.namespace, ["token"], optional=True)
    for name in wanted.cluster.image_pull_secrets:
        found = door.object("secrets", name, wanted.runs)
        make = f"kubectl -n {wanted.runs} create secret docker-registry {name} --docker-server=… --docker-username=…"
        if found is None or found.get("type") != PULL:
            told = "there is no" if found is None else "not to pull images with is"
            yield missing(f"{told} Secret {name} in namespace {wanted.runs}", make)
        else:
            yield ok(f"Secret {name} in namespace {wanted.runs}")


def images(door: Door, wanted: Wanted) -> Iterator[Answer]:
    """Whether nodes can pull the images, and always the same."""
    publish = "push it and name its digest (docs/images.md)"
    named = {"deploy.image": wanted.deploy.image, "deploy.rollout_image": wanted.deploy.rollout_image}
    if not wanted.image:
        export = "export GRAPHMILL_IMAGE=registry/graphmill-stage@sha256:… before compile, upload and submit"
        yield warning("GRAPHMILL_IMAGE is not set: the stages' image is a tag without a registry", export)
    for field, image in {**named, **({"GRAPHMILL_IMAGE": wanted.image} if wanted.image else {})}.items():
        host = image.split("/")[0]
        if "/" not in image or not ("." in host or ":" in host or host == "localhost"):
            yield warning(f"{field}: {image} names no registry: only nodes that have it run it", publish)
        elif "@sha256:" not in image:
            yield warning(f"{field}: {image} has no digest: tomorrow it may be another image", publish)
        else:
            yield ok(f"{field}: {image.partition('@')[0]} by digest")


def _secret(door: Door, name: str, place: str, keys: list[str], optional: bool = False) -> Answer:
    found = door.object("secrets", name, place)
    there = set() if found is None else set(found.get("data") or {})
    lacking = [key for key in keys if key not in there]
    if not lacking:
        return ok(f"Secret {name} in namespace {place}: {', '.join(keys)}")
    told = f"Secret {name} in namespace {place} {'is not there' if found is None else 'lacks ' + ', '.join(lacking)}"
    make = f"kubectl -n {place} create secret generic {name} {' '.join(f'--from-literal={key}=…' for key in keys)}"
    if found is not None:
        make = (
            f"kubectl -n {place} patch secret {name} -p '{json.dumps({'stringData': dict.fromkeys(lacking, '...')})}'"
        )
    return warning(told, make) if optional else missing(told, make)
