"""A comparison of champion and predecessor, in words."""

from __future__ import annotations

import math

from retrain.blocks import Paired
from retrain.score import words


def test_a_comparison_says_who_was_better_or_that_nobody_can_tell() -> None:
    assert words(Paired(0.02, 0.01, 0.03, 9, "1d", 500), "accuracy", "7") == (
        "would have been better by 0.0200 accuracy than version 7 (95 % interval of the gain "
        "0.0100 to 0.0300, 9 time blocks)")
    none = math.nan
    assert words(Paired(none, none, none, 9, "1d", 500), "roc_auc", "7") == (
        "cannot be held against version 7: roc_auc is undefined on them")
