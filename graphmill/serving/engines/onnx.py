"""The ONNX engine: any network, as training exported it, on one thread of ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from graphmill.errors import UserError
from graphmill.model import Model
from graphmill.serving.gathered import Engine, Gathered

Feed = dict[str, NDArray[np.float32] | NDArray[np.int64]]
ERROR = 3
CPU = "CPUExecutionProvider"
CUDA = ("CUDAExecutionProvider", {"use_tf32": "0"})
"""With the GPU's shortened multiplication answers would differ in the third digit."""


class OnnxEngine(Engine):
    """Feeds a network's inputs by name.

    Args:
        file: network.onnx.
        hidden: width of the embeddings.

    Raises:
        UserError: when the file is not there, or is no network.
    """

    def __init__(self, file: Path, hidden: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = ERROR
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=_providers())
        except Exception as error:  # the runtime has an exception of its own for each reason
            raise UserError(f"{file}: cannot be served: {error}; train the model again") from None
        self._names = [item.name for item in self._session.get_inputs()]
        self.hidden = hidden

    def forward(self, batch: Gathered) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Embeddings float32 ``[seeds, hidden]`` and raw scores float64 ``[seeds]``."""
        feed = self._feed(batch)
        embedded, logits = self._session.run(["embedding", "logit"], {name: feed[name] for name in self._names})
        return embedded, logits.astype(np.float64)

    def _feed(self, batch: Gathered) -> Feed:
        feed: Feed = {}
        for depth, kind in np.argwhere(batch.counts >= 0).tolist():
            name = f"{depth}.{batch.types[kind]}"
            feed[f"rows.{name}"], feed[f"codes.{name}"] = batch.rows(depth, kind)
        for step, (depth, relation) in enumerate(batch.steps.tolist()):
            name = f"{depth}.{batch.relations[relation]}"
            pointer, row, feed[f"edges.{name}"] = batch.edges(step)
            feed[f"source.{name}"] = row.astype(np.int64)
            feed[f"target.{name}"] = np.repeat(np.arange(len(pointer) - 1), np.diff(pointer))
        return feed


def _providers() -> list[str | tuple[str, dict[str, str]]]:
    """A GPU where the runtime that is installed has one to offer."""
    return [CUDA, CPU] if CUDA[0] in onnxruntime.get_available_providers() else [CPU]


def load(model: Model, split: int) -> OnnxEngine:
    """The network of a model folder.

    Raises:
        UserError: when it has none.
    """
    file = model.folder(split) / "network.onnx"
    if not file.exists():
        raise UserError(f"{file}: missing: this model was trained before networks were exported; train it again")
    return OnnxEngine(file, int(model.manifest["architecture"]["hidden"]))
