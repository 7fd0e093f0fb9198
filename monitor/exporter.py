"""Exporter: a snapshot of stored state as Prometheus metrics. Nothing else holds a gauge.

A model's part of the snapshot is read anew when something was written about the model, which is
looked at once a second beside the scrapes: a scrape costs no query, metrics survive a restart, and
what is unknown is absent, never 0 or NaN.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from importlib.metadata import version as installed
from typing import Any, get_args

import structlog
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from monitor import audit, fidelity, shadow
from monitor.config import Config, Model
from monitor.contenders import audited, compressed, shadowed
from monitor.errors import HoldfastError
from monitor.judge import Kind
from monitor.metrics import CATALOGUE
from monitor.series import Page, Samples
from monitor.state import Phase
from monitor.store import Row, Store
from monitor.together import together
from monitor.vitals import say, vitals
from monitor.window import Window, parse_time

TOP = 20
"""Series per model at most that name a feature or a fault; the totals count all of them."""
PERIOD = 1.0
"""Seconds between two looks at the store's change number."""
OLD = 60.0
"""Seconds after which a daemon that stands by does not tell any more what it knew of models."""

log = structlog.get_logger()


class Snapshot(Collector):
    """What Prometheus is told; ``start`` keeps it fresh until ``stop``."""

    def __init__(self, store: Store, config: Config) -> None:
        self.config = config
        self.leads: Callable[[], bool] = lambda: True
        """Whether this process is the one that acts; alone, it always is."""
        self.refused: Mapping[str, int] = {}
        """Requests to this process that were refused, by why."""
        self._store = store
        self._number = -1
        self._of: Config | None = None
        self._parts: dict[str, Samples] = {}
        self._answered = 0.0
        self._up = self._said = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector):
            collector(registry=self.registry)
        self.refresh()
        self.registry.register(self)

    def refresh(self) -> bool:
        """Whether anything was read anew: models that were written about, or all of them."""
        try:
            rebuilt = self._read()
        except Exception as error:  # a thread that died would leave metrics as they are, untold
            if self._up or not self._said:
                log.error("metrics are old", reason=str(error),
                          exc_info=not isinstance(error, HoldfastError))
            self._up, self._said = False, True
            return False
        if not self._up and self._answered:
            log.info("metrics are fresh")
        self._up, self._answered = True, time.time()
        return rebuilt

    def _read(self) -> bool:
        config, anew = self.config, self._of is not self.config
        number, models = self._store.touched(-1 if anew else self._number)
        if not anew and number == self._number:
            return False
        held = {} if anew or "" in models else {
            name: part for name, part in self._parts.items() if name not in models}
        self._parts = held | parts(self._store, config, but=held.keys())
        self._number, self._of = number, config
        return True

    def start(self) -> None:
        """Look after the store in the background."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._follow, name="metrics", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End what ``start`` began."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def collect(self) -> Iterator[Metric]:
        """The families of the newest snapshot, from memory.

        A daemon that stands by and cannot read the store says nothing of models: what it knew is
        old, and the leader tells what is true. A leader keeps what it knew.
        """
        leads, known = self.leads(), self._parts
        own: Samples = {"holdfast_store_up": {(): float(self._up and not self._store.refusal)},
                        "holdfast_leader": {(): float(leads)},
                        "holdfast_http_refused_total": {
                            (why,): float(count) for why, count in sorted(self.refused.items())}}
        if self._answered:
            own["holdfast_snapshot_timestamp_seconds"] = {(): self._answered}
        fresh = self._up and time.time() - self._answered < OLD
        for name, metric in CATALOGUE.items():
            if "model" in metric.labels and not (leads or fresh):
                continue
            held = [part[name] for part in (own, *known.values()) if part.get(name)]
            if not held:
                continue
            made = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = made(name, metric.text, labels=metric.labels)
            for part in held:
                for labels, value in part.items():
                    family.add_metric(labels, value)
            yield family

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: which series exist depends on what is known."""
        return ()

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The exposition that the ``Accept`` header asks for, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _follow(self) -> None:
        while not self._stop.wait(PERIOD):
            self.refresh()


