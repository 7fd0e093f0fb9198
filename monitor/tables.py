"""Tables: where one model's log, labels and features are, and what their columns are for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from monitor.bins import Role
from monitor.cells import kind_of
from monitor.config import Limits, Model
from monitor.engine import Columns, Engine, connect, place
from monitor.errors import SourceError
from monitor.files import Files, layout_of
from monitor.objects import is_remote
from monitor.partitions import Near
from monitor.relation import Clock, Need, Part, Relation, table_of, to_micros
from monitor.rows import FEATURES, LABELS, LOG, Roles, Shape, flattened
from monitor.window import EPOCH, Window

TableKey = Literal["log", "labels", "features_from"]


@dataclass(frozen=True, slots=True)
class Read:
    """What one call reads: the relations to put into its SQL, and the shape they have."""

    relations: dict[str, str]
    shape: Shape
    rows: int | None
    extent: tuple[int, int] | None


class Tables:
    """The tables of one model behind one engine; opened when first asked."""

    def __init__(self, model: Model, limits: Limits, *, reference: bool) -> None:
        source = model.reference.source if reference else model.log.source
        if source is None:
            raise SourceError(f"{model.name}: reference.source is absent; right would be a file")
        self.model, self.source, self.reference = model, source, reference
        self.engine: Engine = connect(source, limits, model.log.storage)

    @cached_property
    def roles(self) -> Roles:
        """The roles whose columns can be read; ``SourceError`` without a timestamp."""
        roles = Roles.of(self.model)
        dropped = sorted(set(roles.columns) & set(self.model.privacy.drop))
        if dropped:
            raise SourceError(
                f"{self.model.name}: privacy.drop: {', '.join(dropped)} has a role in `log` and "
                "cannot be dropped; right would be privacy.hash, or no role")
        clock = Clock(roles.timestamp, roles.arrival, self.model.log.timezone)
        held = flattened(self._relation(clock).columns())
        if roles.timestamp not in held and not self.reference:
            raise SourceError(
                f"{place(self.source)}: no column {roles.timestamp!r} for log.timestamp; right "
                f"would be one of: {', '.join(self._likely(held))}")
        if not self.reference:
            return roles
        label = roles.label or (self.model.log.labels.value if self.model.log.labels else None)
        kept = [name if name in held else None for name in (
            roles.timestamp, roles.arrival, roles.id, roles.version, roles.prediction, label)]
        scores = tuple(pair for pair in roles.scores if pair[1] in held)
        segments = tuple(name for name in roles.segments if name in held)
        return Roles(kept[0], kept[1], kept[2], kept[3], kept[4], scores, kept[5], segments)

    @staticmethod
    def _likely(held: Columns) -> list[str]:
        instants = [name for name, dtype in held.items() if kind_of(dtype) == "datetime"]
        return instants or list(held)[:20]

    def _relation(self, clock: Clock) -> Relation:
        log = self.model.log
        if self.reference:
            return self._open(self.source, clock, None, None)
        return self._open(self.source, clock, log.table, log.query)

    def _open(self, source: str, clock: Clock, table: str | None, query: str | None) -> Relation:
        hidden = frozenset(self.model.privacy.drop)
        if "://" not in source or is_remote(source):
            if self.engine.dialect != "duckdb":
                raise SourceError(f"{place(source)}: files cannot be joined with a log in "
                                  "PostgreSQL; right would be a table of the same database")
            by_date = self.model.log.by_date and not self.reference
            layout = layout_of(self.engine, source, by_date=by_date)
            return Files(self.engine, layout, clock,
                         hidden | layout.keys - set(Roles.of(self.model).columns))
        if self.engine.dialect == "postgres" and source != self.source:
            raise SourceError(f"{place(source)}: is another database than {place(self.source)}; "
                              "right would be a table of the same database")
        if self.engine.dialect == "duckdb" and not source.startswith("duckdb://"):
            raise SourceError(f"{place(source)}: cannot be joined with {place(self.source)}; "
                              "right would be files or duckdb://FILE")
        return table_of(self.engine, source, clock, name=table, query=query, hidden=hidden)

    @cached_property
    def log(self) -> Relation:
        roles = self.roles
        return self._relation(Clock(roles.timestamp, roles.arrival, self.model.log.timezone))

    @cached_property
    def labels(self) -> Relation | None:
        labels = self.model.log.labels
        if labels is None or self.reference:
            return None
        clock = Clock(labels.timestamp, None, self.model.log.timezone)
        return self._open(labels.source, clock, labels.table, None)

    @cached_property
    def features(self) -> Relation | None:
        features = self.model.log.features_from
        if features is None or self.reference:
            return None
        clock = Clock(features.timestamp, None, self.model.log.timezone)
        return self._open(features.source, clock, features.table, None)

    def held(self, part: TableKey) -> Columns:
        """Every column of one table, whatever its role; none where it is not configured."""
        log = self.model.log
        if part == "log":
            clock = Clock(log.timestamp, log.ingested_at, log.timezone)
            return flattened(self._relation(clock).columns())
        relation = self.labels if part == "labels" else self.features
        return {} if relation is None else flattened(relation.columns())

    def columns(self) -> Columns:
        """Every logged column by its dotted name, those of the feature table included."""
        held = flattened(self.log.columns())
        if self.features is not None:
            held = {**flattened(self.features.columns()), **held}
        return {name: dtype for name, dtype in held.items()
                if name not in self.model.privacy.drop}

    def inputs(self) -> list[str]:
        """The configured inputs of the model, in the order they are logged."""
        chosen, log, privacy = self.model.log.features, self.model.log, self.model.privacy
        taken = {*self.roles.columns, *Roles.of(self.model).columns, *chosen.exclude,
                 *privacy.drop}
        if log.labels is not None:
            taken |= {log.labels.value} if self.reference else set()
        if log.features_from is not None:
            taken |= {name for name in (log.features_from.id, log.features_from.timestamp) if name}
        if chosen.include is not None:
            return [name for name in chosen.include if name not in {*chosen.exclude, *privacy.drop}]
        return [name for name, dtype in self.columns().items()
                if name not in taken and kind_of(dtype) != "other"]

    def outputs(self) -> list[tuple[Role, str]]:
        """(role, column) of what the model answers and of the truth."""
        roles = self.roles
        found: list[tuple[Role, str]] = []
        if roles.prediction:
            found.append(("prediction", roles.prediction))
        found += [("score", column) for _, column in roles.scores]
        if roles.label:
            found.append(("label", roles.label))
        elif self.labels is not None and self.model.log.labels is not None:
            found.append(("label", self.model.log.labels.value))
        return found

    def loosen(self) -> bool:
        """Look at all lines of text files before types are chosen; whether that is new."""
        tables = [self.log, self.labels, self.features]
        loosened = [item.loosen() for item in tables if isinstance(item, Files)]
        return any(loosened)

    def read(self, need: Need, span: Window, *, labels: Need | None = None) -> Read | None:
        """What has to be read of each table; None when no row of the log can matter.

        ``labels`` says which labels are needed; None reads none of them.
        """
        low, high = self.near(need)
        log = self.log.part(replace(need, near=(low, high)))
        if log is None:
            return None
        relations = {LOG: log.relation}
        years = (span.start.year // 5 * 5 - 1, span.end.year // 5 * 5 + 5)
        shape = Shape(self.model, self.roles, self.engine.dialect, log.columns, years=years)
        if labels is not None and self.labels is not None:
            latest = max(high, min(labels.end, need.end + self._reach))
            part = self.labels.part(replace(labels, near=(low, latest)))
            if part is not None:
                relations[LABELS] = part.relation
                shape = replace(shape, labels=part.columns)
        if self.features is not None:
            part = self._feature_part(need, (low, high))
            if part is not None:
                relations[FEATURES] = part.relation
                shape = replace(shape, features=part.columns)
        return Read(relations, shape, log.rows, log.extent)

    def _feature_part(self, need: Need, near: Near) -> Part | None:
        assert self.features is not None
        margin = max(86_400_000_000, int(self.model.calendar.pane.total_seconds() * 1e6))
        return self.features.part(Need(need.start - margin, need.end + margin,
                                       near=(near[0] - margin, near[1] + margin)))

    @property
    def _reach(self) -> int:
        return to_micros(EPOCH + self.model.calendar.reach)

    def near(self, need: Need) -> Near:
        """The dates of folders that can hold what is needed, whether they say event or arrival."""
        low = max(need.start, min(need.event_from, need.arrival_from - self._reach))
        return low, max(need.end, min(need.before, need.end + self._reach))
