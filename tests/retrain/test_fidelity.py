"""A compressed version beside its uncompressed form, on the real market and the bicycles."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from retrain.contract import Contract
from retrain.evaluate import answer, session
from retrain.export import to_onnx
from retrain.fidelity import PARENT, UNCOMPRESSED, leaving, limits, measured, span_of
from retrain.quantize import quantize
from tests.retrain.market import Market, market
from tests.retrain.real import elec, elec_champion, elec_split
from tests.retrain.shop import work
from tests.retrain.test_export import elec_contract


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The market's champion as int8, and its float form."""
    folder = tmp_path_factory.mktemp("pair")
    source = to_onnx(elec_champion(), elec_contract(), folder / "fp32.onnx")
    return quantize(source, folder / "int8.onnx", calibration=elec_split().train), source


def test_an_interval_is_never_narrower_than_the_exact_one() -> None:
    times = pd.Series(pd.date_range("2026-01-01", periods=1000, freq="h", tz="UTC"))
    for events in (0, 3, 400):
        flags = np.zeros(1000)
        flags[np.random.default_rng(1).choice(1000, events, replace=False)] = 1
        found = measured(flags, times)
        low, high = proportion_confint(events, 1000, alpha=0.01, method="beta")
        assert found["value"] == pytest.approx(events / 1000)
        assert found["low"] <= low + 1e-12
        assert found["high"] >= high - 1e-12
    clustered = (np.arange(1000) < 168).astype(float)
    wider = measured(clustered, times)
    low, high = proportion_confint(168, 1000, alpha=0.01, method="beta")
    assert wider["high"] - wider["low"] > 2 * (high - low), "one bad week is one event"


def test_rows_outside_the_ranges_are_counted_as_numpy_does() -> None:
    train, later = elec_split().train, elec_split().holdout
    known = span_of(train, elec_contract())
    assert known["nswprice"] == (train["nswprice"].min(), train["nswprice"].max())
    shifted = later.assign(nswprice=later["nswprice"] + 0.5)
    flags, shares = leaving(shifted, known)
    names = list(known)
    low, high = (np.array([known[name][end] for name in names]) for end in (0, 1))
    values = shifted[names].to_numpy(float)
    expected = ((values < low) | (values > high)).any(axis=1)
    assert np.array_equal(flags, expected)
    assert 0.05 < shares["nswprice"] <= flags.mean()
    assert leaving(train, known)[0].sum() == 0
    assert leaving(train.assign(nswprice=np.nan), known)[1]["nswprice"] == 0, "null is not outside"


def test_limits_come_from_the_rows_after_the_calibration(pair: tuple[Path, Path]) -> None:
    data, contract = elec_split(), elec_contract()
    later = pd.concat([data.validation, data.holdout], ignore_index=True)
    found = limits(*pair, contract, ranges=data.train, later=later)
    said = [answer(session(path), later, contract).predictions for path in pair]
    assert found["disagreement"]["value"] == pytest.approx(np.mean(said[0] != said[1]))
    assert found["disagreement"]["value"] < found["disagreement"]["limit"] < 0.05
    assert found["outside"]["value"] <= found["outside"]["limit"]
    assert json.loads(json.dumps(found)) == json.loads(json.dumps(found, allow_nan=False))
    joined = elec("1997-06-01", "1997-07-01")
    live = measured(leaving(joined, found["ranges"])[0], joined["_timestamp"])
    assert live["low"] > found["outside"]["limit"], "after May 1997 vicprice takes new values"


@pytest.fixture(scope="module", params=["elec2", "bike_sharing"])
def deployed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Market:
    return market(tmp_path_factory.mktemp("market"), request.param, accuracy_budget=0)


def _files(place: Market) -> list[Path]:
    return [path for number in ("1", "2") if (path := place.registry.onnx(
        place.name, number, place.folder / number))]


def test_a_version_without_its_float_form_is_refused_for_good(deployed: Market) -> None:
    since, until = deployed.span
    uri = deployed.registry.client.get_run(deployed.version("1").run_id).info.artifact_uri
    for name in (PARENT, UNCOMPRESSED):
        (Path(uri.removeprefix("file://")) / "holdfast" / name).unlink(missing_ok=True)
    outcome = work(deployed.ask("compression", rows=2000, since=since, until=until),
                   deployed.folder)
    assert (outcome.status, outcome.result) == ("refused", {"again": False})
    assert "neither holdfast/uncompressed.onnx nor holdfast/parent.onnx is in" in outcome.reason


