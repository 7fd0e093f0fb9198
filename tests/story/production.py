"""One story in production: a log drifts, a page arrives, a retrain answers, a person clicks.

``HOLDFAST_STORY=docs/story pytest tests/story/test_production.py`` keeps the pictures.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pandas as pd
from PIL import Image

from monitor.window import isoformat
from tests.helm.test_chart import render
from tests.servers import free_port
from tests.servers.alertmanager import Alertmanager
from tests.servers.browser import browsing, open_version, promote
from tests.servers.mlflow import start_mlflow, stop_mlflow
from tests.servers.prometheus import Prometheus
from tests.story import panels
from tests.story.growing import Growing
from tests.story.pod import Pod

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAME = "parcels"
HISTORY, DRIFTED = timedelta(minutes=10), timedelta(seconds=50)
RATE = 60
"""Rows a second."""
SECRET = ("database", "url")
PORT = 8700
"""The chart's."""
PATIENCE = 300.0


class Log(Growing):
    """From the drift on parcels are heavier, and the heaviest are no longer late. ``serves`` says
    whose rule answers."""

    serves = "1"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, history=HISTORY, drifted=DRIFTED, rate=RATE)

    def rows(self, at: pd.DatetimeIndex) -> pd.DataFrame:
        n, new = len(at), np.asarray(at >= self.drift)
        weight = self._rng.normal(10, 1, n) + 2 * new
        late = np.where(new, weight < 12, weight > 10) ^ (self._rng.random(n) < 0.1)
        says = weight > 10 if self.serves == "1" else weight < 12
        return pd.DataFrame({
            "version": self.serves, "weight": weight, "distance": self._rng.gamma(2, 3, n),
            "answer": np.where(says, "yes", "no"), "score": np.where(says, 0.8, 0.2),
            "late": np.where(late, "yes", "no")})


def values(log: Log, mlflow: str) -> dict[str, Any]:
    """What a person gives to Helm."""
    return {
        "store": {"kind": "postgresql", "postgresql": {"existingSecret": SECRET[0],
                                                       "key": SECRET[1]}},
        "image": {"repository": "holdfast-trainer"},
        "config": {
            "mlflow": {"tracking_uri": mlflow}, "schedule": {"every": "4s", "jitter": "0s"},
            "models": [{
                "name": NAME, "task": "binary",
                "log": {"source": "/log/*.parquet", "timestamp": "at", "ingested_at": "received",
                        "model_version": "version", "prediction": "answer", "score": "score",
                        "positive_label": "yes", "label": "late", "freshness": "5m"},
                "maturity": {"ratio": 0.9, "delay": "4s"},
                "reference": {"from": isoformat(log.start),
                              "to": isoformat(log.drift - timedelta(seconds=20))},
                "window": {"length": "15s", "lateness": "3s", "revise_for": "15s"},
                "policy": {"alarm_budget": "1 per 1d", "slow_drift": False,
                           "performance": {"rows": 200}, "compression": {"rows": 0},
                           "shadow": {"rows": 0}, "promotion": "manual",
                           "retrain": {"on": ["drifted", "degraded"], "minimum_rows": 3600,
                                       "cooldown": "30s", "rest": "1s", "trainings": "1 per 1s"}},
                "training": {"kind": "sklearn", "window": "34s", "holdout": "10s",
                             "prune": []}}]}}


