"""History: the fold of verdicts into a model's state, one conditional transaction per step."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, func, null, select, update

from monitor.canonical import dumps
from monitor.database import Database, Write
from monitor.errors import ConflictError, HoldfastError
from monitor.judge import Verdict
from monitor.lines import COLUMNS, PARTED, joined, line, parted
from monitor.schema import decisions, episodes, models, tallies, transitions, verdicts
from monitor.state import Action, Decision, ModelState
from monitor.together import answerable
from monitor.window import Window, isoformat, parse_time

CARRIED_OUT: frozenset[Action] = frozenset(
    {"retrain", "promote", "compare", "roll_back", "announce"})
"""Actions that wait as a pending decision until somebody did them."""

READ = tuple(verdicts.c[name] for name in ("id", *COLUMNS, "line", "detail", "form"))
"""Columns that the line of a verdict is read from; ``BRIEF`` without its statistics."""
BRIEF = (*READ[:-2], null().label("detail"), READ[-1])

Folded = tuple[Verdict, str, str | None, Decision]
"""A verdict with the phase and the episode that it led to, and the decision it asked for."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The state as stored, its number for the next ``advance``, and how far the fold has come."""

    state: ModelState
    number: int
    folded_to: datetime | None


@dataclass(frozen=True, slots=True)
class Row:
    """A stored verdict: ``line`` is the JSON object that ``replay`` prints."""

    id: int
    line: dict[str, Any]


def row_of(found: RowMapping) -> Row:
    """The verdict of a row of ``READ`` or ``BRIEF``."""
    columns = {name: found[name] for name in COLUMNS}
    return Row(found["id"], joined(columns, found["line"], found["detail"], found["form"]))


@dataclass(frozen=True, slots=True)
class Pending:
    """A decision that still has to be carried out."""

    id: int
    known_at: datetime
    decision: Decision


