"""The baseline that a candidate brings along: groups, and answers to few rows that it never saw."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from monitor.config import Limits, Model
from monitor.outcomes import Outcomes
from monitor.source import Source
from monitor.window import Window, parse_time
from retrain.baseline import own
from retrain.contract import default
from retrain.evaluate import Answers, score
from tests.data import stream

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


def test_few_unseen_days_do_not_pass_for_all_that_answers_ever_do(tmp_path: Path) -> None:
    """Real rows: what a model answers follows the weather and the weekday."""
    rows = stream("elec2").drop(columns="date").iloc[509 * 48 : 561 * 48].rename(
        columns={"class": "truth"}).reset_index(drop=True)
    inputs = [name for name in rows if name not in {"timestamp", "truth"}]
    rows["at"] = pd.to_datetime(rows.pop("timestamp"), utc=True)
    rows["truth"] = rows["truth"].astype(str)
    first = rows["at"].min().to_pydatetime()
    unseen, end, last = (first + timedelta(days=days) for days in (20, 24, 52))
    fitted = HistGradientBoostingClassifier(max_iter=40, random_state=0).fit(
        rows.loc[rows["at"] < unseen, inputs], rows.loc[rows["at"] < unseen, "truth"])
    shares = fitted.predict_proba(rows[inputs])
    rows["answer"], rows["score"] = fitted.classes_[shares.argmax(axis=1)], shares[:, 1]
    known = (rows["at"] < end).to_numpy()
    frame = rows.loc[known, inputs].assign(_timestamp=rows["at"], _label=rows["truth"])
    rows.to_parquet(tmp_path / "log.parquet", index=False)
    model = Model.model_validate({"name": "m", "maturity": {"delay": "1d"}, "log": {
        "source": str(tmp_path / "log.parquet"), "timestamp": "at", "prediction": "answer",
        "score": "score", "label": "truth", "positive_label": "UP",
        "features": {"include": inputs}}})
    made = own(model, Limits(), frame, span=Window(first, end), outcomes=Outcomes(),
               answers=Answers(rows["answer"].to_numpy(object)[known], shares[known],
                               tuple(fitted.classes_)), folder=tmp_path, unseen=unseen)
    place = made.bins.slices["prediction:answer"]
    assert made.reference.counts[place][4:].sum() == (rows["at"][known] >= unseen).sum()
    live = Window(end, last)

    def loud() -> int:
        """Days whose answers moved beyond what this reference says."""
        with Source(model, Limits()) as source:
            days = source.count(made.bins, live, since=None, until=parse_time("2030-01-01"))
        return sum(any(item.drifted for item in made.compared(
            day.profile, roles=("prediction", "score"), window=(day.pane, [])).results)
            for day in days)

    assert loud() <= 1, "nothing changed but the weather and the weekday"
    rows.assign(answer="UP", score=0.99).to_parquet(tmp_path / "log.parquet", index=False)
    assert loud() > 20, "one answer to everything is seen"
