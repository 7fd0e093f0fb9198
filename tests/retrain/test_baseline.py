"""The baseline that a candidate brings along holds the declared groups too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monitor.config import Limits, Model
from monitor.source import Source
from monitor.window import Window, parse_time
from retrain.baseline import own
from retrain.contract import default
from retrain.evaluate import Answers, score

START = parse_time("2026-01-01")
SPAN = Window(START, parse_time("2026-02-10"))
UNSEEN = parse_time("2026-01-21")


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """A log of forty days; the group `region` is no input, the group `kind` is one."""
    rng, n = np.random.default_rng(0), 40 * 200
    frame = pd.DataFrame({
        "at": pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(n) * 432, unit="s"),
        "size": rng.normal(0, 1, n), "kind": rng.choice(["a", "b"], n),
        "region": rng.choice(["north", "south", "tiny"], n, p=[0.6, 0.398, 0.002])})
    frame["truth"] = np.where(rng.random(n) < 0.5, "yes", "no")
    frame["answer"] = frame["truth"]
    frame.to_parquet(tmp_path / "log.parquet", index=False)
    return Model.model_validate({
        "name": "m", "log": {
            "source": str(tmp_path / "log.parquet"), "timestamp": "at", "prediction": "answer",
            "label": "truth", "positive_label": "yes", "segments": ["kind", "region"],
            "features": {"include": ["size", "kind"]}}, "maturity": {"delay": "1d"}})


def test_groups_that_are_no_inputs_come_along(model: Model, tmp_path: Path) -> None:
    with Source(model, Limits()) as source:
        frame = source.sample(SPAN, known_by=parse_time("2027-01-01"), limit=100_000)
    assert set(frame["_segment_region"]) == {"north", "south", "tiny"}
    assert "_segment_kind" not in frame, "it is there as an input"
    rng = np.random.default_rng(1)
    right = np.where(frame["_segment_region"] == "south", 0.7, 0.9)
    other = frame["_label"].map({"yes": "no", "no": "yes"})
    said = frame["_label"].where(rng.random(len(frame)) < right, other)
    contract = default(frame, "binary", classes=("no", "yes"), positive="yes")
    fresh = (frame["_timestamp"] >= UNSEEN).to_numpy()
    held = score("candidate", Answers(said[fresh].to_numpy(object), None, contract.classes),
                 frame[fresh].reset_index(drop=True), contract=contract, metrics=("accuracy",))
    made = own(model, Limits(), frame, answers=Answers(said.to_numpy(object), None, ("no", "yes")),
               span=SPAN, outcomes=held.outcomes, folder=tmp_path, unseen=UNSEEN)
    groups = made.segments.held
    assert set(groups) == {"kind=a", "kind=b", "region=north", "region=south"}
    assert made.segments.small == {"region=tiny": int((frame["_segment_region"] == "tiny").sum())}
    assert groups["region=north"].profile.n == (frame["_segment_region"] == "north").sum()
    for name in ("north", "south"):
        outcomes = groups[f"region={name}"].performance
        among = fresh & (frame["_segment_region"] == name).to_numpy()
        assert outcomes.n == among.sum(), "only rows that the candidate never saw"
        hits = sum(n for (_, guess, label, _), n in outcomes.cells.items() if guess == label)
        assert hits == (said == frame["_label"])[among].sum()
    assert "region" not in made.bins.by_key
