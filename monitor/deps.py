"""What a tick works with: the daemon's real parts, or a replay's scratch ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from monitor.config import Config, Model
from monitor.launch import Launcher
from monitor.registry import Registry
from monitor.report import Reporter
from monitor.source import Source
from monitor.store import Store


def alone() -> None:
    """Raises ``ConflictError`` where another daemon may act; there is none."""


@dataclass(frozen=True, slots=True)
class Deps:
    """Open handles, one set per daemon. ``path`` is the configuration file that children read.

    ``assure`` is called before each effect outside of the store, which fences its own writes.
    """

    config: Config
    path: str
    store: Store
    registry: Registry
    launcher: Launcher | None
    reporter: Reporter | None
    assure: Callable[[], object] = alone

    def source(self, model: Model, *, reference: bool = False) -> Source:
        """The model's log, or its reference file; to be closed by the caller."""
        return Source(model, self.config.limits, reference=reference)
