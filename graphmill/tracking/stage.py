"""A stage's run, recorded after its work by a process of its own that the stage does not wait for beyond a bound."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from graphmill.progress import say
from graphmill.tracking import places
from graphmill.tracking.params import Params

CHILD = "graphmill.tracking.child"


@contextmanager
def tracked(stage: str, output: str | Path, section: Mapping[str, Any]) -> Iterator[None]:
    """Do a stage's work in the block; then its run is recorded from the artifact that it wrote.

    Nothing that goes wrong with W&B is an error of the stage. A stage that fails leaves no artifact and no run.

    Args:
        stage: the stage's name, which is the run's job type.
        output: the artifact that the block writes.
        section: section `tracking`, checked before the work begins.

    Raises:
        UserError: for a wrong parameter.
    """
    params = Params.parse(section, "tracking")
    began = time.monotonic()
    yield
    if (mode := places.mode(params.mode)) == "off":
        return
    seconds = round(time.monotonic() - began, 3)
    group = places.group(Path(output).absolute())
    told = {"stage": stage, "output": str(Path(output).absolute()), "group": group, "seconds": seconds, "mode": mode}
    try:
        say(f"{stage}: {_record(told, params)}")
    except Exception as error:
        say(f"{stage}: not recorded: {error}")


def _record(told: dict[str, Any], params: Params) -> str:
    """Have the run recorded; what became of it, in words."""
    home = places.folder()
    home.mkdir(parents=True, exist_ok=True)
    request = json.dumps(told | {"params": params.canonical()})
    status, last = run_child(["record", request], params.patience, home)
    if status is None:
        return f"W&B took longer than {params.patience:g} s; what was recorded is in {home}, and a sync sends it"
    return last if status == 0 else f"not recorded: {last or f'the recorder ended with status {status}'}"


def run_child(arguments: list[str], patience: float, home: Path) -> tuple[int | None, str]:
    """Run the process that imports W&B, for ``patience`` seconds at the most.

    Its output goes to a file, not a pipe: W&B's service inherits it, in a session of its own, and would hold a
    pipe open after the process is gone.

    Returns:
        Its exit status, None when it was stopped, and the last line it printed.
    """
    command = [sys.executable, "-m", CHILD, *arguments]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env=places.environment(home), start_new_session=True,
        )  # fmt: skip
        try:
            status: int | None = child.wait(patience)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            if child.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        output.seek(0)
        lines = [line for line in output.read().splitlines() if line.strip()]
    return status, lines[-1] if lines else ""
