"""Steps: where a job stands, one line each, in the log."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import structlog

from monitor import traces

log = structlog.get_logger()


@dataclass(slots=True)
class Steps:
    """Numbered lines such as ``[3/9] 4.1 s  train: 3200 rows``."""

    total: int
    done: int = 0
    began: float = field(default_factory=time.monotonic)

    def next(self, line: str) -> None:
        """Say what begins now."""
        self.done += 1
        self._say(f"[{self.done}/{self.total}]", line)

    def note(self, line: str) -> None:
        """Say more about the step that runs."""
        self._say(" " * len(f"[{self.done}/{self.total}]"), line)

    def _say(self, head: str, line: str) -> None:
        seconds = time.monotonic() - self.began
        log.info("step", step=f"{self.done}/{self.total}", more=not head.strip(),
                 seconds=round(seconds, 1), words=line[:300])
        traces.note(line[:300])
