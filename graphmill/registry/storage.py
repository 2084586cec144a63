"""What keeps a directory safe: a lock, files replaced whole, and bytes that reached the disk."""

import fcntl
import getpass
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from graphmill.errors import UserError

PATIENCE = 60.0
"""Seconds to wait for another writer; the system frees the lock of one that died."""


@contextmanager
def locked(file: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Hold ``file`` as a lock between processes.

    Raises:
        UserError: when another writer holds it for longer than ``patience`` seconds.
    """
    with file.open("a") as stream:
        deadline = time.monotonic() + patience
        while not _try(stream.fileno()):
            if time.monotonic() > deadline:
                raise UserError(f"{file.parent}: another process is writing for {patience:g} s; try later")
            time.sleep(0.02)
        yield


def replace_text(file: Path, content: str) -> None:
    """Replace a file whole, on the disk before the old one goes; what fails leaves the old one."""
    partial = file.with_name(f".{file.name}.partial")
    try:
        partial.write_text(content, encoding="utf-8")
        _flush(partial)
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)
    _flush(file.parent)


def flush_tree(folder: Path, deep: bool = True) -> None:
    """Wait until a folder, and everything in it when ``deep``, is on the disk."""
    for item in folder.rglob("*") if deep else ():
        _flush(item)
    _flush(folder)


def who() -> str:
    """Who is acting: the login name, or ``unknown`` in a container that has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"


def now() -> str:
    """This second in UTC, as ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
