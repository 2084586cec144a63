"""Guards break on evidence alone: intervals that hold at every look, exact where they can be computed."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import betaln, comb, xlog1py, xlogy

from benchmarks.guards import BAD, BOUNDS, GOOD
from benchmarks.rollouts import draw, observations
from graphmill.rollout import evidence
from graphmill.rollout.guards import judge
from graphmill.rollout.observation import Observation, Seen
from graphmill.rollout.params import Guards

NAMES = ["error_rate", "latency_ratio", "score_distance", "disagreement", "precision"]
OFF = dict.fromkeys(NAMES)


def only(name: str, bound: float, false_alarm: float = 0.01) -> Guards:
    return Guards(**{**OFF, name: bound, "false_alarm": false_alarm})


def verdict(guards: Guards, seen: Observation):
    (found,) = judge(guards, seen)
    return found


def failing(failures: int, requests: int, others: int = 6, other_requests: int = 6_120, **more: int) -> Observation:
    return Observation(Seen(other_requests, others), Seen(requests, failures), **more)


def flat(many: int) -> dict[float, int]:
    """Scores spread evenly over the twenty steps."""
    return {step / 20: many for step in range(1, 21)}


# what an interval is


@pytest.mark.parametrize("error", [0.3, 0.002, 1e-9])
@pytest.mark.parametrize(("hits", "trials"), [(1, 3), (3, 3), (7, 40), (40, 50), (999, 1_000), (1_000, 100_000)])
def test_the_end_is_where_the_mixture_has_won(hits, trials, error):
    """Found otherwise: the root of the beta-binomial mixture's gain."""

    def gain(share: float) -> float:
        mixture = betaln(hits + 0.5, trials - hits + 0.5) - betaln(0.5, 0.5)
        return mixture - xlogy(hits, share) - xlog1py(trials - hits, -share) + math.log(error)

    low, high = evidence.share(hits, trials, error)
    assert low == pytest.approx(brentq(gain, 1e-300, hits / trials, xtol=1e-15), rel=1e-4, abs=1e-12)
    if hits < trials:
        assert high == pytest.approx(brentq(gain, hits / trials, 1 - 1e-16, xtol=1e-15), rel=1e-6)
    else:
        assert high == 1


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_a_share_is_ever_outside_with_the_error_at_the_most(share):
    """The exact probability that it is left within 400 requests, looked at after each."""
    error, trials = 0.1, np.arange(1, 401)
    hits = np.arange(401)
    low, high = evidence.share(np.minimum(hits, trials[:, None]), trials[:, None], error)
    outside = (low > share) | (high < share)
    alive, left = np.zeros(402), 0.0
    alive[0] = 1.0
    for place in range(len(trials)):
        alive[1:] = alive[1:] * (1 - share) + alive[:-1] * share
        alive[0] *= 1 - share
        gone = alive[:401] * (outside[place] & (hits <= trials[place]))
        left += gone.sum()
        alive[:401] -= gone
    assert error / 20 < left <= error


def test_the_bets_are_fair():
    """The mixture's stake is worth as much after any number of requests as before."""
    trials, share = 12, 0.3
    hits = np.arange(trials + 1.0)
    worth = (
        np.exp(betaln(hits + 0.5, trials - hits + 0.5) - betaln(0.5, 0.5)) / share**hits / (1 - share) ** (12 - hits)
    )
    chance = comb(trials, hits) * share**hits * (1 - share) ** (trials - hits)
    assert chance @ worth == pytest.approx(1)


def test_a_difference_is_ever_outside_with_the_error_at_the_most():
    """Two shares at a distance, one with three times the requests of the other, looked at 100 times."""
    random, error, size = np.random.default_rng(3), 0.2, (600, 100)
    hits = random.binomial(10, 0.15, size).cumsum(1)
    others = random.binomial(30, 0.05, size).cumsum(1)
    looks = np.arange(1, 101)
    low, high = evidence.difference(hits, 10 * looks, others, 30 * looks, error)
    left = ((low > 0.1) | (high < 0.1)).any(1).mean()
    assert error / 50 < left <= error


