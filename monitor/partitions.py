"""Partitions: dates in the names of folders, so that only folders near a time are listed.

A pattern says where dates are by ``{date}``, ``{year}``, ``{month}``, ``{day}`` and ``{hour}``, or
in the way of Hive: ``dt=*``, ``year=*/month=*/day=*``. A date may say when a row was made or when
it arrived, in any time zone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime, timedelta
from functools import lru_cache
from itertools import groupby
from typing import Protocol

from monitor.window import EPOCH

Near = tuple[int, int]
"""Event time or arrival, in microseconds, that folders are looked at for: from, to."""
Period = tuple[datetime, datetime]

MICRO = timedelta(microseconds=1)
SLACK = timedelta(days=1)
"""How far from UTC the date of a folder may be."""
_LONG = 3660 * 86_400_000_000
"""From ten years on, names of files are listed without regard to dates."""
FEW = 3
"""Up to this many folders of a month are listed one by one; more of them by their common prefix."""

_PARTS = {"date": r"\d{4}-?\d\d-?\d\d", "year": r"\d{4}", "month": r"\d\d", "day": r"\d\d",
          "hour": r"\d\d"}
_HIVE = re.compile(r"(?P<key>[A-Za-z_][A-Za-z0-9_]*)=\*")
_HIVE_NAME = re.compile(r"(?P<key>[A-Za-z_][A-Za-z0-9_]*)=.+")
_TOKEN = re.compile(r"\{(date|year|month|day|hour)\}")


@dataclass(frozen=True, slots=True)
class Object:
    """One version of a file: where it is, its size in bytes, and what changes when it does.

    ``stamp`` is the ETag of an object, the modification time (ns) of a file.
    """

    path: str
    size: int
    stamp: int | str


class Place(Protocol):
    """Where files are listed: a file system, or an object store."""

    by_prefix: bool
    """Whether one request lists all that begins with a prefix, whatever the folders."""

    def names(self, folder: str) -> list[str]:
        """Names of the folders in a folder."""

    def files(self, folder: str, rest: Sequence[str], prefix: str = "") -> list[Object]:
        """Files below a folder that match the segments of a glob, and may match no others."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A glob by its segments, and which of them hold dates."""

    segments: tuple[str, ...]
    dated: bool

    @classmethod
    def of(cls, pattern: str, *, by_date: bool = True) -> Layout:
        """The layout of a pattern; without ``by_date`` all folders are listed always."""
        plain = pattern.split("/")
        if not by_date:
            return cls(tuple(_glob(part) for part in plain), False)
        alone = not any(part.lower() == "year=*" or "{year}" in part for part in plain)
        segments = tuple(_told(part, alone) for part in plain)
        return cls(segments, any("{date}" in part or "{year}" in part for part in segments))

    def discovered(self, place: Place) -> Layout:
        """The same with Hive's folders in place of ``**``, where the first folder has such names.

        As it is where files lie beside those folders.
        """
        if self.dated or "**" not in self.segments or not place.by_prefix:
            return self
        cut = self.segments.index("**")
        if any(_wild(part) for part in self.segments[:cut]):
            return self
        folder, found = "/".join(self.segments[:cut]), list[str]()
        while len(found) < 8:
            name = next((name for name in place.names(folder) if _HIVE_NAME.fullmatch(name)), None)
            if name is None or place.files(folder, self.segments[cut + 1:]):
                break
            found.append(f"{name.partition('=')[0]}=*")
            folder = f"{folder}/{name}"
        layout = Layout.of("/".join((*self.segments[:cut], *found, *self.segments[cut:])))
        return layout if layout.dated else self

    @property
    def keys(self) -> frozenset[str]:
        """Hive's keys of dates: they say where a row lies, not what it is."""
        hive = [_HIVE_NAME.fullmatch(part) for part in self.segments if _TOKEN.search(part)]
        return frozenset(found["key"] for found in hive if found)

    @property
    def folder(self) -> str:
        """The folder that every file lies below."""
        fixed = next((index for index, part in enumerate(self.segments) if _wild(part)),
                     len(self.segments) - 1)
        return "/".join(self.segments[:min(fixed, len(self.segments) - 1)])

    def matches(self, path: str) -> bool:
        """Whether a path is one of the glob's."""
        return _expression(self.segments).fullmatch(path) is not None

    def near(self, path: str, near: Near | None) -> bool:
        """Whether a file may hold what is looked for, by the dates in its path."""
        if near is None or not self.dated:
            return True
        found = _expression(self.segments).fullmatch(path)
        return found is None or _overlaps(period(found.groupdict()), near)

    def globs(self, start: int) -> list[str]:
        """The segments from ``start`` on, as a file system's glob understands them."""
        return [_glob(part) for part in self.segments[start:]]

    def walk(self, place: Place, near: Near | None, *, newest: bool = False
             ) -> Iterator[list[Object]]:
        """Files near a time, folder by folder, oldest first or ``newest`` first; listed lazily."""
        depth = len(self.folder.split("/")) if self.folder else 0
        return _Walk(self, place, near, newest).below(self.folder, depth, {})


