"""Clearance: old counts and verdicts make room, a few hundred rows to a transaction.

Whatever is cut short has either happened or not: rows go in the transaction in which their sums or
their brief lines come, and the mark of how far it went moves with them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, func, or_, select, text, update

from monitor.database import Database, Write
from monitor.errors import ConflictError, HoldfastError
from monitor.history import READ, row_of
from monitor.lines import PARTED, THINNED, WHOLE, parted
from monitor.merging import Kept
from monitor.outcomes import Outcomes
from monitor.profile import Profile
from monitor.schema import (
    BULKY,
    PREFIX,
    counted,
    increments,
    reports,
    untended,
    upkeep,
    verdicts,
)
from monitor.secrets import redact
from monitor.source import Increment
from monitor.window import Window

FREE = 0.1
"""Share of a SQLite file that may stay free: new rows will need it."""
PAGES = 2_000
"""Pages that a SQLite file is shortened by in one transaction."""
TAKEN = text("SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class WHERE "
             "relkind = 'r' AND relname LIKE :ours AND "
             "relnamespace = current_schema()::regnamespace")
"""Bytes of the store's tables in PostgreSQL, with their indexes."""


@dataclass(frozen=True, slots=True)
class Tended:
    """When a model's old rows were last seen to, and how many there have been of each kind."""

    at: datetime
    merged: int = 0
    thinned: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Untended:
    """Why a model's old rows could not be seen to, since when, and how often that failed."""

    reason: str
    first: datetime
    last: datetime
    times: int


@dataclass(frozen=True, slots=True)
class Spared:
    """Verdicts that stay as they are: of these windows, or made at one of these checkpoints."""

    starts: frozenset[datetime] = frozenset()
    known_at: frozenset[datetime] = frozenset()

    def __contains__(self, row: Mapping[Any, Any]) -> bool:
        return row["start"] in self.starts or row["known_at"] in self.known_at


