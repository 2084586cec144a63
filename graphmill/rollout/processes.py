"""Processes that outlive the command that started them: found again by a file, and never mistaken for another's.

A process is named by its role. Its command line is written down before it is started, and is unlike any other on
the machine: a process id counts only as long as the process behind it has that very command line, so that a reused
id is never taken for ours, and one that was started right before a crash is found.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from graphmill.errors import UserError
from graphmill.registry.storage import replace_text

PATIENCE = 10.0
"""Seconds that a process has to end when it is told to."""
TAIL = 1_500
"""Characters of a log that are shown."""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "GRAPHMILL_QUIET": "1"}


class Processes:
    """The processes of one folder: ``processes.json``, and a log for each.

    Args:
        folder: where both stand.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / "processes.json"

    def roles(self) -> list[str]:
        """Every role that was started and not stopped, whether it still runs or not."""
        return list(self._read())

    def command(self, role: str) -> list[str] | None:
        """The command line of a role; None for one that was not started, or was stopped."""
        entry = self._read().get(role)
        return None if entry is None else list(entry[0])

    def alive(self, role: str) -> bool:
        """Whether it runs."""
        return self._process(role) is not None

    def start(self, role: str, command: Sequence[str]) -> None:
        """Start a process in a session of its own; what it says goes into its log.

        Raises:
            UserError: when that cannot be written.
        """
        entries = self._read()
        with _writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._write({**entries, role: (list(command), None)})
            pid = _spawn(command, self.log(role))
            self._write({**entries, role: (list(command), pid)})

    def stop(self, role: str) -> None:
        """Have a process end, and forget it; nothing where it has ended.

        Raises:
            UserError: when that cannot be written; the process has ended all the same.
        """
        process = self._process(role)
        if process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
                if not _ended(process):
                    process.kill()
                    _ended(process)
        entries = self._read()
        if entries.pop(role, None) is not None:
            with _writing(self._folder):
                self._write(entries)

    def log(self, role: str) -> Path:
        """The file with what it said since it was last started."""
        return self._folder / f"{role}.log"

    def tail(self, role: str) -> str:
        """The end of its log."""
        try:
            text = self.log(role).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return f"{self.log(role)} is not there"
        return f"{self.log(role)} ends with:\n{text[-TAIL:]}"

    def _process(self, role: str) -> psutil.Process | None:
        """The running process of a role."""
        command, pid = self._read().get(role, ([], None))
        if not command:
            return None
        for process in psutil.process_iter() if pid is None else _there(pid):
            with contextlib.suppress(psutil.Error):
                if process.status() == psutil.STATUS_ZOMBIE:
                    _reap(process.pid)
                elif process.cmdline() == command:
                    return process
        return None

    def _read(self) -> dict[str, tuple[list[str], int | None]]:
        try:
            content = json.loads(self._file.read_bytes())
            return {role: (entry["command"], entry["pid"]) for role, entry in content.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError):
            told = "remove it after stopping the `graphmill.serving` and `graphmill.rollout.front` that run"
            raise UserError(f"{self._file}: damaged; {told}") from None

    def _write(self, entries: dict[str, tuple[list[str], int | None]]) -> None:
        content = {role: {"command": command, "pid": pid} for role, (command, pid) in entries.items()}
        replace_text(self._file, json.dumps(content, indent=1))


def free_port() -> int:
    """A port on loopback that nothing listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def check_port(port: int) -> None:
    """Refuse a port that somebody listens at.

    Raises:
        UserError: naming it.
    """
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError as error:
            raise UserError(f"port {port}: {error.strerror}; stop what uses it, or give another with --port") from None


def _spawn(command: Sequence[str], log: Path) -> int:
    """Start a process that no signal to our terminal reaches."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(command[0], list(command), _ONE_THREAD | os.environ, file_actions=files, setsid=True)


def _there(pid: int) -> list[psutil.Process]:
    try:
        return [psutil.Process(pid)]
    except psutil.Error:
        return []


def _ended(process: psutil.Process) -> bool:
    """Wait for its end. A dead process stays in the table as long as a living parent does not ask for it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                _reap(process.pid)
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def _reap(pid: int) -> None:
    """Our own child leaves the process table when it is waited for."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from error
