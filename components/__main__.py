"""Run one stage on local files: ``python -m components train``. `dvc.yaml` runs exactly this.

Exit status: 0, or 2 for what the user must mend. With ``--exit-code`` stage `drift` speaks to a script: 0 when nothing
calls for anybody (states ok, warn, cold_start, insufficient_labels), 2 for an alarm, `retrain` or `page`, 3 when the
check could not be made (state error, or a mistake). `request_labels` alone is 0: the JSON of the report has the answer.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from kfp import dsl

from components import PAGES, STAGES
from graphmill.errors import UserError
from graphmill.params import load

SHOWN = {f"{kind.schema_title}@{kind.schema_version}": kind for kind in PAGES}
"""What only Kubeflow's pages show, copies of what an artifact holds: here they go to a folder that is thrown away."""


def main() -> int:
    """Parse the command line and run the stage; 2 for what the user must mend."""
    shown = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m components", description=__doc__, formatter_class=shown)
    parser.add_argument("stage", choices=STAGES, help="the stage to run")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="parameters (params.yaml)")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of source tables (data)")
    parser.add_argument("--root", type=Path, default=Path("."), help="where artifacts/ stands (.)")
    parser.add_argument("--exit-code", action="store_true", help="drift: let the exit status say what was found")
    options = parser.parse_args()
    if options.exit_code and options.stage != "drift":
        parser.error("--exit-code: only stage drift has one")
    try:
        answer = run(options.stage, options.params, options.data, options.root)
    except UserError as error:
        print(f"{options.stage}: {error}", file=sys.stderr)
        return 3 if options.exit_code else 2
    if answer is not None:
        print(f"{options.stage}: {answer}")
    return _status(options.root / "artifacts" / "drift_report") if options.exit_code else 0


def _status(drift_report: Path) -> int:
    """What stage `drift` found, as an exit status."""
    from graphmill.drift import exit_status

    return exit_status(drift_report)


def run(name: str, params: Path, data: Path, root: Path) -> str | None:
    """Call the stage's own function with its artifacts under ``root`` and its section of the parameters."""
    component = STAGES[name]
    sections = load(params)
    artifacts: dict[str, dsl.Artifact] = {}
    values: dict[str, Any] = {}
    specification = component.component_spec
    with tempfile.TemporaryDirectory() as scratch:
        for key, described in {**(specification.inputs or {}), **(specification.outputs or {})}.items():
            if key == "Output":
                continue
            if described.type == "Dict":
                values[key] = sections[name if key == "params" else key]
            elif shown := SHOWN.get(described.type):
                artifacts[key] = shown(uri=str(Path(scratch, key)))
            else:
                artifacts[key] = dsl.Artifact(uri=str(data if key == "data" else root / "artifacts" / key))
        answer: str | None = component.python_func(**artifacts, **values)
    return answer


if __name__ == "__main__":
    sys.exit(main())
