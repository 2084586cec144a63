"""Section `cluster`: what the pipelines' pods get on a cluster. Compiled in: the form of a run does not show it."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from graphmill.deploy.params import LABEL
from graphmill.notify import Report
from graphmill.params import Section

Stage = Literal[
    "champion", "ingest", "graph", "features", "train", "evaluate", "drift", "keep", "score", "deploy", "publish",
    "notify",
]  # fmt: skip
"""Everything that runs as a pod: the stages, and what stands between and behind them."""


def _text(value: Any) -> Any:
    """A quantity may be written as a number."""
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else value


Cpu = Annotated[str, BeforeValidator(_text), Field(pattern=r"^([0-9]*[.])?[0-9]+m?$")]
Memory = Annotated[str, BeforeValidator(_text), Field(pattern=r"^[0-9]+(E|Ei|P|Pi|T|Ti|G|Gi|M|Mi|K|Ki)?$")]
Duration = Annotated[str, Field(pattern=r"^[0-9]+s$")]
Name = Annotated[str, Field(pattern=rf"^{LABEL.pattern}$", max_length=253)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Claim = Annotated[str, Field(pattern=r"^$|^[a-z0-9{]([-a-z0-9{}]*[a-z0-9}])?$")]


class Toleration(Section):
    """A taint of nodes that a pod puts up with."""

    key: str | None = None
    """The taint's key; every one unless given."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """Whether `value` must be the taint's, or none is asked for."""
    value: str | None = None
    """The taint's value."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect; every one unless given."""
    seconds: int | None = Field(default=None, ge=0)
    """How long a running pod stays where a `NoExecute` taint appears; for ever unless given."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("value: operator Exists takes none")
        if self.operator == "Equal" and self.key is None:
            raise ValueError("key: is missing; operator Exists does without")
        return self

    @property
    def manifest(self) -> dict[str, Any]:
        """The taint as Kubernetes words it."""
        words = {"seconds": "tolerationSeconds"}
        return {words.get(name, name): value for name, value in self.canonical().items() if value is not None}


class Node(Section):
    """What a pod asks for and where it may run."""

    cpu_request: Cpu | None = None
    """Processors set aside: `2`, `500m`."""
    cpu_limit: Cpu | None = None
    """Processors that it may use."""
    memory_request: Memory | None = None
    """Memory set aside: `4Gi`. Keep the stage's own `memory_limit` below it."""
    memory_limit: Memory | None = None
    """Memory at which it is killed."""
    accelerator: str | None = Field(default=None, pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")
    """Resource name of a GPU: `nvidia.com/gpu`, `amd.com/gpu`, or a slice such as `nvidia.com/mig-1g.5gb`."""
    accelerator_count: int = Field(default=1, ge=1)
    """So many of them; request and limit are one for these."""
    node_selector: dict[str, str] = {}
    """Labels that the node must have."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints that the node may have."""


class Place(Node):
    """What a step's pod asks for, where it may run, and how often it is tried."""

    retries: int | None = Field(default=None, ge=0, le=10)
    """How often it is tried again after a failure. Unless given 2 for `ingest`, `champion`, `deploy` and `publish`,
    which ask what is outside, 0 for the others: Kubeflow cannot tell an outage from a mistake of yours."""
    backoff: Duration = "30s"
    """Seconds before the first retry; then twice as long each time."""
    backoff_maximum: Duration = "600s"
    """It waits no longer than this."""


class Secret(Section):
    """Variables from one Kubernetes Secret of the run's namespace."""

    name: Name
    """Name of the Secret."""
    keys: dict[str, Variable] = Field(min_length=1)
    """Which of its keys become which variables: `{api-key: WANDB_API_KEY}`."""
    stages: tuple[Stage, ...] = ()
    """Who gets them; everybody unless given."""
    optional: bool = False
    """Whether pods start without the Secret."""


class Claims(Section):
    """Volumes of the run's namespace, each by the name of its PersistentVolumeClaim; empty: not mounted."""

    models: Claim = "{name}-models"
    """`registry/`, which the predictor reads versions from, and what `drift` remembers; `{name}` is `deploy.name`."""
    graph: Claim = "{name}-graph"
    """The snapshot that is served; `publish` carries each new one there."""
    predictions: Claim = ""
    """The predictors' log, `{name}-predictions` with the component `logger`, for `drift.predictions`."""
    shared: Claim = ""
    """Large artifacts (tables, graph, features, predictions) go here; empty: to the object store, as all others do."""


class Distributed(Section):
    """Training on several machines, as a TrainJob of Kubeflow Trainer 2.2 or newer."""

    nodes: int = Field(default=1, ge=1, le=1000)
    """Machines that train together, each with `train.processes`; with 1 the stage trains in its own pod. More need
    `claims.shared`, on a volume that all of them mount."""
    node: Node = Node()
    """What each of them gets beside or instead of `every`. Stage `train` itself then only waits."""
    runtime: Name = "torch-distributed"
    """The training runtime, which has the policy `torch`."""
    runtime_kind: Literal["ClusterTrainingRuntime", "TrainingRuntime"] = "ClusterTrainingRuntime"
    """Whether the whole cluster has it, or the namespace of the runs."""
    image: str = ""
    """What they run; the image of the stage unless given."""
    restarts: int = Field(default=0, ge=0)
    """How often machines may fail before the stage does; what begins anew resumes at the last epoch. The runtime's own
    limits hold too."""
    starting: int | None = Field(default=None, ge=1)
    """Seconds in which all of them must run, from when the job was made; a job that a quota or a queue holds for longer
    fails the stage. It may wait for ever unless given."""
    deadline: int | None = Field(default=None, ge=1)
    """Seconds after which the job is ended, trained or not. The time in which a queue holds it does not count."""
    labels: dict[str, str] = {}
    """Labels of the job, such as `kueue.x-k8s.io/queue-name`."""


class Cluster(Section):
    """Section `cluster`."""

    every: Place = Place()
    """What every pod gets."""
    stages: dict[Stage, Place] = {}
    """What one stage gets beside or instead: `{train: {accelerator: nvidia.com/gpu}}`."""
    secrets: tuple[Secret, ...] = ()
    """Keys and tokens, from Secrets that are there: never a parameter, which everybody sees in the run's form."""
    claims: Claims = Claims()
    """Which volumes are mounted."""
    distributed: Distributed = Distributed()
    """Training on several machines."""
    service_account: Name | None = None
    """Account that runs are submitted with, `NAME-pipeline` of the manifests; Kubeflow's own unless given."""
    image_pull_secrets: tuple[Name, ...] = ()
    """Secrets with which the image is pulled."""
    report: Report = Report()
    """Who is told how a run ended."""

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.distributed.nodes > 1 and not self.claims.shared:
            raise ValueError("distributed.nodes: several machines need a volume that all of them mount: claims.shared")
        return self

    @property
    def node(self) -> Node:
        """What each machine of a distributed training gets."""
        every = self.every.model_dump(exclude_unset=True, include=set(Node.model_fields))
        return Node.parse(every | self.distributed.node.model_dump(exclude_unset=True), "cluster.distributed.node")

    def place(self, stage: str) -> Place:
        """What ``stage`` gets: its own fields, and those of `every` that it leaves out."""
        own = self.stages.get(stage, Place())  # type: ignore[call-overload]
        merged = self.every.model_dump(exclude_unset=True) | own.model_dump(exclude_unset=True)
        return Place.parse(merged, f"cluster.stages.{stage}")