@dataclass(frozen=True, slots=True)
class _Walk:
    """One descent into the folders of a layout."""

    layout: Layout
    place: Place
    near: Near | None
    newest: bool

    def below(self, folder: str, depth: int, known: Mapping[str, str]) -> Iterator[list[Object]]:
        """Files below a folder whose path holds the dates ``known``."""
        part, *rest = self.layout.segments[depth:]
        dated = any(_TOKEN.search(other) for other in (part, *rest))
        if not dated or not rest or part == "**":
            for prefix in _prefixes(part, self.near) if self.place.by_prefix else [""]:
                yield self._kept(self.place.files(folder, self.layout.globs(depth), prefix))
        elif not _wild(part):
            yield from self.below(_joined(folder, part), depth + 1, known)
        else:
            yield from self._level(folder, depth, known)

    def _level(self, folder: str, depth: int, known: Mapping[str, str]
               ) -> Iterator[list[Object]]:
        """The same, by folders whose names the segment at ``depth`` describes."""
        expression = _expression(self.layout.segments[depth:depth + 1])
        found = [(name, {**known, **{key: text for key, text in match.groupdict().items() if text}})
                 for name in self.place.names(folder) if (match := expression.fullmatch(name))]
        kept = [(name, parts) for name, parts in found
                if self.near is None or _overlaps(period(parts), self.near)]
        kept.sort(key=lambda item: (_first(item[1]), item[0]), reverse=self.newest)
        for month, group in groupby(kept, key=lambda item: _month(item[1])):
            members = list(group)
            if month is not None and len(members) > FEW and self.place.by_prefix:
                prefix = _shared([name for name, _ in members])
                yield self._kept(self.place.files(folder, self.layout.globs(depth), prefix))
                continue
            for name, parts in members:
                below = _joined(folder, name)
                if self.place.by_prefix and month is not None:
                    globs = self.layout.globs(depth + 1)
                    yield self._kept(self.place.files(below, globs))
                else:
                    yield from self.below(below, depth + 1, parts)

    def _kept(self, objects: list[Object]) -> list[Object]:
        if not (self.layout.dated or self.place.by_prefix):
            return objects
        return [item for item in objects
                if self.layout.matches(item.path) and self.layout.near(item.path, self.near)]


def period(parts: Mapping[str, str | None]) -> Period | None:
    """The time from the first to the end of the last day that these parts of a date name."""
    whole = (parts.get("date") or "").replace("-", "")
    year, month, day = parts.get("year"), parts.get("month"), parts.get("day")
    if whole:
        year, month, day = whole[:4], whole[4:6], whole[6:]
    if not year:
        return None
    try:
        start = datetime(int(year), int(month or 1), int(day or 1) if month else 1, tzinfo=UTC)
    except ValueError:
        return None
    if start.year == MAXYEAR:  # a name for what has no date, such as 9999-12-31
        return start, datetime.max.replace(tzinfo=UTC)
    if month and day:
        return start, start + timedelta(days=1)
    later = start + timedelta(days=32 if month else 366)
    return start, later.replace(month=later.month if month else 1, day=1)


