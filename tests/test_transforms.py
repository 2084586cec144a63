"""Fitted transforms on numbers that can be worked out by hand."""

import json

import numpy as np
import pytest

from graphmill.artifact import to_json
from graphmill.errors import UserError
from graphmill.features.columns import Field
from graphmill.features.transforms import LIMIT, Encoder, Transform, fit

NAN = np.nan
AMOUNT = Field(name="amount", kind="numeric")
LAND = Field(name="land", kind="category", vocabulary=["de", "fr", "it"])


def column(*values):
    return np.array(values, np.float32)[:, None]


def dense(fitted, fields, raw):
    return Encoder(fitted, fields)(raw)[0]


def encode(scale, train, values):
    return dense(fit([AMOUNT], column(*train), scale, 5), [AMOUNT], column(*values)).tolist()


def test_standard():
    # mean 4, deviation 2
    assert encode("standard", [2, 4, 4, 4, 6, 4, 2, 6], [4, 6, 0]) == [[0], [pytest.approx(2 / np.sqrt(2))]] + [
        [pytest.approx(-4 / np.sqrt(2))]
    ]
    assert encode("standard", [2, 6], [2, 4, 8]) == [[-1], [0], [2]]


def test_log():
    # log1p of 0 and e^2 - 1 is 0 and 2: mean 1, deviation 1; the sign is kept
    big = np.exp(2) - 1
    found = encode("log", [0, big], [0, big, -big])
    assert np.allclose(found, [[-1], [1], [-3]], atol=1e-6)


def test_quantile():
    # 0 .. 100 lie evenly on -1 .. 1, whose deviation over 101 points is 0.5831
    found = encode("quantile", range(101), [0, 50, 100, 1_000, -5])
    edge = 1 / np.linspace(-1, 1, 101).std()
    assert np.allclose(found, [[-edge], [0], [edge], [edge], [-edge]], atol=1e-6)
    # what matters is the rank, not the value
    assert np.allclose(encode("quantile", np.exp(np.arange(101) / 4), [np.exp(12.5)]), [[0]], atol=1e-6)


def test_none_leaves_numbers_alone():
    assert encode("none", [1, 2, 9], [1, 2, 9, 10.5]) == [[1], [2], [9], [LIMIT]]


def test_a_column_may_choose_its_own_scale_and_a_boolean_has_none():
    fields = [Field(name="a", kind="numeric", scale="none"), Field(name="b", kind="boolean")]
    raw = np.array([[5, 1], [7, 0], [6, 1]], np.float32)
    assert dense(fit(fields, raw, "standard", 5), fields, raw).tolist() == raw.tolist()


def test_missing_values_have_the_median_and_an_indicator():
    fitted = fit([AMOUNT], column(2, 6, 6, NAN), "none", 5)
    encoder = Encoder(fitted, [AMOUNT])
    assert encoder.names == ["amount", "amount?"]
    assert encoder(column(NAN, 3))[0].tolist() == [[6, 1], [3, 0]]


def test_a_value_that_is_missing_for_the_first_time():
    encoder = Encoder(fit([AMOUNT], column(2, 6, 4), "standard", 5), [AMOUNT])
    assert encoder.names == ["amount"]
    assert encoder(column(NAN))[0].tolist() == [[0]]


@pytest.mark.parametrize("scale", ["standard", "log", "quantile"])
def test_a_constant_column_says_nothing(scale):
    # the deviation of 0.1, 0.1, ... comes out as 1e-17, which must not blow up the next value
    found = encode(scale, [0.1] * 7, [0.1, 0.2, 1e9, NAN])
    assert found[0] == [pytest.approx(0)] and found[3] == [pytest.approx(0)]
    assert abs(found[1][0]) < 0.2 or scale == "quantile"
    assert np.isfinite(found).all() and np.abs(found).max() <= LIMIT


def test_a_column_that_was_never_there_is_left_out():
    fields = [AMOUNT, Field(name="age", kind="numeric"), LAND]
    raw = np.array([[NAN, 1, NAN], [NAN, 3, NAN]], np.float32)
    fitted = fit(fields, raw, "standard", 5)
    encoder = Encoder(fitted, fields)
    assert [item.kind for item in fitted] == ["skip", "numeric", "onehot"] and encoder.names == ["age"]
    assert encoder(raw)[0].tolist() == [[-1], [1]]
    # what was skipped need not be there
    assert Encoder(fitted, fields[1:])(raw[:, 1:])[0].tolist() == [[-1], [1]]


