"""A real Prometheus scrapes the real exporter, and a query returns what is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from monitor.exporter import Snapshot
from monitor.metrics import CATALOGUE
from monitor.store import Store
from monitor.web import create_app, serve
from tests.contracts.test_alerts import RULES, rule
from tests.data import ROOT
from tests.monitor.stored import NAMES, at, configuration, fill
from tests.servers.prometheus import Prometheus


def test_prometheus_scrapes_what_is_stored(
        tmp_path: Path, prometheus: Callable[[str], Prometheus]) -> None:
    config = configuration(tmp_path)
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        fill(store)
        server = serve(create_app(store, config, Snapshot(store, config)), "127.0.0.1", 0)
        try:
            asked = prometheus(f"127.0.0.1:{server.port}")
            (drift,) = asked.wait_for('holdfast_drift_statistic{feature="price",'
                                      'model="electricity",statistic="psi"}')
            assert drift["metric"]["version"] == "3"
            assert float(drift["value"][1]) == 0.63
            (end,) = asked.query('holdfast_window_end_timestamp_seconds{model="quiet"}')
            assert float(end["value"][1]) == at(3).timestamp()
            names = {row["metric"]["__name__"] for row in asked.query('{__name__=~"holdfast_.+"}')}
            assert names <= set(CATALOGUE)
            assert asked.query('up{job="holdfast"}')[0]["value"][1] == "1"
            _documented_queries_work(asked)
            _alerts_hold_where_they_should(asked)
            store.ticked("quiet", at(5), 0.1, True)
            asked.wait_for('holdfast_ticks_total{model="quiet",result="ok"} == 2')
        finally:
            server.stop()


def _documented_queries_work(asked: Prometheus) -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    queries = [block.partition("```")[0].strip() for block in text.split("```promql")[1:]]
    assert queries
    for query in queries:
        assert asked.query(query), query


def _alerts_hold_where_they_should(asked: Prometheus) -> None:
    """Every rule's expression over the story, whose instants are long ago."""
    held = {file.stem: {row["metric"].get("model", "") for row in asked.query(rule(file)["expr"])}
            for file in RULES}
    assert held.pop("HoldfastTickStale") == set(NAMES) - {"new-model"}
    assert {name: models for name, models in held.items() if models} == {
        "HoldfastDrift": {"electricity"}, "HoldfastDegraded": {"electricity"},
        "HoldfastEstimatedDegradation": {"electricity"}, "HoldfastFaultyData": {"air-quality"},
        "HoldfastSourceFailing": {"air-quality"}, "HoldfastCandidateWaiting": {"electricity"},
        "HoldfastCompressionDisagreement": {"quiet"}}
