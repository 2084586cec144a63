"""The process that imports W&B, from outside: how it is started, waited for and, when it is late, ended."""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from graphmill.tracking import places

CHILD = "graphmill.tracking.child"
LATE = 124
"""Exit status of a process that ended itself because its time was over."""

GRACE = 2.0
"""Seconds more that are waited for a process that should have ended itself."""


def run(verb: str, patience: float, home: Path, **request: Any) -> tuple[int, list[str]]:
    """Do ``verb`` in a process of its own, for ``patience`` seconds at the most.

    Its output goes to a file, not a pipe: W&B's service inherits it, in a session of its own, and would hold a
    pipe open after the process is gone.

    Returns:
        The exit status, `LATE` where its time was over, and the lines it printed.
    """
    command = [sys.executable, "-m", CHILD, verb, json.dumps({"patience": patience, **request})]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env=places.environment(home), start_new_session=True,
        )  # fmt: skip
        try:
            status = child.wait(patience + GRACE)
        except subprocess.TimeoutExpired:
            status = LATE
        finally:
            if child.poll() is None:
                end(child.pid)
                child.wait()
        output.seek(0)
        return status, [line.strip() for line in output.read().splitlines() if line.strip()]


def end(pid: int) -> None:
    """End a process that this program started and everything below it; W&B's service is in another session."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for item in [*process.children(recursive=True), process]:
            with suppress(psutil.NoSuchProcess):
                item.kill()


def end_below() -> None:
    """End all that this process started, then this process: its time is over."""
    for item in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            item.kill()
    os._exit(LATE)
