"""The charts' statistics: known answers, levels and power on simulated series. Arrays only."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from graphmill.drift import charts, null
from graphmill.drift.charts import ALARM, OK, WARN, Series, judge


def series(values: Any, floor: float = 0.02, **changes: Any) -> Series:
    """Items of deviation 1 from very many rows."""
    values = np.asarray(values, float)
    periods, items = values.shape
    given = {
        "noise": np.zeros((periods, items)),
        "places": np.arange(periods),
        "floor": np.full(items, floor),
        "weight": np.ones(items),
        "kind": np.zeros(items, np.int64),
        "side": np.zeros(items, np.int64),
    }
    return Series(values=values, **{**given, **changes})


def follow(state: np.random.Generator, periods: int, items: int, correlation: float) -> np.ndarray:
    """Autoregressive series of deviation 1, already going."""
    found = state.normal(size=(periods + 200, items))
    for row in range(1, len(found)):
        found[row] = correlation * found[row - 1] + np.sqrt(1 - correlation**2) * found[row]
    return found[200:]


def judged(values: np.ndarray, alpha: float = 0.05, **changes: Any) -> charts.Verdicts:
    return judge(series(values, **changes), np.arange(len(values) - 1), alpha)


def test_independent_periods_have_the_usual_predictive_t() -> None:
    known = null.spread(tuple(range(20)), 20, 0.0)
    assert known == pytest.approx((19, 19, np.sqrt(1 + 1 / 20)))
    values = np.random.default_rng(0).normal(size=(20, 3))
    found = null.level(values, tuple(range(20)), np.array([2.0, 0.0, -1.0]), 20, 0.0, np.zeros(3), np.zeros(3))
    z = (np.array([2.0, 0.0, -1.0]) - values.mean(0)) / (values.std(0, ddof=1) * np.sqrt(1 + 1 / 20))
    np.testing.assert_allclose(found.z, z)
    np.testing.assert_allclose(np.exp(found.log_p), 2 * stats.t.sf(np.abs(z), 19))


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_the_spread_of_periods_that_follow_each_other_is_exact(correlation: float) -> None:
    values = follow(np.random.default_rng(1), 26, 40_000, correlation)
    usual, value = values[:20], values[24]
    known = null.spread(tuple(range(20)), 24, correlation)
    assert np.mean(np.sum((usual - usual.mean(0)) ** 2, axis=0)) == pytest.approx(known.total, rel=0.03)
    assert np.std(value - usual.mean(0)) == pytest.approx(known.reach, rel=0.03)
    assert 1 < known.freedom <= 19 + 1e-9


@pytest.mark.parametrize("correlation", [0.0, 0.4, 0.7, 0.95])
def test_autocorrelation_is_found_from_short_series_and_over_gaps(correlation: float) -> None:
    values = follow(np.random.default_rng(2), 20, 2_000, correlation)
    assert null.autocorrelation(values, tuple(range(20))) == pytest.approx(correlation, abs=0.02)
    kept = np.delete(np.arange(20), [4, 11])
    assert null.autocorrelation(values[kept], tuple(kept.tolist())) == pytest.approx(correlation, abs=0.02)
    assert null.autocorrelation(np.ones((20, 3)), tuple(range(20))) == 0


def test_heavy_tails_of_the_past_take_the_surprise_out_of_a_value() -> None:
    state = np.random.default_rng(3)
    right = np.log(state.random((20, 100)))
    heavy = 3 * right
    kind = np.zeros(100, np.int64)
    log_p = np.log(np.repeat([1e-6, 0.5], 50))
    one, two = null.calibrated(log_p, right, kind), null.calibrated(log_p, heavy, kind)
    assert one[0] < 1e-4 and two[0] == pytest.approx(1e-2, rel=0.9), "a power of p with a third of the exponent"
    assert one[-1] == two[-1] == pytest.approx(0.5), "the middle is the chart's"
    assert null.calibrated(log_p, np.full((20, 100), np.nan), kind) == pytest.approx(np.exp(log_p))


def test_holm_with_equal_and_with_other_weights() -> None:
    p = np.array([0.01, 0.04, 0.03])
    np.testing.assert_allclose(charts.holm(p, np.ones(3)), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(charts.holm(p, np.array([2.0, 1, 1])), [0.02, 0.06, 0.06])
    assert len(charts.holm(p[:0], p[:0])) == 0


@pytest.mark.parametrize("correlation", [0.0, 0.7, 0.95])
def test_harmless_series_alarm_seldom(correlation: float) -> None:
    state = np.random.default_rng(4)
    found = [judged(0.1 * follow(state, 23, 30, correlation)).state.max() for _ in range(120)]
    assert np.mean(np.array(found) == ALARM) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 120)


def test_daily_checks_alarm_less_often() -> None:
    state = np.random.default_rng(5)
    values = [0.1 * state.normal(size=(23, 30)) for _ in range(120)]
    weekly, daily = (sum(judged(one, alpha).state.max() > OK for one in values) for alpha in (0.05, 0.01))
    assert daily < weekly and daily / 120 <= 0.02 + 2 * np.sqrt(0.02 * 0.98 / 120)


def test_a_lasting_change_alarms_when_it_is_seen_twice_and_a_sudden_one_at_once() -> None:
    values = 0.1 * np.random.default_rng(6).normal(size=(22, 30))
    values[20:, 4] = 0.52 + 0.1 * values[:2, 4]
    once, twice = judged(values[:21]), judged(values)
    assert once.state[4] in (WARN, ALARM) and twice.state[4] == ALARM
    assert (np.delete(twice.state, 4) == OK).all()
    values[21, 7] = 3.0
    assert judged(values).difference_state[7] == ALARM


def test_a_step_among_periods_that_follow_each_other_is_seen_in_the_difference_only() -> None:
    values = 0.1 * follow(np.random.default_rng(7), 21, 30, 0.95)
    values[20, 2] = values[19, 2] + 0.25
    found = judged(values)
    assert found.difference_state[2] == ALARM and found.level_state[2] == OK and found.correlation[2] > 0.8


def test_what_alarmed_is_no_part_of_the_null() -> None:
    values = 0.1 * np.random.default_rng(8).normal(size=(26, 30))
    values[20:, 0] += 2.0
    shifted = series(values)
    unusual, absorbed = judge(shifted, np.arange(20), 0.05), judge(shifted, np.arange(25), 0.05)
    assert unusual.state[0] == ALARM and absorbed.state[0] == OK
    assert unusual.difference.z[0] > 5 and abs(absorbed.difference.z[0]) < 3


def test_what_grows_steadily_goes_on_growing() -> None:
    values = 0.1 * np.random.default_rng(9).normal(size=(20, 30))
    values[:, 0] += 0.5 * np.arange(20)
    places = np.append(np.arange(19), 24)
    values[19, 0] += 0.5 * 5
    assert judged(values, places=places).difference_state[0] == OK


def test_floors_sides_and_constants() -> None:
    values = 0.001 * np.random.default_rng(10).normal(size=(20, 6))
    values[:, 3:] = 1.0
    values[-1] = [0.019, 0.05, -0.05, 1.0, 1.05, 0.95]
    side = np.array([0, 0, 1, 0, -1, -1])
    found = judged(values, side=side)
    assert found.state.tolist() == [OK, ALARM, OK, OK, OK, ALARM], "too small; told; harmless sides; constant; fell"
    assert found.level[0].p[3] == 1


def test_items_with_other_pasts_are_judged_together() -> None:
    state = np.random.default_rng(11)
    values = 0.1 * state.normal(size=(22, 12))
    values[:6, 3:5] = np.nan  # begun later
    values[9, 7] = np.nan  # missed once
    values[-1, [3, 7]] += 2
    found = judged(values)
    assert set(np.flatnonzero(found.state == ALARM)) == {3, 7}
    gone = replace(series(values), values=np.where(np.arange(12) == 1, np.nan, values))
    nothing = judge(gone, np.arange(21), 0.05)
    assert np.isnan(nothing.level[0].p[1]) and nothing.state[1] == OK


def test_kinds_follow_themselves_in_their_own_way() -> None:
    state = np.random.default_rng(12)
    values = np.hstack([0.1 * follow(state, 24, 20, 0.95), 0.1 * state.normal(size=(24, 60))])
    kind = np.repeat([0, 1], [20, 60])
    found = judged(values, kind=kind)
    assert found.correlation[0] > 0.8 and found.correlation[-1] < 0.2


def test_fewer_rows_are_less_certain() -> None:
    values = 0.01 * np.random.default_rng(13).normal(size=(20, 10))
    values[-1, 0] = 0.4
    noise = np.zeros((20, 10))
    assert judged(values, noise=noise).state[0] == ALARM
    noise[-1] = 0.3**2
    assert judged(values, noise=noise).state[0] == OK


def test_too_short_a_past_says_nothing() -> None:
    values = np.random.default_rng(14).normal(size=(5, 3))
    assert (judged(values).state == OK).all() and np.isnan(judged(values).level[0].p).all()
