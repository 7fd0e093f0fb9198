"""The dataset: what was known, split by time, the same on every call."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monitor.config import load
from monitor.simulate import START
from monitor.window import Window, isoformat
from retrain.contract import Contract
from retrain.dataset import (
    Dataset,
    Lengths,
    Refusal,
    assemble,
    by_time,
    conform,
    content_hash,
    ordered,
    usable,
)
from tests.retrain.shop import INPUTS, KNOWN_AT, request, shop

CONTRACT = Contract("binary", {"price": "double", "count": "long", "day": "string"},
                    {"prediction": "string"}, ("no", "yes"), "yes")


def rows() -> pd.DataFrame:
    return pd.DataFrame({
        "_timestamp": pd.date_range("2026-01-01", periods=100, freq="D", tz="UTC"),
        "price": np.arange(100.0), "count": pd.array([None, *range(99)], dtype="Int64"),
        "day": ["mon", None] * 50, "_label": ["yes", "no"] * 50})


@pytest.fixture
def deployed(tmp_path: Path) -> Path:
    return shop(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}")


def made(path: Path, **changes: object) -> Dataset:
    config = load(path).config
    asked = replace(request(path, "train"), **changes)  # type: ignore[arg-type]
    return assemble(asked, config.models[0], config.limits)


def test_the_newest_rows_are_for_the_gate_and_those_before_for_choices() -> None:
    frame = rows()
    window = Window(frame["_timestamp"].min().to_pydatetime(),
                    frame["_timestamp"].max().to_pydatetime() + timedelta(days=1))
    split = by_time(frame, window, Lengths(timedelta(days=10), timedelta(days=18)))
    assert [len(part) for part in (split.train, split.validation, split.holdout)] == [72, 18, 10]
    assert split.train["_timestamp"].max() < split.validation["_timestamp"].min()
    assert split.validation["_timestamp"].max() < split.holdout["_timestamp"].min()


def test_the_hash_speaks_of_content_not_of_order() -> None:
    frame = rows()
    shuffled = frame.sample(frac=1, random_state=1)
    assert content_hash(frame) == content_hash(shuffled)
    assert content_hash(frame) != content_hash(frame.assign(price=frame["price"] + 1))
    pd.testing.assert_frame_equal(ordered(shuffled), ordered(frame))


def test_rows_take_the_types_that_the_champion_takes() -> None:
    frame = usable(rows(), [CONTRACT])
    typed = conform(frame, CONTRACT)
    assert len(typed) == 99, "a null count can never be served"
    assert list(typed.columns) == ["price", "count", "day", "_timestamp", "_label"]
    assert [str(typed[name].dtype) for name in CONTRACT.inputs] == ["float64", "int64", "object"]


def test_an_input_that_is_not_logged_is_a_refusal() -> None:
    with pytest.raises(Refusal, match="the champion takes day"):
        conform(rows().drop(columns="day"), CONTRACT)
    with pytest.raises(Refusal, match="cannot be served as double"):
        conform(usable(rows(), [CONTRACT]).assign(price="dear"), CONTRACT)


def test_only_what_was_known_is_in_it(deployed: Path) -> None:
    data = made(deployed, known_at=KNOWN_AT - timedelta(days=2))
    assert data.window.end == START + timedelta(days=39)
    newest = data.split.holdout["_timestamp"].max()
    assert data.window.end - timedelta(days=1) < newest < data.window.end
    assert set(INPUTS) <= set(data.split.train.columns)
    assert data.split.train["_label"].notna().all()


def test_the_same_request_gives_the_same_rows(deployed: Path) -> None:
    first, second = made(deployed), made(deployed)
    assert first.content_hash == second.content_hash
    pd.testing.assert_frame_equal(first.split.holdout, second.split.holdout)
    assert made(deployed, known_at=KNOWN_AT - timedelta(days=5)).content_hash != first.content_hash


def test_a_bootstrap_takes_the_reference_period(deployed: Path) -> None:
    data = made(deployed, kind="bootstrap")
    assert data.window == Window(START, START + timedelta(days=21))
    holdout = data.split.holdout["_timestamp"].min().to_pydatetime()
    assert data.window.end - holdout <= timedelta(days=21) * 0.2


def test_too_few_rows_are_a_refusal_with_numbers(deployed: Path) -> None:
    with pytest.raises(Refusal, match=r"train holds 0 labelled rows of at least 200"):
        made(deployed, known_at=START + timedelta(days=1))


def test_one_class_only_is_a_refusal(deployed: Path) -> None:
    log = deployed.parent / "log.parquet"
    pd.read_parquet(log).assign(late="no").to_parquet(log, index=False)
    with pytest.raises(Refusal, match="one class only"):
        made(deployed)


def test_broken_stretches_of_the_request_are_left_out(deployed: Path) -> None:
    whole = made(deployed)
    start = whole.split.train["_timestamp"].min().to_pydatetime() + timedelta(days=1)
    end = start + timedelta(days=2)
    part = made(deployed, exclude=((isoformat(start), isoformat(end)),))
    times = pd.concat([half["_timestamp"] for half in (part.split.train, part.split.validation)])
    assert not ((times >= start) & (times < end)).any()
    assert part.rows < whole.rows
    assert part.window == whole.window