def test_no_row_at_all():
    fitted = fit([AMOUNT, LAND], np.empty((0, 2), np.float32), "quantile", 5)
    assert dense(fitted, [AMOUNT, LAND], np.ones((2, 2), np.float32)).shape == (2, 0)
    full = Encoder(fit([AMOUNT], column(1, 2), "log", 5), [AMOUNT])
    assert full(np.empty((0, 1), np.float32))[0].shape == (0, 1)


def test_one_hot_and_what_was_not_seen():
    fitted = fit([LAND], column(2, 0, 0), "standard", 2)
    encoder = Encoder(fitted, [LAND])
    assert encoder.names == ["land=de", "land=it"]
    assert encoder(column(0, 1, 2, NAN))[0].tolist() == [[1, 0], [0, 0], [0, 1], [0, 0]]


def test_many_categories_become_codes():
    fitted = fit([LAND], column(2, 0, 0), "standard", 1)
    encoder = Encoder(fitted, [LAND])
    assert (encoder.names, encoder.embedded) == ([], [("land", 3)])
    assert encoder(column(0, 1, 2, NAN))[1].tolist() == [[1], [0], [2], [0]]


def test_another_order_and_another_vocabulary_give_the_same_inputs():
    fields = [AMOUNT, LAND, Field(name="shop", kind="category", vocabulary=["a", "b", "c", "d"])]
    raw = np.array([[1, 0, 3], [5, 2, 0], [NAN, 1, 2], [3, NAN, NAN], [2, 0, 1]], np.float32)
    fitted = fit(fields, raw, "standard", 3)
    here = Encoder(fitted, fields)(raw)
    later = [
        Field(name="shop", kind="category", vocabulary=["0", "a", "b", "c", "d"]),
        Field(name="new", kind="numeric"),
        Field(name="land", kind="category", vocabulary=["it", "es", "fr", "de"]),
        AMOUNT,
    ]
    moved = np.array([[4, 9, 3, 1], [1, 9, 0, 5], [3, 9, 2, NAN], [NAN, 9, NAN, 3], [2, 9, 3, 2]], np.float32)
    there = Encoder(fitted, later)(moved)
    assert here[0].tolist() == there[0].tolist() and here[1].tolist() == there[1].tolist()
    # a category of today that the model never saw
    unseen = Encoder(fitted, later)(np.array([[0, 9, 1, 1]], np.float32))
    assert unseen[0][0, -3:].tolist() == [0, 0, 0] and unseen[1].tolist() == [[0]]


def test_a_missing_column_names_itself():
    fitted = fit([AMOUNT, LAND], np.array([[1, 0], [2, 1]], np.float32), "standard", 5)
    with pytest.raises(UserError, match="columns that the features do not have: amount, land"):
        Encoder(fitted, [Field(name="age", kind="numeric")])


def test_outliers_are_cut():
    found = encode("standard", [0, 1] * 50, [1e30, -1e30, np.finfo(np.float32).max])
    assert found == [[LIMIT], [-LIMIT], [LIMIT]]
    huge = encode("standard", [np.finfo(np.float32).max, 0], [0, NAN])
    assert np.isfinite(huge).all()


def test_only_the_rows_given_count():
    state = np.random.default_rng(0)
    raw = np.stack([state.normal(size=60), state.integers(0, 3, 60)], axis=1).astype(np.float32)
    other = raw.copy()
    other[40:] = [[1e6, 2]] * 20
    for scale in ("standard", "log", "quantile"):
        assert fit([AMOUNT, LAND], raw[:40], scale, 5) == fit([AMOUNT, LAND], other[:40], scale, 5)


def test_a_model_carries_them_as_json():
    state = np.random.default_rng(1)
    fields = [AMOUNT, LAND, Field(name="q", kind="numeric", scale="quantile")]
    raw = np.stack([state.normal(size=50), state.integers(0, 3, 50), state.lognormal(size=50)], 1).astype(np.float32)
    raw[::7] = NAN
    fitted = fit(fields, raw, "log", 5)
    text = to_json([item.canonical() for item in fitted])
    again = [Transform.parse(item) for item in json.loads(text)]
    assert again == fitted and to_json([item.canonical() for item in again]) == text
    assert dense(again, fields, raw).tobytes() == dense(fitted, fields, raw).tobytes()


def test_rows_that_are_not_there_are_refused():
    encoder = Encoder(fit([AMOUNT], column(2, 6, 4), "none", 5), [AMOUNT])
    assert encoder.rows(column(2, 6, 4), np.array([2, 0, 2]))[0].tolist() == [[4], [2], [4]]
    for wrong in (-1, 3, 2**32, 2**32 + 1):
        with pytest.raises(UserError, match="row ids must be within 0 and 2"):
            encoder.rows(column(2, 6, 4), np.array([0, wrong]))
