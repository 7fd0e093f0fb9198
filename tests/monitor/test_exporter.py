"""The exporter: a snapshot of stored state, and docs/metrics.md that speaks of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event
from structlog.testing import capture_logs

from monitor.clearance import Tended
from monitor.config import Config
from monitor.drift import DriftResult
from monitor.exporter import TOP, Snapshot
from monitor.metrics import CATALOGUE
from monitor.request import Request
from monitor.state import Decision, ModelState
from monitor.store import Store
from tests.data import ROOT
from tests.monitor.stored import at, configuration, fill, verdict
from tests.servers.prometheus import check_metrics

Series = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield opened


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configuration(tmp_path)


def scrape(snapshot: Snapshot) -> Series:
    """Every sample of holdfast's own families: (name, label values in the catalogue's order)."""
    families = text_string_to_metric_families(snapshot.render()[0].decode())
    samples = [sample for family in families for sample in family.samples
               if sample.name.startswith("holdfast_")]
    return {(sample.name, tuple(sample.labels[label] for label in CATALOGUE[sample.name].labels)):
            sample.value for sample in samples}


def test_the_story_is_told(store: Store, config: Config) -> None:
    fill(store)
    told = scrape(Snapshot(store, config))
    assert told["holdfast_phase", ("electricity", "awaiting_promotion")] == 1
    assert told["holdfast_phase", ("electricity", "stable")] == 0
    assert told["holdfast_candidate_waiting", ("electricity",)] == 1
    assert told["holdfast_drift_statistic", ("electricity", "3", "price", "psi")] == 0.63
    assert told["holdfast_drift_threshold", ("electricity", "3", "price", "psi")] == 0.112
    assert told["holdfast_performance", ("electricity", "3", "accuracy", "false", "7d")] == 0.771
    assert told["holdfast_performance_low", ("electricity", "3", "accuracy", "false", "7d")] < 0.771
    assert told["holdfast_label_maturity_ratio", ("electricity", "3")] == 0.97
    assert told["holdfast_verdicts_total", ("electricity", "stable")] == 12
    assert told["holdfast_episodes_total", ("electricity",)] == 1
    assert told["holdfast_requests_total", ("electricity", "train", "registered")] == 1
    assert told["holdfast_window_end_timestamp_seconds", ("quiet", "3")] == at(3).timestamp()
    assert told["holdfast_faults", ("air-quality", "PM10", "all_null", "fault")] == 1
    assert told["holdfast_model_error", ("air-quality",)] == 1
    assert told["holdfast_feature_importance", ("electricity", "3", "price")] == 0.34
    assert told["holdfast_error_drift_since_timestamp_seconds",
                ("electricity", "3")] == at(10).timestamp()
    gap = ("electricity", "3", "weekday", "demographic_parity_difference")
    assert told["holdfast_group_gap", gap] == 0.12
    assert told["holdfast_group_gap_low", gap] == 0.07
    assert told["holdfast_segment_performance",
                ("electricity", "3", "weekday=0", "selection_rate")] == 0.44
    assert told["holdfast_ticks_total", ("air-quality", "failed")] == 1
    assert told["holdfast_compression_disagreement", ("quiet", "3", "")] == 0.04
    assert told["holdfast_compression_disagreement_low", ("quiet", "3", "weekday=6")] == 0.06
    assert told["holdfast_compression_exceeded", ("quiet", "3", "disagreement")] == 1
    assert told["holdfast_compression_exceeded", ("quiet", "3", "outside")] == 0
    assert told["holdfast_compression_feature_outside_ratio", ("quiet", "3", "price")] == 0.002
    series = ("electricity", "4", "challenger", "accuracy")
    assert told["holdfast_shadow_performance", series] == 0.84
    assert told["holdfast_shadow_estimated_performance_low", series] == pytest.approx(0.83)
    assert told["holdfast_shadow_performance",
                ("electricity", "3", "champion", "accuracy")] == 0.77
    assert told["holdfast_shadow_gain_low", ("electricity", "4", "accuracy")] == 0.05
    assert told["holdfast_shadow_differing_ratio", ("electricity", "4")] == 0.18


def test_what_is_unknown_is_absent(store: Store, config: Config) -> None:
    fill(store)
    names = {name for name, labels in scrape(Snapshot(store, config)) if "new-model" in labels}
    assert names == {"holdfast_model_info"}
    told = scrape(Snapshot(store, config))
    assert ("holdfast_label_maturity_ratio", ("air-quality", "3")) not in told
    measured = {labels for name, labels in told if name == "holdfast_performance"}
    assert not [labels for labels in measured if "roc_auc" in labels]
    assert ("holdfast_shadow_estimated_performance",
            ("electricity", "3", "champion", "accuracy")) not in told
    # version 4 of deliveries is on probation and was not measured yet: nothing of version 3's
    assert not [labels for labels in measured if labels[0] == "deliveries"]


def test_models_that_are_configured_no_more_are_not_told_of(store: Store, tmp_path: Path) -> None:
    fill(store)
    told = scrape(Snapshot(store, configuration(tmp_path, "quiet")))
    assert {labels[0] for name, labels in told if "model" in CATALOGUE[name].labels} == {"quiet"}


def test_metrics_survive_a_restart(tmp_path: Path, config: Config) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"

    def lasting(store: Store) -> Series:
        return {key: value for key, value in scrape(Snapshot(store, config)).items()
                if key[0] != "holdfast_snapshot_timestamp_seconds"}

    with Store.open(url) as store:
        fill(store)
        before = lasting(store)
    with Store.open(url) as store:
        assert lasting(store) == before


def test_a_scrape_costs_no_query_and_a_refresh_without_news_costs_one(
        store: Store, config: Config) -> None:
    fill(store)
    snapshot = Snapshot(store, config)
    asked: list[str] = []
    event.listen(store._engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    snapshot.render()
    assert asked == []
    assert not snapshot.refresh()
    assert len([statement for statement in asked if statement.startswith("SELECT")]) == 1


def test_a_tick_of_one_model_reads_that_model_alone(store: Store, config: Config) -> None:
    fill(store)
    snapshot = Snapshot(store, config)
    asked: list[str] = []
    event.listen(store._engine, "before_cursor_execute",
                 lambda *args: asked.append(str(args[3])) if args[2].startswith("SELECT") else None)
    store.ticked("quiet", at(9), 0.5, True)
    assert snapshot.refresh()
    assert any("quiet" in asked_of for asked_of in asked)
    assert not [asked_of for asked_of in asked if "electricity" in asked_of]
    assert scrape(snapshot) == scrape(Snapshot(store, config)) | {
        key: value for key, value in scrape(snapshot).items() if "snapshot" in key[0]}


def test_a_standby_that_cannot_read_the_store_says_nothing_of_models(
        tmp_path: Path, store: Store, config: Config) -> None:
    fill(store)
    leader, standby = Snapshot(store, config), Snapshot(store, config)
    standby.leads = lambda: False
    assert {name: value for name, value in scrape(standby).items() if name[1]} == {
        name: value for name, value in scrape(leader).items() if name[1]}
    assert scrape(standby)["holdfast_leader", ()] == 0
    store.close()
    (tmp_path / "store.db").rename(tmp_path / "away.db")
    assert [standby.refresh(), leader.refresh()] == [False, False]
    told = scrape(standby)
    assert {name for name, _ in told if "model" in CATALOGUE[name].labels} == set()
    assert told["holdfast_store_up", ()] == told["holdfast_leader", ()] == 0
    assert scrape(leader)["holdfast_phase", ("quiet", "stable")] == 1, "the newest that is known"


def test_the_background_thread_notices_a_change(store: Store, config: Config) -> None:
    snapshot = Snapshot(store, config)
    snapshot.start()
    try:
        store.ticked("quiet", at(0), 0.1, True)
        for _ in range(60):
            if ("holdfast_ticks_total", ("quiet", "ok")) in scrape(snapshot):
                return
            snapshot._stop.wait(0.1)
        pytest.fail("the change was not noticed within six seconds")
    finally:
        snapshot.stop()


def test_what_nobody_foresaw_ends_no_thread(store: Store, config: Config,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """Metrics that stay as they are look like calm; those of a store that is not read do not."""
    fill(store)
    snapshot = Snapshot(store, config)

    def broken(*_: object, **__: object) -> None:
        raise KeyError("measure")

    with monkeypatch.context() as patch, capture_logs() as lines:
        patch.setattr("monitor.exporter.parts", broken)
        store.ticked("quiet", at(2), 0.1, True)
        assert not snapshot.refresh()
        assert not snapshot.refresh()
        assert scrape(snapshot)["holdfast_store_up", ()] == 0
        assert [line["event"] for line in lines] == ["metrics are old"]
    assert snapshot.refresh()
    assert scrape(snapshot)["holdfast_store_up", ()] == 1


def test_many_features_are_capped_and_counted(store: Store, config: Config) -> None:
    wide = tuple(DriftResult(f"f{index:03}", "", "psi", index / 100, 0.5, 0.0, 10, index > 50)
                 for index in range(100))
    made = replace(verdict("quiet", 0), features=wide)
    store.advance("quiet", 0, ModelState(champion="3"), at=at(1), cause="x",
                  verdicts=[(made, "stable", None, Decision("none", ""))])
    told = scrape(Snapshot(store, config))
    named = sorted(key[1][2] for key in told if key[0] == "holdfast_drift_statistic")
    assert named == [f"f{index:03}" for index in range(100 - TOP, 100)]
    assert told["holdfast_features_drifted", ("quiet", "3")] == 49
    assert told["holdfast_features_judged", ("quiet", "3")] == 100


def test_a_store_that_is_away_leaves_old_metrics_and_says_so(
        tmp_path: Path, config: Config) -> None:
    file = tmp_path / "store.db"
    with Store.open(f"sqlite:///{file}") as store:
        fill(store)
        snapshot = Snapshot(store, config)
        store.close()
        file.rename(tmp_path / "away.db")
        assert not snapshot.refresh()
    told = scrape(snapshot)
    assert told["holdfast_store_up", ()] == 0
    assert told["holdfast_phase", ("quiet", "stable")] == 1


def test_versions_on_golden_sets_are_told(store: Store, config: Config) -> None:
    fill(store)
    told = scrape(Snapshot(store, config))
    champion = ("electricity", "hard-cases", "3", "champion")
    challenger = ("electricity", "hard-cases", "4", "challenger")
    assert told["holdfast_benchmark_score", (*champion, "accuracy")] == 0.74
    assert told["holdfast_benchmark_score_low", (*challenger, "accuracy")] == pytest.approx(0.66)
    assert told["holdfast_benchmark_rows", champion] == 800
    assert (told["holdfast_benchmark_under_floor", champion],
            told["holdfast_benchmark_under_floor", challenger]) == (0, 1)
    assert told["holdfast_benchmark_gain_high", ("electricity", "hard-cases", "accuracy")] == -0.02
    assert told["holdfast_audit_timestamp_seconds", ("electricity",)] == at(14.25).timestamp()


def test_promtool_is_content(store: Store, config: Config) -> None:
    fill(store)
    assert check_metrics(Snapshot(store, config).render()[0]) == ""


def test_openmetrics_is_spoken_too(store: Store, config: Config) -> None:
    fill(store)
    body, kind = Snapshot(store, config).render("application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_every_metric_and_label_is_documented_and_nothing_else() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(holdfast_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", text, re.MULTILINE)
    told = {name: (kind, tuple(re.findall(r"`(\w+)`", labels)), words)
            for name, kind, labels, words in rows}
    assert told == {name: (metric.kind, metric.labels, metric.text)
                    for name, metric in CATALOGUE.items()}
    labels = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text.split("## Labels")[1], re.MULTILINE)
    described = {label for row in labels for label in re.findall(r"`(\w+)`", row)}
    assert described == {label for metric in CATALOGUE.values() for label in metric.labels}
    mentioned = set(re.findall(r"holdfast_\w+", text))
    assert mentioned <= set(CATALOGUE)


def test_every_declared_metric_is_told_somewhere(store: Store, config: Config) -> None:
    fill(store)
    store.advance("quiet", store.recorded("quiet").number, replace(
        store.recorded("quiet").state, cooldown_until=at(9)), at=at(4), cause="x",
        decision=Decision("announce", "it was a mistake"))
    store.request(Request("q", "score", "quiet", "c", at(4), "compare"), None)
    line = store.scores("electricity", "shadow", ("4", "3"))[0]
    store.save_scores("electricity", "shadow", ("4", "3"), [
        replace(line, line=line.line | {"distance": 3.5})])
    store.write_message("quiet", "q", 0, title="a decision", body="why")
    order, _ = store.order("electricity", "snooze", {
        "episode": store.recorded("electricity").state.episode, "seconds": 60}, key="s", by="anna")
    store.settle_order(order.id, "done", "quiet")
    store.tend("quiet", Tended(at(4)))
    snapshot = Snapshot(store, config)
    snapshot.refused = {"scope": 3}
    told = {name for name, _ in scrape(snapshot)}
    assert told == set(CATALOGUE)
