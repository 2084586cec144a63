"""Sending a run that is on the disk: the upload is W&B's own, the edges of the lineage graph are added after it."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graphmill.artifact import write_text
from graphmill.errors import UserError
from graphmill.tracking import sdk
from graphmill.tracking.content import SHORT
from graphmill.tracking.writer import SIDECAR

ANSWER = 5
"""Seconds in which the server must answer a first question before anything is sent."""

LINKED = "graphmill.linked"
"""Stands in a run's folder when its inputs are edges of W&B's lineage graph."""


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
        raise UserError("no API key; run `wandb login` or set WANDB_API_KEY")
    with _alone(folder):
        api = _answering()
        if not uploaded(folder):
            _upload(folder)
        missing = [] if (folder / LINKED).exists() else _link(api, facts)
        write_text(folder / LINKED, "")
    note = f"; W&B does not have its input {', '.join(missing)}" if missing else ""
    return f"sent to {api.settings['base_url']}{note}"


def uploaded(folder: Path) -> bool:
    """Whether W&B's own mark says that the whole run was uploaded."""
    return any(folder.glob("*.wandb.synced"))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time; the system frees the lock of one that died."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UserError("another process is sending it") from None
    finally:
        os.close(handle)


def _answering() -> Any:
    """W&B's API, after the server has answered and accepted the key."""
    wandb = sdk.load()
    try:
        return wandb.Api(timeout=ANSWER)
    except wandb.errors.Error as error:
        raise UserError(str(error).splitlines()[0]) from None


def _upload(folder: Path) -> None:
    """W&B's own ``wandb sync``; its mark tells whether all arrived."""
    try:
        sdk.sync(folder)
    except Exception as error:
        raise UserError(f"the upload broke off: {error or type(error).__name__}") from None
    if not uploaded(folder):
        raise UserError("the upload did not finish; W&B's words are in the run's folder, under logs/")


def _link(api: Any, facts: dict[str, Any]) -> list[str]:
    """Say which artifacts the run used: those with the digests of its inputs. Returns what W&B does not have."""
    place = f"{facts['entity'] or api.default_entity}/{facts['project']}"
    wanted = {name: f"{place}/{name}:{digest[:SHORT]}" for name, digest in facts["inputs"].items()}
    wandb = sdk.load()
    try:
        missing = [name for name, path in wanted.items() if not api.artifact_exists(path)]
        run = api.run(f"{place}/{facts['run']}") if len(missing) < len(wanted) else None
        for name, path in wanted.items():
            if name not in missing:
                run.use_artifact(api.artifact(path), use_as=name)
    except (wandb.errors.Error, ValueError) as error:
        raise UserError(f"sent, but its inputs are not linked: {str(error).splitlines()[0]}") from None
    return missing