def samples(store: Store, config: Config) -> Samples:
    """Every sample of the configured models, read from the store."""
    found: Samples = {}
    for part in parts(store, config).values():
        for name, held in part.items():
            found[name] = found.get(name, {}) | held
    return found


def parts(store: Store, config: Config, *, but: Collection[str] = ()) -> dict[str, Samples]:
    """The samples by model, without those of ``but``; under '' those that are read at once."""
    known = set(store.models())
    read = [model for model in config.models if model.name not in but]
    made = together(store, [partial(_model, model=model, known=model.name in known)
                            for model in read])
    found = {model.name: part for model, part in zip(read, made, strict=True)}
    page = Page()
    page.put("holdfast_build_info", 1, installed("holdfast"))
    page.put("holdfast_schedule_interval_seconds", config.schedule.every.total_seconds())
    _totals(page, store, known & {model.name for model in config.models})
    page.put("holdfast_upkeep_interval_seconds", config.retention.pace.total_seconds())
    _upkeep(page, store, {model.name for model in config.models})
    return found | {"": dict(page.samples)}


def _model(store: Store, model: Model, *, known: bool) -> Samples:
    page = Page()
    page.put("holdfast_model_info", 1, model.name, model.registered, model.task)
    if known:
        _state(page, store, model.name)
        _window(page, store, model.name)
        _errands(page, store, model.name)
        shadowed(page, model.name, shadow.newest(store, model.name))
        compressed(page, model.name, fidelity.newest(store, model.name))
        audited(page, model.name, audit.newest(store, model.name))
        vitals(page, store, model)
    return dict(page.samples)


def _state(page: Page, store: Store, model: str) -> None:
    recorded = store.recorded(model)
    state = recorded.state
    page.choose("holdfast_phase", state.phase, get_args(Phase), model)
    page.put("holdfast_phase_since_timestamp_seconds", state.since, model)
    page.put("holdfast_cooldown_until_timestamp_seconds", state.cooldown_until, model)
    page.put("holdfast_judged_to_timestamp_seconds", recorded.folded_to, model)
    page.put("holdfast_candidate_waiting", state.phase == "awaiting_promotion", model)
    page.put("holdfast_episode_open", state.episode is not None, model)
    if state.episode is not None:
        opened = next((item.opened for item in store.episodes(model, 1)), None)
        page.put("holdfast_episode_opened_timestamp_seconds", opened, model)
    if state.champion is not None:
        page.put("holdfast_champion_info", 1, model, state.champion)
        measured = store.measured(model, state.champion)
        if measured is not None:
            _performance(page, measured.line)
            _groups(page, store, measured.line)


def _window(page: Page, store: Store, model: str) -> None:
    newest = store.verdicts(model, segment="", newest=1)
    if not newest:
        return
    start = parse_time(newest[0].line["start"])
    rows = store.verdicts(model, span=Window(start, start + timedelta(microseconds=1)),
                          latest_revision=True)
    page.choose("holdfast_verdict", newest[0].line["verdict"], get_args(Kind), model)
    for row in rows:
        if not row.line["segment"]:
            _verdict(page, row.line)
            _segments(page, rows, row.line)
    _faults(page, newest[0].line)


