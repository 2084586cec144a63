"""Several processes of this machine that train together, started and watched as ``torchrun --standalone`` does."""

import signal
import sys
import tempfile
import uuid
from pathlib import Path

from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from graphmill.artifact import to_json
from graphmill.errors import UserError
from graphmill.train.params import Params
from graphmill.train.rank import LEFT, MISTAKE

CLOSING = 20
"""Seconds; torchrun kills thirty after it asked a process to end. Who is killed of itself is seen at once."""


def run(graph: str | Path, features: str | Path, model: str | Path, params: Params) -> None:
    """Train with ``params.processes`` processes, and wait for them; when one fails the others are ended.

    Raises:
        UserError: what a process told the user, or that one was killed.
        RuntimeError: for a failure of another kind, with the traceback of the process that failed first.
    """
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "params.json")
        file.write_text(to_json(params.canonical()), encoding="utf-8")
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=params.processes,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",  # a free port
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=scratch),
        )
        try:
            command = ("-m", "graphmill.train.rank", str(graph), str(features), str(model), str(file))
            elastic_launch(config, sys.executable)(*command)
        except ChildFailedError as error:
            raise told(error, params.processes) from None
        except SignalException as error:
            if error.sigval == signal.SIGINT:
                raise KeyboardInterrupt from None
            sys.exit(128 + error.sigval)


def told(error: ChildFailedError, count: int) -> Exception:
    """What to tell of the failures of ``count`` processes: the first that did not follow from another's."""
    first = min(failure.timestamp for failure in error.failures.values())
    rank, failure = min(error.failures.items(), key=lambda item: (_follows(item[1], first), item[1].timestamp))
    who = f"train: process {rank} of {count}"
    if failure.exitcode == MISTAKE:
        return UserError(_message(failure).partition(": ")[2])
    if failure.exitcode == LEFT:  # and none that it lost has failed
        hung = "one of them hung, or was later than train.process_timeout allows"
        return UserError(f"{_message(failure).partition(': ')[2]}; {hung}")
    if failure.exitcode == -signal.SIGKILL:
        return UserError(f"{who} was killed; if the machine was out of memory, take fewer train.processes")
    if failure.exitcode < 0:
        return UserError(f"{who} was ended by {failure.signal_name()}")
    return RuntimeError(f"{who} failed (exit status {failure.exitcode}): {_message(failure)}")


def _follows(failure: ProcessFailure, first: int) -> bool:
    """Whether a process ended since another had, or because torchrun ends all: who does not go is killed in the end."""
    killed = failure.exitcode == -signal.SIGKILL and failure.timestamp - first > CLOSING
    return killed or failure.exitcode in (LEFT, -signal.SIGTERM)


def _message(failure: ProcessFailure) -> str:
    """The words of an error as its process recorded it: ``UserError: …``."""
    message = failure.message
    return str(message["message"]) if isinstance(message, dict) else str(message)
