"""Survey: what pages ask of all models at once, or of a long past: few statements, whatever the
number of models.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select, union_all

from monitor.database import Database
from monitor.history import BRIEF, READ, Pending, Recorded, Row, pending_of, recorded_of, row_of
from monitor.profile import Profile
from monitor.schema import decisions, increments, models, verdicts
from monitor.together import answerable
from monitor.window import Window

ASKED = 100
"""Models that one statement asks for at most."""
ORDER = ("known_at", "end", "revision")
NEWEST = tuple(verdicts.c[column].desc() for column in ORDER)
"""What is newest comes first."""


class Survey(Database):
    """Many models, or many windows, in a fixed number of statements."""

    def states(self) -> dict[str, Recorded]:
        """The state of every model that something is known of."""
        with self._read() as connection:
            return {row["name"]: recorded_of(row)
                    for row in connection.execute(select(models)).mappings()}

    def newest(self) -> dict[str, Row]:
        """The newest verdict on all rows of every model."""
        inner = verdicts.alias()
        first = (select(inner.c.id).where(inner.c.model == models.c.name, inner.c.segment == "")
                 .order_by(*(inner.c[column].desc() for column in ORDER))
                 .limit(1).scalar_subquery())
        query = select(*READ).select_from(models).join(verdicts, verdicts.c.id == first)
        with self._read() as connection:
            return {row["model"]: row_of(row) for row in connection.execute(query).mappings()}

    def measured_of(self, champions: Mapping[str, str]) -> dict[str, Row]:
        """The newest verdict that says how well the champion performs, by model; ``ASKED`` models
        with one statement."""
        asked, found = list(champions), {}
        for place in range(0, len(asked), ASKED):
            parts: list[Select[Any]] = [
                select(select(*READ).where(
                    verdicts.c.model == model, verdicts.c.segment == "",
                    verdicts.c.version == champions[model], verdicts.c.measured.is_(True))
                    .order_by(*NEWEST).limit(1).subquery())
                for model in asked[place : place + ASKED]]
            with self._read() as connection:
                for row in connection.execute(union_all(*parts)).mappings():
                    found[row["model"]] = row_of(row)
        return found

    def told(self, model: str, segment: str, *, until: datetime | None, skip: int, most: int
             ) -> list[Row]:
        """Verdicts known by ``until``, newest first: at most ``most`` after the first ``skip``."""
        query = select(*READ).where(verdicts.c.model == model, verdicts.c.segment == segment)
        if until is not None:
            query = query.where(verdicts.c.known_at <= until)
        query = query.order_by(*NEWEST, verdicts.c.version.desc()).limit(most).offset(skip)
        with self._read() as connection:
            return [row_of(row) for row in connection.execute(query).mappings()]

    @answerable
    def briefs(self, model: str, newest: int, segment: str = "") -> list[Row]:
        """The last so many verdicts, oldest first, without most of their statistics: many times
        as fast to read as whole ones."""
        query = (select(*BRIEF).where(verdicts.c.model == model, verdicts.c.segment == segment)
                 .order_by(*NEWEST, verdicts.c.version.desc()))
        return [row_of(row) for row in reversed(self._rows(query, newest))]

    @answerable
    def strip(self, model: str, newest: int) -> list[tuple[datetime, str]]:
        """(start, verdict) of the last so many verdicts on all rows, oldest first."""
        query = (select(verdicts.c.start, verdicts.c.kind)
                 .where(verdicts.c.model == model, verdicts.c.segment == "")
                 .order_by(*NEWEST, verdicts.c.version.desc()))
        return [(row["start"], row["kind"]) for row in reversed(self._rows(query, newest))]

    def profiles(self, model: str, key: str, span: Window, *, until: datetime
                 ) -> list[tuple[str, Profile]]:
        """(version, counts) of all rows of the span's panes, as known at ``until``."""
        query = select(increments.c.version, increments.c.profile).where(
            increments.c.model == model, increments.c.key == key, increments.c.segment == "",
            increments.c.pane >= span.start, increments.c.pane < span.end,
            increments.c.known_at <= until)
        with self._read() as connection:
            return [(row.version, Profile.unpack(row.profile))
                    for row in connection.execute(query)]

    def waiting(self) -> dict[str, Pending]:
        """The decision that waits to be carried out, by model."""
        query = select(decisions).where(decisions.c.status == "pending")
        with self._read() as connection:
            return {row["model"]: pending_of(row)
                    for row in connection.execute(query).mappings()}
