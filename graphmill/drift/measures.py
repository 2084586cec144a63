"""One number an item: what of a profile is compared, in which unit, and how much of it is chance."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from graphmill.drift import features, structure
from graphmill.drift.params import Family

MEAN = 3.0
"""Weight of a mean: most changes show in it first."""
Unit = Literal["deviation", "rate", "structure"]


@dataclass(frozen=True)
class Measure:
    """A signed statistic of one item in one period."""

    family: Family
    name: str
    statistic: str
    unit: Unit
    value: float
    noise: float = 0.0
    """Variance from the number of rows alone, were they independent."""
    rows: float = 1.0
    """How many rows that were: with half of them it is twice as much."""
    scale: float = 1.0
    """How much one unit is: the standard deviation at training."""
    share: bool = False
    """Whether a structural value is a share: then its change must also be more than a trifle."""
    grain: float = 0.0
    """What one row, node or edge more changes of a share: of a few, one is no news."""
    weight: float = 1.0
    """How much of its column's share of the family's error it may use, beside the column's other statistics."""
    side: int = 0
    """1 where only a rise matters, -1 where only a fall does."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies it across periods."""
        return self.family, self.name, self.statistic

    @property
    def kind(self) -> tuple[str, str]:
        """Measures of one kind follow themselves from period to period about equally closely."""
        scope = self.name.partition(": ")[0] if self.family == "feature" else ""
        return scope, "share" if self.unit == "rate" else self.statistic


@dataclass(frozen=True)
class Histogram:
    """Counts between frozen edges."""

    family: Family
    name: str
    counts: list[int]


def measures(profile: dict[str, Any], reference: dict[str, Any], label_share: float, positives: int) -> list[Measure]:
    """Every statistic of a profile that has a value; parts that failed have none."""
    found: list[Measure] = []
    for scope, columns in profile.get("columns", {}).items():
        for name, summary in columns.items():
            frozen = reference["columns"][scope][name]
            found += _column(f"{scope}: {name}", summary, frozen)
    for name, values in profile.get("structure", {}).items():
        found += _structure(name, values)
    found += _embeddings(profile.get("embeddings", {}))
    found += _predictions(profile.get("predictions", {}), reference)
    found += _performance(profile.get("performance", {}), reference, label_share, positives)
    return found


def histograms(profile: dict[str, Any]) -> Iterator[Histogram]:
    """Every histogram of a profile."""
    for scope, columns in profile.get("columns", {}).items():
        for name, summary in columns.items():
            if "histogram" in summary:
                yield Histogram("feature", f"{scope}: {name}", summary["histogram"])
    for name, values in profile.get("structure", {}).items():
        if "histogram" in values:
            yield Histogram("structure", f"{name}: degree", values["histogram"])
    scores = profile.get("predictions", {}).get("scores")
    if scores:
        yield Histogram("prediction", "score", scores["histogram"])


def _column(name: str, summary: dict[str, Any], frozen: dict[str, Any]) -> list[Measure]:
    rows = summary["rows"]
    there = rows - summary["missing"]
    found = [_rate("feature", name, "missing share", features.missing(summary), rows)]
    if "counts" in summary:
        shares = features.shares(summary)
        found += [_rate("feature", name, statistic, share, there) for statistic, share in shares.items()]
    elif frozen.get("boolean"):
        found.append(_rate("feature", name, "share of true", summary["mean"], there, MEAN))
    else:
        found += _moments("feature", name, summary, frozen)
    return [item for item in found if item is not None]


def _moments(family: Family, name: str, summary: dict[str, Any], frozen: dict[str, Any]) -> list[Measure | None]:
    """Mean and standard deviation, in standard deviations at training (of a constant: in its own size)."""
    mean, deviation = summary["mean"], summary["deviation"]
    if mean is None:
        return []
    scale = frozen["deviation"] or abs(frozen["mean"]) or 1.0
    count = max(1.0, summary["rows"] - summary["missing"])
    noise = deviation**2 / count
    return [
        Measure(family, name, "mean", "deviation", mean, noise, count, scale, weight=MEAN),
        Measure(family, name, "standard deviation", "deviation", deviation, noise / 2, count, scale),
    ]


