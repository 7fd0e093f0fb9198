"""Panels: what one shows, in words and queries, and how Grafana draws it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from grafana_foundation_sdk.builders import (
    bargauge,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders.dashboard import DashboardLink, ThresholdsConfig
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.runtime import UnknownDataquery
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataTransformerConfig,
    DynamicConfigValue,
    GridPos,
    Panel,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Kind = Literal["timeseries", "stat", "table", "state-timeline", "bargauge"]
KINDS: dict[Kind, Any] = {
    "timeseries": timeseries.Panel, "stat": stat.Panel, "table": table.Panel,
    "state-timeline": statetimeline.Panel, "bargauge": bargauge.Panel,
}
WIDTH = 24
"""Columns of Grafana's grid."""
POSTGRES = "grafana-postgresql-datasource"


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, or SQL over the store; ``limit`` is drawn as a dashed line beside what it limits."""

    text: str
    legend: str = ""
    limit: bool = False


@dataclass(frozen=True, slots=True)
class Spec:
    """One panel. ``states`` give numbers a name and a colour, ``steps`` colour values, ``rename``
    names a table's values (others are hidden), and ``links`` lead on from a row: (title, URL)."""

    title: str
    description: str
    kind: Kind
    unit: str
    queries: tuple[Query, ...]
    width: int = 12
    height: int = 8
    states: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    steps: tuple[tuple[float | None, str], ...] = ((None, "green"),)
    rename: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    links: tuple[tuple[str, str], ...] = ()


def top(metric: str, *labels: str, more: str = "") -> str:
    """The metric of the chosen models by labels, whichever daemon tells it."""
    chosen = 'model=~"$model"' + (f", {more}" if more else "")
    return f"max by ({', '.join(('model', *labels))}) ({metric}{{{chosen}}})"


def source(kind: str) -> DataSourceRef:
    return DataSourceRef(type_val=kind, uid="${datasource}")


def placed(specs: tuple[Spec, ...], kind: str) -> Iterator[Panel]:
    """The panels, left to right and top to bottom, over one kind of data source."""
    x = y = height = 0
    for number, spec in enumerate(specs, 1):
        if x + spec.width > WIDTH:
            x, y, height = 0, y + height, 0
        made = drawn(spec, kind)
        made.id_val = number
        made.grid_pos = GridPos(h=spec.height, w=spec.width, x=x, y=y)
        yield made
        x, height = x + spec.width, max(height, spec.height)


def drawn(spec: Spec, kind: str) -> Panel:
    """The panel as Grafana's model has it."""
    panel = (KINDS[spec.kind]().title(spec.title).description(spec.description).unit(spec.unit)
             .datasource(source(kind)).thresholds(_steps(spec))
             .data_links([link(*item) for item in spec.links or onwards(spec, kind)]))
    for place, query in enumerate(spec.queries):
        panel = panel.with_target(Made(_target(query, chr(ord("A") + place), spec.kind, kind)))
        if query.limit:
            panel = panel.override_by_query(chr(ord("A") + place), [
                DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 8]}),
                DynamicConfigValue("color", {"mode": "fixed", "fixedColor": "red"}),
                DynamicConfigValue("custom.fillOpacity", 0)])
    if spec.states:
        panel = panel.mappings([ValueMap({
            value: ValueMappingResult(text=text, color=color, index=index)
            for index, (value, (text, color)) in enumerate(spec.states.items())})])
    for name, unit in spec.units.items():
        panel = panel.override_by_name(name, [DynamicConfigValue("unit", unit)])
    if spec.kind == "table":
        panel = panel.transformations(list(_columns(spec, kind)))
    found: Panel = panel.build()
    return found


def onwards(spec: Spec, kind: str) -> list[tuple[str, str]]:
    """Where what tells its model leads: to all of the model, and to its page, where reports and
    versions in MLflow are a click away. Sums over models lead nowhere."""
    told = spec.queries[0].text
    if kind == POSTGRES:
        told = told.replace("SELECT model,", "by (model") if spec.kind == "table" else ""
    if "by (model" not in told or told.startswith(("sum(", "count(")):
        return []
    name = "${__data.fields.model}" if spec.kind == "table" else "${__field.labels.model}"
    return [("This model", f"/d/holdfast-model?var-model={name}"),
            ("Its page", f"${{holdfast}}/models/{name}")]


def link(title: str, url: str) -> DashboardLink:
    return DashboardLink(title).type(DashboardLinkType.LINK).url(url).keep_time(True)


def stored(text: str, ref: str, form: Literal["table", "time_series"]) -> Dataquery:
    """A query of the store."""
    return UnknownDataquery({
        "refId": ref, "datasource": source(POSTGRES).to_json(), "editorMode": "code",
        "format": form, "rawQuery": True, "rawSql": text})


class Made(Builder[Dataquery]):
    """What is built already, where the SDK asks for a builder."""

    def __init__(self, target: Dataquery) -> None:
        self._target = target

    def build(self) -> Dataquery:
        return self._target


def _steps(spec: Spec) -> ThresholdsConfig:
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(
        [Threshold(value, color) for value, color in spec.steps])


def _target(query: Query, ref: str, shown: Kind, kind: str) -> Dataquery:
    if kind == POSTGRES:
        return stored(query.text, ref, "table" if shown == "table" else "time_series")
    made = (prometheus.Dataquery().expr(query.text).ref_id(ref).legend_format(query.legend)
            .datasource(source(kind)))
    made = made.range() if shown in {"timeseries", "state-timeline"} else made.instant()
    if shown == "table":
        made = made.format(PromQueryFormat.TABLE)
    found: Dataquery = made.build()
    return found


def _columns(spec: Spec, kind: str) -> Iterator[DataTransformerConfig]:
    """Several answers become one table; what nobody reads is left out."""
    if kind != POSTGRES and len(spec.queries) > 1:
        yield DataTransformerConfig("joinByField", options={"byField": "model", "mode": "outer"})
    values = [f"Value #{chr(ord('A') + place)}" for place in range(len(spec.queries))]
    hidden = {name: True for name in ("Time", *(f"Time {place}" for place in range(1, 9)),
                                      *(values if len(values) > 1 else ["Value"]))
              if name not in spec.rename}
    yield DataTransformerConfig("organize", options={
        "excludeByName": hidden, "indexByName": {}, "renameByName": dict(spec.rename)})
