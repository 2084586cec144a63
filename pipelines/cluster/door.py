"""The generated client's HTTP, made patient: time-outs, tries, and errors in the words of whoever asked."""

import json
from typing import Any
from urllib.parse import urlsplit

from urllib3 import Timeout
from urllib3.exceptions import HTTPError

from graphmill.errors import UserError
from pipelines.cluster import auth, patience
from pipelines.cluster.errors import Absent, Exists, Unreachable


def fit(client: Any, host: str, source: str | None) -> None:
    """Give every request of a ``kfp_server_api.ApiClient`` a time-out, tries where that is safe, and our errors.

    Reads are repeated. A create is repeated only while no connection was made: see `patience.once`.

    Args:
        client: the generated client.
        host: for messages.
        source: of the credentials, for messages; None without any.
    """
    import kfp_server_api
    from kfp_server_api import ApiException

    rest = client.rest_client
    rest.pool_manager.connection_pool_kw["retries"] = patience.retry("GET")
    plain = rest.request

    def request(method: str, url: str, *given: Any, _request_timeout: Any = None, **options: Any) -> Any:
        try:
            answer = plain(method, url, *given, _request_timeout=_request_timeout or patience.SECONDS, **options)
        except ApiException as error:
            raise refusal(error.status, error.body or error.reason, method, url, host, source) from error
        except HTTPError as error:
            raise Unreachable(f"{host} does not answer: {patience.reason(error)}") from error
        if "/apis/" in url and "html" in (answer.getheader("content-type") or ""):
            raise UserError(f"{host} answers with a web page, as a login does; {_who(source)}; check the address too")
        return answer

    def read(response: Any, kind: str) -> Any:
        try:
            return understand(response, kind)
        except (ApiException, ValueError, AttributeError, TypeError) as error:
            told = f"{host} answers what kfp-server-api {kfp_server_api.__version__} cannot read: {error}"
            raise UserError(f"{told}; is it a Kubeflow Pipelines 2?") from error

    rest.request = request
    understand = client.deserialize
    client.deserialize = read


def text(client: Any, url: str, query: dict[str, str]) -> str:
    """The text at an address, asked for once.

    Raises:
        Absent: when the answer is not 200.
        Unreachable: when there is none.
    """
    headers: dict[str, str] = {}
    client.update_params_for_auth(headers, [], ["Bearer"])
    pool, timeout = client.rest_client.pool_manager, Timeout(connect=patience.SHORT[0], read=patience.SHORT[1])
    try:
        answer = pool.request("GET", url, fields=query, headers=headers, timeout=timeout, retries=False, redirect=False)
    except HTTPError as error:
        raise Unreachable(f"{url} does not answer: {patience.reason(error)}") from error
    if answer.status != 200:
        raise Absent(f"{url} answers {answer.status}")
    return str(answer.data.decode("utf-8", "replace"))


def refusal(status: int, body: Any, method: str, url: str, host: str, source: str | None) -> Exception:
    """The exception that an answer other than 2xx is raised as.

    Args:
        status: of the answer; 0 when TLS failed.
        body: its text, JSON or anything else.
        method: of the request.
        url: of the request.
        host: for messages.
        source: of the credentials, for messages; None without any.
    """
    told = message(body)
    if status == 0:
        return UserError(f"{host}: no TLS connection: {told}; KFP_CA_FILE names the certificate of a private authority")
    if status == 401:
        return UserError(f"{host} does not know who asks (401): {told}; {_who(source)}")
    if status == 403:
        return UserError(f"{host} refuses {method} {urlsplit(url).path} (403): {told}; {_who(source)}")
    if status == 404:
        return Absent(f"{host} does not have it (404): {told}")
    if status == 409:
        return Exists(f"{host} has one already (409): {told}")
    if status in patience.PASSING or status >= 500:
        return Unreachable(f"{host} cannot answer now ({status}): {told}")
    return UserError(f"{host} refuses {method} {urlsplit(url).path} ({status}): {told}")


def message(body: Any) -> str:
    """The sentence in an error's body: Kubeflow's gateway and its upload server each have a form of their own."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    try:
        told = json.loads(text)
        for detail in told.get("details") or []:
            if isinstance(detail, dict) and detail.get("error_message"):
                return str(detail["error_message"])
        return str(told.get("error_message") or told.get("message") or told.get("error") or text)[:500]
    except (ValueError, AttributeError):
        return " ".join(text.split())[:200] or "without a word"


def _who(source: str | None) -> str:
    return f"asked with {source}" if source else f"asked without a token: {auth.HINT}"
