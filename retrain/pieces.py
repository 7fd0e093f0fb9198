"""Pieces: columns of text as pieces of a tokenizer's vocabulary, by rules that a graph has too.

A text is split into words and single marks; what a word's pieces are is asked of the tokenizer once
and kept in a table, so that serving looks words up and runs no tokenizer. Words that are neither
frequent in the training rows nor of the vocabulary are one unknown piece. Texts of known words of
ASCII become the very pieces that the tokenizer makes of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from string import ascii_lowercase, ascii_uppercase
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitor.errors import HoldfastError
from retrain.vocabulary import FIRST, UNKNOWN, frequent, joined, textual

MOST = 6
"""Pieces of a word; one of more is unknown."""

MARKS = ((0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E), (0x80, 0xBF), (0x2000, 0x206F),
         (0x3000, 0x303F), (0x3400, 0x4DBF), (0x4E00, 0x9FFF))
"""Ranges of characters that are words of their own: punctuation, and Chinese characters."""

WITHIN = ((0x30, 0x39), (0x61, 0x7A), (0xC0, 0x1FFF), (0x2070, 0x2FFF), (0x3040, 0x33FF),
          (0x4DC0, 0x4DFF), (0xA000, 0x10FFFF))
"""Ranges of characters that words are made of; capitals too where the tokenizer knows them."""

CAPITALS = (0x41, 0x5A)

KINDS = ("WordPiece", "WordLevel")
"""Tokenizers whose pieces of a text are those of its words, one after the other."""

_SMALL = str.maketrans(ascii_uppercase, ascii_lowercase)


@dataclass(frozen=True, slots=True)
class Pieces:
    """What was learned of text columns: the known words, and the tokenizer that cuts them.

    A code is a piece's place in the vocabulary and 1, or in ``kept`` where that is given; 0 is
    nothing. Texts are cut off at ``length`` codes, the marks of beginning and end included.
    """

    names: tuple[str, ...]
    tokenizer: str
    """The tokenizer's own JSON."""
    words: tuple[str, ...]
    length: int
    kept: tuple[int, ...] = ()

    @classmethod
    def fit(cls, frame: pd.DataFrame, names: Sequence[str], tokenizer: str, *, most: int = 20_000,
            least: int = 2, length: int = 128) -> Pieces:
        """The ``most`` frequent words seen at least ``least`` times, then those of the vocabulary;
        ``length`` at most what the longest of 99 % of the texts take."""
        textual(frame, names)
        _cutter(tokenizer)
        empty = cls(tuple(names), tokenizer, (), length)
        found = [empty.split(text) for text in joined(frame, names)]
        words = frequent(found, most=most, least=least)
        known = set(words)
        extra = [word for word in _whole(tokenizer) if word not in known
                 and empty.split(word) == [word]]
        made = replace(empty, words=(*words, *extra[:max(0, most - len(words))]))
        sizes = [min(length, 2 + len(made.cut(words))) for words in found]
        return replace(made, length=max(3, int(np.quantile(sizes, 0.99)) if sizes else 3))

    @property
    def inputs(self) -> dict[str, str]:
        return dict.fromkeys(self.names, "string")

    @property
    def lower(self) -> bool:
        """Whether the tokenizer takes A to Z for small."""
        return _lower(self.tokenizer)

    @property
    def pattern(self) -> str:
        """A word or a mark, as the runtime's tokenizer is told."""
        within = WITHIN if self.lower else (CAPITALS, *WITHIN)
        word, mark = ("".join(f"\\x{{{low:X}}}-\\x{{{high:X}}}" for low, high in ranges)
                      for ranges in (within, MARKS))
        return f"[{word}]+|[{mark}]"

    @property
    def ends(self) -> tuple[int, int]:
        """Codes of the marks of beginning and end."""
        first, *_, last = _cutter(self.tokenizer).encode("").ids
        begin, end = self._codes([first, last])
        return begin, end

    def split(self, text: str) -> list[str]:
        """The words of a text."""
        return _matcher(self.lower).findall(text.translate(_SMALL) if self.lower else text)

    @property
    def table(self) -> NDArray[np.int64]:
        """Codes ``[2 + words, pieces]`` of no word, an unknown one, and each known one."""
        return _table(self)

    def cut(self, words: Sequence[str]) -> list[int]:
        """Codes of these words, one after the other."""
        places, table = _places(self), self.table
        return [int(code) for word in words for code in table[places.get(word, UNKNOWN)] if code]

    def transform(self, frame: pd.DataFrame) -> tuple[NDArray[np.int64]]:
        """Codes ``[n, length]``; an absent text is empty."""
        if absent := [name for name in self.names if name not in frame]:
            raise HoldfastError(f"columns {absent} are absent; the model takes {list(self.names)}")
        begin, end = self.ends
        codes = np.zeros((len(frame), self.length), dtype=np.int64)
        for row, text in enumerate(joined(frame, self.names)):
            found = [begin, *self.cut(self.split(text)[:self.length])[:self.length - 2], end]
            codes[row, :len(found)] = found
        return (codes,)

    def widened(self, frame: pd.DataFrame, *, most: int = 40_000, least: int = 20) -> Pieces:
        """The same, and the words seen at least ``least`` times in the frame."""
        known = set(self.words)
        found = [self.split(text) for text in joined(frame, self.names)]
        fresh = [word for word in frequent(found, most=most, least=least) if word not in known]
        return replace(self, words=(*self.words, *fresh[:max(0, most - len(known))]))

    def used(self) -> tuple[int, ...]:
        """Places in the vocabulary of all pieces that can occur."""
        return tuple(sorted({int(code) - 1 for code in (*self.table.flat, *self.ends) if code}))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``from_dict`` reads them back unchanged."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Pieces:
        return cls(tuple(values["names"]), values["tokenizer"], tuple(values["words"]),
                   values["length"], tuple(values["kept"]))

    def _codes(self, pieces: Sequence[int]) -> list[int]:
        """Codes of pieces by their places in the vocabulary."""
        if not self.kept:
            return [piece + 1 for piece in pieces]
        places = {piece: index for index, piece in enumerate(self.kept)}
        return [places[piece] + 1 for piece in pieces]


