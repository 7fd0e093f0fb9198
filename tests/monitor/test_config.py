"""The configuration: every mistake at once, with its path and what would be right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.config import Config, load
from monitor.errors import ConfigError
from monitor.secrets import redact

SMALL = """
models:
  - name: tiny
    log: {source: logs/*.parquet, timestamp: at, prediction: answer}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "holdfast.yaml"
    path.write_text(text)
    return path


def test_only_the_timestamp_and_a_prediction_are_required(tmp_path: Path) -> None:
    model = load(write(tmp_path, SMALL)).config.models[0]
    assert model.training.kind == "none"
    assert model.policy.alarm_budget.per == timedelta(days=90)


def test_relative_files_belong_to_the_folder_of_the_file(tmp_path: Path) -> None:
    config = load(write(tmp_path, SMALL)).config
    assert config.models[0].log.source == str(tmp_path / "logs/*.parquet")
    assert config.store == f"sqlite:///{tmp_path}/holdfast.db"


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    text = SMALL.replace("prediction: answer", "prediction: answer, timezone: Mars/Base") + """
    window: {length: 1 dya}
    policy: {alarm_budget: often}
    colour: blue
"""
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text))
    said = "\n".join(caught.value.mistakes)
    assert "models[0].window.length: '1 dya' is not a duration; write a number" in said
    assert "models[0].policy.alarm_budget: 'often' is no number per time" in said
    assert "models[0].colour: unknown key" in said
    assert "Mars/Base" in said
    assert "Europe/Berlin" in said


@pytest.mark.parametrize(("text", "words"), [
    ("", "holds no mapping"),
    ("a: [", "is not YAML"),
    ("models: []", "models"),
])
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(write(tmp_path, text))


def test_a_missing_file_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.yaml")


def test_dates_are_utc_and_a_reference_needs_both_ends(tmp_path: Path) -> None:
    config = load(write(tmp_path, SMALL + "    reference: {from: 1996-05-06, to: 1996-12-01}\n"))
    window = config.config.models[0].reference.window
    assert window is not None
    assert window.start == datetime(1996, 5, 6, tzinfo=UTC)
    with pytest.raises(ConfigError, match="both, or neither"):
        load(write(tmp_path, SMALL + "    reference: {from: 1996-05-06}\n"))


def test_the_step_of_a_window_divides_its_length(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="divisor"):
        load(write(tmp_path, SMALL + "    window: {length: 1d, step: 5h}\n"))


def test_training_needs_labels(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="training needs labels"):
        load(write(tmp_path, SMALL + "    training: {kind: torch}\n"))


@pytest.mark.parametrize(("training", "words"), [
    ("{kind: tourch}", "training.kind: 'tourch' is no kind of trainer; did you mean 'torch'"),
    ("{kind: 'my.trainers'}", "or the import path of your own, package.module:Class"),
    ("{kind: sklearn, estimator: linear, settings: {trees: 5}}",
     "training.settings.trees: unknown for linear"),
    ("{kind: sklearn, settings: {trees: 2.5}}", "right would be a whole number between 1 and"),
    ("{kind: sklearn, settings: {rate: 3}}", "right would be a number between 0.0001 and 1"),
    ("{kind: sklearn, estimator: forest}", "'random_forest'")])
def test_mistakes_about_the_trainer_are_told_in_words(tmp_path: Path, training: str, words: str
                                                      ) -> None:
    text = SMALL.replace("timestamp: t", "timestamp: t, label: y", 1)
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text + f"    training: {training}\n"))
    assert words in str(caught.value)


@pytest.mark.parametrize(("task", "metric", "words"), [
    ("multiclass", "average_precision", "right would be a metric of all classes"),
    ("binary", "mape", "right would be mae, rmse, mape or r2 for regression"),
    ("binary", "average_precision", ""), ("regression", "mape", "")])
def test_the_deciding_metric_fits_the_task(tmp_path: Path, task: str, metric: str, words: str
                                           ) -> None:
    text = SMALL + f"    task: {task}\n    policy: {{performance: {{metric: {metric}}}}}\n"
    if not words:
        assert load(write(tmp_path, text)).config.models[0].metric == metric
        return
    with pytest.raises(ConfigError, match=words):
        load(write(tmp_path, text))


def test_secrets_come_from_environment_and_files_and_are_masked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_TEST_PASSWORD", "open-sesame-17")
    (tmp_path / "salt").write_text("grain-of-salt\n")
    text = SMALL.replace("source: logs/*.parquet",
                         "source: 'postgresql://me:${env:HOLDFAST_TEST_PASSWORD}@db/x', table: t"
                         ) + "    privacy: {salt: '${file:salt}'}\n"
    model = load(write(tmp_path, text)).config.models[0]
    assert model.log.source == "postgresql://me:open-sesame-17@db/x"
    assert model.privacy.salt == "grain-of-salt"
    shown = redact(f"cannot reach {model.log.source} with {model.privacy.salt}")
    assert "open-sesame-17" not in shown
    assert "grain-of-salt" not in shown


def test_a_secret_that_is_not_set_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the environment variable is not set"):
        load(write(tmp_path, SMALL + "store: '${env:HOLDFAST_NO_SUCH}'\n"))


def test_passwords_in_urls_are_masked_even_when_unknown() -> None:
    assert redact("postgresql://me:hunter2@db/x") == "postgresql://me:***@db/x"


def test_a_model_that_is_not_configured_is_named(tmp_path: Path) -> None:
    config: Config = load(write(tmp_path, SMALL)).config
    with pytest.raises(ConfigError, match="configured are tiny"):
        config.model("other")


@pytest.mark.parametrize("name", ["example.yaml", "minimal.yaml"])
def test_the_examples_that_ship_are_fine(name: str) -> None:
    config = load(Path(__file__).parents[2] / "config" / name).config
    assert config.models[0].log.timestamp == "timestamp"


def test_on_is_a_key_and_not_a_truth(tmp_path: Path) -> None:
    text = SMALL + "    policy: {retrain: {on: [drifted]}}\n"
    assert load(write(tmp_path, text)).config.models[0].policy.retrain.on == ["drifted"]


def test_something_must_be_able_to_alarm(tmp_path: Path) -> None:
    quiet = SMALL + "    policy: {alarm_on: [degraded]}\n"
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, quiet))
    assert "policy.alarm_on" in "\n".join(caught.value.mistakes)
    assert "without labels nothing else can alarm" in "\n".join(caught.value.mistakes)
    labelled = quiet.replace("prediction: answer", "prediction: answer, label: truth")
    assert load(write(tmp_path, labelled)).config.models[0].policy.alarm_on == ["degraded"]
