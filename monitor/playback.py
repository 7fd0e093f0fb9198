"""Playback: raw rows become a production log, day by day, under the loop's own decisions.

Each day's rows are answered by the version that serves then, written to a log with their
arrival, joined by labels when they would have come, and looked at by the daemon's own tick.
Always in a folder of its own, with its own store and MLflow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from monitor.act import report
from monitor.config import Model
from monitor.daemon import tick
from monitor.deps import Deps
from monitor.errors import HoldfastError
from monitor.report import Reporter
from monitor.request import Request
from monitor.window import Window

ID, ARRIVAL, LABEL_ARRIVAL = "request_id", "received_at", "label_at"
WAIT = timedelta(minutes=15)
"""Longest wait for one request."""

DOING = {"train": "retrain", "score": "compare"}
"""What a request of a kind does, in a word."""

Progress = Callable[[str], None]


@dataclass(slots=True)
class Stage:
    """A scratch deployment: the rows, where they are logged, and who serves.

    ``frame`` has the columns ``request_id``, the model's timestamp, ``received_at``, the
    features, the label column and ``label_at``, sorted by timestamp (aware UTC).
    ``answers`` holds, per version, its prediction and score for every row.
    """

    model: Model
    deps: Deps
    folder: Path
    frame: pd.DataFrame
    label: str
    progress: Progress
    reporter: Reporter | None = None
    """Makes a report when an episode opens: years go by here in minutes."""
    serving: str = ""
    answers: dict[str, pd.DataFrame] = field(default_factory=dict)
    served: list[tuple[datetime, str]] = field(default_factory=list)

    @property
    def timestamp(self) -> str:
        return self.model.log.timestamp

    def prepare(self, reference: Window) -> None:
        """Train and register the first champion from the reference rows, and log its answers."""
        raw = self.frame.drop(columns=[self.label, LABEL_ARRIVAL])
        (self.folder / "log").mkdir(parents=True, exist_ok=True)
        (self.folder / "labels").mkdir(exist_ok=True)
        raw.to_parquet(self.folder / "rows.parquet", index=False)
        rows = self._rows(reference)
        self._write_labels(rows, "reference", always=True)
        self._write_log(rows.assign(prediction=None, score=None, model_version=None), "reference")
        known = rows[LABEL_ARRIVAL].max().to_pydatetime() + self.model.calendar.pane
        self.ask(Request(f"{self.model.name}-bootstrap", "bootstrap", self.model.name,
                         self.deps.path, known, reason="the first champion"))
        self.follow_alias(reference.start)
        self._write_log(self._answered(rows), "reference")

    def play(self, span: Window) -> Iterator[datetime]:
        """Live through ``span`` window by window; yields each instant after its tick."""
        calendar = self.model.calendar
        start = calendar.pane_of(span.start)
        while start < span.end:
            day = Window(start, start + calendar.pane)
            now = day.end + calendar.lateness
            rows = self._rows(day)
            if len(rows):
                self._write_log(self._answered(rows), f"{day.start:%Y-%m-%dT%H}")
            arrived = self.frame[(self.frame[LABEL_ARRIVAL] >= day.start)
                                 & (self.frame[LABEL_ARRIVAL] < day.end)]
            self._write_labels(arrived, f"{day.start:%Y-%m-%dT%H}")
            self._live(now)
            yield now
            start = day.end

    def reveal(self, since: datetime) -> None:
        """Let the labels that arrive from ``since`` on be there: for those who look back."""
        self._write_labels(self.frame[self.frame[LABEL_ARRIVAL] >= since], "revealed")

    def _live(self, now: datetime) -> None:
        """Tick until nothing is under way any more: what takes minutes outside takes none here."""
        quiet = self.deps.store.recorded(self.model.name).state.episode is None
        tick(self.model, self.deps, now)
        alarmed = self.deps.store.recorded(self.model.name).state.episode is not None
        if self.reporter is not None and quiet and alarmed:
            report(self.model, replace(self.deps, reporter=self.reporter))
        store, name = self.deps.store, self.model.name
        while (row := store.open_request(name)) is not None:
            self.progress(f"{now:%Y-%m-%d} {DOING.get(row.request.kind, row.request.kind)}: "
                          f"{row.request.reason}")
            self._await(row.request.request_id)
            tick(self.model, self.deps, now)
            self._tell(now, row.request.request_id)
        self.follow_alias(now)

    def _tell(self, now: datetime, request_id: str) -> None:
        """What came of the request, once it has ended."""
        for row in self.deps.store.requests(self.model.name, newest=3):
            if row.request.request_id == request_id and row.outcome is not None:
                self.progress(f"{now:%Y-%m-%d} {row.status}: {row.outcome.get('reason', '')}")

    def wait_for_promotion(self, now: datetime) -> None:
        """Hold the stage until a person has moved alias ``champion``."""
        waiting = self.serving
        while self.serving == waiting:
            time.sleep(1)
            tick(self.model, self.deps, now)
            self.follow_alias(now)

    def follow_alias(self, now: datetime) -> None:
        """Let the version that alias ``champion`` names serve from ``now`` on."""
        champion = self.deps.registry.champion(self.model.registered)
        if champion is None:
            raise HoldfastError("the scratch registry has no champion; the bootstrap failed")
        if champion.version != self.serving:
            self.serving = champion.version
            self.served.append((now, champion.version))
            self.answer(champion.version)

    def answer(self, version: str) -> None:
        """What the version answers to every row, in a short-lived process; known ones stay."""
        if version in self.answers:
            return
        out = self.folder / f"answers-{version}.parquet"
        self.ask(Request(f"{self.model.name}-serve-{version}", "score", self.model.name,
                         self.deps.path, self.frame[self.timestamp].max().to_pydatetime(),
                         reason=f"version {version} serves", champion=version,
                         options={"serve": {"rows": str(self.folder / "rows.parquet"),
                                            "out": str(out), "version": version}}))
        self.answers[version] = pd.read_parquet(out).set_index(self.frame.index)

    def ask(self, request: Request) -> None:
        """Have a request worked on, and wait for its end; ``HoldfastError`` if it failed."""
        assert self.deps.launcher is not None
        self.deps.launcher.start(request)
        self._await(request.request_id)
        outcome = self.deps.registry.outcome(request.request_id)
        if outcome is None or outcome.status not in {"registered", "done"}:
            why = outcome.reason if outcome else "its process ended without a word"
            raise HoldfastError(f"{request.reason}: {why}")

    def _await(self, request_id: str) -> None:
        assert self.deps.launcher is not None
        deadline = time.monotonic() + WAIT.total_seconds()
        while self.deps.launcher.running(request_id):
            if time.monotonic() > deadline:
                raise HoldfastError(f"request {request_id} took longer than {WAIT}")
            time.sleep(0.1)

    def _rows(self, span: Window) -> pd.DataFrame:
        times = self.frame[self.timestamp]
        return self.frame[(times >= span.start) & (times < span.end)]

    def _answered(self, rows: pd.DataFrame) -> pd.DataFrame:
        answers = self.answers[self.serving].loc[rows.index]
        return rows.assign(prediction=answers["prediction"], score=answers.get("score"),
                           model_version=self.serving)

    def _write_log(self, rows: pd.DataFrame, name: str) -> None:
        kept = rows.drop(columns=[self.label, LABEL_ARRIVAL])
        kept.to_parquet(self.folder / "log" / f"{name}.parquet", index=False)

    def _write_labels(self, rows: pd.DataFrame, name: str, *, always: bool = False) -> None:
        if len(rows) or always:
            rows[[ID, self.label, LABEL_ARRIVAL]].to_parquet(
                self.folder / "labels" / f"{name}.parquet", index=False)


def log_mapping(label: str, timestamp: str, **features: Any) -> dict[str, Any]:
    """The configuration of the log that a stage writes."""
    return {
        "source": "log/*.parquet", "timestamp": timestamp, "ingested_at": ARRIVAL, "id": ID,
        "model_version": "model_version", "prediction": "prediction", "score": "score",
        "labels": {"source": "labels/*.parquet", "id": ID, "value": label,
                   "timestamp": LABEL_ARRIVAL},
        "features": features,
    }
