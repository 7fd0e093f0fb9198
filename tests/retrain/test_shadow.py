"""The scoreboard of a challenger, by a process of its own, on real streams."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, mean_absolute_error

from monitor.registry import Outcome
from monitor.window import parse_time
from retrain.contract import Contract
from retrain.rivals import rival
from retrain.runtime import columns, session
from tests.retrain.market import DELAY, Market, market
from tests.retrain.shop import work


@pytest.fixture(scope="module", params=["elec2", "bike_sharing"])
def deployed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Market:
    return market(tmp_path_factory.mktemp("market"), request.param)


@pytest.fixture(scope="module")
def scored(deployed: Market) -> Outcome:
    since, until = deployed.span
    return work(deployed.ask("shadow", challenger="2", rows=100_000, since=since, until=until),
                deployed.folder)


def rows(place: Market, until: object) -> pd.DataFrame:
    frame = pd.read_parquet(place.folder / "log.parquet")
    return frame[(frame["timestamp"] >= place.span[0]) & (frame["timestamp"] < until)]


def answers(place: Market, number: str, frame: pd.DataFrame) -> np.ndarray:
    """What the version's ONNX file says, asked without anything of the scoreboard."""
    from monitor.config import load

    found = rival(number, place.registry, model=load(place.path).config.models[0], classes=(),
                  folder=place.folder / "files")
    assert found is not None
    assert found.artifact is not None
    assert isinstance(found.contract, Contract)
    said = columns(session(found.artifact), frame)
    return said[found.contract.prediction or ""]


def test_what_is_mature_is_measured_as_scikit_learn_does(deployed: Market, scored: Outcome
                                                         ) -> None:
    assert scored.status == "done", scored.reason
    result = scored.result
    frame = rows(deployed, (parse_time(deployed.span[1]) - DELAY).replace(tzinfo=None))
    assert result["labelled"] == len(frame)
    metric = mean_absolute_error if deployed.name == "bike_sharing" else accuracy_score
    expected = {role: metric(frame["truth"], answers(deployed, number, frame))
                for role, number in (("champion", "1"), ("challenger", "2"))}
    told = {role: found[result["metric"]]["value"] for role, found in result["realized"].items()}
    assert told == pytest.approx(expected, rel=1e-6)
    better = expected["challenger"] - expected["champion"]
    sign = -1 if deployed.name == "bike_sharing" else 1
    assert result["gain"]["difference"] == pytest.approx(sign * better, rel=1e-6)
    assert result["gain"]["low"] <= result["gain"]["difference"] <= result["gain"]["high"]


def test_answers_that_differ_are_counted_without_any_label(deployed: Market, scored: Outcome
                                                           ) -> None:
    frame = rows(deployed, deployed.span[1])
    one, other = (answers(deployed, number, frame) for number in ("1", "2"))
    result = scored.result
    assert result["n"] == len(frame)
    if deployed.name == "bike_sharing":
        assert result["distance"] == pytest.approx(np.abs(one - other).mean(), rel=1e-6)
    else:
        assert result["differing"] == pytest.approx((one != other).mean())
        assert 0 < result["differing_low"] <= result["differing"] <= result["differing_high"] < 1


def test_what_is_not_mature_is_estimated_window_by_window(deployed: Market, scored: Outcome
                                                          ) -> None:
    result, metric = scored.result, scored.result["metric"]
    assert set(result["estimated"]) == {"champion", "challenger"}
    unripe = rows(deployed, deployed.span[1])[result["labelled"]:]
    for role, number in (("champion", "1"), ("challenger", "2")):
        told = result["estimated"][role][metric]
        truth, said = unripe["truth"], answers(deployed, number, unripe)
        real = (mean_absolute_error if deployed.name == "bike_sharing" else accuracy_score)(
            truth, said)
        assert told["n"] == len(unripe)
        assert told["low"] < told["value"] < told["high"]
        assert 0.3 < told["value"] / real < 3, "it speaks of the same thing"
    lines = result["windows"]
    assert len(lines) == 21
    assert sum(line["n"] for line in lines) == result["n"]
    enough = deployed.name == "elec2"  # 24 rows a day tell nothing of a day
    assert all(bool(line["realized"]) == enough for line in lines[:14])
    assert not any(line["estimated"]["champion"] for line in lines[:14])
    assert all(bool(line["estimated"]["challenger"]) == enough for line in lines[14:])
    assert not any(line["realized"] for line in lines[14:])


def test_the_same_request_says_the_same_again(deployed: Market) -> None:
    since, until = deployed.span
    asked = [deployed.ask("shadow", challenger="2", rows=300, since=since, until=until)
             for _ in range(2)]
    first, second = (work(item, deployed.folder).result for item in asked)
    assert first == second
    assert first["n"] == 300


def test_what_cannot_be_compared_is_refused_in_words(deployed: Market) -> None:
    since, until = deployed.span
    gone = work(deployed.ask("shadow", challenger="9", rows=300, since=since, until=until),
                deployed.folder)
    assert (gone.status, gone.reason) == ("refused", "version 9 is gone from the registry")
    none = work(deployed.ask("shadow", challenger="2", rows=300, since="1990-01-01",
                             until="1990-02-01"), deployed.folder)
    assert none.status == "refused"
    assert "no sound row" in none.reason