class Clearance(Database):
    """What becomes of old rows."""

    def tended(self) -> dict[str, Tended]:
        """When every model was seen to."""
        with self._read() as connection:
            return {row["model"]: Tended(*(row[item.name] for item in fields(Tended)))
                    for row in connection.execute(select(upkeep)).mappings()}

    def tend(self, model: str, done: Tended) -> None:
        """Say that a model was seen to at ``done.at``; its numbers add up."""
        parts = ("merged", "thinned", "dropped")
        with self._write(model) as write:
            made = write.insert(upkeep).values(
                model=model, at=done.at, **{name: getattr(done, name) for name in parts})
            write.run(made.on_conflict_do_update(index_elements=[upkeep.c.model], set_={
                "at": made.excluded.at,
                **{name: upkeep.c[name] + made.excluded[name] for name in parts}}))
            write.run(delete(untended).where(untended.c.model == model))

    def failing(self) -> dict[str, Untended]:
        """Models whose old rows could not be seen to the last time."""
        with self._read() as connection:
            return {row["model"]: Untended(*(row[item.name] for item in fields(Untended)))
                    for row in connection.execute(select(untended)).mappings()}

    def not_tended(self, model: str, at: datetime, reason: str) -> None:
        """Keep why that failed, secrets masked."""
        with self._write(model) as write:
            made = write.insert(untended).values(model=model, reason=redact(reason), first=at,
                                                 last=at, times=1)
            write.run(made.on_conflict_do_update(index_elements=[untended.c.model], set_={
                "reason": made.excluded.reason, "last": made.excluded.last,
                "times": untended.c.times + 1}))

    def keys(self, model: str) -> list[tuple[str, datetime | None, datetime | None]]:
        """(key, merged, emptied) of every baseline that the model was counted for."""
        query = select(counted.c.key, counted.c.merged, counted.c.emptied).where(
            counted.c.model == model).order_by(counted.c.key)
        with self._read() as connection:
            return [(row.key, row.merged, row.emptied) for row in connection.execute(query)]

    def oldest_pane(self, model: str, key: str, since: datetime | None) -> datetime | None:
        """The first pane with counts, from ``since`` on; None where there is none."""
        query = select(func.min(increments.c.pane)).where(increments.c.model == model,
                                                          increments.c.key == key)
        if since is not None:
            query = query.where(increments.c.pane >= since)
        with self._read() as connection:
            found: datetime | None = connection.execute(query).scalar_one()
            return found

    def held(self, model: str, key: str, span: Window) -> list[Kept]:
        """Counts of the panes that start within ``span``, in order."""
        table = increments
        query = select(table).where(
            table.c.model == model, table.c.key == key, table.c.pane >= span.start,
            table.c.pane < span.end).order_by(
            table.c.pane, table.c.known_at, table.c.version, table.c.segment)
        with self._read() as connection:
            return [Kept(row.id, Increment(
                row.pane, row.known_at, row.version, row.segment, Profile.unpack(row.profile),
                Outcomes.unpack(row.outcomes)), row.labelled) for row in connection.execute(query)]

    def exchange(self, model: str, key: str, old: Sequence[Kept], new: Sequence[Kept], *,
                 mark: tuple[str, datetime]) -> None:
        """Replace counts by those that they come to; ``mark`` says how far that went: ``merged``
        or ``emptied``, and until when.

        ``ConflictError`` where another daemon has done so meanwhile, and then nothing is written.
        """
        name, until = mark
        column = counted.c[name]
        with self._write(model) as write:
            _remove(write, [row.id for row in old], model)
            for row in new:
                item = row.increment
                write.fresh(increments, model=model, key=key, pane=item.pane,
                            known_at=item.known_at, version=item.version, segment=item.segment,
                            labelled=row.labelled, rows=item.profile.n,
                            profile=item.profile.pack(), outcomes=item.outcomes.pack())
            write.run(update(counted).where(
                counted.c.model == model, counted.c.key == key,
                or_(column.is_(None), column < until)).values({name: until}))

    def bulky(self, model: str, before: datetime | None, spared: Spared) -> list[int]:
        """Verdicts with all their statistics that were made before an instant; of a model that was
        never seen to, also those whose line is still whole, whenever they were made."""
        query = select(verdicts.c.id).where(verdicts.c.model == model, text(BULKY))
        old = None if before is None else query.where(
            verdicts.c.known_at < before, _unspared(spared))
        with self._read() as connection:
            known = connection.execute(
                select(upkeep.c.model).where(upkeep.c.model == model)).first()
            whole = None if known else query.where(verdicts.c.form == WHOLE)
            return sorted({found for part in (old, whole) if part is not None
                           for found in connection.execute(part).scalars()})

    def thin(self, model: str, ids: Sequence[int], before: datetime | None, spared: Spared) -> int:
        """Keep the brief lines of these verdicts that were made before ``before``, and pack the
        statistics of the others; how many lost theirs."""
        with self._read() as connection:
            rows = connection.execute(
                select(*READ).where(verdicts.c.id.in_(ids))).mappings().all()
        made: list[dict[str, Any]] = []
        for row in rows:
            brief, detail = parted(row_of(row).line)
            old = before is not None and row["known_at"] < before and row not in spared
            made.append({"row": row["id"], "brief": brief, "rest": None if old else detail,
                         "as": THINNED if old else PARTED})
        with self._write(model) as write:
            write.many(update(verdicts).where(verdicts.c.id == bindparam("row")).values(
                line=bindparam("brief"), detail=bindparam("rest"), form=bindparam("as")), made)
        return sum(item["as"] == THINNED for item in made)

    def outlived(self, model: str, before: datetime, spared: Spared) -> list[int]:
        """Verdicts that were made before an instant and have no report."""
        segments = select(verdicts.c.segment).where(verdicts.c.model == model).distinct()
        reported = select(reports.c.verdict_id).where(reports.c.model == model)
        with self._read() as connection:
            known = connection.execute(segments).scalars().all()
            query = select(verdicts.c.id).where(
                verdicts.c.model == model, verdicts.c.segment.in_(known),
                verdicts.c.known_at < before, _unspared(spared),
                verdicts.c.id.not_in(reported)).order_by(verdicts.c.id)
            return list(connection.execute(query).scalars())

    def drop(self, model: str, ids: Sequence[int]) -> int:
        """Forget these verdicts; how many there were."""
        with self._write(model) as write:
            return write.run(delete(verdicts).where(verdicts.c.id.in_(ids)))

    def size(self) -> int:
        """Bytes that the store takes: of its file, or of its tables with their indexes."""
        with self._read() as connection:
            if connection.dialect.name == "sqlite":
                return (_pragma(connection, "page_count") * _pragma(connection, "page_size"))
            return int(connection.execute(TAKEN, {"ours": f"{PREFIX}%"}).scalar_one())

    def shorten(self, free: float = FREE) -> bool:
        """Give back room at the end of a SQLite file, one piece of it; whether there is more.

        PostgreSQL's own vacuum makes free room usable again.
        """
        with self._read() as connection:
            if (connection.dialect.name != "sqlite"
                    or _pragma(connection, "auto_vacuum") != 2):  # incremental
                return False
            pages, spare = _pragma(connection, "page_count"), _pragma(connection, "freelist_count")
        more = spare - int(free * pages)
        if more <= 0:
            return False
        self._script(f"PRAGMA incremental_vacuum({min(more, PAGES)})")
        return more > PAGES

    def shortens(self) -> bool:
        """Whether ``shorten`` can: not with a SQLite file that an older holdfast has made."""
        with self._read() as connection:
            return (connection.dialect.name != "sqlite"
                    or _pragma(connection, "auto_vacuum") == 2)

    def compact(self) -> None:
        """Write a SQLite file anew without free room; from then on ``shorten`` works.

        It takes as much free disk as the file is long, and nobody may write meanwhile.
        """
        if self._engine.dialect.name != "sqlite":
            return
        self._script("PRAGMA auto_vacuum=INCREMENTAL; VACUUM")

    def _script(self, text: str) -> None:
        """Statements of SQLite outside of a transaction, each to its end: the driver's ``execute``
        ends this kind after its first step."""
        with self._failing_in_words(), self._engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            try:
                raw.executescript(text).close()
            except sqlite3.Error as error:  # busy, or a full disk
                raise HoldfastError(f"store: {error}") from error


def _unspared(spared: Spared) -> Any:
    return (verdicts.c.start.not_in(sorted(spared.starts))
            & verdicts.c.known_at.not_in(sorted(spared.known_at)))


def _remove(write: Write, ids: Sequence[int], model: str) -> None:
    gone = write.run(delete(increments).where(increments.c.id.in_(ids))) if ids else 0
    if gone != len(ids):
        raise ConflictError(f"{model}: another daemon saw to its old counts meanwhile")


def _pragma(connection: Any, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
