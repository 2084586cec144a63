"""What was decided before, and what people said to it."""

from typing import Any

from graphmill.drift.report.view import View

MOST = 20


def section(view: View) -> list[dict[str, Any]]:
    """The newest checks first, this one among them; each with its acknowledgement, where there is one."""
    said = {line["check"]: line for line in view.lines if line["kind"] == "acknowledgement"}
    checks = [line for line in view.lines if line["kind"] == "check"]
    outcomes = checks[-1].get("outcomes") or {} if checks else {}
    return [
        {"line": line, "said": said.get(line["id"]), "outcome": outcomes.get(line["id"], "")}
        for line in reversed(checks[-MOST:])
    ]
