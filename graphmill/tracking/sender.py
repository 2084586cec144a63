"""Sending a run that is on the disk: the upload is W&B's own, then W&B is asked whether it has it all."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from graphmill.artifact import write_text
from graphmill.errors import UserError
from graphmill.tracking import sdk
from graphmill.tracking.content import SHORT
from graphmill.tracking.writer import SIDECAR, STAGED

ANSWER = 5
"""Seconds in which the server must answer a question."""

SENT = "graphmill.sent"
"""Stands in a run's folder when W&B has the run, its artifact and its inputs.

W&B's own mark is not enough: its command leaves it also when the server refused a part for good.
"""


def has_key() -> bool:
    """Whether there is a key for the server: ``WANDB_API_KEY``, an identity token, or an entry in netrc."""
    wandb = sdk.load()
    try:
        return bool(wandb.login(prompt=False, verify=False))
    except wandb.errors.Error:
        return False


def send(folder: Path) -> str:
    """Upload a run and link its inputs; what was done before is not done again.

    Returns:
        What became of it, in words.

    Raises:
        UserError: when there is no key, the server does not answer or refuses, or another process is at it.
    """
    facts = json.loads((folder / SIDECAR).read_bytes())
    if not has_key():
        raise UserError("not sent: no API key; run `wandb login` or set WANDB_API_KEY")
    with _alone(folder):
        if (folder / SENT).exists():
            return "sent before"
        api = _answering()
        place = f"{facts['entity'] or api.default_entity}/{facts['project']}"
        _upload(api, place, facts, folder)
        missing = _link(api, place, facts)
        write_text(folder / SENT, "")
        shutil.rmtree(folder / STAGED, ignore_errors=True)
    note = f"; W&B does not have its input {', '.join(missing)}" if missing else ""
    return f"sent to {api.settings['base_url']}{note}"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time; the system frees the lock of one that died."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UserError("not sent: another process is sending it") from None
    finally:
        os.close(handle)


def _answering() -> Any:
    """W&B's API, after the server has answered and accepted the key."""
    wandb = sdk.load()
    try:
        return wandb.Api(timeout=ANSWER)
    except Exception as error:
        silent = "in time" in str(error)  # the SDK then says that its own service is busy
        told = f"W&B does not answer within {ANSWER} s; is there a network?" if silent else _line(error)
        raise UserError(f"not sent: {told}") from None


def _upload(api: Any, place: str, facts: dict[str, Any], folder: Path) -> None:
    """W&B's own ``wandb sync``, unless it was done and only the word that all arrived is missing."""
    marks = list(folder.glob("*.wandb.synced"))
    if marks and _arrived(api, place, facts):
        return
    for mark in marks:
        mark.unlink()
    try:
        sdk.sync(folder)
    except Exception as error:
        raise UserError(f"not sent: the upload broke off: {_line(error)}") from None
    if not _arrived(api, place, facts):
        raise UserError("not sent whole: W&B does not have the finished run and its artifact")


def _arrived(api: Any, place: str, facts: dict[str, Any]) -> bool:
    """Whether W&B knows the run as finished and has its artifact: both come last of what they stand for."""
    try:
        finished = _run(api, place, facts).state == "finished"
        return bool(finished and api.artifact_exists(_path(place, facts["kind"], facts["digest"])))
    except Exception as error:
        if "could not find run" in str(error).lower():
            return False
        raise UserError(f"not sent: W&B does not tell what it has: {_line(error)}") from None


def _run(api: Any, place: str, facts: dict[str, Any]) -> Any:
    """The run as W&B knows it; the folder that the SDK makes for its downloads goes again."""
    run = api.run(f"{place}/{facts['run']}")
    with suppress(OSError):
        os.removedirs(run.dir)
    return run


def _link(api: Any, place: str, facts: dict[str, Any]) -> list[str]:
    """Say which artifacts the run used: those with the digests of its inputs. Returns what W&B does not have."""
    wanted = {name: _path(place, name, digest) for name, digest in facts["inputs"].items()}
    try:
        missing = [name for name, path in wanted.items() if not api.artifact_exists(path)]
        run = _run(api, place, facts)
        for name, path in wanted.items():
            if name not in missing:
                run.use_artifact(api.artifact(path), use_as=name)
    except Exception as error:  # the SDK lets errors of many kinds through
        raise UserError(f"sent, but its inputs are not linked: {_line(error)}") from None
    return missing


def _path(place: str, name: str, digest: str) -> str:
    return f"{place}/{name}:{digest[:SHORT]}"


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
