"""Errands: requests for candidates, intended alias moves, and reports. Each ends once."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, Select, func, select, update

from monitor.canonical import dumps
from monitor.database import Database
from monitor.request import Request
from monitor.schema import decisions, deployments, intents, reports, requests
from monitor.together import answerable


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A request and what became of it: ``open``, or the status it was concluded with."""

    request: Request
    status: str
    attempts: int
    created: datetime
    finished: datetime | None
    outcome: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Intent:
    """An alias move that was written down before it is made; ``result`` is None until then."""

    id: int
    model: str
    alias: str
    to: str
    expected: str | None
    at: datetime
    why: str
    result: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """Where the HTML report of a verdict is: in MLflow, and as a file."""

    id: int
    model: str
    verdict_id: int
    uri: str
    path: str
    created: datetime


class Errands(Database):
    """What was asked of others, and their answers."""

    def deployment(self) -> str:
        """What tells this store's requests from those of others that share its MLflow: eight
        hexadecimal digits, drawn once. A copy of the store has the same."""
        query = select(deployments.c.name)
        with self._read() as connection:
            found = connection.execute(query).scalar()
        if found is None:
            with self._write() as write:  # no change that anybody waits for
                write.connection.execute(write.insert(deployments).values(
                    id=1, name=secrets.token_hex(4)).on_conflict_do_nothing())
                found = write.connection.execute(query).scalar_one()
        return str(found)

    def request(self, request: Request, pending_id: int | None = None) -> bool:
        """Whether the request was taken: one may be open per model, and ids never repeat.

        Settles the pending decision that it carries out in the same transaction, and is
        refused where that decision was settled already.
        """
        with self._write(request.model) as write:
            if pending_id is not None:
                query = select(decisions.c.status).where(decisions.c.id == pending_id)
                if write.connection.execute(query).scalar_one_or_none() != "pending":
                    return False
            taken = write.fresh(
                requests, request_id=request.request_id, model=request.model, kind=request.kind,
                json=request.to_json(), status="open", attempts=0, created=self._clock())
            if taken is not None and pending_id is not None:
                write.run(update(decisions).where(decisions.c.id == pending_id)
                          .values(status="requested", note=request.request_id))
            return taken is not None

    def requests(self, model: str, newest: int | None = None) -> list[RequestRow]:
        """Requests of the model, newest first."""
        query = (select(requests).where(requests.c.model == model)
                 .order_by(requests.c.id.desc()))
        return self._requests(query, newest)

    def scored(self, model: str, purpose: str) -> RequestRow | None:
        """The newest request that scores versions for this purpose, whatever became of it."""
        found = self.scorings(model, purpose, newest=1)
        return found[0] if found else None

    @answerable
    def scorings(self, model: str, purpose: str, *, newest: int, status: str | None = None
                 ) -> list[RequestRow]:
        """Requests that score versions for this purpose, newest first; of one status, or all."""
        query = select(requests).where(
            requests.c.model == model, requests.c.kind == "score",
            requests.c.request_id.startswith(f"{model}-{purpose}-", autoescape=True))
        if status is not None:
            query = query.where(requests.c.status == status)
        return self._requests(query.order_by(requests.c.id.desc()), newest)

    @answerable
    def retrained(self, model: str) -> RequestRow | None:
        """The newest request for a candidate that has ended."""
        found = self._requests(select(requests).where(
            requests.c.model == model, requests.c.kind != "score", requests.c.status != "open")
            .order_by(requests.c.id.desc()), 1)
        return found[0] if found else None

    @answerable
    def open_request(self, model: str) -> RequestRow | None:
        """The request that is being worked on."""
        found = self._requests(select(requests).where(requests.c.model == model,
                                                      requests.c.status == "open"))
        return found[0] if found else None

    def attempt(self, request_id: str) -> int:
        """How often the request's process was started, this time included; 0: not open."""
        with self._write() as write:
            write.about(requests, requests.c.request_id == request_id)
            write.run(update(requests)
                      .where(requests.c.request_id == request_id, requests.c.status == "open")
                      .values(attempts=requests.c.attempts + 1))
            query = select(requests.c.attempts).where(requests.c.request_id == request_id,
                                                      requests.c.status == "open")
            return write.connection.execute(query).scalar_one_or_none() or 0

    def conclude(self, request_id: str, status: str, outcome: dict[str, Any]) -> bool:
        """Whether this call ended the request; once ended it stays so."""
        with self._write() as write:
            write.about(requests, requests.c.request_id == request_id)
            return write.run(update(requests)
                             .where(requests.c.request_id == request_id,
                                    requests.c.status == "open")
                             .values(status=status, outcome=dumps(outcome),
                                     finished=self._clock())) == 1

    def request_totals(self) -> dict[tuple[str, str, str], int]:
        """How many requests there were, by (model, kind, status)."""
        columns = (requests.c.model, requests.c.kind, requests.c.status)
        query = select(*columns, func.count()).group_by(*columns)
        with self._read() as connection:
            return {(model, kind, status): count
                    for model, kind, status, count in connection.execute(query)}

    def intend(self, model: str, alias: str, to: str, expected: str | None, at: datetime,
               why: str) -> int:
        """The id of the intent to move ``alias`` from ``expected`` to version ``to``.

        One is open per alias: the same one again is the same row, another one supersedes it.
        """
        open_one = (intents.c.model == model) & (intents.c.alias == alias) & (
            intents.c.result.is_(None))
        with self._write(model) as write:
            row = write.connection.execute(select(intents).where(open_one)).one_or_none()
            if row is not None and (row.target, row.expected) == (to, expected):
                return int(row.id)
            write.run(update(intents).where(open_one).values(result="superseded"))
            made = write.fresh(intents, model=model, alias=alias, target=to, expected=expected,
                               at=at, why=why)
            if made is None:  # PostgreSQL: another writer's intent was committed just now
                made = write.connection.execute(select(intents.c.id).where(open_one)).scalar_one()
            return made

    def intents(self, model: str, open_only: bool = True) -> list[Intent]:
        """Intended alias moves, oldest first."""
        names = {"to": "target"}
        columns = [intents.c[names.get(item.name, item.name)] for item in fields(Intent)]
        query = select(*columns).where(intents.c.model == model).order_by(intents.c.id)
        if open_only:
            query = query.where(intents.c.result.is_(None))
        with self._read() as connection:
            return [Intent(*row) for row in connection.execute(query)]

    def finish_intent(self, intent_id: int, result: str) -> bool:
        """Whether this call finished the intent; once finished it stays so."""
        with self._write() as write:
            write.about(intents, intents.c.id == intent_id)
            return write.run(update(intents)
                             .where(intents.c.id == intent_id, intents.c.result.is_(None))
                             .values(result=result)) == 1

    def save_report(self, model: str, verdict_id: int, uri: str, path: str) -> int:
        """The id of the verdict's report; a verdict has one, the first stays."""
        with self._write(model) as write:
            made = write.fresh(reports, model=model, verdict_id=verdict_id, uri=uri, path=path,
                               created=self._clock())
            if made is None:
                query = select(reports.c.id).where(reports.c.verdict_id == verdict_id)
                made = write.connection.execute(query).scalar_one()
            return made

    @answerable
    def reports(self, model: str, newest: int | None = None) -> list[Report]:
        """Reports of the model, newest first."""
        query = (select(*(reports.c[item.name] for item in fields(Report)))
                 .where(reports.c.model == model).order_by(reports.c.id.desc()))
        return [Report(*(row[item.name] for item in fields(Report)))
                for row in self._rows(query, newest)]

    def report(self, report_id: int) -> Report | None:
        """The report of that id."""
        query = (select(*(reports.c[item.name] for item in fields(Report)))
                 .where(reports.c.id == report_id))
        with self._read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else Report(*row)

    def _requests(self, query: Select[Any], newest: int | None = None) -> list[RequestRow]:
        return [_request(row) for row in self._rows(query, newest)]


def _request(row: RowMapping) -> RequestRow:
    return RequestRow(Request.from_json(row["json"]), row["status"], row["attempts"],
                      row["created"], row["finished"],
                      None if row["outcome"] is None else json.loads(row["outcome"]))
