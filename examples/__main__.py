"""Run a public data set from tables to a judged model, and print its figures beside the published ones."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from graphmill.errors import UserError

HERE = Path(__file__).parent
DATA = Path(os.environ.get("GRAPHMILL_EXAMPLE_DATA", HERE.parent.parent / "shared" / "data"))

PUBLISHED: dict[str, tuple[str, str]] = {
    "tolokers": (
        "roc_auc",
        "ResNet on features 0.7295, GraphSAGE 0.8243, GCN 0.8364, GAT-sep 0.8378 (Platonov et al. 2023); "
        "CSNN 0.8545 (later)",
    ),
    "bitcoin_otc": ("roc_auc", "BIRDNEST 0.71, Trustiness 0.82, FraudEagle 0.89, REV2 0.90 (Kumar et al. 2018)"),
    "amlsim": ("average_precision", "none; to be compared with the base rate"),
}


def main() -> int:
    """Parse the command line and run; 2 for what the user must mend."""
    parser = argparse.ArgumentParser(prog="python -m examples", description=__doc__)
    parser.add_argument("example", nargs="?", default="all", choices=["all", *PUBLISHED])
    parser.add_argument("--data", type=Path, default=DATA, help="folder with one folder a data set")
    parser.add_argument("--root", type=Path, default=Path("runs"), help="where artifacts go (runs)")
    options = parser.parse_args()
    names = list(PUBLISHED) if options.example == "all" else [options.example]
    results = {}
    try:
        for name in names:
            results[name] = run(name, options.data, options.root)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    show(results)
    print(json.dumps(results[names[-1]]))
    return 0


def run(name: str, data: Path, root: Path) -> dict[str, Any]:
    """Run the training pipeline on one data set."""
    from pipelines import local

    folder = data / name
    if not folder.is_dir():
        raise UserError(f"{folder}: no such data set; name the folder that holds it with --data")
    return local.run("training", HERE / f"{name}.yaml", folder, root / name)


def show(results: dict[str, dict[str, Any]]) -> None:
    """One table: what each model reached, what was published."""
    table = Table("data set", "metric", "reached", "published", title="Test part, means over the splits")
    for name, result in results.items():
        metric, published = PUBLISHED[name]
        rows = [f"{model} {figures[metric]:.4f}" for model, figures in result["metrics"].items()]
        rate = next(iter(result["metrics"].values())).get("base_rate")
        known = published if metric == "roc_auc" or rate is None else f"{published} ({rate:.4f})"
        table.add_row(name, metric, "\n".join(rows) + f"\nwinner: {result['winner']}", known)
    Console(width=120).print(table)


if __name__ == "__main__":
    sys.exit(main())
