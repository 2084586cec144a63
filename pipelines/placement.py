"""WHERE the tasks of a pipeline run: section `cluster` on each of them, and the report at the end of the run."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl import pipeline_context

import components as stages
from components.image import PINNED
from components.trainjob import VARIABLE
from graphmill import shared
from graphmill.deploy import Params as Deploy
from graphmill.deploy import publish
from graphmill.errors import UserError
from pipelines import trainjob
from pipelines.defaults import PARAMS, given
from pipelines.platform import Cluster, Place

TITLES = {
    "champion": "Champion: bring the model",
    "ingest": "Ingest: check and clean the tables",
    "graph": "Graph: ids and adjacencies",
    "features": "Features: values, windows, examples",
    "train": "Train: the network and its controls",
    "evaluate": "Evaluate: metrics and gates",
    "drift": "Drift: compare with the past",
    "keep": "Keep: the model stays",
    "score": "Score: predictions and embeddings",
    "deploy": "Deploy: register, write the release",
    "publish": "Publish: carry the snapshot to the predictor",
    "notify": "Notify: how the run ended",
}
"""What the pages call each task, unless the pipeline has a title of its own for it."""
FRESH = {"champion", "ingest", "evaluate", "drift", "keep", "deploy", "publish", "notify"}
"""Never answered from the cache: they ask or change what is outside of their inputs."""
OUTSIDE = {"champion", "ingest", "deploy", "publish"}
"""What may fail for reasons that pass, and is cheap to try again."""
RETRIES, FACTOR = 2, 2.0
HOME = "/home/graphmill"
"""Where the image runs its steps, so that `registry` and other relative folders are folders of the claim there."""
SNAPSHOT, SHARED = "/mnt/graph", "/mnt/shared"
"""Where `publish` has the served snapshot, and everybody the volume for large artifacts."""
PREDICTIONS = "/var/lib/graphmill/predictions"
"""Where the log of the predictors is, unless `drift.predictions` says otherwise."""
VARIABLES = {
    HOME: {publish.MODELS: HOME, "HOME": "/tmp"},
    SNAPSHOT: {publish.SNAPSHOT: SNAPSHOT},
    SHARED: {shared.VARIABLE: SHARED},
}
"""What a step is told of a mount. Caches are none of a claim's business."""

CLUSTER = Cluster.parse(PARAMS["cluster"], "cluster")
DEPLOY = Deploy.parse(PARAMS["deploy"], "deploy")


def placed(function: Callable[..., dict[str, str] | None]) -> Callable[..., None]:
    """A pipeline's function with its tasks titled and placed, and its end reported; it has a parameter `revision`.

    The function may return titles of its own, by the task's name.
    """

    @functools.wraps(function)
    def pipeline(*values: Any, **named: Any) -> None:
        arguments = inspect.signature(function).bind(*values, **named).arguments
        told = stages.notify(
            pipeline=function.__name__,
            run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            revision=arguments["revision"],
            report=given(CLUSTER.report.canonical()),
        )
        with dsl.ExitHandler(told, name="stages"):
            titles = function(**arguments) or {}
        for task in pipeline_context.Pipeline.get_default_pipeline().tasks.values():
            if (name := task.component_spec.name) in TITLES:
                place(task, name, titles.get(task.name, TITLES[name]))

    return pipeline


def place(task: dsl.PipelineTask, name: str, title: str) -> None:
    """Give a task its title, and what section `cluster` says of its stage."""
    found = CLUSTER.place(name)
    task.set_display_name(title)
    if name in FRESH or not PINNED:
        task.set_caching_options(False)
    if retries := RETRIES * (name in OUTSIDE) if found.retries is None else found.retries:
        task.set_retry(retries, found.backoff, FACTOR, found.backoff_maximum)
    _resources(task, found)
    _nodes(task, found)
    for secret in CLUSTER.secrets:
        if not secret.stages or name in secret.stages:
            kubernetes.use_secret_as_env(task, secret.name, dict(secret.keys), optional=secret.optional)
    if CLUSTER.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(CLUSTER.image_pull_secrets))
    for claim, path in mounts(name).items():
        kubernetes.mount_pvc(task, claim, path)
        for variable, value in VARIABLES.get(path, {}).items():
            task.set_env_variable(variable, value)
    if name == "train":
        _together(task, found)


def mounts(name: str) -> dict[str, str]:
    """Claims that a stage mounts, and where; each once, since Kubeflow calls a pod's volume by its claim."""
    wanted = {"models": HOME} if name in ("champion", "evaluate", "drift", "deploy", "publish") else {}
    wanted |= {"graph": SNAPSHOT} if name == "publish" else {}
    wanted |= {"predictions": PARAMS["drift"].get("predictions") or PREDICTIONS} if name == "drift" else {}
    wanted |= {"shared": SHARED} if name != "notify" else {}
    claims = CLUSTER.claims.canonical()
    return {claims[key].replace("{name}", DEPLOY.name): path for key, path in wanted.items() if claims[key]}


def check() -> None:
    """Refuse to compile what a cluster would lose.

    Raises:
        UserError: when the registry is a folder of a pod, which goes with the pod.
    """
    if "://" not in DEPLOY.home and not CLUSTER.claims.models:
        told = f"cluster.claims.models: deploy.home is the folder {DEPLOY.home!r}, which would go with the pod"
        raise UserError(f"{told}; name a claim, or give a registry wandb://ENTITY/PROJECT/COLLECTION")
    if Path(DEPLOY.home).is_absolute():
        raise UserError(f"deploy.home: {DEPLOY.home!r} is no folder of a claim; on a cluster give a relative one")


def _together(task: dsl.PipelineTask, found: Place) -> None:
    """What several processes need: the job that they are where they are on several machines, else room to talk."""
    if CLUSTER.distributed.nodes > 1:
        task.set_env_variable(VARIABLE, trainjob.template(CLUSTER, SHARED))
    elif found.accelerator and found.accelerator_count > 1:  # NCCL's; a container's own 64 MiB are too few
        kubernetes.empty_dir_mount(task, "memory", "/dev/shm", medium="Memory")


def _resources(task: dsl.PipelineTask, found: Place) -> None:
    if found.cpu_request:
        task.set_cpu_request(found.cpu_request)
    if found.cpu_limit:
        task.set_cpu_limit(found.cpu_limit)
    if found.memory_request:
        task.set_memory_request(found.memory_request)
    if found.memory_limit:
        task.set_memory_limit(found.memory_limit)
    if found.accelerator:
        task.set_accelerator_type(found.accelerator)
        task.set_accelerator_limit(found.accelerator_count)


def _nodes(task: dsl.PipelineTask, found: Place) -> None:
    for key, value in found.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for taint in found.tolerations:
        kubernetes.add_toleration(task, taint.key, taint.operator, taint.value, taint.effect, taint.seconds)