def test_a_float_form_that_answers_otherwise_crosses_the_limit(deployed: Market, tmp_path: Path
                                                               ) -> None:
    for number in ("1", "2"):
        (deployed.folder / number).mkdir(exist_ok=True)
    own, other = _files(deployed)
    run, client = deployed.version("1").run_id, deployed.registry.client
    contract = Contract.from_dict(json.loads(
        deployed.registry.artifact(run, "holdfast/contract.json") or ""))
    frame = pd.read_parquet(deployed.folder / "log.parquet").rename(
        columns={"timestamp": "_timestamp", "truth": "_label"})
    frame["_timestamp"] = frame["_timestamp"].dt.tz_localize("UTC")
    before = frame[frame["_timestamp"] < deployed.span[0]].reset_index(drop=True)
    promised = limits(own, own, contract, ranges=before.head(1000), later=before.tail(1000))
    client.log_dict(run, promised, "holdfast/calibration.json")
    (tmp_path / PARENT).write_bytes(other.read_bytes())
    client.log_artifact(run, str(tmp_path / PARENT), "holdfast")
    since, until = deployed.span
    asked = deployed.ask("compression", rows=100_000, since=since, until=until)
    outcome = work(asked, deployed.folder)
    assert outcome.status == "done", outcome.reason
    live = frame[frame["_timestamp"] >= deployed.span[0]]
    said = [answer(session(path), live, contract).predictions for path in (own, other)]
    apart = (np.mean(said[0] != said[1]) if contract.classes
             else np.mean(np.abs(said[0] - said[1])) / promised["scale"])
    found = outcome.result["disagreement"]
    assert found["value"] == pytest.approx(apart, rel=1e-6)
    assert found["crossed"]
    assert found["low"] > found["limit"]
    assert outcome.result["outside"]["value"] == pytest.approx(
        leaving(live, promised["ranges"])[0].mean())
    segment = outcome.result["segments"][0]
    name, value = segment["segment"].split("=")
    assert segment["n"] == (live[name] == int(value)).sum()
    assert "CROSSED" in outcome.reason
    again = replace(asked, request_id=f"{asked.request_id}-2")
    assert work(again, deployed.folder).result == outcome.result


def test_a_compressed_version_brings_what_it_was_before_and_its_limits(tmp_path: Path) -> None:
    """With all its units and in float, beside the float form that new ranges would be taken of."""
    place = market(tmp_path, "elec2", accuracy_budget=0.5, widths=[256], prune=[0.5], epochs=3)
    version = place.version("1")
    assert version.tags["holdfast.compression"] == "pruned-50-int8"
    served = place.registry.onnx(place.name, "1", tmp_path / "1")
    assert served is not None
    for name in (PARENT, UNCOMPRESSED):
        content = place.registry.artifact_bytes(version.run_id, f"holdfast/{name}")
        assert content is not None
        (tmp_path / name).write_bytes(content)
    assert served.stat().st_size < (tmp_path / PARENT).stat().st_size / 2
    assert (tmp_path / PARENT).stat().st_size < (tmp_path / UNCOMPRESSED).stat().st_size / 2
    since, until = place.span
    outcome = work(place.ask("compression", rows=100_000, since=since, until=until), tmp_path)
    assert outcome.status == "done", outcome.reason
    contract = Contract.from_dict(json.loads(
        place.registry.artifact(version.run_id, "holdfast/contract.json") or ""))
    frame = pd.read_parquet(tmp_path / "log.parquet")
    live = frame[frame["timestamp"] >= since]
    said = [answer(session(path), live, contract).predictions
            for path in (served, tmp_path / UNCOMPRESSED)]
    result = outcome.result
    assert result["disagreement"]["value"] == pytest.approx(np.mean(said[0] != said[1]))
    assert (result["n"], result["calibrated"], result["unit"]) == (len(live), True, "share")
    kept = json.loads(place.registry.artifact(version.run_id, "holdfast/calibration.json") or "")
    assert result["disagreement"]["limit"] == kept["disagreement"]["limit"]
    assert set(kept["ranges"]) == {"day", "period", "nswprice", "nswdemand", "vicprice",
                                   "vicdemand", "transfer"}


def test_without_int8_there_are_no_ranges(pair: tuple[Path, Path]) -> None:
    found = limits(*pair, elec_contract(), ranges=None, later=elec_split().holdout)
    assert found["ranges"] == {}
    assert "outside" not in found
    assert 0 < found["disagreement"]["limit"] < 1
