"""Source: the only way to a prediction log. Rows in, counts out; a sample when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from monitor.bins import Bins, ColumnSummary
from monitor.cells import kind_of
from monitor.changes import Change, change, held
from monitor.config import Limits, Model
from monitor.differences import differences
from monitor.engine import MisfitError
from monitor.increments import Increment, Increments
from monitor.quantiles import Answer as Quantiles
from monitor.quantiles import quantiles
from monitor.sampling import Drawn
from monitor.summary import summaries
from monitor.tables import TableKey, Tables
from monitor.traces import span
from monitor.units import Suspect
from monitor.window import Window

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Change", "Increment", "Source"]

Answer = TypeVar("Answer")


class Source:
    """One model's log; a context manager.

    Every method answers within ``limits.deadline`` or raises ``SourceError``. With
    ``reference=True`` it is the file ``reference.source`` in place of the log: columns that it
    lacks are then no fault, and without a timestamp all of its rows lie at the epoch.
    """

    def __init__(self, model: Model, limits: Limits, *, reference: bool = False) -> None:
        self.model = model
        self._tables = Tables(model, limits, reference=reference)
        self._engine = self._tables.engine

    def __enter__(self) -> Source:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Hand the connection back."""
        self._engine.close()

    def _answer(self, what: str, work: Callable[[], Answer]) -> Answer:
        """What ``work`` gives within the deadline; once more when text files misled it."""
        with span("query", model=self.model.name, what=what), self._engine.call(what):
            try:
                return work()
            except MisfitError:
                if not self._tables.loosen():
                    raise
                return work()

    def schema(self) -> dict[str, str]:
        """What each logged column is: numeric, categorical, boolean, datetime or other."""
        names = {*self.model.log.features.categorical, *self.model.privacy.hash}
        columns = self._answer("reading the columns", self._tables.columns)
        return {name: "categorical" if name in names else kind_of(dtype)
                for name, dtype in columns.items()}

    def columns(self, part: TableKey) -> dict[str, str]:
        """What each column of one table is, whatever its role: for those who check roles."""
        columns = self._answer("reading the columns", lambda: self._tables.held(part))
        return {name: kind_of(dtype) for name, dtype in columns.items()}

    def features(self) -> list[str]:
        """The model's inputs after include, exclude, roles and privacy."""
        return self._answer("reading the columns", self._tables.inputs)

    def span(self) -> Window | None:
        """The event time that the log holds, to the pane; None when it holds no row."""
        return self._answer("looking for the first and last row", lambda: held(self._tables))

    def changed(self, previous: str | None, span: Window | None = None, *,
                since: datetime | None = None) -> Change:
        """A fingerprint of the log and its labels, and the event time that may have changed.

        Folders with dates are looked at near ``span`` alone. ``since`` is the checkpoint that
        counts are complete up to.
        """
        return self._answer("looking for changes", lambda: change(
            self._tables, previous, span, since=since))

    def describe(self, span: Window | None, exclude: Sequence[Window] = (),
                 known_by: datetime | None = None) -> dict[str, ColumnSummary]:
        """A summary of every input and output within the span, keyed as bins are.

        Of all rows, or of those that had arrived before ``known_by``.
        """
        return self._answer("describing the columns",
                            lambda: summaries(self._tables, span, exclude, known_by))

    def count(self, bins: Bins, span: Window, *, since: datetime | None, until: datetime
              ) -> list[Increment]:
        """What became known at checkpoints in ``(since, until]`` of the panes that touch ``span``.

        One increment per pane, checkpoint, version and segment ('' is all rows), oldest
        checkpoint first. Counts are exact; corrections of labels are negative.
        """
        return self._answer("counting", lambda: Increments(
            self._tables, bins, span, since=since, until=until).all())

    def schema_faults(self, bins: Bins, span: Window) -> list[tuple[Window, str, str]]:
        """(event time, column, what is wrong and what would be right) of columns that changed."""
        return self._answer("comparing the columns",
                            lambda: differences(self._tables, bins, span))

    def quantiles(self, suspects: Sequence[Suspect], span: Window, *, known_by: datetime
                  ) -> dict[Suspect, Quantiles]:
        """How many numbers each suspect holds within the span, and their exact quantiles."""
        return self._answer("looking where numbers lie", lambda: quantiles(
            self._tables, suspects, span, known_by=known_by))

    def sample(self, span: Window, *, known_by: datetime, limit: int, labelled: bool = False,
               versions: Sequence[str] | None = None) -> pd.DataFrame:
        """At most ``limit`` rows of what was known, drawn by hash: always the same ones.

        Columns: the inputs, ``_timestamp`` (UTC) and, where configured, ``_id``, ``_version``,
        ``_prediction``, ``_score`` (``_score_CLASS`` for several), ``_segment_COLUMN`` of segments
        that are no inputs, and ``_label`` as known then.
        """
        return self._answer("sampling", lambda: Drawn(
            self._tables, span, known_by=known_by, labelled=labelled,
            versions=versions).frame(limit))