@dataclass(frozen=True, slots=True)
class Settled:
    """A decision and what became of it: pending, superseded, or as ``settle`` was told."""

    id: int
    known_at: datetime
    action: str
    reason: str
    status: str
    note: str


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of phase, with its cause in words."""

    at: datetime
    before: str
    after: str
    cause: str


@dataclass(frozen=True, slots=True)
class Episode:
    """A stretch of drift or degradation; ``closed`` is None while it lasts.

    ``peak`` is the largest severity of its drift, in the window that starts at ``peak_at``; None
    where only the quality fell.
    """

    name: str
    opened: datetime
    closed: datetime | None
    reason: str
    peak: float | None = None
    peak_at: datetime | None = None


class History(Database):
    """Verdicts, the state that they lead to, and what it asks for."""

    @answerable
    def recorded(self, model: str) -> Recorded:
        """The model's state; the first one, with number 0, where nothing is stored yet."""
        found = self._rows(select(models).where(models.c.name == model))
        return recorded_of(found[0]) if found else Recorded(ModelState(), 0, None)

    def advance(self, model: str, number: int, state: ModelState, *,
                folded_to: datetime | None = None, verdicts: Sequence[Folded] = (),
                decision: Decision | None = None, at: datetime, cause: str) -> int:
        """The number after one step of the fold, written as one transaction.

        ``number`` is the one that ``recorded`` told: ``ConflictError`` when another writer
        advanced the model since. Verdicts, transitions, episodes and the pending decision
        that follow are rows of the same transaction; identical verdicts are kept once.
        """
        with self._write(model) as write:
            before = _recorded(write.connection, model)
            _claim(write, model, before, number, state, folded_to)
            for folded in verdicts:
                _save(write, folded)
            steps = [(item.known_at, phase, episode,
                      item.reason if made.action == "none" else made.reason, item.reason)
                     for item, phase, episode, made in verdicts
                     if not item.segment or made.action == "alarm"]
            _trace(write, model, number + 1, before.state,
                   [*steps, (at, state.phase, state.episode, cause, cause)])
            if state.peak_at is not None:
                write.run(update(episodes).where(
                    episodes.c.model == model, episodes.c.name == state.peak_of)
                    .values(peak=state.peak, peak_at=state.peak_at))
            made = [(item.known_at, one) for item, _, _, one in verdicts]
            _wait(write, model, [*made, *([(at, decision)] if decision else [])])
        return number + 1

    @answerable
    def verdicts(self, model: str, *, span: Window | None = None, segment: str | None = None,
                 newest: int | None = None, latest_revision: bool = False) -> list[Row]:
        """Verdicts in the order of the fold, oldest first; windows that start within ``span``.

        ``newest`` keeps the last so many; ``latest_revision`` only each window's last word.
        """
        query = select(*READ).where(verdicts.c.model == model)
        if span is not None:
            query = query.where(verdicts.c.start >= span.start, verdicts.c.start < span.end)
        if segment is not None:
            query = query.where(verdicts.c.segment == segment)
        if latest_revision:
            later = verdicts.alias()
            keys = ("model", "segment", "version", "start", "end")
            query = query.where(~select(later.c.id).where(
                *(later.c[key] == verdicts.c[key] for key in keys),
                later.c.revision > verdicts.c.revision).exists())
        order = [verdicts.c[key] for key in ("known_at", "end", "revision", "segment", "version")]
        query = query.order_by(*(column.desc() for column in order))
        return [row_of(row) for row in reversed(self._rows(query, newest))]

    def revisions(self, model: str, span: Window) -> dict[tuple[str, str, datetime], int]:
        """The last revision of windows that start within ``span``, by segment, version, start."""
        columns = (verdicts.c.segment, verdicts.c.version, verdicts.c.start)
        query = (select(*columns, func.max(verdicts.c.revision)).where(
            verdicts.c.model == model, verdicts.c.start >= span.start, verdicts.c.start < span.end)
            .group_by(*columns))
        with self._read() as connection:
            return {(segment, version, start): revision
                    for segment, version, start, revision in connection.execute(query)}

    def verdict(self, row_id: int) -> Row | None:
        """The verdict of that row."""
        return self._one(select(*READ).where(verdicts.c.id == row_id))

    @answerable
    def measured(self, model: str, version: str) -> Row | None:
        """The newest verdict on all rows that says how well ``version`` performs."""
        return self._one(
            select(*READ).where(verdicts.c.model == model, verdicts.c.segment == "",
                                verdicts.c.version == version, verdicts.c.measured.is_(True))
            .order_by(verdicts.c.known_at.desc(), verdicts.c.end.desc(),
                      verdicts.c.revision.desc()))

    @answerable
    def overdue(self, model: str, version: str, until: datetime) -> Row | None:
        """The last word on the newest window of ``version`` that starts at ``until`` or before."""
        return self._one(
            select(*READ).where(verdicts.c.model == model, verdicts.c.segment == "",
                                verdicts.c.version == version, verdicts.c.start <= until)
            .order_by(verdicts.c.start.desc(), verdicts.c.end.desc(),
                      verdicts.c.revision.desc()))

    def _one(self, query: Select[Any]) -> Row | None:
        found = self._rows(query, 1)
        return row_of(found[0]) if found else None

    def beside(self, line: dict[str, Any]) -> list[Row]:
        """The verdicts on segments that were made with this one on all rows, by segment."""
        start = parse_time(line["start"])
        rows = self.verdicts(line["model"], span=Window(start, start + timedelta(microseconds=1)))
        same = ("version", "known_at", "end")
        return [row for row in rows if row.line["segment"]
                and all(row.line[key] == line[key] for key in same)]

    @answerable
    def pending(self, model: str) -> Pending | None:
        """The decision that waits to be carried out: the newest one, older ones are superseded."""
        query = select(decisions).where(decisions.c.model == model,
                                        decisions.c.status == "pending")
        found = self._rows(query)
        return pending_of(found[0]) if found else None

    def settle(self, pending_id: int, status: str, note: str = "") -> bool:
        """Whether this call settled the pending decision; once settled it stays so."""
        with self._write() as write:
            write.about(decisions, decisions.c.id == pending_id)
            return write.run(update(decisions)
                             .where(decisions.c.id == pending_id, decisions.c.status == "pending")
                             .values(status=status, note=note)) == 1

    def decisions(self, model: str, newest: int | None = None) -> list[Settled]:
        """Decisions that had to be carried out, and what became of them, newest first."""
        columns = [decisions.c[item.name] for item in fields(Settled)]
        query = (select(*columns).where(decisions.c.model == model)
                 .order_by(decisions.c.id.desc()).limit(newest))
        with self._read() as connection:
            return [Settled(*row) for row in connection.execute(query)]

    def decision_times(self) -> dict[tuple[str, str], datetime]:
        """When the newest decision that had to be carried out was made, by (model, action)."""
        columns = (decisions.c.model, decisions.c.action)
        query = select(*columns, func.max(decisions.c.known_at)).group_by(*columns)
        with self._read() as connection:
            return {(model, action): at for model, action, at in connection.execute(query)}

    @answerable
    def transitions(self, model: str, newest: int | None = None) -> list[Transition]:
        """Changes of phase, newest first."""
        columns = [transitions.c[item.name] for item in fields(Transition)]
        query = (select(*columns).where(transitions.c.model == model)
                 .order_by(transitions.c.id.desc()))
        return [Transition(*(row[item.name] for item in fields(Transition)))
                for row in self._rows(query, newest)]

    @answerable
    def episodes(self, model: str, newest: int | None = None) -> list[Episode]:
        """Stretches of drift or degradation, newest first."""
        columns = [episodes.c[item.name] for item in fields(Episode)]
        query = (select(*columns).where(episodes.c.model == model)
                 .order_by(episodes.c.id.desc()))
        return [Episode(*(row[item.name] for item in fields(Episode)))
                for row in self._rows(query, newest)]

    def verdict_totals(self) -> dict[tuple[str, str], int]:
        """How many verdicts on all rows were made, by (model, verdict); they only grow."""
        query = select(tallies.c.model, tallies.c.kind, tallies.c.made)
        with self._read() as connection:
            return {(model, kind): made for model, kind, made in connection.execute(query)}

    def episode_totals(self) -> dict[str, int]:
        """How many episodes were opened, by model; they only grow."""
        query = select(episodes.c.model, func.count().label("opened")).group_by(
            episodes.c.model)
        with self._read() as connection:
            return {row.model: row.opened for row in connection.execute(query)}


