"""Section `train`."""

from typing import Annotated, Literal, Self

from pydantic import ByteSize, Field, TypeAdapter, model_validator

from graphmill.graph.sample import Fanout
from graphmill.params import Section

Count = Annotated[int, Field(ge=1)]


class Network(Section):
    """The graph network."""

    kind: Literal["sage", "gat", "gin", "rgcn", "hgt", "mlp"] = "sage"
    """`sage`: GraphSAGE with a mean, by far the fastest; `gat`: attention; `gin`: isomorphism network with a mean;
    `rgcn`: relational convolution; `hgt`: heterogeneous transformer; `mlp`: the node alone."""
    hidden: int = Field(default=64, ge=1)
    """Width of every layer."""
    heads: int = Field(default=4, ge=1)
    """Attention heads of `gat` and `hgt`; they share the width."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of activations dropped in training."""

    @model_validator(mode="after")
    def _heads(self) -> Self:
        if self.kind in ("gat", "hgt") and self.hidden % self.heads:
            raise ValueError(f"heads: {self.heads} heads cannot share a width of {self.hidden} evenly")
        return self


class Controls(Section):
    """The control models: gradient-boosted trees without, and with, the neighbourhood."""

    fanouts: list[int] = [50, 10]
    """Edges per relation and hop whose means the trees see; -1 takes all."""
    negatives: Count | Literal["all"] = 30
    """Negative examples per positive one."""
    rounds: int = Field(default=400, ge=1)
    """Most boosting rounds; the validation part stops earlier."""
    patience: Count | Literal["never"] = 40
    """Rounds without a gain before stopping; `never` grows all rounds, wiser where few examples validate."""
    learning_rate: float = Field(default=0.05, gt=0)
    """Shrinkage."""
    leaves: int = Field(default=15, ge=2)
    """Leaves of a tree."""
    minimum_leaf: int = Field(default=20, ge=1)
    """Fewest examples in a leaf."""
    column_share: float = Field(default=0.5, gt=0, le=1)
    """Share of the columns that a tree may use."""
    row_share: float = Field(default=0.8, gt=0, le=1)
    """Share of the examples that a tree is grown on."""
    regularisation: float = Field(default=5.0, ge=0)
    """L2 penalty of a leaf's value."""
    bags: int = Field(default=1, ge=1)
    """Models with other seeds whose scores are averaged."""


class Params(Section):
    """Section `train`."""

    model: Network = Network()
    """The network."""
    controls: Controls = Controls()
    """The control models."""
    fanouts: list[int] | dict[str, list[int]] = [15, 10]
    """Edges per relation at each hop; as many hops as numbers; -1 takes all. Or such a list for each relation by its
    name (`payment.account_id.account: [15, 10]`); a relation that is not named is not followed by the network."""
    recent: bool = False
    """Whether the newest edges are taken instead of a uniform draw."""
    epochs: int = Field(default=20, ge=1)
    """Most passes over the training examples."""
    patience: int = Field(default=5, ge=1)
    """Epochs without a gain on the validation part before stopping."""
    batch_size: int = Field(default=512, ge=1)
    """Examples in a step."""
    learning_rate: float = Field(default=5e-3, gt=0)
    """Peak of the one-cycle schedule."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """Decoupled weight decay (AdamW)."""
    negatives: Count | Literal["all"] = 10
    """Negative examples per positive one, drawn anew each epoch. Calibration puts it right."""
    validation_limit: int = Field(default=20_000, ge=1)
    """Most validation examples judged after each epoch; calibration uses all of them."""
    seed: int = 0
    """Seed of everything random."""
    threads: int = Field(default=1, ge=1)
    """Threads of the network and the trees. The result depends on it; two on a contended core are slower than one."""
    workers: int = Field(default=1, ge=0, le=64)
    """Threads that make batches ahead of the network; 0 makes each when it is needed. The result is the same."""
    processes: int = Field(default=1, ge=1, le=512)
    """Processes on a machine that train the network together, each on its share of every batch; one for each GPU. The
    steps are those of one process; with dropout, the result is alike and not the same. How many machines, says
    `cluster.distributed`."""
    process_timeout: int = Field(default=1800, ge=1)
    """Seconds that processes wait for one that hangs or comes late, such as with a machine that has yet to start; then
    all end. One that dies is noticed at once."""
    memory_limit: str = Field(default="2GB", pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$")
    """Memory of full-graph inference; hidden rows beyond it stand in a temporary file."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU when there is one."""

    @model_validator(mode="after")
    def _hops(self) -> Self:
        lists = list(self.fanouts.values()) if isinstance(self.fanouts, dict) else [self.fanouts]
        if self.model.kind != "mlp" and not (lists and all(lists)):
            raise ValueError("fanouts: a graph network needs at least one hop; take kind mlp for none")
        if any(fanout < -1 or fanout == 0 for part in (*lists, self.controls.fanouts) for fanout in part):
            raise ValueError("fanouts: each is a number of edges from 1, or -1 for all")
        if len({len(part) for part in lists}) > 1:
            raise ValueError("fanouts: every relation needs a number for every hop")
        return self

    @property
    def memory(self) -> int:
        """``memory_limit`` in bytes."""
        return int(TypeAdapter(ByteSize).validate_python(self.memory_limit))

    @property
    def hops(self) -> list[Fanout]:
        """Fan-outs that the network uses, hop by hop: none for the perceptron."""
        if self.model.kind == "mlp":
            return []
        if isinstance(self.fanouts, list):
            return list(self.fanouts)
        depths = len(next(iter(self.fanouts.values())))
        return [{name: part[depth] for name, part in self.fanouts.items()} for depth in range(depths)]