@lru_cache(maxsize=8)
def _cutter(tokenizer: str) -> Any:
    """The tokenizer; ``HoldfastError`` where a table of words cannot stand for it."""
    from tokenizers import Tokenizer

    kind = json.loads(tokenizer)["model"].get("type")
    made = Tokenizer.from_str(tokenizer)
    made.no_padding()
    made.no_truncation()
    if kind not in KINDS or len(made.encode("").ids) != 2 or _unknown(tokenizer, made) is None:
        raise HoldfastError(
            f"training.settings.folder: a tokenizer of kind {kind} cannot be drawn into the "
            f"artifact; right would be one of kind {' or '.join(KINDS)} that puts one mark before "
            "and one after a text and has an unknown piece, as BERT's")
    return made


def _unknown(tokenizer: str, made: Any) -> int | None:
    found: int | None = made.token_to_id(json.loads(tokenizer)["model"].get("unk_token") or "")
    return found


@lru_cache(maxsize=8)
def _lower(tokenizer: str) -> bool:
    normalizer = _cutter(tokenizer).normalizer
    return normalizer is not None and bool(normalizer.normalize_str("A") == "a")


@lru_cache(maxsize=2)
def _matcher(lower: bool) -> re.Pattern[str]:
    within = WITHIN if lower else (CAPITALS, *WITHIN)
    word, mark = ("".join(f"{re.escape(chr(low))}-{re.escape(chr(high))}" for low, high in ranges)
                  for ranges in (within, MARKS))
    return re.compile(f"[{word}]+|[{mark}]")


def _whole(tokenizer: str) -> Iterator[str]:
    """The vocabulary in its order, without continuations of words."""
    vocabulary: dict[str, int] = json.loads(tokenizer)["model"]["vocab"]
    return (word for word, _ in sorted(vocabulary.items(), key=lambda item: item[1])
            if not word.startswith("##"))


@lru_cache(maxsize=4)
def _places(encoder: Pieces) -> dict[str, int]:
    return {word: FIRST + index for index, word in enumerate(encoder.words)}


@lru_cache(maxsize=4)
def _table(encoder: Pieces) -> NDArray[np.int64]:
    made = _cutter(encoder.tokenizer)
    unknown = [_unknown(encoder.tokenizer, made)]
    found = [item.ids for item in made.encode_batch(list(encoder.words), add_special_tokens=False)]
    rows = [encoder._codes(pieces if len(pieces) <= MOST else unknown)  # type: ignore[arg-type]
            for pieces in ([], unknown, *found)]
    table = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for place, codes in enumerate(rows):
        table[place, :len(codes)] = codes
    table.flags.writeable = False
    return table
