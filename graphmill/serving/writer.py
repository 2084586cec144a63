"""Writing a log: records go behind the last good one of the newest segment, and are on the disk when that returns.

What blocks is here; nothing knows of the event loop.
"""

import logging
import os
from pathlib import Path

from graphmill.serving import chain, segment

_LOG = logging.getLogger(__name__)


class Writer:
    """Appends to the newest segment of a folder, and begins new ones.

    Args:
        folder: the log's.
        segment_bytes: a file that has become larger is followed by a new one.
    """

    def __init__(self, folder: Path, segment_bytes: int) -> None:
        self._folder, self._segment_bytes = folder, segment_bytes
        self._handle, self._size = -1, 0

    def resume(self, file: Path, size: int) -> None:
        """Go on in a segment behind its first ``size`` bytes; what follows them is cut off and told.

        Raises:
            OSError: when that fails.
        """
        self._handle, self._size = os.open(file, os.O_RDWR), size
        torn = os.fstat(self._handle).st_size - size
        if torn:
            _LOG.warning("%s: %d bytes of an unfinished write were cut off", file, torn)
            os.ftruncate(self._handle, size)
            os.fsync(self._handle)
        os.lseek(self._handle, size, os.SEEK_SET)

    def append(self, offset: int, payloads: list[bytes]) -> None:
        """Write events from an offset on and wait until they are on the disk; with none, only see whether it works.

        After a failed sync the kernel may have dropped what it could not write and say yes to the next sync. So nothing
        is ever written behind a failure: the segment ends where the last good sync left it, and a new one is begun.

        Raises:
            OSError: when it fails; none of the events is in the log then.
        """
        if self._handle < 0 or self._size >= self._segment_bytes:
            self.close()
            self._handle, self._size = _create(self._folder, offset), segment.HEADER.size
        try:
            data = segment.packed(payloads)
            _all(self._handle, data)
            os.fdatasync(self._handle)
            self._size += len(data)
        except OSError:
            self._leave()
            raise

    def trim(self, before: int) -> int | None:
        """Delete segments all of whose events lie before an offset; the first offset that is left, if any went.

        Oldest first and each for good before the next, so that a crash leaves no gap.
        """
        found, left = chain.files(self._folder), None
        for file, after in zip(found, found[1:], strict=False):
            if chain.first(after) > before:
                break
            file.unlink()
            _sync_folder(self._folder)
            left = chain.first(after)
        return left

    def close(self) -> None:
        """Let go of the file; a later `append` begins a new one."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _leave(self) -> None:
        """Cut off what a failed write left, if that is possible; readers stop where the next segment begins anyway."""
        try:
            os.ftruncate(self._handle, self._size)
            os.fsync(self._handle)
        except OSError as error:
            _LOG.warning("%s: the end of a failed write cannot be cut off: %s", self._folder, error.strerror)
        finally:
            self.close()


def _create(folder: Path, first: int) -> int:
    """A new segment, durable under its name; an open handle at its end.

    One that begins there already holds nothing that was acknowledged: it is replaced.
    """
    partial = folder / f".{segment.name(first)}.partial"
    handle = os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o644)
    try:
        _all(handle, segment.HEADER.pack(segment.MAGIC, segment.VERSION, first))
        os.fsync(handle)
        os.rename(partial, folder / segment.name(first))
        _sync_folder(folder)
    except OSError:
        os.close(handle)
        raise
    return handle


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _all(handle: int, data: bytes) -> None:
    """Write everything: one call may take only a part."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