@dataclass
class Story:
    """What happened, and where to look at it."""

    pod: Pod
    log: Log
    mlflow: str
    people: Alertmanager
    keep: Path | None = None
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{PORT}"

    def status(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = httpx.get(f"{self.url}/api/status", timeout=10,
                                              trust_env=False).json()["models"][0]
        except (httpx.HTTPError, ValueError):
            return {}
        return found

    def until(self, what: str, true: Callable[[], Any]) -> Any:
        ends = time.monotonic() + PATIENCE
        while not (found := true()):
            assert time.monotonic() < ends, (
                f"{what}: not within {PATIENCE} s; {self.status()}; {self.people.webhook.alerts}; "
                + (self.pod.folder / "said").read_text()[-3000:])
            time.sleep(0.3)
        return found

    def alerts(self, status: str) -> list[dict[str, Any]]:
        return [alert for alert in self.people.webhook.alerts if alert["status"] == status
                and alert["labels"]["alertname"] in {"HoldfastDrift", "HoldfastDegraded"}]

    def picture(self, path: str, name: str) -> None:
        """A page of holdfast as people see it."""
        with browsing(1180, 1290) as page:
            page.goto(self.url + path)
            assert page.get_by_text(NAME).count()
            self._keep(page, name)

    def dashboards(self, asked: Prometheus, database: str) -> None:
        """What every panel shows of this story."""
        for name in panels.NAMES:
            found = list(panels.answers(name, asked, database, NAME))
            assert sum(panel.told for panel in found) > len(found) / 2, found
            with browsing(1160, 300) as page:
                page.set_content(panels.page(name, found))
                self._keep(page, f"panels-{name}", whole=True)

    def _keep(self, page: Page, name: str, *, whole: bool = False) -> None:
        """A picture of what is in sight (or of all), in so few colours that it stays small."""
        if self.keep is None:
            return
        self.keep.mkdir(parents=True, exist_ok=True)
        shown = Image.open(io.BytesIO(page.screenshot(full_page=whole))).convert("RGB")
        shown.quantize(64, dither=Image.Dither.NONE).save(self.keep / f"{name}.png", optimize=True)

    def decide(self, version: str) -> None:
        """A person reads the version's page in MLflow, and promotes it there."""
        with browsing(1280, 1250) as page:
            open_version(page, self.mlflow, NAME, version)
            page.locator("img[src*=get-artifact]").wait_for()
            beside = page.locator("[data-component-id='mlflow.assistant.chat_panel.close']")
            if beside.count():  # it leaves too little room to what people decide by
                beside.first.click()
                beside.first.wait_for(state="hidden")
            self._keep(page, "mlflow")
            promote(page)


def live(story: Story, database: str, watch: Callable[[], Prometheus]) -> None:
    """From the first champion to the alert that is over."""
    first = story.pod.start("retrain", "/etc/holdfast/holdfast.yaml", "--model", NAME,
                            "--bootstrap", "--reason", "the first champion")
    assert first.wait(200) == 0, (story.pod.folder / "said").read_text()[-3000:]
    daemon = story.pod.start()
    try:
        story.until("ready", story.status)
        asked = watch()
        page = story.until("an alert", lambda: story.alerts("firing"))[0]
        waits = story.until("a challenger", lambda: (
            story.status().get("phase") == "awaiting_promotion" and story.status()))
        story.picture("/", "fleet")
        story.picture(f"/models/{NAME}", "model")
        story.dashboards(asked, database)
        story.decide(waits["challenger"])
        story.until("adoption", lambda: story.status().get("champion") == waits["challenger"])
        story.log.serves = waits["challenger"]
        over = story.until("the end of the alert", lambda: story.alerts("resolved"))[0]
        story.picture(f"/models/{NAME}", "after")
        story.told |= {"page": page, "over": over, "champion": story.status()["champion"]}
    finally:
        daemon.terminate()
        daemon.wait(60)


@contextmanager
def staged(folder: Path, database: str, people: Alertmanager, keep: Path | None
           ) -> Iterator[Story]:
    """The pod's files and MLflow, around a log that goes on."""
    folder.chmod(0o755)
    with ExitStack() as stack:
        mlflow = f"http://127.0.0.1:{free_port()}"
        (folder / "mlflow").mkdir()
        stack.callback(stop_mlflow, start_mlflow(folder / "mlflow", mlflow))
        log = Log(folder / "log")
        objects = render(values(log, mlflow))
        (folder / "config").mkdir()
        for name, text in objects["ConfigMap", "r-holdfast"]["data"].items():
            (folder / "config" / name).write_text(text)
        pod = Pod(objects["Deployment", "r-holdfast"]["spec"]["template"]["spec"], folder,
                  {SECRET: database.replace("postgresql://", "postgresql+psycopg://")},
                  {"/log": log.folder})
        stack.enter_context(log.growing())
        yield Story(pod, log, mlflow, people, keep)