def _verdict(page: Page, line: dict[str, Any]) -> None:
    labels = line["model"], line["version"]
    page.put("holdfast_window_end_timestamp_seconds", parse_time(line["end"]), *labels)
    page.put("holdfast_window_rows", line["n"], *labels)
    page.put("holdfast_label_maturity_ratio", line["label_maturity"], *labels)
    if line["n"] and line.get("answered") is not None:
        page.put("holdfast_champion_serving_ratio", line["answered"] / line["n"], *labels)
    _estimated(page, line)
    if line["verdict"] == "unknown" or not line["features"]:
        return
    features = line["features"]
    page.put("holdfast_features_judged", len({item["name"] for item in features}), *labels)
    drifted = {item["name"] for item in features if item["drifted"]}
    page.put("holdfast_features_drifted", len(drifted), *labels)
    page.put("holdfast_drift_severity", line["severity"], *labels)
    single = [item for item in features if item["windows"] == 1]
    for item in sorted(single, key=severity, reverse=True)[:TOP]:
        series = *labels, item["name"], item["statistic"]
        page.put("holdfast_drift_statistic", item["value"], *series)
        page.put("holdfast_drift_threshold", item["threshold"], *series)
        page.put("holdfast_feature_importance", item.get("importance"), *labels, item["name"])


def _estimated(page: Page, line: dict[str, Any]) -> None:
    """What is expected of the window without labels; apart from what was measured."""
    told = line.get("estimated") or {"quality": "unknown", "performance": [], "check": None}
    labels = line["model"], line["version"]
    if told["quality"] in {"stable", "degraded"}:
        page.put("holdfast_estimated_degraded", told["quality"] == "degraded", *labels)
    if told["check"] and told["check"]["state"] != "unknown":
        page.put("holdfast_estimate_valid", told["check"]["state"] == "valid", *labels)
    for item in told["performance"]:
        if item["value"] is not None:
            series = *labels, item["metric"], item["span"]
            page.bounded("holdfast_estimated_performance", item, *series)
            page.put("holdfast_estimated_performance_rows", item["n"], *series)


def severity(item: dict[str, Any]) -> tuple[bool, float, float]:
    """What features are ranked by: drifted first, then value by threshold, then value."""
    value, threshold = item["value"] or 0.0, item["threshold"]
    return bool(item["drifted"]), value / threshold if threshold else 0.0, value


def _segments(page: Page, rows: list[Row], line: dict[str, Any]) -> None:
    parts = [row.line for row in rows if row.line["segment"]
             and row.line["version"] == line["version"]]
    if parts:
        bad = sum(part["verdict"] in {"drifted", "degraded"} for part in parts)
        page.put("holdfast_segments_drifted", bad, line["model"], line["version"])
        known = sum(part["verdict"] != "unknown" for part in parts)
        page.put("holdfast_segments_judged", known, line["model"], line["version"])


def _groups(page: Page, store: Store, line: dict[str, Any]) -> None:
    """The gaps and the largest segments of the window that was measured last."""
    labels = line["model"], line["version"]
    for gap in line.get("groups", []):
        series = *labels, gap["column"], gap["measure"]
        page.put("holdfast_group_gap", gap["value"], *series)
        if gap["value"] is not None:
            page.put("holdfast_group_gap_low", gap["low"], *series)
            page.put("holdfast_group_gap_high", gap["high"], *series)
    parts = [part.line for part in store.beside(line)]
    for part in sorted(parts, key=lambda part: (-part["n"], part["segment"]))[:TOP]:
        for item in ruling(part):
            page.put("holdfast_segment_performance", item["value"], *labels, part["segment"],
                     item["metric"])


def ruling(line: dict[str, Any]) -> list[dict[str, Any]]:
    """The metric that decides on a segment, over its pool, and the rates beside it."""
    return [item for place, item in enumerate(line["performance"])
            if place == 0 or item["metric"].endswith("_rate")]


def _faults(page: Page, line: dict[str, Any]) -> None:
    fresh = line.get("freshness")
    if fresh is not None:
        newest = fresh["newest"]
        page.put("holdfast_log_newest_timestamp_seconds", newest and parse_time(newest),
                 line["model"])
        page.put("holdfast_log_stale", fresh["stale"], line["model"])
    for severity in ("fault", "warning"):
        found = [item for item in line["faults"] if item["severity"] == severity]
        page.put("holdfast_faults_found", len(found), line["model"], severity)
    for item in sorted(line["faults"], key=lambda item: item["severity"] != "fault")[:TOP]:
        page.put("holdfast_faults", 1, line["model"], item["column"], item["check"],
                 item["severity"])