def _overlaps(dates: Period | None, near: Near) -> bool:
    if dates is None:
        return True
    low, high = ((edge - EPOCH) // MICRO for edge in dates)
    slack = SLACK // MICRO
    return low - slack <= near[1] and near[0] < high + slack


def _shared(names: Sequence[str]) -> str:
    """What all names begin with."""
    low, high = min(names), max(names)
    return low[:next((place for place, sign in enumerate(low) if high[place:place + 1] != sign),
                     len(low))]


def _first(parts: Mapping[str, str]) -> datetime:
    dates = period(parts)
    return dates[0] if dates else EPOCH


def _month(parts: Mapping[str, str]) -> tuple[int, int] | None:
    """The month that a folder lies in; None where its name does not say."""
    if "date" not in parts and "month" not in parts:
        return None
    dates = period(parts)
    return (dates[0].year, dates[0].month) if dates else None


def _told(part: str, alone: bool) -> str:
    """A segment with Hive's keys of dates spelled out: those that end in ``?`` may hold others.

    ``alone``: no folder names the year, so that ``day=`` names a date.
    """
    hive = _HIVE.fullmatch(part)
    if hive is None:
        return part
    key = hive["key"].lower()
    if key in ("date", "dt", "ds", *(["day"] if alone else [])) or key.endswith(("_date", "_dt")):
        return f"{hive['key']}={{date}}?"
    if key in ("year", "month", "day", "hour"):
        return f"{hive['key']}={{{key}}}?"
    return part


def _prefixes(part: str, near: Near | None) -> list[str]:
    """What names of files near a time can begin with, month by month; '' where nothing is known."""
    begin, *pieces = _TOKEN.split(part)
    if near is None or _wild(begin) or not pieces or pieces[0] not in ("date", "year"):
        return [""]
    if near[1] - near[0] > _LONG:
        return [""]
    day, last = (EPOCH + timedelta(microseconds=edge) + slack
                 for edge, slack in zip(near, (-SLACK, SLACK), strict=True))
    found: dict[str, None] = {}
    while day < last + timedelta(days=1):
        if pieces[0] == "date":
            found |= dict.fromkeys((f"{begin}{day:%Y-%m}", f"{begin}{day:%Y%m}"))
        elif pieces[2:3] == ["month"] and not _wild(pieces[1]):
            found[f"{begin}{day:%Y}{pieces[1]}{day:%m}"] = None
        else:
            found[f"{begin}{day:%Y}"] = None
        day += timedelta(days=1)
    return list(found)


def _wild(part: str) -> bool:
    return bool(_TOKEN.search(part)) or any(sign in part for sign in "*?[")


def _glob(part: str) -> str:
    lenient = part.endswith("}?")
    return "*".join(_TOKEN.split(part[:-1] if lenient else part)[::2])


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder or name == "" else name


@lru_cache(maxsize=1024)  # asked for every file of every listing
def _expression(segments: tuple[str, ...]) -> re.Pattern[str]:
    """A regular expression of paths, with a group per part of a date."""
    seen: set[str] = set()
    parts = []
    for place, part in enumerate(segments):
        end = "" if place == len(segments) - 1 else "/"
        parts.append(r"(?:[^/.][^/]*/)*" if part == "**" and end else _segment(part, seen) + end)
    return re.compile("".join(parts))


def _segment(part: str, seen: set[str]) -> str:
    lenient = part.endswith("}?")
    pieces = _TOKEN.split(part[:-1] if lenient else part)
    told = ""
    for index, piece in enumerate(pieces):
        if index % 2 == 0:
            told += _literal(piece)
        elif piece in seen:
            told += f"(?P={piece})"
        else:
            seen.add(piece)
            short = lenient and piece in ("month", "day", "hour")  # Spark writes month=1
            told += f"(?P<{piece}>{r'[0-9]{1,2}' if short else _PARTS[piece]})"
    if lenient:  # another value is no date, and its folder is never left out
        return f"(?:{told}(?![0-9])[^/]*|{_literal(pieces[0])}[^/]*)"
    return (r"(?!\.)" if part.startswith(("*", "?", "[")) else "") + told


def _literal(text: str) -> str:
    """A piece of a glob as a regular expression."""
    return re.sub(r"\\\*|\\\?|\\\[(!?)(.*?)\\\]", _sign, re.escape(text))


def _sign(match: re.Match[str]) -> str:
    if match[0] in (r"\*", r"\?"):
        return "[^/]*" if match[0] == r"\*" else "[^/]"
    inside = match[2].replace("\\", "")
    return f"[{'^' if match[1] else ''}{inside}]"

