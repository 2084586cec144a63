"""Sequential tests on a stream of errors, in the order in which predictions were served: the extra `streams`.

Charts compare periods; these look at every answer and so see a sudden change inside a period. Two tests of `river`:
ADWIN (Bifet and Gavaldà, 2007) and Page-Hinkley (Page, 1954). Not DDM, which alarms on every second stream in which
nothing changes.
"""

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from graphmill.errors import UserError

Test = Literal["adwin", "page_hinkley"]
DELTA = 1e-5
"""ADWIN's confidence: batches that differ by themselves (2 points of the error share) alarm less than one in twenty."""
TOLERATED, BOUND = 0.03, 200.0
"""Page-Hinkley's, in standard deviations of an error: how much worse is let pass, and what in sum is an alarm."""
FEWEST = 30
LEAST_USUAL = 0.001


def alarms(errors: NDArray[np.floating[Any]] | Iterable[float], test: Test, usual: float) -> list[int]:
    """Where a stream became worse: places in it, the alarm's and not the change's.

    Args:
        errors: 0 or 1, oldest first. A stream that became better is no alarm.
        test: ``adwin`` or ``page_hinkley``.
        usual: the share of errors that was usual; sets the scale of ``page_hinkley``.

    Raises:
        UserError: without `river`.
    """
    detector, found, before = _detector(test), [], 0.0
    scale = 1.0 if test == "adwin" else float(np.sqrt(max(usual, LEAST_USUAL) * (1 - min(usual, 1 - LEAST_USUAL))))
    for place, error in enumerate(errors):
        detector.update(float(error) / scale)
        if detector.drift_detected and (test == "page_hinkley" or detector.estimation > before):
            found.append(place)
        if test == "adwin":
            before = detector.estimation
    return found


def _detector(test: Test) -> Any:
    try:
        from river import drift
    except ImportError:
        raise UserError("drift.streams: needs the package river; install graphmill[streams], or leave it out") from None
    if test == "adwin":
        return drift.ADWIN(delta=DELTA)
    return drift.PageHinkley(min_instances=FEWEST, delta=TOLERATED, threshold=BOUND, mode="up")