def test_a_quantile_ratio_and_a_distance_at_their_values():
    random, error, size = np.random.default_rng(4), 0.2, (300, 40)
    bounds = np.array([1.0, 2.0, 4.0, np.inf])
    counts = random.multinomial(20, [0.0, 0.5, 0.4, 0.1], size).cumsum(1)  # its 90 % are at 4
    others = random.multinomial(60, [0.5, 0.4, 0.05, 0.05], size).cumsum(1)  # and the other's at 2
    low, high = evidence.quantile_ratio(counts, bounds, others, bounds, 0.9, error)
    assert (low >= 2).any(1).mean() <= error and (low[:, -1] > 0).all()
    assert (high < 2).any(1).mean() <= error
    low, high = evidence.distance(counts, others, error)
    assert ((low > 0.5) | (high < 0.5)).any(1).mean() <= error
    assert (high - low)[:, -1].max() < 0.2 < (high - low)[:, 0].min()


def test_no_trials_and_very_many():
    assert [float(end) for end in evidence.share(0, 0, 0.01)] == [0, 1]
    assert [float(end) for end in evidence.difference(0, 0, 0, 0, 0.01)] == [-1, 1]
    low, high = evidence.share(10**12 // 4, 10**12, 0.001)
    assert 0.25 - 1e-5 < low < 0.25 < high < 0.25 + 1e-5


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5_000), st.integers(0, 50_000), st.data())
def test_the_interval_holds_the_estimate_and_more_failures_never_look_better(requests, other_requests, data):
    failures = data.draw(st.integers(0, requests - 1))
    others = data.draw(st.integers(0, other_requests))
    low, high = evidence.difference([failures, failures + 1], requests, others, other_requests, 0.01)
    estimate = failures / requests - others / max(other_requests, 1)
    assert low[0] <= low[1] and high[0] <= high[1]
    assert low[0] <= (estimate if other_requests else failures / requests) + 1e-12
    assert high[0] >= estimate - 1e-12
    wider, wider_high = evidence.difference(failures, requests, others, other_requests, 0.001)
    assert wider <= low[0] and wider_high >= high[0]


# what the guards say


def test_without_evidence_nothing_breaks_and_every_guard_says_why():
    found = judge(Guards(), Observation())
    assert [one.name for one in found] == NAMES
    for one in found:
        assert (one.broken, one.value, one.low, one.high, one.evidence) == (False, None, None, None, 0)
        assert "yet" in one.meaning


@pytest.mark.parametrize("silent", ["champion", "candidate"])
def test_one_version_silent(silent):
    seen = Seen(500, 400, {0.1: 100, math.inf: 400}, flat(20), 50, 0)
    other = "candidate" if silent == "champion" else "champion"
    for one in judge(Guards(), Observation(**{other: seen})):
        assert not one.broken and one.evidence == 0
        if one.name != "disagreement":
            assert f"of the {silent} seen yet" in one.meaning


@pytest.mark.parametrize("name", NAMES)
def test_null_switches_a_guard_off(name):
    left = judge(Guards(**{name: None}), Observation())
    assert [one.name for one in left] == [one for one in NAMES if one != name]
    assert judge(Guards(**OFF), Observation()) == []


def test_fewer_guards_share_the_error_among_fewer():
    seen = failing(12, 120)
    all_on = next(one for one in judge(Guards(), seen) if one.name == "error_rate")
    assert verdict(only("error_rate", 0.01), seen).low > all_on.low


def test_a_broken_error_rate_in_words():
    found = verdict(only("error_rate", 0.01), failing(28, 340))
    assert found.broken and found.low > found.bound == 0.01 and found.evidence == 340
    assert found.value == pytest.approx(28 / 340 - 6 / 6_120)
    assert found.meaning == ("fails 8.24 % of 340 requests, the champion 0.098 % of 6,120; surely more than 1 % worse")


