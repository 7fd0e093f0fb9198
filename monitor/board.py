"""Board: how versions did on the same rows, as rows. A stretch that is scored again is renewed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import select

from monitor.canonical import dumps
from monitor.database import Database
from monitor.schema import scores
from monitor.together import answerable
from monitor.window import Window

Scored = Literal["shadow", "shadow_window", "compression"]


@dataclass(frozen=True, slots=True)
class Score:
    """What was found out about ``version`` beside ``other`` on rows of ``span``, as known then."""

    span: Window
    known_at: datetime
    line: dict[str, Any]


class Board(Database):
    """Versions beside each other."""

    def save_scores(self, model: str, kind: Scored, pair: tuple[str, str], rows: Sequence[Score]
                    ) -> None:
        """Keep scores of (version, other); what was known later replaces what was known earlier."""
        version, other = pair
        with self._write(model) as write:
            for row in rows:
                made = write.insert(scores).values(
                    model=model, kind=kind, version=version, other=other, start=row.span.start,
                    end=row.span.end, known_at=row.known_at, line=dumps(row.line))
                new = made.excluded
                write.run(made.on_conflict_do_update(
                    index_elements=[scores.c[name] for name in (
                        "model", "kind", "version", "other", "start", "end")],
                    set_={"known_at": new.known_at, "line": new.line},
                    where=new.known_at >= scores.c.known_at))

    @answerable
    def scores(self, model: str, kind: Scored, pair: tuple[str, str], *,
               newest: int | None = None) -> list[Score]:
        """Scores of (version, other), the newest stretch first."""
        query = (select(scores.c.start, scores.c.end, scores.c.known_at, scores.c.line)
                 .where(scores.c.model == model, scores.c.kind == kind,
                        scores.c.version == pair[0], scores.c.other == pair[1])
                 .order_by(scores.c.end.desc(), scores.c.start.desc()))
        return [Score(Window(row["start"], row["end"]), row["known_at"], json.loads(row["line"]))
                for row in self._rows(query, newest)]
