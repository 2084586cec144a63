"""The front of a local rollout: one port, two versions behind it.

``python -m graphmill.rollout.front --folder F --port P`` splits predictions by the ids of their requests as the file
`split.json` in its folder says, which it follows; everything else goes to the version that has most of the traffic.
A candidate that cannot be reached, or breaks the connection off, has failed; its client gets the champion's answer.
What the candidate does answer, also with an error, is passed on as it is.
"""

import argparse
import asyncio
import json
import logging
import os
import re
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from graphmill import artifact
from graphmill.errors import UserError
from graphmill.rollout.split import FILE, STATE, Side, Split
from graphmill.rollout.tally import Tallies

LOG = logging.getLogger(__name__)
COUNTS = "counts.json"
LOOK, KEEP = 0.1, 1.0
"""Seconds between looks at the split, and between copies of the counts on the disk."""
TIMEOUT = 30.0
"""Seconds that a predictor has to answer; it gives up earlier by itself."""
LARGEST = 64 * 1024**2
"""Bytes of a request; the predictors' own limit is lower."""
_SPLIT = re.compile(r"/v1/models/[^/]+:(predict|explain)|/v2/models/[^/]+/infer")
_IDENTIFIER = re.compile(r"[\x21-\x7e]{1,128}")
_OWN = ("connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host", "content-length")
"""Headers of one connection alone."""


class Front:
    """Passes requests on and counts what comes back.

    Args:
        folder: with the split and the counts.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._split: Split | None = None
        self._read: tuple[int, int] | None = None
        self._tallies = self._kept()
        self._silent: set[Side] = set()
        self._session: aiohttp.ClientSession | None = None

    def _kept(self) -> Tallies:
        """What was counted before this process died."""
        try:
            return Tallies.parse((self._folder / COUNTS).read_bytes())
        except (OSError, ValueError, TypeError, KeyError):
            return Tallies()

    async def serve(self, port: int) -> None:
        """Serve until SIGTERM.

        Raises:
            UserError: when the port is taken.
        """
        over = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
        application = web.Application(client_max_size=LARGEST)
        application.router.add_get(STATE, self._state)
        application.router.add_route("*", "/{path:.*}", self._pass_on)
        runner = web.AppRunner(application, access_log=None, auto_decompress=False, shutdown_timeout=5)
        timeout, connector = aiohttp.ClientTimeout(total=TIMEOUT), aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(
            timeout=timeout, connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        ) as self._session:
            self._look()
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", port).start()
                await asyncio.gather(self._follow(over), self._keep(over))
            except OSError as error:
                raise UserError(f"port {port}: {error.strerror}; give another with --port") from None
            finally:
                await runner.cleanup()
                self._write()

    async def _follow(self, over: asyncio.Event) -> None:
        while not over.is_set():
            self._look()
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), LOOK)

    async def _keep(self, over: asyncio.Event) -> None:
        while not over.is_set():
            self._write()
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), KEEP)

    def _look(self) -> None:
        """Take over a new split; one that cannot be read changes nothing."""
        try:
            found = os.stat(self._folder / FILE)
            if self._read == (found.st_ino, found.st_mtime_ns):
                return
            self._read = found.st_ino, found.st_mtime_ns
            split = Split.read(self._folder)
        except (OSError, UserError) as error:
            if not isinstance(error, FileNotFoundError):
                LOG.error("the split stays as it is: %s", error)
            return
        if split is not None and split.began != self._tallies.began:
            self._tallies = Tallies(split.began)
        self._split = split

    def _write(self) -> None:
        """Copy the counts to the disk; without room there they are lost with this process."""
        with suppress(OSError):
            artifact.write_text(self._folder / COUNTS, json.dumps(asdict(self._tallies)))

    async def _state(self, request: web.Request) -> web.Response:
        split = self._split
        percent = None if split is None else split.percent
        told = {"folder": str(self._folder), "percent": percent, "counts": asdict(self._tallies)}
        return web.json_response(told)

    async def _pass_on(self, request: web.Request) -> web.Response:
        split = self._split
        if split is None:
            return web.json_response({"error": "no rollout was begun here"}, status=503)
        headers = CIMultiDict((name, value) for name, value in request.headers.items() if name.lower() not in _OWN)
        headers.popall("x-graphmill-shadow", None)  # nobody outside decides what counts as mirrored
        identifier = headers.get("x-request-id", "")
        if not _IDENTIFIER.fullmatch(identifier):
            identifier = headers["x-request-id"] = secrets.token_hex(16)
        body = await request.read()
        if not _SPLIT.fullmatch(request.path):
            return await self._other(split, request, headers, body)
        side = split.side(identifier)
        answer = await self._counted(split, side, request, headers, body)
        if answer is None and side == "candidate":
            answer = await self._counted(split, "champion", request, headers, body)
        return answer or _nobody()

    async def _counted(
        self, split: Split, side: Side, request: web.Request, headers: CIMultiDict[str], body: bytes
    ) -> web.Response | None:
        """One version's answer to a prediction; None where it gave none."""
        tally, begun = getattr(self._tallies, side), time.perf_counter()
        try:
            answer = await self._ask(split.backend(side).url, request, headers, body)
        except (aiohttp.ClientError, TimeoutError) as error:
            if side not in self._silent:
                LOG.warning("%s: no answer: %s", split.backend(side).version, str(error) or type(error).__name__)
            self._silent.add(side)
            if split.began:
                tally.unanswered()
            return None
        self._silent.discard(side)
        if split.began:
            tally.answered(answer.status, time.perf_counter() - begun)
        return answer

    async def _other(self, split: Split, request: web.Request, headers: CIMultiDict[str], body: bytes) -> web.Response:
        try:
            return await self._ask(split.backend(split.stable).url, request, headers, body)
        except (aiohttp.ClientError, TimeoutError):
            return _nobody()

    async def _ask(self, url: str, request: web.Request, headers: CIMultiDict[str], body: bytes) -> web.Response:
        assert self._session is not None
        async with self._session.request(
            request.method, f"{url}{request.raw_path}", headers=headers, data=body or None, allow_redirects=False
        ) as answer:
            content = await answer.read()
        kept = CIMultiDict((name, value) for name, value in answer.headers.items() if name.lower() not in _OWN)
        return web.Response(status=answer.status, headers=kept, body=content)


def _nobody() -> web.Response:
    return web.json_response({"error": "no predictor answers; `python -m graphmill.rollout status`"}, status=502)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; 2 for a port that is taken."""
    parser = argparse.ArgumentParser(prog="python -m graphmill.rollout.front", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the split and the counts")
    parser.add_argument("--port", type=int, required=True, help="port on loopback")
    given = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    try:
        asyncio.run(Front(given.folder).serve(given.port))
    except UserError as error:
        print(f"rollout.front: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
