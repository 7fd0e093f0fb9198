"""The whole story as it is deployed: the chart's own command, files and user, and real servers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import need
from tests.servers.alertmanager import Alertmanager
from tests.servers.prometheus import Prometheus
from tests.story.pod import possible
from tests.story.production import PORT, live, staged
from tests.story.test_alerting import rules

PROBE = """echo $(id -u):$(id -g); grep CapEff /proc/self/status | tr -d '[:space:]'; echo
for place in / /usr /etc /etc/holdfast /source /log /tmp /data; do
  touch $place/x 2>/dev/null && ls ${place%/}/x; done"""
"""Who runs there, what the user may, and where it may write."""


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")
def test_from_the_drift_to_the_alert_that_is_over(
        postgres: str, prometheus: Callable[..., Prometheus],
        alertmanager: Callable[[], Alertmanager]) -> None:
    need(possible(), "a pod's root needs root and mount namespaces")
    keep = Path(os.environ["HOLDFAST_STORY"]) if "HOLDFAST_STORY" in os.environ else None
    with tempfile.TemporaryDirectory(prefix="holdfast-story-") as folder, staged(
            Path(folder), postgres, alertmanager(), keep) as story:
        lines = story.pod.say(PROBE).splitlines()
        assert lines == ["10001:10001", "CapEff:0000000000000000", "/tmp/x", "/data/x"]
        live(story, postgres, lambda: prometheus(f"127.0.0.1:{PORT}", rules=rules(),
                                                 alertmanager=story.people.address, every="2s"))
        assert story.told["page"]["labels"]["model"] == "parcels"
        assert "moved" in story.told["page"]["annotations"]["reason"]
        assert story.told["over"]["labels"] == story.told["page"]["labels"]
        assert story.told["champion"] == "2"
