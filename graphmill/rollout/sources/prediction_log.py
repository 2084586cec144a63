"""Observations from the prediction log and the comparisons beside it: all but failures and times to answer."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from graphmill.errors import UserError
from graphmill.rollout.observation import Observation, Seen
from graphmill.rollout.sources.labels import Labels
from graphmill.rollout.target import Unreachable

LOG = logging.getLogger(__name__)
BOUNDS = np.arange(1, 21) / 20
"""Upper bounds of the steps of scores, those of the metric ``graphmill_score``."""
LATE = 300.0
"""Seconds by which the clocks of those who write and of the file system may differ."""
PREDICTIONS = ["request", "key", "score", "decision", "model"]
COMPARISONS = ["request", "key", "champion_decision", "candidate_score", "candidate_decision"]


@dataclass(frozen=True)
class _Part:
    """What one file, or many, say of one version."""

    requests: int = 0
    scores: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(BOUNDS), np.int64))
    alarms: frozenset[str] = frozenset()
    """Keys with a positive decision."""


@dataclass(frozen=True)
class _File:
    """What one file says."""

    champion: _Part = _Part()
    candidate: _Part = _Part()
    compared: int = 0
    disagreed: float = 0.0
    failed: int = 0


class PredictionLog:
    """The files of a folder, each read once.

    A file that is tidied away stays counted. One that cannot be read is left out and told. Answers that the log
    did not take, its share of the requests aside, are missing for both versions alike.

    Args:
        folder: with ``predictions-*.parquet`` and ``comparisons-*.parquet``.
        labels: to tell the true alarms; None leaves alarms uncounted.
    """

    def __init__(self, folder: Path, labels: Labels | None = None) -> None:
        self._folder, self._labels = folder, labels
        self._of: tuple[str, str, float] | None = None
        self._files: dict[str, _File] = {}
        self._stamps: dict[str, tuple[int, int]] = {}
        self._unreadable: dict[str, str] = {}
        self._seen = False

    def observe(self, champion: str, candidate: str, since: float) -> Observation:
        """See `Source.observe`."""
        if self._of != (champion, candidate, since):
            self._of = (champion, candidate, since)
            self._files, self._stamps, self._unreadable = {}, {}, {}
        for path, stamp in self._changed(since):
            self._stamps[path.name] = stamp
            self._read(path)
        files = list(self._files.values())
        return Observation(
            self._version([file.champion for file in files]), self._version([file.candidate for file in files]),
            sum(file.compared for file in files), int(sum(file.disagreed for file in files) + 1e-9),
            sum(file.failed for file in files),
        )  # fmt: skip

    def _changed(self, since: float) -> list[tuple[Path, tuple[int, int]]]:
        """Files that may have answers since then, and are not read as they are now."""
        if not self._folder.is_dir():
            told = f"{self._folder} is no folder of a prediction log"
            raise Unreachable(told) if self._seen else UserError(f"rollout.prediction_log: {told}")
        self._seen, found = True, []
        for kind in ("predictions", "comparisons"):
            for path in sorted(self._folder.glob(f"{kind}-*.parquet")):
                try:
                    status = path.stat()
                except OSError:
                    continue  # tidied away meanwhile
                stamp = status.st_mtime_ns, status.st_size
                if status.st_mtime >= since - LATE and self._stamps.get(path.name) != stamp:
                    found.append((path, stamp))
        return found

    def _read(self, path: Path) -> None:
        assert self._of is not None
        read = _predictions if path.name.startswith("predictions-") else _comparisons
        try:
            self._files[path.name] = read(path, *self._of)
        except FileNotFoundError:
            return  # tidied away meanwhile
        except (OSError, ValueError, pa.ArrowException) as error:
            self._unreadable[path.name] = str(error)
            LOG.warning(
                "%s: cannot be read and is left out, with %d others: %s", path, len(self._unreadable) - 1, error
            )
        else:
            self._unreadable.pop(path.name, None)

    def _version(self, parts: Sequence[_Part]) -> Seen:
        scores = sum((part.scores for part in parts), np.zeros(len(BOUNDS), np.int64))
        histogram = dict(zip(BOUNDS.tolist(), scores.tolist(), strict=True)) if scores.any() else {}
        labels = self._labels.known() if self._labels is not None else {}
        alarms = frozenset().union(*(part.alarms for part in parts)) & labels.keys() if labels else frozenset()
        true = sum(labels[key] for key in alarms)
        return Seen(sum(part.requests for part in parts), None, {}, histogram, len(alarms), true)


def _predictions(path: Path, champion: str, candidate: str, since: float) -> _File:
    filters = [("answered_at", ">=", since), ("model", "in", [champion, candidate])]
    frame = pq.read_table(path, columns=PREDICTIONS, filters=filters).to_pandas()

    def part(model: str) -> _Part:
        rows = frame[frame["model"] == model]
        alarmed = _alarmed(rows["key"], rows["decision"].to_numpy(np.bool_))
        return _Part(rows["request"].nunique(), _counted(rows["score"].to_numpy(np.float64)), alarmed)

    return _File(part(champion), part(candidate))


def _comparisons(path: Path, champion: str, candidate: str, since: float) -> _File:
    """Mirrored requests: of one with several instances, the share that was decided differently counts."""
    filters = [("answered_at", ">=", since), ("champion", "==", champion), ("candidate", "==", candidate)]
    frame = pq.read_table(path, columns=COMPARISONS, filters=filters).to_pandas()
    answered = frame[frame["candidate_decision"].notna()]
    decisions = answered["candidate_decision"].to_numpy(np.bool_)
    differ = answered.assign(differs=decisions != answered["champion_decision"].to_numpy(np.bool_))
    shares = differ.groupby("request")["differs"].mean()
    scores = answered["candidate_score"].to_numpy(np.float64)
    part = _Part(0, _counted(scores), _alarmed(answered["key"], decisions))
    failed = frame["request"].nunique() - len(shares)
    return _File(_Part(), part, len(shares), float(shares.sum()), int(failed))


def _counted(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    places = np.searchsorted(BOUNDS, scores[np.isfinite(scores)]).clip(max=len(BOUNDS) - 1)
    return np.bincount(places, minlength=len(BOUNDS)).astype(np.int64)


def _alarmed(keys: Iterable[Any], decisions: NDArray[np.bool_]) -> frozenset[str]:
    return frozenset(str(key) for key, alarm in zip(keys, decisions.tolist(), strict=True) if alarm)
