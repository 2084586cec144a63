"""The objects of an overlay, and the pods that come of them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Object = Mapping[str, Any]


class Objects:
    """The objects of one overlay."""

    def __init__(self, documents: Iterable[Object]) -> None:
        self.all = list(documents)

    def of(self, kind: str) -> list[Object]:
        """Every object of a kind."""
        return [item for item in self.all if item.get("kind") == kind]

    def names(self, kind: str) -> list[str]:
        """Their names."""
        return [item["metadata"]["name"] for item in self.of(kind)]

    def pods(self) -> list[tuple[str, Object]]:
        """Every pod that comes of them, by where it is written: its containers, its volumes, and who it is.

        A predictor's pod is its runtime's containers in its service's surroundings.
        """
        runtimes = {item["metadata"]["name"]: item["spec"] for item in self.of("ServingRuntime")}
        pods = [(f"Job {job['metadata']['name']}", job["spec"]["template"]["spec"]) for job in self.of("Job")]
        for service in self.of("InferenceService"):
            predictor = service["spec"]["predictor"]
            runtime = runtimes.get(predictor.get("model", {}).get("runtime"), {})
            pods.append((f"InferenceService {service['metadata']['name']}", {**runtime, **predictor}))
        return pods

    def containers(self) -> Iterator[tuple[str, Object]]:
        """Every container of them."""
        for where, pod in self.pods():
            for container in pod.get("containers", []):
                yield f"{where}, container {container['name']}", container
