"""Words: columns of text as indices of known words, by rules that ONNX Runtime has too.

Text columns are joined by a space, A to Z become small, and a word is a run of a to z, digits and
whatever lies beyond ASCII. The rules need no locale, so that they are the same on every machine.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from string import ascii_lowercase, ascii_uppercase
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitor.errors import HoldfastError
from retrain.contract import column_type

NOTHING, UNKNOWN, FIRST = 0, 1, 2
"""Indices: no word (the text ended), a word that is not known, and the first known one."""

PATTERN = r"[a-z0-9\x{80}-\x{10FFFF}]+"
"""A word, as the runtime's tokenizer is told."""

_WORD = re.compile("[a-z0-9\x80-\U0010ffff]+")
_SMALL = str.maketrans(ascii_uppercase, ascii_lowercase)


@dataclass(frozen=True, slots=True)
class Words:
    """What was learned of text columns: known words, most frequent first; texts are cut off at
    ``length`` words."""

    names: tuple[str, ...]
    vocabulary: tuple[str, ...]
    length: int

    @classmethod
    def fit(cls, frame: pd.DataFrame, names: Sequence[str], *, most: int = 8000, least: int = 3,
            length: int = 64) -> Words:
        """The ``most`` frequent words seen at least ``least`` times; ``length`` at most that of
        the longest of 99 % of the texts."""
        textual(frame, names)
        found = [split(text) for text in joined(frame, names)]
        sizes = [len(words) for words in found]
        fits = int(np.quantile(sizes, 0.99)) if sizes else 1
        return cls(tuple(names), frequent(found, most=most, least=least),
                   max(1, min(length, fits)))

    @property
    def inputs(self) -> dict[str, str]:
        return dict.fromkeys(self.names, "string")

    @property
    def rows(self) -> int:
        """Rows of the embedding."""
        return FIRST + len(self.vocabulary)

    def transform(self, frame: pd.DataFrame) -> tuple[NDArray[np.int64]]:
        """Indices ``[n, length]``; an absent text is empty."""
        if absent := [name for name in self.names if name not in frame]:
            raise HoldfastError(f"columns {absent} are absent; the model takes {list(self.names)}")
        places = {word: FIRST + index for index, word in enumerate(self.vocabulary)}
        codes = np.zeros((len(frame), self.length), dtype=np.int64)
        for row, text in enumerate(joined(frame, self.names)):
            words = split(text)[:self.length]
            codes[row, :len(words)] = [places.get(word, UNKNOWN) for word in words]
        return (codes,)

    def widened(self, frame: pd.DataFrame, *, most: int = 16_000, least: int = 20) -> Words:
        """The same, and the words seen at least ``least`` times in the frame; what was
        known keeps its place."""
        known = set(self.vocabulary)
        found = [split(text) for text in joined(frame, self.names)]
        fresh = [word for word in frequent(found, most=most, least=least) if word not in known]
        room = max(0, most - len(known))
        return Words(self.names, (*self.vocabulary, *fresh[:room]), self.length)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``from_dict`` reads them back unchanged."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Words:
        return cls(tuple(values["names"]), tuple(values["vocabulary"]), values["length"])


def split(text: str) -> list[str]:
    """The words of a text."""
    return _WORD.findall(text.translate(_SMALL))


def joined(frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """The columns of each row as one text; what is absent is empty."""
    columns = [frame[name].astype(object).where(frame[name].notna(), "").map(str)
               for name in names]
    return [" ".join(values) for values in zip(*columns, strict=True)]


def textual(frame: pd.DataFrame, names: Sequence[str]) -> None:
    """``HoldfastError`` in words where one of the columns is no text, or where there is none."""
    wrong = [name for name in names if name not in frame or column_type(frame[name]) != "string"]
    if wrong or not names:
        raise HoldfastError(f"a text trainer takes columns of text; {wrong or 'the log'} holds "
                            "none; right would be training.settings: {columns: [...]}")


def frequent(found: Sequence[Sequence[str]], *, most: int, least: int) -> tuple[str, ...]:
    """The ``most`` frequent words seen at least ``least`` times, most frequent first."""
    counts = Counter(word for words in found for word in words)
    kept = [(word, count) for word, count in counts.items() if count >= least]
    return tuple(word for word, _ in sorted(kept, key=lambda item: (-item[1], item[0]))[:most])