def _rate(
    family: Family, name: str, statistic: str, value: float | None, rows: int, weight: float = 1.0
) -> Measure | None:
    if value is None or rows == 0:
        return None
    safe = (value * rows + 1) / (rows + 2)
    noise = safe * (1 - safe) / rows
    return Measure(family, name, statistic, "rate", value, noise, rows, weight=weight, grain=1 / rows)


def _structure(name: str, values: dict[str, Any]) -> list[Measure]:
    found = []
    counts = [values[count] for count in ("rows", "nodes", "edges") if values.get(count)]
    for statistic in structure.TESTED:
        value = values.get(statistic)
        if value is None:
            continue
        counted = float(value) if statistic in structure.COUNTS else 0.0
        noise = values.get("noise", {}).get(statistic, counted)
        share, side = statistic in structure.SHARES, int(statistic in structure.RISES)
        words, grain = statistic.replace("_", " "), 1 / min(counts) if share and counts else 0.0
        if statistic == "orphan_share":  # it moves by whole communities, and one that Louvain cuts anew is no news
            grain = max(grain, 1 / (values.get("effective_communities") or 1))
        found.append(
            Measure("structure", name, words, "structure", float(value), noise, 1.0, 1.0, share, grain, side=side)
        )
    return found


def _embeddings(summary: dict[str, Any]) -> list[Measure]:
    """Distances from where embeddings were at training, of which only the strange side matters."""
    found = [
        _rate("embedding", "embeddings", "missing share", summary.get("missing"), summary.get("rows", 0)),
        _rate("embedding", "embeddings", "dead dimensions", summary.get("dead_share"), summary.get("rows", 0)),
    ]
    if summary.get("norm") is not None:
        noise = summary["norm_deviation"] ** 2 / summary["rows"]
        scale = summary["norm_scale"] or 1.0
        found.append(
            Measure("embedding", "embeddings", "mean norm", "deviation", summary["norm"], noise, summary["rows"], scale)
        )
    for key, words, side in (
        ("discrepancy", "discrepancy", 1),
        ("displacement", "displacement", 1),
        ("overlap", "neighbours kept", -1),
    ):
        if summary.get(key) is not None:
            found.append(Measure("embedding", "embeddings", words, "rate", summary[key], side=side))
    return [item for item in found if item is not None]


def _predictions(summary: dict[str, Any], reference: dict[str, Any]) -> list[Measure]:
    parts = {"": summary["scores"]} if "scores" in summary else {}
    parts |= {f" {name}": part for name, part in summary.get("slices", {}).items()}
    found: list[Measure | None] = []
    for name, scores in parts.items():
        found += _moments("prediction", f"score{name}", scores, reference["scores"])
        found.append(_rate("prediction", f"decision{name}", "share above threshold", scores["above"], scores["rows"]))
    return [item for item in found if item is not None]


def _performance(block: dict[str, Any], reference: dict[str, Any], label_share: float, positives: int) -> list[Measure]:
    """The label rate, and of each group that has enough labels the task's metric and the calibration error."""
    found: list[Measure | None] = []
    if mature(block, label_share, positives):
        rate = block["positives"] / block["labels"]
        found.append(_rate("prediction", "label", "label rate", rate, block["labels"]))
    for name, group in block.get("groups", {}).items():
        for statistic, side in ((reference.get("metric"), -1), ("calibration_error", 1)):
            figure = group.get("figures", {}).get(statistic)
            if figure is not None:
                noise = figure["deviation"] ** 2
                words = str(statistic).replace("_", " ")
                found.append(Measure("performance", name, words, "rate", figure["value"], noise, side=side))
    return [item for item in found if item is not None]


def mature(block: dict[str, Any], label_share: float, positives: int) -> bool:
    """Whether enough labels of a cohort are known, and enough of them positive, to speak of their rate."""
    return (block.get("maturity") or 0.0) >= label_share and block["positives"] >= positives
