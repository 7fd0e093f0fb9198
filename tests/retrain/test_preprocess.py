"""Learned preprocessing: nulls, constants, unseen categories and what is new in newer rows."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from monitor.errors import HoldfastError
from retrain.preprocess import FIRST, LIMIT, NULL, UNKNOWN, Encoder

FRAME = pd.DataFrame({"x": [1.0, 2.0, 3.0, np.nan] * 5, "c": [7.0] * 20,
                      "s": ["a", "a", "b", None] * 5, "k": [1, 2, 2, 2] * 5})


def encoder() -> Encoder:
    return Encoder.fit(FRAME, list(FRAME.columns), ["k"])


def test_nulls_become_the_median_and_an_indicator() -> None:
    values, _ = encoder().transform(FRAME.head(4))
    assert values[3, 0] == values[1, 0]  # the median is 2
    assert values[:, 2].tolist() == [0, 0, 0, 1]
    assert values.dtype == np.float32


def test_infinity_is_a_null_and_far_values_are_bounded() -> None:
    far = pd.DataFrame({"x": [np.inf, 1e9, -1e9], "c": 7.0, "s": "a", "k": 1})
    values, _ = encoder().transform(far)
    assert values[:, 2].tolist() == [1, 0, 0]
    assert values[1:, 0].tolist() == [LIMIT, -LIMIT]


def test_a_constant_says_nothing_even_when_it_starts_to_move() -> None:
    constant = pd.DataFrame({"x": 1.0, "c": [0.1] * 999, "s": "a", "k": 1})  # sums round
    values, _ = Encoder.fit(constant, ["c"], []).transform(pd.DataFrame({"c": [0.1, 5.0]}))
    assert values[:, 0].tolist() == [0, 0]


def test_categories_unseen_absent_and_known() -> None:
    rows = pd.DataFrame({"x": 1.0, "c": 7.0, "s": ["a", "b", None, "zebra"], "k": [2, 1, 9, 2]})
    _, codes = encoder().transform(rows)
    assert codes[:, 0].tolist() == [FIRST, FIRST + 1, NULL, UNKNOWN]
    assert codes[:, 1].tolist() == [FIRST, FIRST + 1, UNKNOWN, FIRST]


def test_rare_categories_stay_unknown() -> None:
    column = pd.DataFrame({"s": ["a"] * 10 + ["rare"] * 2})
    fitted = Encoder.fit(column, ["s"], [], least=5)
    assert fitted.categorical[0].categories == ("a",)


def test_json_gives_the_same_encoder() -> None:
    assert Encoder.from_dict(json.loads(json.dumps(encoder().to_dict()))) == encoder()


def test_an_absent_column_is_named() -> None:
    with pytest.raises(HoldfastError, match=r"\['s'\] are absent"):
        encoder().transform(FRAME.drop(columns="s"))


def test_widened_knows_what_moves_and_keeps_what_it_knew() -> None:
    newer = pd.DataFrame({"x": 1e6, "c": np.arange(40.0), "s": ["new", "a"] * 20, "k": 1})
    before, after = encoder(), encoder().widened(newer)
    assert after.numeric[0] == before.numeric[0]
    assert after.numeric[1].scale > 0
    assert after.categorical[0].categories == (*before.categorical[0].categories, "new")
