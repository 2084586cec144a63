"""The report as a page. It may come from anybody's pull request: it is data, and never trusted.

Only numbers, and names of a plain form, are taken over; what is neither is refused or masked. Nothing of it can become
a link, a mention, a picture or another comment's mark.
"""

import json
import math
import re
from pathlib import Path
from typing import Any, TypeGuard

from graphmill.errors import UserError

MARK = "<!-- graphmill: report -->"
"""The first line, by which the comment is found again."""
BYTES = 500_000
ROWS = 60
LEADING = re.compile(r"\.(average_precision|roc_auc|calibration_error)$")
"""Metrics that are shown at once; the others are folded."""
NAME = re.compile(r"[\w.@ -]{1,100}", re.ASCII)
REVISION_NOTE = re.compile(r"The base [0-9a-f]{12} could not be measured; the log of the run says why\.")
TITLES = {
    "roc": ("True positives by false positives", "false positive rate", "true positive rate"),
    "precision_recall": ("Precision by recall", "recall", "precision"),
}
COLORS = '%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#999999, #1f77b4"}}}}%%'


def read(file: Path) -> dict[str, Any]:
    """A report, checked to be one.

    Raises:
        UserError: when the file is too large, no JSON or of another form.
    """
    if file.stat().st_size > BYTES:
        raise UserError(f"{file}: more than {BYTES} bytes are no report")
    try:
        found = json.loads(file.read_bytes())
        for kind in ("metrics", "params"):
            for row in found[kind]:
                if not NAME.fullmatch(row["name"]):
                    raise ValueError(f"{kind}: a name of unknown form")
        for name, lines in found["curves"].items():
            if name not in TITLES:
                raise ValueError("an unknown curve")
            for line in filter(None, (lines["before"], lines["after"])):
                if len(line) > 100 or not all(_number(value) for value in line):
                    raise ValueError(f"curve {name}: not numbers")
        if found["note"] and not REVISION_NOTE.fullmatch(found["note"]):
            raise ValueError("an unknown note")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{file}: is no report: {error}") from None
    return dict(found)


def render(report: dict[str, Any], run: str = "") -> str:
    """Markdown with tables and Mermaid charts, below GitHub's limit for a comment.

    Args:
        report: what `read` returned.
        run: URL of the run that it comes from.
    """
    changed = [row for row in report["metrics"] if row.get("before") != row.get("after")]
    leading = [row for row in changed if LEADING.search(row["name"]) or "." not in row["name"]]
    parts = [MARK, "### What the change does to the model", report["note"]]
    parts.append(_table("metric", leading) if leading else "No leading metric changed.")
    parts.append(_folded("more metrics", _table("metric", [row for row in changed if row not in leading])))
    parts.append(_folded("parameters", _table("parameter", report["params"])))
    charts = [_chart(name, lines) for name, lines in sorted(report["curves"].items())]
    parts.append(_folded("curves of the winner: grey before, blue after", "\n\n".join(charts)))
    parts.append(f"[The run]({run}) has DVC's plots as an artifact." if run else "")
    return "\n\n".join(filter(None, parts)) + "\n"


def _table(heading: str, rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    lines = [f"| {heading} | before | after | change |", "|---|---|---|---|"]
    for row in rows[:ROWS]:
        before, after = row.get("before"), row.get("after")
        change = f"{after - before:+.4g}" if _number(before) and _number(after) else ""
        lines.append(f"| `{row['name']}` | {_cell(before)} | {_cell(after)} | {change} |")
    if len(rows) > ROWS:
        lines.append(f"| and {len(rows) - ROWS} more | | | |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if _number(value):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else json.dumps(value)
    masked = re.sub(r"[^\w .,:+=/\[\]{}\"'%-]", "?", text, flags=re.ASCII)
    return f"`{masked if len(masked) <= 60 else masked[:57] + '...'}`" if masked.strip() else "``-``"


def _chart(name: str, lines: dict[str, list[float] | None]) -> str:
    title, x, y = TITLES[name]
    drawn = [f"    line [{', '.join(f'{value:.4g}' for value in line)}]" for line in lines.values() if line]
    if lines["before"] is None:
        drawn.insert(0, drawn[0])  # the colours go by the order
    axes = f'    title "{title}"\n    x-axis "{x}" 0 --> 1\n    y-axis "{y}" 0 --> 1'
    return "\n".join(["```mermaid", COLORS, "xychart-beta", axes, *drawn, "```"])


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>" if content else ""


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
