"""Memo: what was read of a model, kept until something is written about that model.

One question to the store tells whose memory is old, so that a page about 300 models reads again
only those that a tick has moved since.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import TypeVar, cast
from weakref import WeakKeyDictionary

from monitor.store import Store

Answer = TypeVar("Answer")


class Memo:
    """Answers by model and by what was asked; safe for several threads."""

    def __init__(self, store: Store) -> None:
        self._touched = store.touched
        self._number = -1
        self._known: dict[str, dict[Hashable, object]] = {}
        self._one = threading.Lock()

    def refresh(self) -> None:
        """Forget what is old."""
        with self._one:
            number, models = self._touched(self._number)
            if "" in models:
                self._known = {}
            for model in models:
                self._known.pop(model, None)
            self._number = number

    def get(self, model: str, what: Hashable, read: Callable[[], Answer]) -> Answer:
        """What was kept, or what ``read`` gives now."""
        with self._one:
            held = self._known.setdefault(model, {})
        if what not in held:
            held[what] = read()  # where it is old by then, the next refresh knows and forgets it
        return cast(Answer, held[what])


_memos: WeakKeyDictionary[Store, Memo] = WeakKeyDictionary()


def memo(store: Store) -> Memo:
    """The store's memo, without what is old."""
    found = _memos.get(store)
    if found is None:
        found = _memos[store] = Memo(store)
    found.refresh()
    return found
