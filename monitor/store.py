"""Store: everything that must survive a restart, as rows in SQLite or PostgreSQL.

What it keeps is split by what it is about: ``archive`` (baselines, adoptions,
counts), ``history`` (verdicts and the state they fold into), ``errands`` (requests,
alias moves, reports), ``sayings`` (what people acknowledged) and ``board`` (how versions
did on the same rows), ``messages`` (what people were told) and ``orders`` (what they asked
for); ``survey`` asks of many models at once, ``clearance`` makes room. Here are the troubles
and ticks of the daemon. Every transition is a row, every write is conditional or unique, and one
write is one transaction: killed at any line, nothing is lost and nothing is doubled.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import select, update

from monitor.archive import Adoption, Archive
from monitor.board import Board, Score
from monitor.clearance import Clearance
from monitor.database import Write
from monitor.errands import Errands, Intent, Report, RequestRow
from monitor.history import (
    Episode,
    Folded,
    History,
    Pending,
    Recorded,
    Row,
    Settled,
    Transition,
    write_state,
)
from monitor.lines import line
from monitor.messages import Messages
from monitor.orders import Order, Orders, Snooze
from monitor.sayings import Sayings
from monitor.schema import models, ticks, troubles
from monitor.secrets import redact
from monitor.state import ModelState
from monitor.survey import Survey

__all__ = ["Adoption", "Episode", "Folded", "Intent", "Order", "Pending", "Recorded",
           "Report", "RequestRow", "Row", "Score", "Settled", "Snooze", "Store", "Tick",
           "Transition", "Trouble", "line"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error of a model: where it happened, since when, and how often."""

    where: str
    message: str
    first: datetime
    last: datetime
    times: int
    cleared: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """The newest tick of a model, when the newest fine one was, and how many there were."""

    at: datetime
    fine_at: datetime | None
    seconds: float
    fine: int
    failed: int


class Store(Archive, History, Errands, Sayings, Board, Messages, Orders, Survey, Clearance):
    """holdfast's memory: ``Store.open(url)`` migrates and opens it."""

    def models(self) -> list[str]:
        """Names of the models that something is known of."""
        with self._read() as connection:
            return list(connection.execute(select(models.c.name).order_by(models.c.name)).scalars())

    def trouble(self, model: str, at: datetime, where: str, message: str) -> None:
        """Keep an error, secrets masked; the same one again only moves its time and count."""
        message = redact(message)
        newest = (select(troubles.c.id).where(troubles.c.model == model)
                  .order_by(troubles.c.id.desc()).limit(1).scalar_subquery())
        with self._write(model) as write:
            _meet(write, model)
            again = write.run(
                update(troubles)
                .where(troubles.c.id == newest, troubles.c.where == where,
                       troubles.c.message == message, troubles.c.cleared.is_(False))
                .values(last=at, times=troubles.c.times + 1))
            if not again:
                write.fresh(troubles, model=model, where=where, message=message, first=at,
                            last=at, times=1, cleared=False)

    def untroubled(self, model: str) -> bool:
        """Whether there was an error to clear."""
        with self._write(model) as write:
            return write.run(update(troubles).where(troubles.c.model == model,
                                                    troubles.c.cleared.is_(False))
                             .values(cleared=True)) > 0

    def troubles(self) -> dict[str, Trouble | None]:
        """The newest error of every model that is not cleared; None where all is well."""
        query = (select(troubles).where(troubles.c.cleared.is_(False)).order_by(troubles.c.id))
        found: dict[str, Trouble | None] = dict.fromkeys(self.models())
        with self._read() as connection:
            for row in connection.execute(query).mappings():
                found[row["model"]] = Trouble(*(row[item.name] for item in fields(Trouble)))
        return found

    def past_troubles(self, model: str, newest: int | None = None) -> list[Trouble]:
        """Errors of the model, cleared ones too, newest first."""
        query = (select(*(troubles.c[item.name] for item in fields(Trouble)))
                 .where(troubles.c.model == model).order_by(troubles.c.id.desc()).limit(newest))
        with self._read() as connection:
            return [Trouble(*row) for row in connection.execute(query)]

    def ticked(self, model: str, at: datetime, seconds: float, ok: bool) -> None:
        """Count a tick of the model that took ``seconds``."""
        with self._write(model) as write:
            _meet(write, model)
            fine, failed = int(ok), int(not ok)
            made = write.insert(ticks).values(model=model, at=at, fine_at=at if ok else None,
                                              seconds=seconds, fine=fine, failed=failed)
            change = {"at": at, "seconds": seconds, "fine": ticks.c.fine + fine,
                      "failed": ticks.c.failed + failed}
            write.run(made.on_conflict_do_update(
                index_elements=[ticks.c.model],
                set_=change | ({"fine_at": at} if ok else {})))

    def ticks(self) -> dict[str, Tick]:
        """The newest tick of every model."""
        with self._read() as connection:
            return {row["model"]: Tick(*(row[item.name] for item in fields(Tick)))
                    for row in connection.execute(select(ticks)).mappings()}


def _meet(write: Write, model: str) -> None:
    """Make the model's row, if it is heard of for the first time."""
    write.run(write.insert(models).on_conflict_do_nothing()
              .values(name=model, number=0, state=write_state(ModelState())))
