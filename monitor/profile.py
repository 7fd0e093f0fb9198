"""Profile: counts over bins. Profiles only add, so a window is a sum of panes."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.bins import Bins

Counts = npt.NDArray[np.int64]
_TALLIES = 3
_SIZES = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """How many rows fell in each cell of ``Bins``: exact integers, shape ``(bins.size,)``.

    ``n`` rows were counted; ``duplicates`` of them repeat an id of the same pane, ``future``
    of them carry an event time after their arrival.
    """

    n: int
    counts: Counts
    duplicates: int = 0
    future: int = 0

    @classmethod
    def empty(cls, bins: Bins) -> Profile:
        return cls(0, np.zeros(bins.size, dtype=np.int64))

    def __add__(self, other: Profile) -> Profile:
        return Profile(self.n + other.n, self.counts + other.counts,
                       self.duplicates + other.duplicates, self.future + other.future)

    def __sub__(self, other: Profile) -> Profile:
        return Profile(self.n - other.n, self.counts - other.counts,
                       self.duplicates - other.duplicates, self.future - other.future)

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, Profile) and self.tallies == other.tallies
                and np.array_equal(self.counts, other.counts))

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        """Whether it says anything: a difference of two equal profiles does not."""
        return any(self.tallies) or bool(self.counts.any())

    @property
    def tallies(self) -> tuple[int, int, int]:
        return self.n, self.duplicates, self.future

    def pack(self) -> bytes:
        """A compressed vector; ``unpack`` reads it back to the bit.

        The first byte says how many bytes an integer takes; older ones begin with zlib's own, and
        hold integers of 8.
        """
        vector = np.concatenate([np.array(self.tallies, dtype="<i8"), self.counts.astype("<i8")])
        bytes_of = next(size for size in _SIZES if size == 8 or (
            -(1 << 8 * size - 1) <= vector.min() and vector.max() < 1 << 8 * size - 1))
        return bytes([bytes_of]) + zlib.compress(vector.astype(f"<i{bytes_of}").tobytes(), 6)

    @staticmethod
    def rows(packed: bytes) -> int:
        """``n`` of what ``pack`` wrote, without unpacking the rest."""
        size = packed[0] if packed[0] in _SIZES else 8
        body = packed[1:] if packed[0] in _SIZES else packed
        start = zlib.decompressobj().decompress(body, size)
        return int(np.frombuffer(start, dtype=f"<i{size}")[0])

    @classmethod
    def unpack(cls, packed: bytes) -> Profile:
        size = packed[0] if packed[0] in _SIZES else 8
        body = packed[1:] if packed[0] in _SIZES else packed
        vector = np.frombuffer(zlib.decompress(body), dtype=f"<i{size}")
        n, duplicates, future = (int(value) for value in vector[:_TALLIES])
        return cls(n, vector[_TALLIES:].astype(np.int64), duplicates, future)
