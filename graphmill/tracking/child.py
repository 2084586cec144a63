"""The process that imports W&B: ``python -m graphmill.tracking.child record|send REQUEST``.

Whatever happens to it, a hang or a crash of W&B's service included, is not the stage's.
"""

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from graphmill.errors import UserError
from graphmill.tracking import content, processes, sender, writer
from graphmill.tracking.params import Params
from graphmill.tracking.stage import RECORDED


def main() -> int:
    """Do one thing; the last line printed says what came of it. It ends by itself when its time is over."""
    verb, request = sys.argv[1], json.loads(sys.argv[2])
    watch = threading.Timer(request.pop("patience"), processes.end_below)
    watch.daemon = True
    watch.start()
    try:
        print(_record(**request) if verb == "record" else sender.send(Path(request["folder"])), flush=True)
    except UserError as error:
        print(error, flush=True)
        return 2
    return 0


def _record(stage: str, output: str, group: str, seconds: float, mode: str, params: dict[str, Any]) -> str:
    """Write the run and, where a key is set, send it; a run that could not be sent is recorded all the same."""
    given = Params.parse(params, "tracking")
    project = os.environ.get("WANDB_PROJECT") or given.project
    entity = os.environ.get("WANDB_ENTITY") or given.entity
    folder = writer.write(content.read(Path(output)), stage, group, seconds, project, entity)
    kept = f"{RECORDED}{folder}"
    print(kept, flush=True)
    if mode == "offline" or not sender.has_key():
        return kept
    try:
        return f"{kept}; {sender.send(folder)}"
    except UserError as error:
        return f"{kept}; {error}"


if __name__ == "__main__":
    sys.exit(main())
