"""How long a server is waited for, and how often it is asked again."""

import re
import sys
import time
from collections.abc import Callable
from typing import Any, Self, TypeVar
from urllib.parse import urlencode

from urllib3 import PoolManager, Timeout
from urllib3.exceptions import HTTPError, SSLError
from urllib3.util.retry import Retry

from pipelines.cluster.errors import Exists, Unreachable

SECONDS = (5.0, 60.0)
"""To connect, and to be answered."""
SHORT = (5.0, 20.0)
"""The same for what can be done without."""
TRIES = 5
"""Times that a request is made again."""
BACKOFF = 1.0
"""Seconds before the second time; each further wait is twice as long."""
LONGEST = 30.0
"""Seconds of the longest wait between two tries."""
PASSING = (408, 429, 500, 502, 503, 504)
"""Statuses that pass by themselves."""

NAMES = re.compile(r"^<?\w+\(.*?\): |^<.*?>: ")
"""How urllib3 begins its messages: with an object of its own."""

Thing = TypeVar("Thing")


class Again(Retry):
    """Says that it waits: half a minute without a word looks like a hang. What TLS refuses does not pass."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: Any = None,
    ) -> Self:
        if isinstance(error, SSLError):
            raise error
        return super().increment(method, url, response, error, _pool, _stacktrace)

    def sleep(self, response: Any = None) -> None:
        last = self.history[-1] if self.history else None
        why = f"answered {last.status}" if last and last.status else "did not answer"
        print(f"the server {why}; trying again ({TRIES - int(self.total or 0)} of {TRIES})", file=sys.stderr)
        super().sleep(response)


def retry(*methods: str) -> Retry:
    """Asking again after an error that passes: `methods` always, any other only when nothing was sent yet."""
    return Again(
        total=TRIES,
        redirect=3,
        allowed_methods=methods,
        status_forcelist=PASSING,
        backoff_factor=BACKOFF,
        backoff_max=LONGEST,
        raise_on_status=False,
        retry_after_max=int(LONGEST),
    )


def ask(method: str, url: str, **options: Any) -> tuple[int, str]:
    """One request that may be repeated: (status, text).

    Raises:
        Unreachable: when there is no answer.
    """
    timeout = Timeout(connect=SECONDS[0], read=SECONDS[1])
    try:
        with PoolManager(retries=retry(method), timeout=timeout) as pool:
            answer = pool.request(method, url, **options)
            return answer.status, answer.data.decode("utf-8", "replace")
    except HTTPError as error:
        raise Unreachable(f"{url.split('?')[0]} does not answer: {reason(error)}") from error


def once(find: Callable[[], Thing | None], create: Callable[[], Thing]) -> Thing:
    """What is found, or else made: looked for before every try, so that a lost answer makes no second one.

    Raises:
        Exists: when it is there and cannot be found.
        Unreachable: when it can neither be found nor made.
    """
    last: Exception | None = None
    for attempt in range(TRIES):
        found = find()
        if found is not None:
            return found
        if isinstance(last, Exists):
            break
        try:
            return create()
        except (Unreachable, Exists) as error:
            last = error
            time.sleep(min(BACKOFF * 2**attempt, LONGEST))
    found = find()
    if found is None:
        assert last is not None
        raise last
    return found


def reason(error: HTTPError) -> str:
    """The cause that urllib3 wraps, without its own names."""
    return NAMES.sub("", str(getattr(error, "reason", None) or error))


def encoded(**fields: str) -> str:
    """A query or a form."""
    return urlencode(fields)