def test_a_few_failures_are_no_evidence_and_many_requests_without_are():
    few = verdict(only("error_rate", 0.01), failing(2, 20))
    assert not few.broken and few.meaning.endswith("not shown to be more than 1 % worse")
    good = verdict(only("error_rate", 0.01), failing(2, 4_000))
    assert not good.broken and good.meaning.endswith("surely not more than 1 % worse")


def test_mirrored_requests_without_an_answer_are_failures():
    guards = only("error_rate", 0.01)
    assert verdict(guards, failing(0, 0, mirrored_failures=30, compared=200)).broken
    assert not verdict(guards, failing(0, 0, compared=230)).broken
    one = verdict(guards, failing(5, 100, mirrored_failures=30, compared=200))
    assert one.evidence == 330 and one.value == pytest.approx(35 / 330 - 6 / 6_120)


def test_a_source_that_cannot_see_failures_is_no_evidence_of_none():
    seen = Observation(Seen(5_000), Seen(400))
    assert verdict(only("error_rate", 0.01), seen).evidence == 0
    seen = Observation(Seen(5_000, 3), Seen(400), compared=100, mirrored_failures=50)
    assert verdict(only("error_rate", 0.01), seen).evidence == 150


def test_the_champions_requests_count_too():
    """What is evidence against 6,000 requests of the champion is none against 40."""
    guards = only("error_rate", 0.01)
    assert verdict(guards, failing(12, 150, 0, 6_000)).broken
    assert not verdict(guards, failing(12, 150, 0, 40)).broken
    assert not verdict(guards, failing(12, 150, 480, 6_000)).broken  # it fails as much


