"""Policies: by name, by schedule, from a file; what is wrong of one is said with its path."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from monitor.config import Model
from monitor.errors import ConfigError
from monitor.policies import NAMED, variant, variants

MODEL = Model.model_validate({
    "name": "m", "log": {"source": "log.parquet", "timestamp": "at", "label": "truth"},
    "policy": {"alarm_budget": "1 per 90d", "retrain": {"cooldown": "21d", "minimum_rows": 300}}})


def wrong(*asked: str) -> str:
    with pytest.raises(ConfigError) as error:
        variants(asked, MODEL)
    return "\n".join(error.value.mistakes)


def test_current_is_the_model_itself_and_never_retrains_never() -> None:
    current, never = variants(["current", "never"], MODEL)
    assert current.model is MODEL
    assert (current.changed, current.same) == ((), True)
    assert never.model.policy.retrain.on == []
    assert never.model.policy.retrain.cooldown == timedelta(days=21), "the rest stays"
    assert (never.changed, never.same) == (("policy.retrain.on: []",), True)


def test_every_name_makes_a_model() -> None:
    found = {item.name: item.model.policy for item in variants(list(NAMED), MODEL)}
    assert list(found) == list(NAMED)
    for peer in ("evidently", "nannyml"):
        assert (found[peer].thresholds, found[peer].retrain.on) == (peer, ["drifted"])


def test_a_schedule_is_a_policy() -> None:
    found = variant("every-30d", MODEL)
    assert found.every == timedelta(days=30)
    assert found.model.policy.retrain.on == []


def test_a_file_replaces_the_keys_that_it_names(tmp_path: Path) -> None:
    path = tmp_path / "eager.yaml"
    path.write_text(yaml.safe_dump({
        "policy": {"alarm_budget": "1 per 30d", "retrain": {"on": ["drifted"]}},
        "training": {"window": "14d"}, "reference": {"mode": "trailing"}}))
    found = variant(str(path), MODEL)
    policy = found.model.policy
    assert (found.name, found.same) == ("eager", False)
    assert policy.alarm_budget.per == timedelta(days=30)
    assert (policy.retrain.on, policy.retrain.minimum_rows) == (["drifted"], 300)
    assert found.model.training.window == timedelta(days=14)
    assert set(found.changed) == {"policy.alarm_budget.per: 30d", "policy.retrain.on: ['drifted']",
                                  "training.window: 2w", "reference.mode: trailing"}


@pytest.mark.parametrize(("content", "said"), [
    ("policy: {retrain: {coold: 3d}}", "eager.yaml: policy.retrain.coold: unknown key; did you "
                                       "mean 'cooldown'?"),
    ("polici: {}", "eager.yaml: polici: unknown key; did you mean 'policy'?"),
    ("policy: {retrain: {cooldown: soon}}", "eager.yaml: policy.retrain.cooldown: 'soon' is not a "
                                            "duration"),
    ("policy: {performance: {metric: mae}}", "policy.performance.metric: mae; right would be"),
    ("[1, 2]", "eager.yaml: holds no mapping; it must start with keys such as `policy:`"),
    ("policy: {", "eager.yaml: is not YAML"),
])
def test_what_is_wrong_of_a_file_is_said_with_its_path(tmp_path: Path, content: str, said: str
                                                       ) -> None:
    path = tmp_path / "eager.yaml"
    path.write_text(content)
    assert f"--policy: {tmp_path}" in wrong(str(path))
    assert said in wrong(str(path))


@pytest.mark.parametrize(("name", "said"), [
    ("curent", "'curent' is neither a policy nor a file; did you mean 'current'?"),
    ("weekly", "right would be one of current, never, evidently, nannyml, every-30d"),
    ("every-month", "'month' is not a duration"),
    ("every-1h", "more often than there are windows; right would be at least every-1d"),
    ("gone.yaml", "gone.yaml: cannot be read: No such file or directory"),
])
def test_names_that_are_none(name: str, said: str) -> None:
    assert said in wrong(name)


def test_all_mistakes_are_told_at_once_and_names_differ() -> None:
    said = wrong("current", "current", "gone.yaml")
    assert "two are called 'current'" in said
    assert "gone.yaml" in said
