"""Dashboards: rules that every panel keeps, and every query run by the server that it is for."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard
from psycopg import sql

from dashboards.__main__ import documents, main
from dashboards.frame import NAMES
from monitor.acknowledgement import Acknowledgement
from monitor.clearance import Tended
from monitor.metrics import CATALOGUE
from monitor.request import Request
from monitor.state import Decision
from monitor.store import Store
from monitor.window import Window
from tests.data import ROOT
from tests.monitor.stored import at, configuration, fill, verdict
from tests.servers.prometheus import Prometheus
from tests.story import panels
from tests.story.running import running

FILES = {name: json.loads((ROOT / "dashboards" / f"{name}.json").read_text()) for name in NAMES}
ASKED = [name for name in NAMES if name != "history"]
UNITS = {value for name, value in vars(units).items() if isinstance(value, str)}


def targets(board: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield f"{board['title']} / {panel['title']} / {target['refId']}", target


def test_the_files_are_what_is_written() -> None:
    assert main(["--check"]) == 0
    assert {f"{name}.json" for name in NAMES} == set(documents())


@pytest.mark.parametrize("name", NAMES)
def test_the_sdk_reads_back_what_it_wrote(name: str) -> None:
    register_default_plugins()
    again = json.dumps(Dashboard.from_json(FILES[name]), cls=JSONEncoder)
    assert json.loads(again) == FILES[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_has_what_people_need_to_find_their_way(name: str) -> None:
    board = FILES[name]
    assert board["uid"] == f"holdfast-{name}"
    assert board["description"].endswith("?")
    variables = {item["name"]: item for item in board["templating"]["list"]}
    assert [item["type"] for item in variables.values()].count("datasource") == 1
    assert variables["datasource"]["type"] == "datasource"
    model = variables["model"]
    assert (model["type"], model["multi"], model["includeAll"]) == ("query", True, True)
    urls = [item["url"] for item in board["links"]]
    assert {f"/d/holdfast-{other}?${{model:queryparam}}" for other in NAMES if other != name} < set(
        urls)
    assert {"${holdfast}/", "${mlflow}/"} < set(urls)
    marks = [item["name"] for item in board["annotations"]["list"]]
    assert marks == ["Alarms", "Retrains", "Promotions", "Rollbacks"]


@pytest.mark.parametrize("name", NAMES)
def test_a_panel_says_what_it_shows(name: str) -> None:
    panels = FILES[name]["panels"]
    assert len({panel["title"] for panel in panels}) == len(panels)
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"]
            asked = target.get("expr", target.get("rawSql", ""))
            assert not re.search(r"\[\d+[smhd]\]", asked), "a rate's range is $__rate_interval"
            assert "rate(" not in asked or "$__rate_interval" in asked


@pytest.mark.parametrize("name", NAMES)
def test_panels_do_not_overlap(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in FILES[name]["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("name", NAMES)
def test_a_link_leads_on_by_what_its_row_holds(name: str) -> None:
    for panel in FILES[name]["panels"]:
        assert "links" not in panel or "__data" not in str(panel["links"])
        told = " ".join(target.get("expr", target.get("rawSql")) for target in panel["targets"])
        columns = set(re.findall(r"\w+", " ".join(found[0] + found[1] for found in re.findall(
            r"(?:by|group_left) \(([^)]*)\)|SELECT (\w+)", told))))
        urls = [item["url"] for item in panel["fieldConfig"]["defaults"].get("links", [])]
        for url in urls:
            assert set(re.findall(r"__(?:data\.fields|field\.labels)\.(\w+)", url)) <= columns, (
                panel["title"])
        of_models = re.match(r"(?!sum\(|count\()[^$]*by \(model|SELECT model,", told)
        assert bool(urls) == bool(of_models), panel["title"]


def test_the_way_leads_from_model_to_report_to_mlflow() -> None:
    (champion,) = [panel for panel in FILES["model"]["panels"] if panel["title"] == "Champion"]
    urls = [item["url"] for item in champion["fieldConfig"]["defaults"]["links"]]
    assert [url.partition("/")[0] + "/" + url.split("/")[1] for url in urls] == [
        "${holdfast}/models", "${holdfast}/reports", "${mlflow}/#"]


def test_values_that_have_a_limit_show_it() -> None:
    shown = {name for board in FILES.values() for _, target in targets(board)
             for name in re.findall(r"holdfast_\w+", target.get("expr", ""))}
    limits = {name for name in CATALOGUE if name.endswith("_threshold")}
    assert limits <= shown
    assert "holdfast_schedule_interval_seconds" in shown
    assert "holdfast_alarm_budget" in shown


@pytest.fixture
def lived(tmp_path: Path) -> Path:
    """The configuration of a store in the middle of all stories, whose log and MLflow are away."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with Store.open(url) as store:
        tell(store)
    config = configuration(tmp_path, store=url, http={"port": 0},
                           mlflow={"tracking_uri": "http://127.0.0.1:9"},
                           schedule={"every": "1h", "jitter": "0s"})
    assert config.models
    return tmp_path / "holdfast.yaml"