@pytest.mark.parametrize("many", [10**3, 10**6, 10**9])
def test_exactly_at_its_bound_a_model_keeps_to_it(many):
    assert not verdict(only("error_rate", 0.01), failing(many // 50, many, many // 100, many)).broken
    assert not verdict(only("disagreement", 0.1), Observation(compared=many, disagreed=many // 10)).broken
    labelled = Observation(Seen(alarms=many, true_alarms=many * 8 // 10), Seen(alarms=many, true_alarms=many * 7 // 10))
    assert not verdict(only("precision", 0.1), labelled).broken
    # the champion's 99 % end at 10 ms, the candidate's at 20 ms
    slow = Observation(
        Seen(many, 0, {0.01: many * 99 // 100, 0.02: many // 100, math.inf: 0}),
        Seen(many, 0, {0.01: 0, 0.02: many * 99 // 100, math.inf: many // 100}),
    )
    assert not verdict(only("latency_ratio", 2.0), slow).broken


def test_with_huge_counts_a_hair_beyond_is_seen():
    many = 10**9
    assert verdict(only("error_rate", 0.01), failing(many // 50 + many // 1_000, many, many // 100, many)).broken
    assert verdict(only("disagreement", 0.1), Observation(compared=many, disagreed=many // 10 + many // 1_000)).broken


def test_latency_breaks_where_the_steps_allow_it():
    champion = Seen(6_000, 0, {0.01: 5_980, 0.02: 20, 0.04: 0, math.inf: 0})
    slow = Seen(400, 0, {0.01: 200, 0.02: 150, 0.04: 50, math.inf: 0})
    found = verdict(only("latency_ratio", 2.0), Observation(champion, slow))
    assert found.broken  # surely more than 20 ms, and the champion no more than 10 ms
    assert found.low == pytest.approx(2.0) and found.value > 3
    assert found.meaning == (
        "99 % of 400 requests take up to 38.4 ms (surely more than 20 ms), the champion's 6,000 up to 9.93 ms "
        "(surely no more than 10 ms); surely more than 2 times slower"
    )
    assert not verdict(only("latency_ratio", 2.1), Observation(champion, slow)).broken
    assert not verdict(only("latency_ratio", 1.1), Observation(champion, replace(champion, requests=400))).broken


def test_latencies_beyond_every_step():
    beyond = Seen(300, 0, {0.1: 0, math.inf: 300})
    usual = Seen(6_000, 0, {0.1: 6_000, math.inf: 0})
    assert verdict(only("latency_ratio", 1.4), Observation(beyond, beyond)).broken is False
    found = verdict(only("latency_ratio", 1.4), Observation(usual, beyond))
    assert not found.broken and found.low == pytest.approx(1.0)  # all that the steps say is: more than the last


def test_scores_far_apart_and_constant():
    champion = Seen(6_000, 0, {}, flat(300))
    constant = Seen(200, 0, {}, {**flat(0), 0.35: 200})
    found = verdict(only("score_distance", 0.15), Observation(champion, constant))
    assert found.broken and found.value == pytest.approx(0.65)
    assert found.meaning == (
        "100 % of 200 scores are at most 0.35, of the champion's 6,000 35 %; surely more than 0.15 apart"
    )
    assert not verdict(only("score_distance", 0.15), Observation(champion, Seen(200, 0, {}, flat(10)))).broken


def test_scores_of_one_request_count_as_one():
    champion = Seen(6_000, 0, {}, flat(300))
    many = {**flat(40), 0.05: 240}  # a thousand scores, a fifth more of them at the lowest step
    assert verdict(only("score_distance", 0.05), Observation(champion, Seen(1_000, 0, {}, many))).broken
    found = verdict(only("score_distance", 0.05), Observation(champion, Seen(20, 0, {}, many)))
    assert not found.broken and found.evidence == 20


def test_histograms_with_other_steps_are_compared_where_both_have_one():
    champion = Seen(1_000, 0, {}, {0.25: 250, 0.5: 250, 0.75: 250, 1.0: 250})
    candidate = Seen(1_000, 0, {}, {0.5: 500, 1.0: 500})
    found = verdict(only("score_distance", 0.15), Observation(champion, candidate))
    assert not found.broken and found.value == 0 and found.evidence == 1_000
    candidate = Seen(1_000, 0, {}, {0.5: 900, 1.0: 100})
    assert verdict(only("score_distance", 0.15), Observation(champion, candidate)).value == pytest.approx(0.4)


def test_disagreement_and_precision_in_words():
    found = verdict(only("disagreement", 0.1), Observation(compared=340, disagreed=104))
    assert found.meaning == "decides 30.6 % of 340 requests otherwise than the champion; surely more than 10 %"
    seen = Observation(Seen(alarms=812, true_alarms=650), Seen(alarms=40, true_alarms=12))
    found = verdict(only("precision", 0.1), seen)
    assert found.broken and found.value == pytest.approx(650 / 812 - 0.3)
    assert found.meaning == ("30 % of 40 alarms are true, of the champion's 812 80 %; surely more than 10 % fewer")
    better = Observation(Seen(alarms=812, true_alarms=240), Seen(alarms=400, true_alarms=320))
    assert not verdict(only("precision", 0.1), better).broken


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_model_is_caught_within_500_of_its_requests(kind):
    guard, bad = BAD[kind]
    random = np.random.default_rng(5)
    mine, other = draw(bad, 10, 1, 500, random), draw(GOOD, 10, 1, 19 * 500, random)
    for rollout in range(10):
        found = [one for seen in observations(mine, other, BOUNDS, rollout, 0) for one in judge(Guards(), seen)]
        assert guard in {one.name for one in found if one.broken}


def test_a_good_model_is_not_rolled_back():
    random = np.random.default_rng(6)
    mine, other = draw(GOOD, 5, 20, 200, random), draw(GOOD, 5, 20, 19 * 200, random)
    for rollout in range(5):
        for look in range(20):
            for seen in observations(mine, other, BOUNDS, rollout, look):
                assert not any(one.broken for one in judge(Guards(), seen))
