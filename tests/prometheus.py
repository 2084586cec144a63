"""PromQL endpoints on loopback: a stand-in that evaluates range selectors, and the real one where it is installed."""

import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx

from tests.serving import free_ports

SELECTOR = re.compile(r"^([a-z_]*)(?:\{(.*)\})?\[(\d+)ms\]$")
MATCHER = re.compile(r'(\w+)=~"((?:[^"\\]|\\.)*)"')
Answer = tuple[int, bytes]


class StandIn:
    """Series that a test writes, asked for by the selectors that the source uses."""

    def __init__(self) -> None:
        self.series: list[tuple[dict[str, str], list[tuple[float, float]]]] = []
        self.queries: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.fault: Callable[[], Answer] | None = None
        self.url = ""

    def add(self, name: str, instance: str, samples: Sequence[tuple[float, float]], **labels: str) -> None:
        found = {"__name__": name, "job": "predictor", "instance": instance, **labels}
        self.series.append((found, list(samples)))

    def answer(self, body: str, headers: dict[str, str]) -> Answer:
        given = parse_qs(body)
        self.queries.append(given["query"][0])
        self.headers.append(headers)
        if self.fault is not None:
            return self.fault()
        result = self._matrix(given["query"][0], float(given["time"][0]))
        document = {"status": "success", "data": {"resultType": "matrix", "result": result}}
        return 200, json.dumps(document).encode()

    def _matrix(self, query: str, moment: float) -> list[dict[str, Any]]:
        found = SELECTOR.match(query)
        assert found is not None, query
        name, inner, window = found[1], found[2] or "", float(found[3]) / 1e3
        matchers = {label: pattern.replace("\\\\", "\\") for label, pattern in MATCHER.findall(inner)}
        if name:
            matchers["__name__"] = name
        result = []
        for labels, samples in self.series:
            inside = [[at, str(value)] for at, value in samples if moment - window < at <= moment]
            if inside and all(re.fullmatch(pattern, labels.get(label, "")) for label, pattern in matchers.items()):
                result.append({"metric": labels, "values": inside})
        return result


@contextmanager
def serving(answer: Callable[[str, dict[str, str]], Answer]) -> Iterator[str]:
    """A server on loopback that answers whatever is asked; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802 - the base class calls it so
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            self._reply(*answer(body, {name.lower(): value for name, value in self.headers.items()}))

        def do_GET(self) -> None:  # noqa: N802
            self._reply(*answer("", {}))

        def _reply(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def installed() -> bool:
    """Whether the Debian package, or the binary, is there."""
    return shutil.which("prometheus") is not None


@contextmanager
def real(folder: Path, targets: Sequence[str]) -> Iterator[str]:
    """A Prometheus that scrapes twice a second; its URL."""
    folder.mkdir(parents=True)
    (port,) = free_ports(1)
    config = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
        "scrape_configs": [{"job_name": "predictor", "static_configs": [{"targets": list(targets)}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    command = [
        "prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
    ]  # fmt: skip
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            while not _ready(url):
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
