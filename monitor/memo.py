"""Memo: what was read of a model, kept until something is written about that model.

One question to the store tells whose memory is old, so that a page about 300 models reads again
only those that a tick has moved since.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar, cast
from weakref import WeakKeyDictionary

from monitor.store import Store
from monitor.together import together

Answer = TypeVar("Answer")


class Memo:
    """Answers by model and by what was asked; safe for several threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._number = -1
        self._known: dict[str, dict[Hashable, object]] = {}
        self._one = threading.Lock()

    def refresh(self) -> None:
        """Forget what is old."""
        with self._one:
            number, models = self._store.touched(self._number)
            if "" in models:
                self._known = {}
            for model in models:
                self._known.pop(model, None)
            self._number = number

    def get(self, what: Hashable, reads: Mapping[str, Callable[[Store], Answer]]) -> list[Answer]:
        """What was kept of these models, or what their readings of the store give now, together."""
        with self._one:
            held = {model: self._known.setdefault(model, {}) for model in reads}
        missing = [model for model in reads if what not in held[model]]
        made = together(self._store, [reads[model] for model in missing])
        for model, answer in zip(missing, made, strict=True):
            held[model][what] = answer  # where it is old by now, the next refresh forgets it
        return [cast(Answer, held[model][what]) for model in reads]


_memos: WeakKeyDictionary[Store, Memo] = WeakKeyDictionary()


def memo(store: Store) -> Memo:
    """The store's memo, without what is old."""
    found = _memos.get(store)
    if found is None:
        found = _memos[store] = Memo(store)
    found.refresh()
    return found
