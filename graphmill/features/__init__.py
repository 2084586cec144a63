"""Stage `features`: raw values, point-in-time windows, fitted transforms, examples, their split, past profiles."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field as Default
from pydantic import field_validator

from graphmill import artifact, lineage
from graphmill.features import examples as example_rows
from graphmill.features import fitting, raw, structure
from graphmill.features.windows import Window
from graphmill.graph.store import Graph
from graphmill.params import Section
from graphmill.progress import say
from graphmill.task import Duration, whole


class Params(Section):
    """Section `features`."""

    fit: bool = True
    """Whether transforms are fitted and examples split; off for scoring with a model that exists, without labels."""
    scale: Literal["standard", "quantile", "log", "none"] = "standard"
    """How numeric columns are scaled where the schema does not say."""
    one_hot_limit: int = Default(default=16, ge=0)
    """Categories up to this many are one-hot; more become a learned embedding."""
    calendar: bool = True
    """Whether hour of day and day of week of a row's own time are inputs (timestamp clock)."""
    windows: list[Window] = Default(default_factory=list)
    """Point-in-time aggregates."""
    structure: list[Literal["pagerank", "core_number"]] = ["pagerank", "core_number"]
    """Structural values beside the degrees, which are always there."""
    structure_every: Duration | None = None
    """Distance between the moments at which they are computed, counted from 1970 or step 0. Without it: for entities
    exactly their `task.moments`; for events a twelfth of the time from the oldest edge to `task.split.train_end` or,
    where that is relative to the data's end, 30d or one step."""
    seed: int = 0
    """Seed of the sample of neighbourhoods on which point-in-time values are scaled."""

    _whole = field_validator("structure_every", mode="before")(whole)


def run(tables: str | Path, graph: str | Path, features: str | Path, params: Params) -> None:
    """Write the features folder.

    Raises:
        UserError: for altered inputs, a window over an unknown relation or column, a label or a split that
            leaves nothing to learn.
    """
    source = artifact.read(tables, "tables")
    network = Graph.open(graph)
    raw.check_windows(network, params.windows)
    found = example_rows.build(source, network, params.fit)
    with artifact.write(features, "features") as draft:
        folder = draft.folder
        example_rows.write(found, network, folder / "examples.parquet")
        manifest = raw.write(source, network, folder, params.calendar)
        raw.write_windows(network, folder, manifest, params.windows, found)
        when = structure.moments(network, found, params.structure_every) if params.structure else np.array([], np.int64)
        if params.structure:
            structure.write(network, when, list(params.structure), folder / "structure")
        manifest["structure"] = {"names": list(params.structure), "moments": [int(time) for time in when]}
        manifest["windows"] = [window.canonical() for window in params.windows]
        manifest["splits"] = sum(str(name).startswith("split_") for name in found)
        manifest |= {name: source.manifest[name] for name in ("schema", "task", "as_of")}
        manifest["transforms"] = fitting.fit_all(network, folder, manifest, found, params) if params.fit else []
        draft.manifest |= manifest
        if params.fit:
            _baseline(network, draft)
        inputs = {"tables": source, "graph": network.artifact}
        draft.lineage = lineage.record("features", {"features": params.canonical()}, inputs)
    early = params.structure and network.judges_events and structure.too_short(when, found)
    told = "; all examples are before the first moment of structure: shorten features.structure_every" if early else ""
    parts = _parts(found) if params.fit else "not split"
    say(f"features: {example_rows.describe(found, network.clock)}; {parts}{told}")


def _baseline(graph: Graph, draft: artifact.Draft) -> None:
    """Profile columns and structure of the past periods, as `train` hands them on to drift."""
    from graphmill.drift import baseline  # that package imports this one
    from graphmill.drift.source import Source
    from graphmill.features.store import Features

    written = Features(artifact.Artifact(draft.folder, "features", draft.manifest, "", {}))
    source = Source(graph, written, written.examples)
    baseline.write(draft.folder, baseline.begin(source), source)


def _parts(found: pd.DataFrame) -> str:
    count: dict[Any, int] = found["split_0"].value_counts().to_dict()
    share = found.loc[found["split_0"] == "train", "label"].astype(float).mean()
    parts = ", ".join(f"{count.get(part, 0):,} {part}" for part in ("train", "validation", "test"))
    return f"{parts}; {share:.2%} of the training labels are true"
