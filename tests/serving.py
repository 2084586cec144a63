"""Requests to the front without a network, and servers in processes of their own."""

import asyncio
import itertools
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from graphmill.serving.server import assemble
from graphmill.serving.settings import Settings
from tests.oracle import Oracle

TOKEN = "0123456789abcdef0123"
BEARER = {"authorization": f"Bearer {TOKEN}"}


async def _kserve(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-from", b"kserve")]})
    await send({"type": "http.response.body", "body": b""})


class Served:
    """A front over an oracle; `post` and `get` are whole requests through it."""

    def __init__(self, hidden: int = 4, **settings: Any) -> None:
        self.oracle = Oracle(hidden=hidden)
        given = Settings.parse({"model": "m", "graph": "g", "model_name": "oracle", **settings})
        self.model, self.front = assemble(given, self.oracle, _kserve)

    def post(
        self, path: str, content: bytes = b"", headers: dict[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        return self.request("POST", path, content=content, headers=headers, **more)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.together(lambda client: client.request(method, path, **more))[0]

    def together(self, *requests: Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]) -> list[httpx.Response]:
        """The answers to requests that are sent in the same turn of the event loop."""

        async def all_of_them() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.front, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://front") as client:
                return list(await asyncio.gather(*(request(client) for request in requests)))

        return asyncio.run(all_of_them())


def _own_ports() -> list[int]:
    """Ports of this worker, in an order that begins anywhere: several runs may share the machine."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = range(10_000 + worker, 32_000, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    first = secrets.randbelow(len(ports))
    return [*ports[first:], *ports[:first]]


_PORTS = itertools.cycle(_own_ports())


def free_ports(number: int) -> list[int]:
    """Ports that nothing listens at.

    The kernel gives none of them to whoever asks for any, other workers have others, and none is given twice: nobody
    takes one between now and its use.
    """
    return list(itertools.islice(filter(_free, _PORTS), number))


def _free(port: int) -> bool:
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Process:
    """A server in a process of its own; what it wrote stands in ``log``."""

    def __init__(self, log: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.http, self.grpc = free_ports(2)
        self.log = log
        ports = [f"--http_port={self.http}", f"--grpc_port={self.grpc}"]
        command = [sys.executable, "-W", "error", "-m", "tests.oracle", "--model=m", "--graph=g", "--model_name=oracle"]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, *ports, *arguments],
                cwd=Path(__file__).parent.parent,
                env={**os.environ, **(environment or {})},
                stdout=output,
                stderr=output,
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    def wait(self) -> None:
        """Until both ports are open."""
        for port in (self.http, self.grpc):
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert self.process.poll() is None, self.log.read_text()
                    time.sleep(0.05)

    def until_told(self, *words: str) -> None:
        """Until it has written all of these."""
        while not all(word in self.log.read_text() for word in words):
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.01)

    def stop(self) -> int:
        """Ask it to stop; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def running(log: Path, *arguments: str, environment: dict[str, str] | None = None) -> Iterator[Process]:
    """A server that is up, and is stopped at the end."""
    process = Process(log, *arguments, environment=environment)
    try:
        process.wait()
        yield process
    finally:
        if process.process.poll() is None:
            process.process.kill()
            process.process.wait()


def samples(text: str, name: str) -> dict[str, float]:
    """Values of a metric by its labels, from the text that Prometheus reads."""
    return {
        match[1] or "": float(match[2]) for match in re.finditer(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE)
    }
