"""Golden sets: read as the log is, with its privacy, and never in what is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from monitor.config import load
from monitor.errors import ConfigError, HoldfastError
from retrain.benchmarks import read, without
from retrain.dataset import assemble
from tests.retrain.shop import request, shop


def with_sets(folder: Path, *sets: dict[str, Any], **model: Any) -> Path:
    """The shop's configuration with benchmark sets."""
    path = shop(folder, f"sqlite:///{folder / 'mlflow.db'}")
    config = yaml.safe_load(path.read_text())
    config["models"][0] |= {"benchmarks": list(sets), **model}
    path.write_text(yaml.safe_dump(config))
    return path


def golden(folder: Path, rows: pd.DataFrame) -> dict[str, Any]:
    rows.to_parquet(folder / "hard.parquet", index=False)
    return {"name": "hard", "source": "hard.parquet"}


def logged(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "log.parquet")


def test_rows_come_through_the_privacy_rules(tmp_path: Path) -> None:
    path = with_sets(tmp_path)
    rows = logged(tmp_path).iloc[2000:2300]
    path = with_sets(tmp_path, golden(tmp_path, rows), privacy={
        "hash": ["request_id"], "drop": ["zone"], "salt": "x"})
    config = load(path).config
    [found] = read(config.models[0], config.limits)
    assert len(found.frame) == 300
    assert set(found.frame["_label"]) == {"yes", "no"}
    assert "zone" not in found.frame
    assert not set(found.frame["_id"]) & set(rows["request_id"].astype(str))


@pytest.mark.parametrize("columns", [[], ["request_id"], ["request_id", "timestamp"]])
def test_nothing_of_them_is_trained_on(tmp_path: Path, columns: list[str]) -> None:
    """By id; without ids by inputs and time; without time by inputs and label."""
    path = with_sets(tmp_path)
    config = load(path).config
    asked = request(path, "train", champion="1")
    before = assemble(asked, config.models[0], config.limits)
    rows = logged(tmp_path)
    rows = rows[(rows["timestamp"] > "2026-02-01") & (rows["timestamp"] < "2026-02-03")]
    path = with_sets(tmp_path, golden(tmp_path, rows.drop(columns=columns)))
    config = load(path).config
    after = assemble(asked, config.models[0], config.limits)
    assert 150 < before.rows - after.rows <= len(rows), "the embargo held some back before"
    assert after.content_hash != before.content_hash
    split = after.split
    times = pd.concat([after.older, split.train, split.validation, split.holdout])["_timestamp"]
    assert not ((times > "2026-02-01") & (times < "2026-02-03")).any()


def test_other_rows_stay(tmp_path: Path) -> None:
    path = with_sets(tmp_path)
    config = load(path).config
    model = config.models[0]
    frame = pd.DataFrame({"_id": ["a", "b"], "_timestamp": pd.to_datetime(["2026-01-01"] * 2),
                          "items": [1, 2]})
    assert without(frame, read(model, config.limits)).equals(frame)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    path = with_sets(tmp_path, {"name": "hard", "source": "none.parquet"})
    config = load(path).config
    with pytest.raises(HoldfastError, match=r"benchmark 'hard' cannot be read: .*none.parquet"):
        read(config.models[0], config.limits)
    unlabelled = logged(tmp_path).head(100).assign(late=None)
    path = with_sets(tmp_path, golden(tmp_path, unlabelled))
    with pytest.raises(HoldfastError, match="holds no labelled row"):
        read(load(path).config.models[0], config.limits)


@pytest.mark.parametrize(("keys", "words"), [
    ({"benchmarks": [{"name": "a", "source": "a"}, {"name": "a", "source": "b"}]},
     "models[0].benchmarks: a; right would be names that differ"),
    ({"audit": {"every": "7d"}},
     "models[0].audit.every: without benchmarks; right would be at least one of benchmarks"),
    ({"training": {"gate": {"fairness": [{"column": "zone", "ceiling": 0.1}]}}},
     "models[0].training.gate.fairness[0].column: zone; right would be one of log.segments"),
    ({"training": {"gate": {"fairness": [{"column": "zone"}]}}},
     "models[0].training.gate.fairness[0].ceiling: absent beside growth"),
    ({"training": {"gate": {"max_size": "5 elephants"}}},
     "models[0].training.gate.max_size: '5 elephants' is not a size; write a number of bytes"),
    ({"training": {"gate": {"max_latency": {7: 1.0}}}}, "models[0].training.gate.max_latency"),
    ({"training": {"gate": {"confidence": 95}}},
     "models[0].training.gate.confidence: 95; right would be less than 1"),
    ({"benchmarks": [{"name": "a", "source": "a", "flor": 1}]},
     "models[0].benchmarks[0].flor: unknown key"),
])
def test_mistakes_have_paths(tmp_path: Path, keys: dict[str, Any], words: str) -> None:
    path = with_sets(tmp_path)
    config = yaml.safe_load(path.read_text())
    config["models"][0] |= keys
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert words in "\n".join(caught.value.mistakes)
