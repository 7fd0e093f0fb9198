"""A log drifts, and one page arrives: the real daemon, Prometheus, Alertmanager and a webhook."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from monitor.window import isoformat
from tests.contracts.test_alerts import BASE, RULES
from tests.servers.alertmanager import Alertmanager
from tests.servers.prometheus import Prometheus
from tests.story.deployment import register
from tests.story.growing import Growing
from tests.story.running import running

HISTORY = timedelta(minutes=6)
DRIFTED = timedelta(seconds=30)
"""The end of the history, of another kind; what is written from then on is calm again."""
RATE = 40
"""Rows a second."""
AT_ONCE = "15s"
"""What ``for: 15m`` is shortened to, so that a test need not wait as people do."""


class Log(Growing):
    """From the drift on parcels are heavier, until the log is watched."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, history=HISTORY, drifted=DRIFTED, rate=RATE)

    def rows(self, at: pd.DatetimeIndex) -> pd.DataFrame:
        heavier = np.asarray((at >= self.drift) & (at < self.grows))
        weight = self._rng.normal(10, 1, len(at)) + 2 * heavier
        return pd.DataFrame({"version": "1", "weight": weight,
                             "answer": self._rng.choice(["yes", "no"], len(at))})


def configured(folder: Path, log: Log) -> Path:
    """Windows of five seconds, an episode for drift alone, and looks so rare that none is late
    however slow the machine is: the second one is asked for by hand."""
    register(f"sqlite:///{folder / 'mlflow.db'}", "parcels")
    path = folder / "holdfast.yaml"
    path.write_text(yaml.safe_dump({
        "schedule": {"every": "1h", "jitter": "0s"}, "http": {"port": 0}, "reports": False,
        "models": [{
            "name": "parcels", "task": "binary",
            "log": {"source": "log/*.parquet", "timestamp": "at", "ingested_at": "received",
                    "model_version": "version", "prediction": "answer", "positive_label": "yes",
                    "freshness": "5m"},
            "reference": {"from": isoformat(log.start),
                          "to": isoformat(log.start + HISTORY - 2 * DRIFTED)},
            "window": {"length": "5s", "lateness": "3s", "revise_for": "1m"},
            "policy": {"alarm_budget": "1 per 1d", "alarm_on": ["drifted"],
                       "slow_drift": False}}]}))
    return path


def rules() -> str:
    """All rules as they are, but for how long people wait for certainty."""
    text = "groups:\n" + "".join(file.read_text().removeprefix("groups:\n") for file in RULES)
    assert text.count("for: 15m") == len(RULES)
    return text.replace("for: 15m", f"for: {AT_ONCE}")


@pytest.mark.timeout(600)  # it waits for windows to pass
def test_a_drifted_log_is_one_page_and_it_resolves(
        tmp_path: Path, prometheus: Callable[..., Prometheus],
        alertmanager: Callable[[], Alertmanager]) -> None:
    people = alertmanager()
    log = Log(tmp_path / "log")
    with log.growing(), running(configured(tmp_path, log)) as daemon:
        prometheus(daemon.client.base_url.netloc.decode(), rules=rules(),
                   alertmanager=people.address, every="3s")
        page = people.webhook.wait_for("firing", 120)
        config = tmp_path / "holdfast.yaml"
        while daemon.metrics()['holdfast_episode_open{model="parcels"}']:
            subprocess.run([Path(sys.executable).with_name("holdfast"), "once", config],
                           capture_output=True, check=True, timeout=120)
        over = people.webhook.wait_for("resolved", 60)
        assert daemon.stop()[0] == 0
    assert page["labels"] == {"alertname": "HoldfastDrift", "job": "holdfast", "model": "parcels",
                              "severity": "warning"}
    assert "weight" in page["annotations"]["reason"]
    assert page["annotations"]["runbook_url"] == f"{BASE}/HoldfastDrift.md"
    told = {(alert["status"], alert["labels"]["alertname"]) for alert in people.webhook.alerts}
    assert told == {("firing", "HoldfastDrift"), ("resolved", "HoldfastDrift")}
    assert over["fingerprint"] == page["fingerprint"]
