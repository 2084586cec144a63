"""What was decided before, and what people said to it."""

from typing import Any

from graphmill.drift.record import Line
from graphmill.drift.report.view import View

MOST = 20


def section(view: View) -> list[dict[str, Any]]:
    """The newest checks first, this one among them; each with its acknowledgement, where there is one."""
    lines = _until(view.lines, view.found["policy"]["check"])
    said = {line["check"]: line for line in lines if line["kind"] == "acknowledgement"}
    checks = [line for line in lines if line["kind"] == "check"]
    outcomes = checks[-1].get("outcomes") or {} if checks else {}
    return [
        {"line": line, "said": said.get(line["id"]), "outcome": outcomes.get(line["id"], "")}
        for line in reversed(checks[-MOST:])
    ]


def _until(lines: list[Line], check: str) -> list[Line]:
    """Up to this check: made again later, its report says what it said."""
    last = next((place for place, line in enumerate(lines) if line.get("id") == check), len(lines))
    return lines[: last + 1]