def pending_of(row: RowMapping) -> Pending:
    """The pending decision of a row."""
    return Pending(row["id"], row["known_at"],
                   Decision(row["action"], row["reason"], json.loads(row["evidence"])))


def recorded_of(row: RowMapping) -> Recorded:
    """The state that a model's row holds."""
    return Recorded(_state(row), row["number"], row["folded_to"])


def _recorded(connection: Connection, model: str) -> Recorded:
    row = connection.execute(select(models).where(models.c.name == model)).mappings().one_or_none()
    return Recorded(ModelState(), 0, None) if row is None else recorded_of(row)


def _state(row: RowMapping) -> ModelState:
    known = {item.name for item in fields(ModelState)}
    found = {key: value for key, value in json.loads(row["state"]).items() if key in known}
    for key, value in found.items():
        if isinstance(value, dict):
            found[key] = parse_time(value["time"])
        elif isinstance(value, list):
            found[key] = tuple(value)
    return ModelState(**found)


def write_state(state: ModelState) -> str:
    """The state as JSON; instants are marked so that they are read back as such."""
    return dumps({key: {"time": isoformat(value)} if isinstance(value, datetime) else value
                  for key, value in asdict(state).items()})


def _claim(write: Write, model: str, before: Recorded, number: int, state: ModelState,
           folded_to: datetime | None) -> None:
    """Advance the model's row from ``number``, or lose to whoever did it first."""
    values = {"number": number + 1, "state": write_state(state),
              "folded_to": folded_to or before.folded_to}
    won = before.number == number and write.run(
        update(models).where(models.c.name == model, models.c.number == number).values(**values))
    if not won and number == 0:
        won = write.run(write.insert(models).values(name=model, **values)
                        .on_conflict_do_nothing())
    if not won:
        raise ConflictError(f"{model}: another writer advanced it past step {number}; "
                            "read it again and decide anew")


def _save(write: Write, folded: Folded) -> None:
    verdict, phase, episode, decision = folded
    told = line(verdict, phase=phase, episode=episode, decision=decision)
    text, detail = parted(told)
    key = {"model": verdict.model, "segment": verdict.segment, "version": verdict.version,
           "start": verdict.window.start, "end": verdict.window.end,
           "revision": verdict.revision}
    measured = any(item.value is not None for item in verdict.performance)
    if write.fresh(verdicts, **key, known_at=verdict.known_at, kind=verdict.kind,
                   measured=measured, line=text, detail=detail, form=PARTED) is not None:
        if not verdict.segment:
            made = write.insert(tallies).values(model=verdict.model, kind=verdict.kind, made=1)
            write.run(made.on_conflict_do_update(
                index_elements=[tallies.c.model, tallies.c.kind],
                set_={"made": tallies.c.made + 1}))
        return
    standing = write.connection.execute(select(*READ).where(
        *(verdicts.c[name] == value for name, value in key.items()))).mappings().one()
    if standing["line"] != text and row_of(standing).line != told:
        raise HoldfastError(f"{verdict.model}: another verdict stands for {verdict.window} "
                            f"revision {verdict.revision}; verdicts are never rewritten, new "
                            "evidence is a further revision")


def _trace(write: Write, model: str, number: int, state: ModelState,
           steps: Iterable[tuple[datetime, str, str | None, str, str]]) -> None:
    """Write down each change of phase and of episode along the steps."""
    phase, episode = str(state.phase), state.episode
    for at, next_phase, next_episode, cause, reason in steps:
        if next_phase != phase:
            write.fresh(transitions, model=model, number=number, at=at, before=phase,
                        after=next_phase, cause=cause)
        if next_episode != episode:
            write.run(update(episodes).where(episodes.c.model == model,
                                             episodes.c.closed.is_(None)).values(closed=at))
            if next_episode is not None:
                write.fresh(episodes, model=model, name=next_episode, opened=at, reason=reason)
        phase, episode = next_phase, next_episode


def _wait(write: Write, model: str, made: Iterable[tuple[datetime, Decision]]) -> None:
    """Let the last decision that must be carried out wait; it supersedes older ones."""
    for at, decision in made:
        if decision.action not in CARRIED_OUT:
            continue
        write.run(update(decisions)
                  .where(decisions.c.model == model, decisions.c.status == "pending")
                  .values(status="superseded", note=f"by {decision.action} at {isoformat(at)}"))
        write.fresh(decisions, model=model, known_at=at, action=decision.action,
                    reason=decision.reason, evidence=dumps(decision.evidence),
                    status="pending", note="", token=write.token)
