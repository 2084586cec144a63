"""A check's metrics to a Prometheus pushgateway: whatever it answers, or does not, the check is made already."""

import os
import re
import threading
from functools import partial
from http.client import HTTPException
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import basic_auth_handler, default_handler, push_to_gateway

from graphmill.progress import say

JOB = "graphmill_drift"
LOGIN = "GRAPHMILL_PUSHGATEWAY_LOGIN"
"""Environment variable with ``user:password``; a parameter would end up in logs and lineage."""
PATIENCE = 10.0
"""Seconds that a gateway has in all."""


def address(url: str) -> str:
    """The URL itself.

    Raises:
        ValueError: when it is none, or carries a password.
    """
    if not re.fullmatch(r"https?://[^/\s?#]+(/[^\s?#]*)?", url):
        raise ValueError("give a URL, such as http://pushgateway.monitoring:9091")
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError(f"a name or password would end up in logs and lineage; put user:password into {LOGIN}")
    if not parts.hostname or parts.port == 0:  # a port that is no number raises here
        raise ValueError("give a URL with a host, such as http://pushgateway.monitoring:9091")
    return url


def push(url: str, service: str, registry: CollectorRegistry) -> None:
    """Replace what the gateway knows of a service; what goes wrong is told, and takes no longer than `PATIENCE`."""
    told: list[str] = []
    sending = threading.Thread(target=_send, args=(url, service, registry, told), daemon=True)
    sending.start()
    sending.join(PATIENCE)  # a socket's own timeout starts anew with every byte, and names are looked up without one
    if sending.is_alive():
        told.append(f"no answer in {PATIENCE:g} seconds")
    for words in told[:1]:
        say(f"drift: the metrics did not reach the pushgateway {url}: {words}")


def _send(url: str, service: str, registry: CollectorRegistry, told: list[str]) -> None:
    name, colon, password = os.environ.get(LOGIN, "").partition(":")
    handler = partial(basic_auth_handler, username=name, password=password) if colon else default_handler
    try:
        push_to_gateway(url, JOB, registry, {"service": service}, timeout=PATIENCE, handler=handler)
    except (OSError, ValueError, HTTPException) as error:  # the last for an answer that is no HTTP
        told.append(" ".join(str(error).split())[:200] or type(error).__name__)
