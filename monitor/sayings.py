"""Sayings: what people said of windows, as rows. None is ever deleted: the last word counts."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping, select

from monitor.acknowledgement import Acknowledgement, in_force
from monitor.canonical import dumps
from monitor.database import Database
from monitor.schema import acknowledgements as table
from monitor.together import answerable
from monitor.window import Window


class Sayings(Database):
    """Acknowledgements of faults and of expected changes."""

    def acknowledge(self, model: str, said: Acknowledgement) -> bool:
        """Whether this is news: False where the last word on the stretch says so already."""
        with self._write(model) as write:
            last = _last(write.connection, model, said.span)
            if last is not None and (last[1].said, last[1].rebaseline, last[1].note) == (
                    said.said, said.rebaseline, said.note):
                return False
            return write.fresh(
                table, model=model, start=said.span.start, end=said.span.end,
                ordinal=0 if last is None else last[0] + 1, said=said.said,
                rebaseline=said.rebaseline, note=said.note, at=said.at,
                faults=dumps(said.faults)) is not None

    def in_force(self, model: str) -> list[Acknowledgement]:
        """The last word on every stretch, oldest first."""
        rows = self.acknowledgements(model)
        return in_force(rows, rows[-1].at + timedelta(microseconds=1)) if rows else []

    @answerable
    def acknowledgements(self, model: str) -> list[Acknowledgement]:
        """Everything that was ever said, in the order in which it became known."""
        query = select(table).where(table.c.model == model).order_by(table.c.at, table.c.id)
        return [_read(row) for row in self._rows(query)]


def _last(connection: Connection, model: str, span: Window) -> tuple[int, Acknowledgement] | None:
    query = (select(table).where(table.c.model == model, table.c.start == span.start,
                                 table.c.end == span.end)
             .order_by(table.c.ordinal.desc()).limit(1))
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.ordinal, _read(row._mapping))


def _read(told: RowMapping) -> Acknowledgement:
    at: datetime = told["at"]
    return Acknowledgement(Window(told["start"], told["end"]), told["said"], told["rebaseline"],
                           told["note"], at,
                           tuple((check, column, value)
                                 for check, column, value in json.loads(told["faults"])))
