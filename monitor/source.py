"""Source: the only way to a prediction log. Rows in, counts out; a sample when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from monitor.bins import Bins, ColumnSummary
from monitor.cells import kind_of
from monitor.changes import Change, change, held
from monitor.config import Limits, Model
from monitor.differences import differences
from monitor.increments import Increment, Increments
from monitor.labelled import Labelled
from monitor.relation import EVERYTHING, FAR, Need, to_micros
from monitor.rows import filled
from monitor.sampling import Drawn
from monitor.summary import Asked, Summaries, kind_in
from monitor.tables import Tables
from monitor.window import Window

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Change", "Increment", "Source"]


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

    def schema(self) -> dict[str, str]:
        """What each logged column is: numeric, categorical, boolean, datetime or other."""
        with self._engine.call("reading the columns"):
            names = {*self.model.log.features.categorical, *self.model.privacy.hash}
            return {name: "categorical" if name in names else kind_of(dtype)
                    for name, dtype in self._tables.columns().items()}

    def features(self) -> list[str]:
        """The model's inputs after include, exclude, roles and privacy."""
        with self._engine.call("reading the columns"):
            return self._tables.inputs()

    def span(self) -> Window | None:
        """The event time that the log holds, to the pane; None when it holds no row."""
        with self._engine.call("looking for the first and last row"):
            return held(self._tables)

    def changed(self, previous: str | None) -> Change:
        """A fingerprint of the log and its labels, and the event time that may have changed."""
        with self._engine.call("looking for changes"):
            return change(self._tables, previous)

    def describe(self, span: Window | None, exclude: Sequence[Window] = ()
                 ) -> dict[str, ColumnSummary]:
        """A summary of every input and output within the span, keyed as bins are."""
        with self._engine.call("describing the columns"):
            span = span or held(self._tables)
            if span is None:
                return {}
            start, end = to_micros(span.start), to_micros(span.end)
            read = self._tables.read(Need(start, end), span, labels=EVERYTHING)
            if read is None:
                return {}
            bounds = {"start": start, "end": end, "until": FAR}

            def fetch(sql: str) -> list[tuple[Any, ...]]:
                return self._engine.fetch(filled(sql, read.relations, bounds))

            shape = read.shape
            asked = [Asked(name, name, "feature", kind_in(shape, name, "feature"))
                     for name in self._tables.inputs()]
            asked += [Asked(f"{role}:{name}", name, role, kind_in(shape, name, role))
                      for role, name in self._tables.outputs()]
            summaries = Summaries(shape, Labelled(shape, Bins(())), exclude, fetch)
            return summaries.describe(asked)

    def count(self, bins: Bins, span: Window, *, since: datetime | None, until: datetime
              ) -> list[Increment]:
        """What became known at checkpoints in ``(since, until]`` of the panes that touch ``span``.

        One increment per pane, checkpoint, version and segment ('' is all rows), oldest
        checkpoint first. Counts are exact; corrections of labels are negative.
        """
        with self._engine.call("counting"):
            return Increments(self._tables, bins, span, since=since, until=until).all()

    def schema_faults(self, bins: Bins, span: Window) -> list[tuple[Window, str, str]]:
        """(event time, column, what is wrong and what would be right) of columns that changed."""
        with self._engine.call("comparing the columns"):
            return differences(self._tables, bins, span)

    def sample(self, span: Window, *, known_by: datetime, limit: int, labelled: bool = False,
               versions: Sequence[str] | None = None) -> pd.DataFrame:
        """At most ``limit`` rows of what was known, drawn by hash: always the same ones.

        Columns: the inputs, ``_timestamp`` (UTC) and, where configured, ``_id``, ``_version``,
        ``_prediction``, ``_score`` (``_score_CLASS`` for several) and ``_label`` as known then.
        """
        with self._engine.call("sampling"):
            drawn = Drawn(self._tables, span, known_by=known_by, labelled=labelled,
                          versions=versions)
            return drawn.frame(limit)
