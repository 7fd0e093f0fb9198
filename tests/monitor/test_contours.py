"""Columns beside their reference: shares of what their statistic is about."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from monitor.binning import make_bins
from monitor.config import Model
from monitor.contours import Ranked, contours
from monitor.outcomes import Outcomes
from monitor.source import Increment
from monitor.store import Store
from monitor.window import isoformat
from tests.monitor.counted import model, profile, summaries
from tests.monitor.stored import at

ANSWER = "answer"


def counted() -> Model:
    """The model of the test's counts, under the name of the test's store."""
    log = {"model_version": "v", "prediction": ANSWER}
    return model(log=log).model_copy(update={"name": "electricity"})


def shares(statistic: str, name: str, folder: Path) -> dict[str, tuple[float, float]]:
    """A column that the version was asked about in a third of the reference alone."""
    before, now = (pd.DataFrame({name: told}) for told in (
        ["yes"] * 50 + ["no"] * 50 + [None] * 200, ["yes"] * 60 + ["no"] * 40))
    bins, _ = make_bins(summaries(before, [name]), counted())
    (key,) = bins.by_key
    whole = profile(before, bins)
    kind = "answers" if name == ANSWER else "inputs"
    with Store.open(f"sqlite:///{folder / 'store.db'}") as store:
        store.adopt("electricity", "3", at(0), key="k")
        store.save_baseline("electricity", "3", "k", json.dumps({
            "bins": bins.to_dict(), "reference": [*whole.tallies, *whole.counts.tolist()]}))
        store.save_counts("electricity", "k", [Increment(
            at(13), at(14), "3", "", profile(now, bins), Outcomes({}, {}))],
            until=at(14), fingerprint="f")
        line = {"version": "3", "known_at": isoformat(at(14)), "start": isoformat(at(13)),
                "end": isoformat(at(14))}
        (found,) = contours(store, counted(), line, [Ranked(
            key, kind, statistic, 0.1, 0.2, 1, False, None, None)])
    return {cell.label: (cell.reference, cell.current) for cell in found.cells}


def test_rows_that_a_version_was_not_asked_about_are_no_change_of_its_answers(
        tmp_path: Path) -> None:
    assert shares("psi", ANSWER, tmp_path) == {"yes": (0.5, 0.6), "no": (0.5, 0.4)}


@pytest.mark.parametrize(("statistic", "name"), [("null_rate", ANSWER), ("psi", "zone")])
def test_what_is_missing_is_shown_where_it_is_about_that(statistic: str, name: str,
                                                         tmp_path: Path) -> None:
    assert shares(statistic, name, tmp_path)["missing"] == (pytest.approx(2 / 3, abs=1e-6), 0)
