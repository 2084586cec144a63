"""Whether manifests are what a cluster takes: their schemas, the webhooks' rules, and our own."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from graphmill.deploy import meeting, rules, safety, schema
from graphmill.deploy.objects import Objects
from graphmill.errors import UserError

PROMTOOL = "promtool"


def read(text: str, where: str) -> list[dict[str, Any]]:
    """The objects of a YAML text.

    Raises:
        UserError: when it is no YAML, or one of its documents is no object of Kubernetes.
    """
    try:
        found = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not readable as YAML: {error}") from None
    for number, document in enumerate(found, 1):
        names = document.get("metadata") if isinstance(document, dict) else None
        if not isinstance(names, dict) or not {"apiVersion", "kind"} <= document.keys() or "name" not in names:
            raise UserError(f"{where}: document {number} is no object with apiVersion, kind and metadata.name")
    if not found:
        raise UserError(f"{where}: no objects in it")
    return found


def problems(documents: list[dict[str, Any]]) -> list[str]:
    """What is wrong, one line each; the rules are asked of what its schema takes only.

    Raises:
        UserError: when the validators are not installed.
    """
    found = [f"{_named(item)}: {problem}" for item in documents for problem in schema.problems(item)]
    if found:
        return found
    objects = Objects(documents)
    for service in objects.of("InferenceService"):
        found += [f"{_named(service)}: {problem}" for problem in rules.check(service)]
    found += [problem for check in (*safety.CHECKS, *meeting.CHECKS) for problem in check(objects)]
    return found + _alerts(objects.of("PrometheusRule"))


def _alerts(documents: Iterable[Mapping[str, Any]]) -> list[str]:
    """What ``promtool`` says of the alerts; nothing where it is not installed."""
    if not shutil.which(PROMTOOL):
        return []
    found = []
    for document in documents:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rules.json"
            file.write_text(json.dumps(document["spec"]), encoding="utf-8")
            done = subprocess.run([PROMTOOL, "check", "rules", str(file)], capture_output=True, text=True, check=False)
        if done.returncode:
            found.append(f"{_named(document)}: {(done.stderr or done.stdout).strip().replace(str(file), 'its rules')}")
    return found


def _named(document: Mapping[str, Any]) -> str:
    return f"{document['kind']} {document['metadata']['name']}"
