"""One of the processes that train together: ``torchrun … -m graphmill.train.rank GRAPH FEATURES MODEL PARAMS``.

PARAMS is a JSON file with section `train`. Exit status: 0; 2 for what the user must mend; 3 when another process ended.
What went wrong is left for torchrun, which ends the others and tells it.
"""

import json
import os
import sys
import threading
from pathlib import Path

from torch import distributed
from torch.distributed.elastic.multiprocessing.errors import get_error_handler

from graphmill.errors import UserError
from graphmill.train import LOST, stage
from graphmill.train.loop import choose_device
from graphmill.train.params import Params
from graphmill.train.ranks import Ranks

MISTAKE, LEFT = 2, 3
"""Exit statuses that are no failure of this process's own."""
GLOO = ("gloo", "caused pair closure")
"""What its errors have in them, which have no type of their own."""
LOOK = 1.0
"""Seconds between two looks at whether the launcher still lives."""


class Left(Exception):
    """Another process has ended, and this one cannot go on without it."""


def main() -> int:
    """Train as one of several, and record what went wrong."""
    handler = get_error_handler()
    handler.initialize()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    if os.environ["RANK"] != "0":
        os.environ["GRAPHMILL_QUIET"] = "1"  # one bar is enough
    try:
        _train(*sys.argv[1:])
    except UserError as error:
        handler.record_exception(error)
        return MISTAKE
    except Left as error:
        handler.record_exception(error)
        return LEFT
    except Exception as error:
        handler.record_exception(error)
        raise
    return 0


def _train(graph: str, features: str, model: str, params: str) -> None:
    given = Params.parse(json.loads(Path(params).read_text(encoding="utf-8")), "train")
    started = int(os.environ["WORLD_SIZE"])
    if started != given.processes:
        told = f"train: {given.processes} processes are to train, and {started} are there"
        raise UserError(f"{told}; a TrainJob's runtime must have the policy `torch`, which tells torchrun of all nodes")
    try:
        ranks = Ranks.join(choose_device(given.device).type == "cuda", given.process_timeout)
        stage.run(graph, features, model, given, ranks)
    except Exception as error:
        if lost(error):  # without its traceback, which would lead away from the one at fault
            raise Left(f"train: process {os.environ['RANK']} of {started} {LOST}: {error}") from None
        raise


def lost(error: Exception) -> bool:
    """Whether an error only tells that another process has ended, or does not answer."""
    if isinstance(error, distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and any(mark in str(error).lower() for mark in GLOO)


def _end_with(launcher: int) -> None:
    """End when the launcher was killed and could not end its processes: nobody would wait for what they make."""
    while os.getppid() == launcher:
        threading.Event().wait(LOOK)
    os._exit(LEFT)


if __name__ == "__main__":
    sys.exit(main())
