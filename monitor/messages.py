"""Messages: what people are to be told, as rows; one per key, written down before it is sent."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import func, select, update

from monitor.database import Database
from monitor.schema import messages


@dataclass(frozen=True, slots=True)
class Message:
    """What still has to be told to the ``place``-th address; ``failures`` so far."""

    id: int
    model: str
    key: str
    place: int
    title: str
    body: str
    created: datetime
    failures: int


class Messages(Database):
    """What was told, and what waits to be."""

    def write_message(self, model: str, key: str, place: int, *, title: str, body: str) -> bool:
        """Whether the message is new: one per key and address, ever."""
        with self._write(model) as write:
            return write.fresh(messages, model=model, key=key, place=place, title=title, body=body,
                               created=self._clock(), failures=0) is not None

    def unsent(self) -> list[Message]:
        """Messages that were not sent yet, oldest first."""
        query = (select(*(messages.c[item.name] for item in fields(Message)))
                 .where(messages.c.sent.is_(None)).order_by(messages.c.id))
        with self._read() as connection:
            return [Message(*row) for row in connection.execute(query)]

    def message_sent(self, ids: list[int], at: datetime) -> None:
        """They arrived."""
        with self._write() as write:
            write.about(messages, messages.c.id.in_(ids))
            write.run(update(messages).where(messages.c.id.in_(ids), messages.c.sent.is_(None))
                      .values(sent=at))

    def message_failed(self, ids: list[int]) -> None:
        """They did not arrive this time."""
        with self._write() as write:
            write.about(messages, messages.c.id.in_(ids))
            write.run(update(messages).where(messages.c.id.in_(ids))
                      .values(failures=messages.c.failures + 1))

    def message_totals(self) -> dict[str, tuple[int, int, int]]:
        """(sent, failed attempts, waiting) by model."""
        query = select(messages.c.model, func.count(messages.c.sent),
                       func.sum(messages.c.failures), func.count()).group_by(messages.c.model)
        with self._read() as connection:
            return {model: (sent, int(failures), count - sent)
                    for model, sent, failures, count in connection.execute(query)}
