"""Assembly: the daemon's parts for one configuration, put together and taken apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monitor import traces
from monitor.config import Config, Loaded
from monitor.deps import Deps
from monitor.jobs import Jobs
from monitor.launch import Launcher, LocalProcess
from monitor.registry import Registry
from monitor.report import Reporter
from monitor.store import Store


@contextmanager
def opened(loaded: Loaded) -> Iterator[Deps]:
    """The daemon's parts for this configuration, closed at the end."""
    config = loaded.config
    registry = Registry(config.mlflow)
    with tracing(config), Store.open(config.store) as store:
        yield Deps(config=config, path=str(loaded.path), store=store, registry=registry,
                   launcher=launcher(config),
                   reporter=Reporter(registry, str(loaded.path)) if config.reports else None)


@contextmanager
def tracing(config: Config) -> Iterator[None]:
    """Spans are sent where the configuration asks for them."""
    if config.traces is None:
        yield
        return
    end = traces.start(config.traces.endpoint, config.traces.sample, part="daemon")
    try:
        yield
    finally:
        end()


def launcher(config: Config) -> Launcher:
    """Where the configuration has retrains run."""
    kubernetes = config.launch.kubernetes
    return Jobs(kubernetes) if kubernetes else LocalProcess(Path(config.folder) / "requests")
