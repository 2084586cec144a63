"""What the server costs before any model runs: our front against KServe's ModelServer, one request at a time."""

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.echo import NAME

KINDS = {"front": ["front"], "stock": ["stock"], "stock, quiet": ["stock", "--quiet"]}
IDS = 10


def run(small: bool) -> dict[str, Any]:
    """Median latency of a v1 request of ten ids, in interleaved rounds; `ratio` is stock's over ours."""
    rounds, requests = (3, 200) if small else (15, 400)
    with ExitStack() as stack:
        ports = {kind: stack.enter_context(_serving(arguments)) for kind, arguments in KINDS.items()}
        lines = {kind: stack.enter_context(_connected(port)) for kind, port in ports.items()}
        for line in lines.values():
            _round(line, requests)
        seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for _ in range(rounds):
            for kind, line in lines.items():
                seconds[kind] += _round(line, requests)
    medians = {kind: statistics.median(found) for kind, found in seconds.items()}
    for kind, median in medians.items():
        print(f"{kind:<14}{median * 1e6:8.0f} us a request")
    return {
        "benchmark": "front",
        "ratio": round(medians["stock"] / medians["front"], 2),
        "ratio_to_quiet": round(medians["stock, quiet"] / medians["front"], 2),
        "microseconds": {kind: round(median * 1e6) for kind, median in medians.items()},
    }


def _round(line: socket.socket, requests: int) -> list[float]:
    """Seconds of each request, by a client that does as little as it can."""
    instances = ",".join(f'{{"id":"n{place}"}}' for place in range(IDS))
    body = f'{{"instances":[{instances}]}}'.encode()
    head = f"POST /v1/models/{NAME}:predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
    found = []
    for _ in range(requests):
        begun = time.perf_counter()
        line.sendall(request)
        _read(line)
        found.append(time.perf_counter() - begun)
    return found


def _read(line: socket.socket) -> None:
    answer = line.recv(65536)
    while b"\r\n\r\n" not in answer:
        answer += line.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(answer.decode())
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += line.recv(65536)


@contextmanager
def _serving(arguments: list[str]) -> Iterator[int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        port, other = first.getsockname()[1], second.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.echo", *arguments, f"--http_port={port}", f"--grpc_port={other}"]
    root = Path(__file__).parent.parent
    with tempfile.TemporaryFile() as log:  # what a server logs is part of what it costs
        server = subprocess.Popen(command, cwd=root, stdout=log, stderr=log)
        try:
            yield port
        finally:
            server.terminate()
            server.wait(60)


@contextmanager
def _connected(port: int) -> Iterator[socket.socket]:
    for _ in range(300):
        try:
            line = socket.create_connection(("127.0.0.1", port), 10)
            break
        except OSError:
            time.sleep(0.2)
    else:
        raise RuntimeError(f"nothing listens at {port}")
    with line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield line


if __name__ == "__main__":
    print(json.dumps(run("--small" in sys.argv)))
