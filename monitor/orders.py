"""Orders: what people and programs asked for by page, API or webhook, as rows.

A row is written before anything is done, by whichever daemon was asked; the one that leads does it.
Rows are never deleted: they tell who did what and when.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, Select, func, select, update

from monitor.canonical import dumps
from monitor.database import Database
from monitor.schema import orders
from monitor.together import answerable


@dataclass(frozen=True, slots=True)
class Order:
    """What was ordered, by whom and when, and what became of it: asked, done, refused, or joined to
    a retrain that waited already, whose id is ``arguments["joins"]``."""

    id: int
    model: str
    key: str
    action: str
    by: str
    at: datetime
    arguments: dict[str, Any]
    status: str
    note: str
    finished: datetime | None


@dataclass(frozen=True, slots=True)
class Snooze:
    """Alarms of an episode that stay quiet until an instant of the clock on the wall."""

    episode: str
    since: datetime
    until: datetime
    by: str


class Orders(Database):
    """What was ordered, and what waits to be done."""

    def order(self, model: str, action: str, arguments: dict[str, Any], *, key: str, by: str
              ) -> tuple[Order, bool]:
        """The order, and whether it is new: the same key again is the same order, for good.

        One retrain waits per model at a time; another one is that one, which a row of its own says.
        """
        said = {"model": model, "key": key, "action": action, "by": by, "at": self._clock()}
        with self._write() as write:
            made = write.fresh(orders, **said, status="asked", arguments=dumps(arguments), note="")
            query = select(orders).where(orders.c.model == model)
            row = write.connection.execute(query.where(
                orders.c.id == made if made is not None else orders.c.key == key)
            ).mappings().one_or_none()
            if row is None:
                row = write.connection.execute(query.where(
                    orders.c.status == "asked", orders.c.action == "retrain")).mappings().one()
                write.fresh(orders, **said, status="joined", finished=said["at"],
                            arguments=dumps({**arguments, "joins": row["id"]}),
                            note=f"order {row['id']} of {row['by']} waited already")
            found = _read(row)
        return self.joined(found), made is not None

    def ordered_as(self, model: str, key: str) -> Order | None:
        """What was ordered under that key."""
        found = self._orders(select(orders).where(orders.c.model == model, orders.c.key == key))
        return found[0] if found else None

    def joined(self, order: Order) -> Order:
        """The order that this one joined; itself where it joined none."""
        if order.status != "joined":
            return order
        return self._orders(select(orders).where(orders.c.id == order.arguments["joins"]))[0]

    def settle_order(self, order_id: int, status: str, note: str) -> bool:
        """Whether this call ended the order; once ended it stays so."""
        with self._write() as write:
            return write.run(update(orders)
                             .where(orders.c.id == order_id, orders.c.status == "asked")
                             .values(status=status, note=note, finished=self._clock())) == 1

    def ordered(self) -> set[str]:
        """Models of which something waits to be done."""
        query = select(orders.c.model).where(orders.c.status == "asked").distinct()
        with self._read() as connection:
            return set(connection.execute(query).scalars())

    def waiting_orders(self, model: str) -> list[Order]:
        """What waits to be done for the model, oldest first."""
        return self._orders(select(orders).where(
            orders.c.model == model, orders.c.status == "asked").order_by(orders.c.id))

    def orders(self, model: str, newest: int | None = None) -> list[Order]:
        """Everything that was ordered of the model, newest first."""
        return self._orders(select(orders).where(orders.c.model == model)
                            .order_by(orders.c.id.desc()), newest)

    @answerable
    def snoozes(self) -> dict[str, Snooze]:
        """The newest word on quiet of every model, whether it is over or not."""
        last = (select(func.max(orders.c.id)).where(
            orders.c.action == "snooze", orders.c.status == "done").group_by(orders.c.model))
        return {item.model: Snooze(
            item.arguments["episode"], item.at, snoozed_until(item), item.by)
            for item in self._orders(select(orders).where(orders.c.id.in_(last)))}

    def snooze(self, model: str, episode: str | None, at: datetime) -> Snooze | None:
        """What keeps the episode quiet at that instant; None where nothing does."""
        found = self.snoozes().get(model) if episode is not None else None
        quiet = found is not None and found.episode == episode and at < found.until
        return found if quiet else None

    def _orders(self, query: Select[Any], newest: int | None = None) -> list[Order]:
        return [_read(row) for row in self._rows(query, newest)]


def snoozed_until(order: Order) -> datetime:
    """When the quiet that was ordered is over."""
    return order.at.replace(microsecond=0) + timedelta(seconds=order.arguments["seconds"])


def _read(row: RowMapping) -> Order:
    return Order(row["id"], row["model"], row["key"], row["action"], row["by"], row["at"],
                 json.loads(row["arguments"]), row["status"], row["note"], row["finished"])
