"""Mini-batch training of the network with the point-in-time sampler.

Everything random follows from (seed, epoch), so a run that was killed and resumed ends with the same weights. Several
processes may train together (`graphmill.train.ranks`): they take the same steps as one.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score
from torch.nn.functional import binary_cross_entropy_with_logits

from graphmill.errors import UserError
from graphmill.features.inputs import Inputs
from graphmill.graph.sample import Fanout
from graphmill.graph.sampler import Sampler
from graphmill.progress import track
from graphmill.train.checkpoint import Checkpoints
from graphmill.train.examples import balanced, labels, limited
from graphmill.train.loader import Loader
from graphmill.train.network import Network, architecture
from graphmill.train.params import Params
from graphmill.train.ranks import ALONE, Ranks
from graphmill.train.resident import Resident, resident


@dataclass
class Progress:
    """Where a run stands."""

    epoch: int = 0
    best: float = -math.inf
    best_epoch: int = -1
    weights: dict[str, Any] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)


def fit(
    inputs: Inputs, train: pd.DataFrame, validation: pd.DataFrame, params: Params,
    checkpoints: Checkpoints, name: str, ranks: Ranks = ALONE,
) -> tuple[Network, list[dict[str, float]]]:  # fmt: skip
    """Train until the validation metric stops rising; return the best network and the learning curve."""
    device = choose_device(params.device)
    torch.manual_seed(params.seed)
    shape = architecture(inputs, params.model, params.hops)
    network = Network(shape).to(device)
    network.start_at(_base_rate(labels(train), params.negatives))
    learner = ranks.learner(network)
    optimizer = torch.optim.AdamW(network.parameters(), params.learning_rate, weight_decay=params.weight_decay)
    progress = _resume(network, optimizer, checkpoints, name)
    kept = limited(len(validation), params.validation_limit, labels(validation), [params.seed, 1])
    judged = validation.iloc[kept]
    held = resident(inputs, device)
    for epoch in track(range(progress.epoch, params.epochs), f"train {name}"):
        if epoch - progress.best_epoch > params.patience and progress.best_epoch >= 0:
            break
        loss = _epoch(network, learner, optimizer, inputs, train, params, epoch, held, ranks)
        own = logits(network, inputs, judged.iloc[ranks.own(len(judged))], params.hops, params)
        scores = ranks.joined(own, len(judged))
        metric = ranks.agreed(judge(inputs.graph.task.metric, labels(judged), scores))
        progress.curve.append({"epoch": epoch, "loss": loss, "validation": metric})
        progress.epoch = epoch + 1
        if metric > progress.best:
            progress.best, progress.best_epoch = metric, epoch
            progress.weights = copy.deepcopy(network.state_dict())
        checkpoints.save(name, _state(network, optimizer, progress))
    network.load_state_dict(progress.weights)
    return network.cpu().eval(), progress.curve  # full-graph inference is on the CPU, whatever trained it


def _base_rate(label: NDArray[np.float32], negatives: int | str) -> float:
    """Share of positives among the examples that an epoch sees."""
    share = float(label.mean())
    return share if isinstance(negatives, str) else max(share, 1.0 / (1.0 + negatives))


def choose_device(name: str) -> torch.device:
    """The device that a parameter means.

    Raises:
        UserError: when a GPU is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("train.device: cuda asked for, but torch sees no GPU; take auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def logits(
    network: Network, inputs: Inputs, examples: pd.DataFrame, fanouts: list[Fanout], params: Params
) -> NDArray[np.float64]:
    """Logits of examples from sampled neighbourhoods: float64 ``[n]``."""
    parts = embeddings(network, inputs, examples, fanouts, params)
    with torch.inference_mode():
        found = [network.logits(part).cpu().numpy().astype(np.float64) for part in parts]
    return np.concatenate(found) if found else np.empty(0)


def embeddings(
    network: Network, inputs: Inputs, examples: pd.DataFrame, fanouts: list[Fanout], params: Params
) -> Iterator[torch.Tensor]:
    """Embeddings of examples from sampled neighbourhoods, batch by batch: ``[batch, hidden]`` each."""
    size = 2 * params.batch_size  # without gradients there is room for more
    sampler = Sampler(inputs.graph, fanouts, params.recent, params.seed)
    device = next(network.parameters()).device
    ids, times = examples["node"].to_numpy(np.int32), examples["time"].to_numpy(np.int64)
    network.eval()
    parts = ((ids[first : first + size], times[first : first + size]) for first in range(0, len(ids), size))
    workers = params.workers if len(ids) > size else 0
    loader = Loader(inputs, sampler, network.shape.node, network.apart, device, workers)
    for batch in loader.batches(parts):
        with torch.inference_mode():
            yield network.embed(batch)


def judge(metric: str, label: NDArray[np.float32], scores: NDArray[np.float64]) -> float:
    """The task's metric; scores that are not numbers end the run.

    Raises:
        UserError: when training diverged.
    """
    if not np.isfinite(scores).all():
        raise UserError("train: the network diverged (scores are not finite); lower train.learning_rate")
    score = roc_auc_score if metric == "roc_auc" else average_precision_score
    return float(score(label, scores))


def _epoch(
    network: Network, learner: torch.nn.Module, optimizer: torch.optim.Optimizer, inputs: Inputs, train: pd.DataFrame,
    params: Params, epoch: int, held: Resident, ranks: Ranks,
) -> float:  # fmt: skip
    torch.manual_seed(params.seed * 100_003 + epoch + (ranks.rank << 40))
    device = next(network.parameters()).device
    label = labels(train)
    order = balanced(label, params.negatives, [params.seed, 0, epoch])
    sampler = Sampler(inputs.graph, params.hops, params.recent, params.seed + 7_919 * (epoch + 1))
    ids, times = train["node"].to_numpy(np.int32), train["time"].to_numpy(np.int64)
    parts = [order[first : first + params.batch_size] for first in range(0, len(order), params.batch_size)]
    shares = [ranks.share(part) for part in parts]
    loader = Loader(inputs, sampler, network.shape.node, network.apart, device, params.workers, held)
    network.train()
    total = 0.0
    batches = loader.batches((ids[chosen], times[chosen]) for chosen, _ in shares)
    for step, ((chosen, factor), batch) in enumerate(zip(shares, batches, strict=True)):
        for group in optimizer.param_groups:
            group["lr"] = params.learning_rate * one_cycle((epoch + step / len(parts)) / params.epochs)
        target = torch.from_numpy(label[chosen]).to(device)
        loss = binary_cross_entropy_with_logits(learner(batch), target) * factor
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        total += float(loss.detach()) * len(parts[step])
    return ranks.total(total) / ranks.count / len(order)


def one_cycle(share: float) -> float:
    """Share of the peak learning rate: up for 30 % of training, down to nearly nothing (Smith, 2018)."""
    if share < 0.3:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * share / 0.3)) / 2
    return 1e-4 + (1 - 1e-4) * (1 + math.cos(math.pi * (share - 0.3) / 0.7)) / 2


def _state(network: Network, optimizer: torch.optim.Optimizer, progress: Progress) -> dict[str, Any]:
    return {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "progress": dict(vars(progress))}


def _resume(network: Network, optimizer: torch.optim.Optimizer, checkpoints: Checkpoints, name: str) -> Progress:
    state = checkpoints.load(name)
    if state is None:
        return Progress()
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])
