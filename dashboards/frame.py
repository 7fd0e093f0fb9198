"""Frame: what all dashboards share: variables, links to each other and onwards, annotations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from grafana_foundation_sdk.builders.dashboard import (
    AnnotationQuery,
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    TextBoxVariable,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as grafana

from dashboards.panels import POSTGRES, Made, Spec, link, placed, source, stored

NAMES = {"fleet": "Fleet", "model": "Model", "retraining": "Retraining", "history": "History",
         "daemon": "holdfast itself"}
"""Dashboards by file; each has uid ``holdfast-FILE``."""
MODELS = 'label_values(holdfast_model_info, model)'
STORED = "SELECT name FROM holdfast_model ORDER BY name"
EVENTS = (
    ("Alarms", "red", "holdfast_episode_opened_timestamp_seconds", "", "alarm of {{model}}"),
    ("Retrains", "blue", "holdfast_retrain_timestamp_seconds", "", "retrain of {{model}}: "
                                                                  "{{status}}"),
    ("Promotions", "green", "holdfast_champion_adopted_timestamp_seconds", "",
     "version {{version}} of {{model}} is champion"),
    ("Rollbacks", "orange", "holdfast_decision_timestamp_seconds", 'action="roll_back"',
     "rollback of {{model}}"),
)
"""Annotations: name, colour, metric whose value is their instant, matchers, title."""
KEPT = {
    "Alarms": ("episode", "opened", "closed", "'alarm of ' || model || ': ' || reason", ""),
    "Retrains": ("request", "created", "finished", "'retrain of ' || model || ': ' || status",
                 " AND kind <> 'score'"),
    "Promotions": ("adoption", "at", "NULL", "'version ' || version || ' of ' || model || "
                   "' is champion'", ""),
    "Rollbacks": ("decision", "known_at", "NULL", "'rollback of ' || model || ': ' || reason",
                  " AND action = 'roll_back'"),
}
"""The same in the store: table, first and last instant, text, and which rows."""


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard: the question that it answers, and its panels, from Prometheus or the store."""

    name: str
    question: str
    panels: tuple[Spec, ...]
    stored: bool = False
    span: str = "now-7d"


def framed(board: Board) -> grafana.Dashboard:
    """The dashboard as Grafana's model has it."""
    kind = POSTGRES if board.stored else "prometheus"
    made = (Dashboard(f"holdfast / {NAMES[board.name]}").uid(f"holdfast-{board.name}")
            .description(board.question).tags(["holdfast"]).timezone("utc").refresh("1m")
            .time(board.span, "now").editable().tooltip(grafana.DashboardCursorSync.CROSSHAIR)
            .links([*_links(board.name), link("Daemon", "${holdfast}/"), link("MLflow",
                                                                               "${mlflow}/")]))
    for variable in _variables(kind):
        made = made.with_variable(variable)
    made = made.annotations(list(_kept() if board.stored else _annotations()))
    found: grafana.Dashboard = made.build()
    found.panels = list(placed(board.panels, kind))
    return found


def _links(name: str) -> Iterator[DashboardLink]:
    for other, title in NAMES.items():
        if other != name:
            yield link(title, f"/d/holdfast-{other}?${{model:queryparam}}")


def _variables(kind: str) -> Iterator[Builder[grafana.VariableModel]]:
    yield (DatasourceVariable("datasource").label("Data source").type(kind)
           .description("Where the numbers are."))
    models = (QueryVariable("model").label("Model").datasource(source(kind)).multi(True)
              .include_all(True).refresh(grafana.VariableRefresh.ON_TIME_RANGE_CHANGED)
              .sort(grafana.VariableSort.ALPHABETICAL_ASC).description("The chosen models.")
              .current(grafana.VariableOption(selected=True, text="All", value="$__all")))
    yield models.query(STORED if kind == POSTGRES else {
        "query": MODELS, "refId": "models", "qryType": 1}).definition(
            STORED if kind == POSTGRES else MODELS)
    yield (TextBoxVariable("holdfast").label("Daemon").default_value("http://127.0.0.1:8700")
           .description("Where the daemon's pages are."))
    yield (TextBoxVariable("mlflow").label("MLflow").default_value("http://127.0.0.1:5000")
           .description("Where MLflow's pages are."))


def _kept() -> Iterator[AnnotationQuery]:
    """Annotations of what the store keeps; those that last have an end."""
    for name, color, *_ in EVENTS:
        table, first, last, words, more = KEPT[name]
        text = (f"SELECT to_timestamp({first} / 1000000.0) AS time, "
                f"to_timestamp({last} / 1000000.0) AS timeend, {words} AS text, model AS tags\n"
                f"FROM holdfast_{table}\nWHERE model IN (${{model:sqlstring}}) AND {first} BETWEEN "
                f"$__unixEpochNanoFrom() / 1000 AND $__unixEpochNanoTo() / 1000{more}")
        yield (AnnotationQuery().name(name).datasource(source(POSTGRES)).enable(True)
               .icon_color(color).target(Made(stored(text, "Anno", "table"))))


def _annotations() -> Iterator[AnnotationQuery]:
    for name, color, metric, more, title in EVENTS:
        chosen = 'model=~"$model"' + (f", {more}" if more else "")
        labels = {"Retrains": "model, status", "Promotions": "model, version"}.get(name, "model")
        yield (AnnotationQuery().name(name).datasource(source("prometheus")).enable(True)
               .icon_color(color).expr(f"max by ({labels}) ({metric}{{{chosen}}}) * 1000")
               .use_value_for_time(True).title_format(title).tag_keys("model").step("60s"))
