"""Status: from nothing to an alarm, in words and for programs."""

from __future__ import annotations

from pathlib import Path

from monitor.status import overview, words
from monitor.store import Store
from tests.monitor.command import holdfast
from tests.monitor.stored import at, configuration, fill
from tests.story.deployment import deploy


def test_what_a_deployment_says_before_its_first_tick_and_after_a_drift(
        tmp_path: Path, mlflow_uri: str) -> None:
    file = deploy(tmp_path, mlflow_uri).loaded.path
    (before,) = holdfast("status", file, "--json").json["models"]
    assert (before["phase"], before["ticked"], before["newest"]) == ("unknown", None, None)
    assert holdfast("once", file, "--now", "2026-01-31T02:00").code == 0
    said = holdfast("status", file).out
    assert said.startswith("deliveries: stable since 2026-01-")
    assert "  champion    version 1\n" in said
    assert "nothing moved beyond what the alarm budget allows" in said
    assert "alarm" not in said.replace("alarm budget", "")
    ticked = holdfast("once", file, "--now", "2026-02-13T02:00")
    assert ticked.out == holdfast("status", file).out
    assert "  alarm       open since 2026-02-" in ticked.out
    assert "  performance accuracy 0." in ticked.out
    (after,) = holdfast("status", file, "--json").json["models"]
    assert after["labels"]["arrival"] == "logged"
    assert after["labels"]["final"] > 0.9
    assert f"  labels      half within {after['labels']['half']}" in ticked.out
    assert after["newest"]["verdict"] == "drifted"
    assert after["performance"]["end"] < after["newest"]["end"], "labels come later than rows"


def test_what_waits_for_a_person_and_what_is_wrong_is_said(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        fill(store)
        store.trouble("quiet", at(9), "SourceError", "postgresql://u:hunter22@host/db is away")
        report = overview(config, store)
    assert [model["model"] for model in report["models"]] == [
        model.name for model in config.models]
    said = words(report)
    assert ("  estimated   accuracy 0.860 (0.848 to 0.871) without labels, on 4800 rows; newest "
            "labels bear such estimates out\n") in said
    assert "  compression Version 3 answers 4.00% of 2000 rows otherwise" in said
    assert "  shadow      Version 4 beside version 3 on 2400 rows" in said
    assert "  trouble     postgresql://u:***@host/db is away" in said
    for model in report["models"]:
        assert f"{model['model']}: {model['phase'].replace('_', ' ')}" in said
        assert not model["request"] or f"  request     {model['request']}" in said
