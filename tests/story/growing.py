"""A log that goes on being written while it is watched."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from tests.story.meanwhile import meanwhile


class Growing(ABC):
    """Files that appear whole, with ``rate`` rows a second from ``history`` ago on.

    What rows hold is said by ``rows``: something drifts at ``drift``, and ``grows`` is the present
    of the beginning, from which on files are added.
    """

    def __init__(self, folder: Path, *, history: timedelta, drifted: timedelta, rate: int) -> None:
        self.folder, self._rate = folder, rate
        self._rng = np.random.default_rng(5)
        now = datetime.now(UTC).replace(microsecond=0)
        self.start = self._written = now - history
        self.drift, self.grows = now - drifted, now
        folder.mkdir()
        self.write(self.drift)
        self.write(now)

    @abstractmethod
    def rows(self, at: pd.DatetimeIndex) -> pd.DataFrame:
        """The columns beside ``at`` and ``received`` for rows of these times."""

    def write(self, until: datetime) -> None:
        """The rows since the last call, as a file that appears whole."""
        n = int((until - self._written).total_seconds()) * self._rate
        at = pd.date_range(self._written, until, n + 1, inclusive="left").as_unit("us")
        frame = self.rows(at).assign(at=at, received=at + timedelta(seconds=1))
        draft = self.folder / "new.tmp"
        frame.to_parquet(draft, index=False)
        os.rename(draft, self.folder / f"{until:%H%M%S}.parquet")
        self._written = until

    def growing(self) -> AbstractContextManager[None]:
        """Written every other second while the block lasts."""
        return meanwhile(lambda: self.write(datetime.now(UTC).replace(microsecond=0)), 2)
