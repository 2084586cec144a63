"""Structural drift in an evolving graph: what one period's natural change raises, and what a changed law does."""

from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import structure

TRIALS, FEW = 100, 4
NOTHING = 0.08
"""Bound of the natural change."""
BOUNDS = {"reciprocity .10 to .12": 0.85, "edges +20 %": 0.85}
"""Of the laws; the others are to be found in 95 %."""


def run(small: bool) -> dict[str, Any]:
    """Simulate every law; prints a table."""
    trials = FEW if small else TRIALS
    told = structure.power(trials)
    nothing = told.pop("nothing")
    found = {
        "null": {"natural": {"rate": nothing["each"], "error": nothing["error_of_each"], "bound": NOTHING}},
        "drift": {
            name: {"rate": one["in_three"], "error": one["error"], "bound": BOUNDS.get(name, 0.95)}
            for name, one in told.items()
        },
    }
    grid = Table("law", "alarms", "bound", title=f"Alarms on structure: {trials} graphs, {structure.PAST} periods each")
    for part, sign in (("null", "≤"), ("drift", "≥")):
        for name, one in found[part].items():
            grid.add_row(name, f"{one['rate']:.3f} ± {one['error']:.3f}", f"{sign} {one['bound']:g}")
    Console(width=120).print(grid)
    return found
