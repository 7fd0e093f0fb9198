"""Archive: baselines, who was champion from when, and counts of every pane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    RowMapping,
    case,
    func,
    literal_column,
    select,
    text,
    type_coerce,
)

from monitor.database import Database, Write
from monitor.errors import HoldfastError
from monitor.outcomes import Outcomes
from monitor.profile import Profile
from monitor.ripening import DAY, Arrival, summed
from monitor.schema import LABELLED, adoptions, baselines, counted, increments
from monitor.source import Increment
from monitor.together import answerable
from monitor.window import Window, format_duration, isoformat

BATCH = 200
"""Increments written per statement."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """From checkpoint ``at`` on, the baseline ``key`` of ``version`` judges; None: nobody does."""

    version: str | None
    key: str
    at: datetime


@dataclass(slots=True)
class Packed:
    """An increment as the store holds it: its counts are unpacked once they are asked for. A fold
    reads months of panes, of which it looks at the labels of four weeks and the counts of few."""

    pane: datetime
    known_at: datetime
    version: str
    segment: str
    packed: tuple[bytes, bytes]
    _profile: Profile | None = None
    _outcomes: Outcomes | None = None

    @property
    def profile(self) -> Profile:
        if self._profile is None:
            self._profile = Profile.unpack(self.packed[0])
        return self._profile

    @property
    def outcomes(self) -> Outcomes:
        if self._outcomes is None:
            self._outcomes = Outcomes.unpack(self.packed[1])
        return self._outcomes


class Archive(Database):
    """What the log was counted to be, and against what it is judged."""

    def save_baseline(self, model: str, version: str, key: str, text: str) -> None:
        """Keep a baseline; one that stands under the same key is left as it is."""
        with self._write(model) as write:
            write.fresh(baselines, model=model, version=version, key=key, text=text)

    def baseline(self, model: str, version: str, key: str | None = None) -> tuple[str, str] | None:
        """(key, text) of the version's baseline: the one under ``key``, or the newest."""
        query = (select(baselines.c.key, baselines.c.text)
                 .where(baselines.c.model == model, baselines.c.version == version)
                 .order_by(baselines.c.id.desc()).limit(1))
        if key is not None:
            query = query.where(baselines.c.key == key)
        with self._read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else (row.key, row.text)

    def adopt(self, model: str, version: str | None, at: datetime, *, key: str) -> bool:
        """Whether this is news: False where the newest adoption says so already.

        Two adoptions at one instant are one: the first stands.
        """
        newest = (select(adoptions.c.version, adoptions.c.key).where(adoptions.c.model == model)
                  .order_by(adoptions.c.at.desc()).limit(1))
        with self._write(model) as write:
            row = write.connection.execute(newest).one_or_none()
            if row is not None and (row.version, row.key) == (version, key):
                return False
            return write.fresh(adoptions, model=model, version=version, key=key,
                               at=at) is not None

    @answerable
    def adoptions(self, model: str) -> list[Adoption]:
        """Every change of champion, oldest first."""
        query = (select(adoptions.c.version, adoptions.c.key, adoptions.c.at)
                 .where(adoptions.c.model == model).order_by(adoptions.c.at))
        return [Adoption(row["version"], row["key"], row["at"]) for row in self._rows(query)]

    def save_counts(self, model: str, key: str, increments: Sequence[Increment], *,
                    until: datetime, fingerprint: str) -> None:
        """Keep what became known up to checkpoint ``until``; what stands is never rewritten.

        The watermark moves with the counts in one transaction, and never backwards.
        """
        with self._write(model) as write:
            for start in range(0, len(increments), BATCH):
                _insert(write, model, key, increments[start : start + BATCH])
            mark = write.insert(counted).values(model=model, key=key, until=until,
                                                fingerprint=fingerprint)
            new = mark.excluded
            write.run(mark.on_conflict_do_update(
                index_elements=[counted.c.model, counted.c.key],
                set_={"until": new.until, "fingerprint": new.fingerprint},
                where=(new.until > counted.c.until)
                | ((new.until == counted.c.until) & (new.fingerprint != counted.c.fingerprint))))

    @answerable
    def counted(self, model: str, key: str) -> tuple[datetime, str] | None:
        """(until, fingerprint): the checkpoint that counts are complete up to; None before any."""
        query = (select(counted.c.until, counted.c.fingerprint)
                 .where(counted.c.model == model, counted.c.key == key))
        found = self._rows(query)
        return (found[0]["until"], found[0]["fingerprint"]) if found else None

    def increments(self, model: str, key: str, span: Window, *, until: datetime,
                   after: datetime | None = None, segment: str | None = None) -> list[Increment]:
        """What ``packed`` tells, unpacked."""
        return [Increment(item.pane, item.known_at, item.version, item.segment, item.profile,
                          item.outcomes)
                for item in self.packed(model, key, span, until=until, after=after,
                                        segment=segment)]

    def packed(self, model: str, key: str, span: Window, *, until: datetime,
               after: datetime | None = None, segment: str | None = None) -> list[Packed]:
        """Increments of panes that start within ``span``, with ``after < known_at <= until``.

        Ordered by pane, checkpoint, version and segment. ``HoldfastError`` where some of them
        were merged into days: no part of a day can be told any more.
        """
        merged = self.merged_to(model, key)
        if merged is not None and merged > span.start:
            raise HoldfastError(
                f"{model}: the counts from {isoformat(span.start)} on are needed pane by pane, and "
                f"those before {isoformat(merged)} were merged into days; `window.revise_for`, "
                "`maturity.delay` or `reference.mode` look back further than they did. Right would "
                f"be what they were until {format_duration(merged - span.start)} from now, and "
                "a longer `retention.merge_after`")
        table = increments
        query = (select(table.c.pane, table.c.known_at, table.c.version, table.c.segment,
                        table.c.profile, table.c.outcomes)
                 .where(table.c.model == model, table.c.key == key,
                        table.c.pane >= span.start, table.c.pane < span.end,
                        table.c.known_at <= until)
                 .order_by(table.c.pane, table.c.known_at, table.c.version, table.c.segment))
        if after is not None:
            query = query.where(table.c.known_at > after)
        if segment is not None:
            query = query.where(table.c.segment == segment)
        with self._read() as connection:
            return [Packed(row.pane, row.known_at, row.version, row.segment,
                           (row.profile, row.outcomes)) for row in connection.execute(query)]

    def merged_to(self, model: str, key: str) -> datetime | None:
        """Counts of panes before this are those of days, or numbers of rows; None: of none."""
        query = select(counted.c.merged, counted.c.emptied).where(counted.c.model == model,
                                                                  counted.c.key == key)
        with self._read() as connection:
            row = connection.execute(query).one_or_none()
        return max((mark for mark in row or () if mark is not None), default=None)

    @answerable
    def arrivals(self, model: str, key: str, since: datetime) -> list[Arrival]:
        """What became known of panes from ``since`` on, of all rows: summed by day and age."""
        table = increments
        older = case((table.c.rows.is_(None), table.c.profile), else_=None)  # before schema 0011
        pane, known_at = (type_coerce(table.c[name], BigInteger) for name in ("pane", "known_at"))
        by = (pane // literal_column(str(DAY))).label("day"), (known_at - pane).label("age")
        query = (select(*by, func.max(pane).label("newest"), func.count().label("parts"),
                        func.sum(table.c.rows).label("rows"), older.label("packed"),
                        func.sum(table.c.labelled).label("labelled"))
                 .where(table.c.model == model, table.c.key == key, table.c.pane >= since,
                        table.c.segment == "").group_by(*by, older))
        return summed(Arrival(row["day"], row["newest"], row["age"], _rows(row), int(
            row["labelled"])) for row in self._rows(query))

    def first_pane(self, model: str, key: str, *, version: str, since: datetime
                   ) -> datetime | None:
        """The first pane from ``since`` on that ``version`` answered rows in; None: none yet."""
        query = select(func.min(increments.c.pane)).where(
            increments.c.model == model, increments.c.key == key, increments.c.pane >= since,
            increments.c.version == version, increments.c.segment == "")
        with self._read() as connection:
            found: datetime | None = connection.execute(query).scalar_one()
        return found

    def labelled(self, model: str, key: str, *, since: datetime, until: datetime,
                 version: str | None = None) -> int:
        """Labelled rows of panes that start at ``since`` or later, as known at ``until``.

        Of all versions, or of those that ``version`` answered.
        """
        query = (select(func.coalesce(func.sum(increments.c.labelled), 0))
                 .where(increments.c.model == model, increments.c.key == key,
                        increments.c.pane >= since, increments.c.known_at <= until,
                        text(LABELLED)))
        if version is not None:
            query = query.where(increments.c.version == version)
        with self._read() as connection:
            return int(connection.execute(query).scalar_one())


def _rows(row: RowMapping) -> int:
    """The rows of increments that were summed, those of older ones being in their packed counts."""
    packed = row["packed"]
    return int(row["rows"] if packed is None else row["parts"] * Profile.rows(packed))


def _insert(write: Write, model: str, key: str, items: Sequence[Increment]) -> None:
    write.run(write.insert(increments).on_conflict_do_nothing().values([
        {"model": model, "key": key, "pane": item.pane, "known_at": item.known_at,
         "version": item.version, "segment": item.segment, "labelled": item.outcomes.n,
         "rows": item.profile.n, "profile": item.profile.pack(),
         "outcomes": item.outcomes.pack()} for item in items]))
