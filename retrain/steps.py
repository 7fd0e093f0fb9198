"""Steps: where a job stands, one line each, on standard error."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field


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
        sys.stderr.write(f"{head} {seconds:5.1f} s  {line[:300]}\n")
        sys.stderr.flush()
