"""How a pipeline's run ended: one line in the log, a commit status on GitHub, a message to a chat.

It comes after everything else, so nothing that goes wrong here fails a run; what could not be told is said in the log.
The token and the webhook's URL are secrets: they come from the environment, and no message repeats them.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import httpx
from pydantic import Field, field_validator, model_validator

from graphmill.params import Section

TOKEN, WEBHOOK, REVISION = "GITHUB_TOKEN", "GRAPHMILL_WEBHOOK", "GRAPHMILL_REVISION"
"""Variables: the token that may write commit statuses, the URL of the chat's webhook, the revision of the image."""
STATES = {
    **dict.fromkeys(("SUCCEEDED", "COMPLETE", "CACHED"), ("succeeded", "success")),
    "FAILED": ("failed", "failure"),
    **dict.fromkeys(("CANCELLED", "CANCELED"), ("cancelled", "error")),
}
"""Kubeflow's words, ours and GitHub's. A cluster has them of its metadata store (`COMPLETE`), the local runner of a run
(`SUCCEEDED`)."""
UNKNOWN = ("ended, and Kubeflow does not say how", "error")
"""Any other state: Kubeflow leaves `RUNNING` where a pod was killed, and where it has lost count of its tasks."""
LONGEST = 140
"""Characters that GitHub takes of a status's description."""
ATTEMPTS, PAUSE, TIMEOUT = 4, 1.0, 10.0
"""How often a message is tried, seconds before the second try (then twice as long each time), seconds for an answer."""


class Report(Section):
    """`cluster.report`: who is told how a run ended."""

    to: tuple[Literal["github", "webhook"], ...] = ()
    """Who is told beside the log: `github`, a commit status (secret `GITHUB_TOKEN`); `webhook`, a message to Slack or
    what understands the same (secret `GRAPHMILL_WEBHOOK`, its URL)."""
    repository: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$")
    """The repository on GitHub, `owner/name`, whose commit gets the status."""
    github: str = "https://api.github.com"
    """URL of GitHub's API; an enterprise server has its own."""
    link: str | None = None
    """Page of a run, with `{run}` for its id: `https://kubeflow.example/pipeline/#/runs/details/{run}`."""

    @field_validator("link")
    @classmethod
    def _page(cls, value: str | None) -> str | None:
        if value is not None and ("{run}" not in value or not value.startswith(("http://", "https://"))):
            raise ValueError("must be a URL with {run} in it")
        return value

    @model_validator(mode="after")
    def _whose(self) -> Self:
        if "github" in self.to and self.repository is None:
            raise ValueError("to: `github` needs `repository`, as owner/name")
        return self


@dataclass(frozen=True)
class End:
    """How a run ended.

    Args:
        pipeline: name of the pipeline.
        run: the run's id.
        state: in Kubeflow's words, one of `STATES` or another.
        error: what Kubeflow says of a failure; may be empty.
        revision: the commit that the run is of; may be empty.
    """

    pipeline: str
    run: str
    state: str
    error: str = ""
    revision: str = ""

    def words(self) -> str:
        """The end in one line."""
        told = f"{self.pipeline} {STATES.get(self.state, UNKNOWN)[0]}"
        return " ".join(f"{told}: {self.error}".split()) if self.error else told


def run(end: End, section: Mapping[str, Any]) -> None:
    """Tell everybody in ``section``, the `report` of `cluster`; never raises."""
    print(f"notify: {end.words()} (run {end.run})", flush=True)
    try:
        report = Report.parse(section, "cluster.report")
    except Exception as error:
        print(f"notify: nobody is told: {error}", flush=True)
        return
    for receiver in report.to:
        try:
            told = (_github if receiver == "github" else _webhook)(end, report)
        except Exception as error:  # an address may be in the words of an error, and the webhook's is a secret
            told = f"not told: {type(error).__name__}"
        print(f"notify: {receiver}: {told}", flush=True)


def _github(end: End, report: Report) -> str:
    token, revision = os.environ.get(TOKEN), end.revision or os.environ.get(REVISION)
    if not token:
        return f"not told: no {TOKEN} here; name its secret in cluster.secrets"
    if not revision:
        return "not told: of which commit? Give the pipeline's parameter `revision`"
    status = {
        "state": STATES.get(end.state, UNKNOWN)[1],
        "context": f"graphmill/{end.pipeline}",
        "description": end.words()[:LONGEST],
    }
    if report.link:
        status["target_url"] = report.link.replace("{run}", end.run)
    url = f"{report.github.rstrip('/')}/repos/{report.repository}/statuses/{revision}"
    return _post(url, status, {"Accept": "application/vnd.github+json", "Authorization": f"Bearer {token}"})


def _webhook(end: End, report: Report) -> str:
    url = os.environ.get(WEBHOOK)
    if not url:
        return f"not told: no {WEBHOOK} here; name its secret in cluster.secrets"
    text = end.words().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if report.link:
        text += f" <{report.link.replace('{run}', end.run)}|run {end.run}>"
    return _post(url, {"text": text}, {})


def _post(url: str, content: dict[str, str], headers: dict[str, str]) -> str:
    """Send JSON; again when the other side does not answer, is overloaded or broken. What came of it, in words."""
    told = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            answer = httpx.post(url, json=content, headers=headers, timeout=TIMEOUT)
        except httpx.TransportError as error:
            told = f"not told: no answer ({type(error).__name__})"
            continue
        if answer.is_success:
            return "told"
        told = f"not told: refused with status {answer.status_code}"
        if answer.status_code != httpx.codes.TOO_MANY_REQUESTS and answer.status_code < 500:
            break
    return told