def tell(store: Store) -> None:
    """Models in all phases, and beside them a rollback and a request that is being worked on."""
    fill(store)
    for model, action in (("deliveries", "roll_back"), ("quiet", "announce")):
        recorded = store.recorded(model)
        store.advance(model, recorded.number, recorded.state, at=at(10), cause="x",
                      decision=Decision(action, "its predecessor is better"))
    store.request(Request("q", "train", "quiet", "c", at(4), "asked for by hand"))
    store.attempt("q")
    store.tend("quiet", Tended(at(4)))


def test_every_query_finds_what_a_real_daemon_told(
        lived: Path, prometheus: Callable[..., Prometheus], monkeypatch: pytest.MonkeyPatch
        ) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with running(lived) as daemon:
        daemon.until(lambda: all(daemon.ticked(model, "failed") for model in (
            "electricity", "quiet", "deliveries", "new-model")))
        asked = prometheus(daemon.client.base_url.netloc.decode())
        asked.wait_for('count_over_time(holdfast_store_up[1m]) > 3')
        empty = [place for name in ASKED for place, target in targets(FILES[name])
                 if not asked.query(meant(target["expr"]))]
        assert not empty
        for name in ASKED:
            assert _drawn(name, asked, "").count("No data") < len(FILES[name]["panels"]) / 2
            for mark in FILES[name]["annotations"]["list"]:
                found = asked.query(meant(mark["expr"]))
                assert found, mark["name"]
                assert all(float(row["value"][1]) > 1e12 for row in found)  # milliseconds
        (labels,) = {board["templating"]["list"][1]["query"]["query"]
                     for name, board in FILES.items() if name in ASKED}
        metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", labels).groups()
        models = {row["metric"][label] for row in asked.query(metric)}
        assert models == {model["name"] for model in yaml.safe_load(lived.read_text())["models"]}


def meant(expr: str) -> str:
    """The expression with its variables as Grafana fills them in for all models."""
    told = expr.replace("$model", "(" + "|".join(
        ["electricity", "deliveries", "air-quality", "new-model", "quiet"]) + ")")
    told = told.replace("$__rate_interval", "1m")
    assert "$" not in told, told
    return told


def test_every_sql_panel_finds_what_a_real_postgresql_keeps(postgres: str) -> None:
    with Store.open(postgres.replace("postgresql://", "postgresql+psycopg://")) as store:
        tell(store)
        store.acknowledge("quiet", Acknowledgement(Window(at(1), at(2)), "expected", False,
                                                   "a holiday", at(3)))
        again = verdict("quiet", 2, revision=1, known_at=at(6), kind="degraded")
        recorded = store.recorded("quiet")
        store.advance("quiet", recorded.number, recorded.state, at=at(6), cause="late labels",
                      verdicts=[(again, "stable", None, Decision("none", ""))])
    names = [row[0] for row in rows(postgres, FILES["history"]["templating"]["list"][1]["query"])]
    assert names == ["air-quality", "deliveries", "electricity", "quiet"]
    for place, target in targets(FILES["history"]):
        found = rows(postgres, filled(target["rawSql"], names))
        assert found, place
        if target["format"] == "time_series":
            assert all(len(row) == 3 and row[2] is not None for row in found), place
    for mark in FILES["history"]["annotations"]["list"]:
        found = rows(postgres, filled(mark["target"]["rawSql"], names))
        assert found, mark["name"]
        assert all(row[0] is not None and row[2] for row in found), mark["name"]
    assert _drawn("history", Prometheus(""), postgres).count("No data") < len(
        FILES["history"]["panels"]) / 2


def _drawn(name: str, asked: Prometheus, database: str) -> str:
    """The picture that documents show of a dashboard, as HTML."""
    return panels.page(name, list(panels.answers(name, asked, database, "electricity")))


def filled(text: str, models: list[str]) -> str:
    """The statement with its macros and variables as Grafana fills them in."""
    quoted = ", ".join(f"'{model}'" for model in models)
    told = text.replace("${model:sqlstring}", quoted)
    since, until = at(-30).timestamp(), time.time() + 86400
    told = told.replace("$__unixEpochNanoFrom()", str(int(since) * 10**9))
    told = told.replace("$__unixEpochNanoTo()", str(int(until) * 10**9))
    assert "$" not in told, told
    return told


def rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as session:
        return session.execute(sql.SQL(statement)).fetchall()
