"""Run one stage on local files: ``python -m components train``. `dvc.yaml` runs exactly this."""

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
    parser = argparse.ArgumentParser(prog="python -m components", description=__doc__)
    parser.add_argument("stage", choices=STAGES, help="the stage to run")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="parameters (params.yaml)")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of source tables (data)")
    parser.add_argument("--root", type=Path, default=Path("."), help="where artifacts/ stands (.)")
    options = parser.parse_args()
    try:
        answer = run(options.stage, options.params, options.data, options.root)
    except UserError as error:
        print(f"{options.stage}: {error}", file=sys.stderr)
        return 2
    if answer is not None:
        print(f"{options.stage}: {answer}")
    return 0


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
