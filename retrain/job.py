"""Job: one request from rows to a registered challenger, or to a refusal in words.

Killed at any line and started again it goes on: rows are the same rows, trainings resume from
their checkpoints, and the version is the one that carries the request's id.
"""

from __future__ import annotations

import re
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from monitor.config import Config, Model, load
from monitor.errors import ContractError, RegistryError, SourceError
from monitor.registry import Outcome, Registry
from monitor.request import Kind, Request
from monitor.secrets import redact
from monitor.window import format_duration
from retrain.dataset import Refusal
from retrain.record import Record
from retrain.steps import Steps
from retrain.voice import heard
from retrain.work import Work

log = structlog.get_logger()

RINGS = 1.0
"""Seconds between two rings of the alarm, once it is late."""


class Overdue(BaseException):
    """The deadline is over; no library on the way may take it for an error of its own."""


def run(request: Request, folder: Path) -> Outcome:
    """The outcome of the request, recorded in MLflow; one that has an outcome keeps it.

    Raises ``RegistryError`` and ``SourceError``: then the request may be started again.
    """
    config = load(request.config).config
    with heard(config, request):
        return _run(request, config, folder)


def _run(request: Request, config: Config, folder: Path) -> Outcome:
    model = config.model(request.model)
    registry = Registry(config.mlflow, timeout=30)
    known = registry.outcome(request.request_id)
    if known is not None and known.status != "running":
        return known
    _use(registry)
    folder.mkdir(parents=True, exist_ok=True)
    record = Record.open(registry, request)
    work = Work(request, model, config, registry, record, folder, Steps(_STEPS[request.kind]))
    began = time.monotonic()
    most = _within(model)
    try:
        return _in_time(work)
    except (Refusal, ContractError) as error:
        return record.conclude("refused", str(error))
    except (RegistryError, SourceError) as error:
        if _short_of_memory(error, model):
            return _too_large(record, model, most)
        if not _over(began, model):
            raise
        return record.conclude("failed", _late(model))  # the alarm rang inside a query
    except Overdue as error:
        return record.conclude("failed", str(error))
    except Exception as error:  # the last line of a process of its own
        if _short_of_memory(error, model):
            return _too_large(record, model, most)
        log.error("child failed", exc_info=True)
        if _over(began, model):
            return record.conclude("failed", _late(model))  # a library put it in its own words
        return record.conclude("failed", redact(f"{type(error).__name__}: {error}"))


_MEMORY = re.compile("memory|bad_alloc|can't start new thread|unable to allocate|"
                     "failed to map segment", re.IGNORECASE)
"""What numpy, torch, ONNX Runtime, DuckDB and the loader of libraries say where an allocation
fails."""

_STEPS: dict[Kind, int] = {"train": 5, "bootstrap": 5, "score": 3}


def _in_time(work: Work) -> Outcome:
    """The work's outcome; ``Overdue`` once ``training.deadline`` is over.

    The alarm rings on: Python drops what is raised while something is being finalized.
    """

    def over(number: int, frame: object) -> None:
        raise Overdue(_late(work.model))

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, work.model.training.deadline.total_seconds(), RINGS)
    try:
        return _kind(work.request.kind)(work)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _within(model: Model) -> tuple[int, int]:
    """Hold this process and its children to ``training.memory``; the limit that was there."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    if model.training.memory is not None:
        number, unit = re.findall(r"[\d.]+|[A-Z]+", model.training.memory)
        most = int(float(number) * {"MB": 10**6, "GB": 10**9, "TB": 10**12}[unit])
        most = most if before[1] == resource.RLIM_INFINITY else min(most, before[1])
        resource.setrlimit(resource.RLIMIT_DATA, (most, before[1]))
    return before


def _short_of_memory(error: Exception, model: Model) -> bool:
    """Whether an error is what becomes of an allocation beyond ``training.memory``."""
    told = isinstance(error, MemoryError) or _MEMORY.search(str(error)) is not None
    return model.training.memory is not None and told


def _too_large(record: Record, model: Model, limit: tuple[int, int]) -> Outcome:
    resource.setrlimit(resource.RLIMIT_DATA, limit)  # to say it takes memory too
    return record.conclude("failed", f"took more than training.memory ({model.training.memory}); "
                                     "right would be more of it, or fewer rows by "
                                     "training.max_rows")


def _over(began: float, model: Model) -> bool:
    return time.monotonic() - began >= model.training.deadline.total_seconds()


def _late(model: Model) -> str:
    return (f"took longer than training.deadline ({format_duration(model.training.deadline)}); "
            "right would be a longer one, or fewer rows by training.max_rows")


def _kind(kind: Kind) -> Callable[[Work], Outcome]:
    """The function that does this kind of work; each imports only what it needs."""
    if kind == "score":
        from retrain.score import score as work
    else:
        from retrain.train import train as work
    return work


def _use(registry: Registry) -> None:
    """Point MLflow's global client, which loads models, at this registry."""
    import mlflow

    mlflow.set_tracking_uri(registry.tracking_uri)
    mlflow.set_registry_uri(registry.registry_uri)
