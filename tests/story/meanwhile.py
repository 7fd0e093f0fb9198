"""Something that goes on beside a test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def meanwhile(work: Callable[[], None], every: float) -> Iterator[None]:
    """``work`` is done every so many seconds while the block lasts."""
    stop = threading.Event()

    def go() -> None:
        while not stop.wait(every):
            work()

    worker = threading.Thread(target=go)
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join()