def _performance(page: Page, line: dict[str, Any]) -> None:
    page.put("holdfast_performance_window_end_timestamp_seconds", parse_time(line["end"]),
             line["model"], line["version"])
    drift = line.get("error_drift")
    if drift and drift["found"]:
        page.put("holdfast_error_drift_since_timestamp_seconds", parse_time(drift["since"]),
                 line["model"], line["version"])
    promise = line.get("promised")
    if promise is not None:
        series = line["model"], line["version"], promise["metric"]
        page.put("holdfast_performance_reference", promise["value"], *series)
        page.put("holdfast_performance_threshold", promise["limit"], *series)
    for item in line["performance"]:
        labels = (line["model"], line["version"], item["metric"],
                  str(item["estimated"]).lower(), item["span"])
        if item["value"] is not None:
            page.bounded("holdfast_performance", item, *labels)
            page.put("holdfast_performance_rows", item["n"], *labels)


def _errands(page: Page, store: Store, model: str) -> None:
    row = store.open_request(model)
    if row is not None:
        page.put("holdfast_request_open", 1, model, row.request.kind)
        page.put("holdfast_request_attempts", row.attempts, model, row.request.kind)
    waiting = store.pending(model)
    if waiting is not None:
        page.put("holdfast_decision_pending", 1, model, waiting.decision.action)


def _totals(page: Page, store: Store, models: set[str]) -> None:
    """What is counted over all time, and the daemon's own ticks and errors."""
    made = store.verdict_totals()
    episodes, troubles = store.episode_totals(), store.troubles()
    for model in models:
        for kind in get_args(Kind):
            page.put("holdfast_verdicts_total", made.get((model, kind), 0), model, kind)
        page.put("holdfast_episodes_total", episodes.get(model, 0), model)
        trouble = troubles.get(model)
        page.put("holdfast_model_error", trouble is not None, model)
        if trouble is not None:
            page.put("holdfast_trouble", 1, model, trouble.where)
            say(page, model, "trouble", trouble.message)
    for (model, action), at in store.decision_times().items():
        if model in models:
            page.put("holdfast_decision_timestamp_seconds", at, model, action)
    for (model, kind, status), count in store.request_totals().items():
        if model in models and status != "open":
            page.put("holdfast_requests_total", count, model, kind, status)
    for model, (sent, failed, waiting) in store.message_totals().items():
        if model in models:
            page.put("holdfast_notifications_total", sent, model, "sent")
            page.put("holdfast_notifications_total", failed, model, "failed")
            page.put("holdfast_notifications_waiting", waiting, model)
    for model, tick in store.ticks().items():
        if model in models:
            page.put("holdfast_tick_timestamp_seconds", tick.at, model)
            page.put("holdfast_ticks_total", tick.fine, model, "ok")
            page.put("holdfast_ticks_total", tick.failed, model, "failed")
            page.put("holdfast_tick_last_success_timestamp_seconds", tick.fine_at, model)
            page.put("holdfast_tick_duration_seconds", tick.seconds, model)


def _upkeep(page: Page, store: Store, models: set[str]) -> None:
    """What became of old rows, and what the store takes."""
    tended = store.tended()
    for model in sorted(models & tended.keys()):
        page.put("holdfast_upkeep_last_success_timestamp_seconds", tended[model].at, model)
    for model, why in sorted(store.failing().items()):
        if model in models:
            say(page, model, "upkeep", why.reason)
    for what in ("merged", "thinned", "dropped"):
        page.put("holdfast_upkeep_rows_total",
                 sum(getattr(item, what) for item in tended.values()), what)
    page.put("holdfast_store_size_bytes", store.size())
