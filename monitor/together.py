"""Together: what many pieces of work ask of the store becomes few statements.

A page about 300 models is the work of a page about one, 300 times: the same functions, which ask
one question after the other. Here they go side by side: each as far as its first question that has
no answer yet, then all these questions are asked at once, a kind of question in one statement per
``MOST`` of them, and then each begins anew and finds the answers so far. So the number of
statements follows from the longest way through the work and not from how much of it there is.
Only what does nothing but read may be run so.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar, cast

from sqlalchemy import Connection, RowMapping, Select, literal, select, union_all

MOST = 25
"""Pieces of work that go side by side, and questions that one statement asks, at most."""
MANY = 2**31 - 1
"""Rows of an answer at most; a part of a statement keeps its order only where it has a limit."""

Key = tuple[str, tuple[Hashable, ...], tuple[tuple[str, Hashable], ...]]
"""A question: the method, its arguments, and those with names."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and how the answer is made of the rows of its query."""

    key: Key
    query: Select[Any]
    read: Callable[[], Any]

    @property
    def kind(self) -> Hashable:
        """Questions of one kind differ in values alone."""
        name, values, named = self.key
        return name, len(values), tuple(key for key, _ in named)


class Waiting(Exception):
    """Work waits for an answer to ``query``."""

    def __init__(self, query: Select[Any]) -> None:
        super().__init__("a question outside of what is answerable")
        self.query = query
        self.question: Question | None = None


class Answers:
    """What has been answered so far, by question."""

    def __init__(self) -> None:
        self._known: dict[Key, Any] = {}
        self._given: Sequence[RowMapping] | None = None

    def get(self, key: Key, read: Callable[[], Any]) -> Any:
        """The answer; where there is none yet, ``Waiting`` with the question."""
        if key not in self._known:
            try:
                self._known[key] = read()
            except Waiting as found:
                if found.question is None:  # else a reading inside of this one asks
                    found.question = Question(key, found.query, read)
                raise
        return self._known[key]

    def rows(self, query: Select[Any]) -> Sequence[RowMapping]:
        """The rows of the answer that is being given."""
        given, self._given = self._given, None
        if given is None:
            raise Waiting(query)
        return given

    def give(self, question: Question, rows: Sequence[RowMapping]) -> None:
        """Let the reading that waited make its answer of these rows."""
        self._given = rows
        self._known[question.key] = question.read()


class Askable(Protocol):
    """What can be asked together with others."""

    _answers: Answers | None

    def ahead(self) -> Self:
        """The same, but what is ``answerable`` waits for its answer."""

    def reading(self) -> Any:
        """A connection to read by, as a context."""


Asked = TypeVar("Asked", bound=Askable)
Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def answerable(read: Callable[Concatenate[Asked, Given], Answer]
               ) -> Callable[Concatenate[Asked, Given], Answer]:
    """A method that reads the rows of one query, which may be asked together with others."""

    @wraps(read)
    def answered(self: Asked, *args: Given.args, **named: Given.kwargs) -> Answer:
        if self._answers is None:
            return read(self, *args, **named)
        key = (read.__name__, args, tuple(named.items()))
        found: Answer = self._answers.get(key, lambda: read(self, *args, **named))
        return found

    return cast(Callable[Concatenate[Asked, Given], Answer], answered)


def together(store: Asked, works: Sequence[Callable[[Asked], Answer]]) -> list[Answer]:
    """What each of these finds out, in their order."""
    if len(works) == 1:
        return [works[0](store)]
    return [answer for start in range(0, len(works), MOST)
            for answer in _beside(store, works[start : start + MOST])]


def _beside(store: Asked, works: Sequence[Callable[[Asked], Answer]]) -> list[Answer]:
    view = store.ahead()
    assert view._answers is not None
    found: dict[int, Answer] = {}
    while len(found) < len(works):
        waits: dict[Key, Question] = {}
        for place, work in enumerate(works):
            if place not in found:
                try:
                    found[place] = work(view)
                except Waiting as told:
                    if told.question is None:
                        raise
                    waits[told.question.key] = told.question
        for part in _kinds(waits.values()):
            with store.reading() as connection:
                answers = _asked(connection, part)
            for question, rows in zip(part, answers, strict=True):
                view._answers.give(question, rows)
    return [found[place] for place in range(len(works))]


def _kinds(questions: Iterable[Question]) -> Iterable[list[Question]]:
    """Questions of one kind are one statement."""
    kinds: dict[Hashable, list[Question]] = {}
    for question in questions:
        kinds.setdefault(question.kind, []).append(question)
    return kinds.values()


def _asked(connection: Connection, part: Sequence[Question]) -> list[list[RowMapping]]:
    """The rows of each of these questions, in its order."""
    found: list[list[RowMapping]] = [[] for _ in part]
    made = [select(literal(place).label("asked_at"), question.query.subquery())
            for place, question in enumerate(part)]
    for row in connection.execute(union_all(*made)).mappings().all():
        found[row["asked_at"]].append(row)
    return found
