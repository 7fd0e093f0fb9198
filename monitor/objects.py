"""Objects: files in object stores, listed through fsspec and read by DuckDB in ranges.

Credentials come from where the store's own tools find them: environment variables, configuration
files, the role of the machine. A request that a store does not answer ends with the deadline of
the call.
"""

from __future__ import annotations

import io
import itertools
import re
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from fsspec.core import url_to_fs
from fsspec.spec import AbstractFileSystem

from monitor.errors import SourceError
from monitor.mapping import Storage
from monitor.partitions import Object
from monitor.secrets import redact

SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az",
           "abfss": "az"}
"""URL scheme -> the extra that brings what reads it."""
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or a role of the machine",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, gcloud's login or the machine's service account",
    "az": "AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_ACCOUNT_KEY or a managed identity"}
"""Extra -> where credentials are looked for, in words."""

BLOCK = 2 ** 20
"""Bytes that are read at least; smaller objects are read whole."""
TAIL = 2 ** 16
"""Bytes at the end of an object that hold the footer of most Parquet files."""
KEPT = 2 ** 28
"""Bytes of objects that one source keeps in memory."""

Answer = TypeVar("Answer")
_SYSTEMS: dict[tuple[str, str], AbstractFileSystem] = {}
"""File systems that are open, by URL and options: connections outlive a tick."""


def forget_systems() -> None:
    """Open stores anew: with what the environment says now."""
    _SYSTEMS.clear()


class Deadline(Protocol):
    """The time that a call may take."""

    def left(self) -> float:
        """Seconds until it has passed."""

    def late(self) -> SourceError:
        """What is said once it has."""


def is_remote(source: str) -> bool:
    """Whether a source is a glob of objects in a store."""
    return "://" in source and source.partition("://")[0] in SCHEMES


@dataclass
class Store:
    """One object store behind one scheme (and account): a ``Place`` whose answers are in time."""

    url: str
    storage: Storage
    deadline: Deadline
    by_prefix: bool = True
    _listed: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0]

    @property
    def extra(self) -> str:
        return SCHEMES[self.scheme]

    def forget(self) -> None:
        """Ask again: what was listed before is out of date."""
        self._listed.clear()

    def names(self, folder: str) -> list[str]:
        """Names of the folders in a folder."""
        return [self._name(item) for item in self._shallow(folder) if item["type"] == "directory"]

    def files(self, folder: str, rest: Sequence[str], prefix: str = "") -> list[Object]:
        """Objects below a folder: in it alone where ``rest`` is one segment, else in all below."""
        if len(rest) == 1 and not prefix:
            found: Iterable[dict[str, Any]] = self._shallow(folder)
        else:
            found = self._ask((folder, f"*{prefix}"), lambda system: list(system.find(
                folder, detail=True, prefix=prefix).values()))
        return [self._object(item) for item in found if item["type"] != "directory"]

    def read(self, path: str, start: int, end: int) -> bytes:
        """Bytes ``[start, end)`` of an object."""
        return bytes(self._within(lambda system: system.cat_file(path, start=start, end=end), path))

    def reads(self, wanted: Sequence[tuple[str, int, int]]) -> list[bytes]:
        """Several ranges at once."""
        paths, starts, ends = ([item[place] for item in wanted] for place in range(3))
        return [bytes(part) for part in self._within(lambda system: system.cat_ranges(
            paths, starts, ends, on_error="raise"), self.url)]

    def _shallow(self, folder: str) -> list[dict[str, Any]]:
        return self._ask((folder, ""), lambda system: system.ls(folder, detail=True))

    def _ask(self, key: tuple[str, str], listing: Callable[[Any], list[dict[str, Any]]]
             ) -> list[dict[str, Any]]:
        if key not in self._listed:
            try:
                self._listed[key] = self._within(listing, key[0])
            except FileNotFoundError as error:
                if re.search(r"(bucket|container) does not exist", str(error)):
                    raise SourceError(f"{key[0]}: {redact(str(error))}; right would be the name of "
                                      "a bucket that exists in this account and region") from error
                self._listed[key] = []
        return self._listed[key]

    def _name(self, item: dict[str, Any]) -> str:
        return str(item["name"]).rstrip("/").rpartition("/")[2]

    def _object(self, item: dict[str, Any]) -> Object:
        name = self.scheme + "://" + str(item["name"]).lstrip("/")
        return Object(self._same_account(name), int(item["size"] or 0), _stamp(item))

    def _same_account(self, name: str) -> str:
        """A listed name in the form that the source has (``abfs://box@account.host/…``)."""
        box = self.url.partition("://")[2].partition("/")[0]
        if "@" not in box:
            return name
        return f"{self.scheme}://{box}/{name.partition('://')[2].partition('/')[2]}"

    def _within(self, work: Callable[[Any], Answer], where: str) -> Answer:
        """What the store answers before the deadline; its failures in words."""
        try:
            return in_time(lambda: work(self._opened()), self.deadline.left())
        except FileNotFoundError:
            raise
        except ImportError as error:
            raise SourceError(f"{where}: what reads {self.scheme}:// is not installed; right would "
                              f"be: pip install 'holdfast[{self.extra}]'") from error
        except Exception as error:
            _SYSTEMS.pop(self._key, None)  # so that new credentials or connections are looked for
            if isinstance(error, TimeoutError) and self.deadline.left() <= 0:
                raise self.deadline.late() from error
            raise SourceError(f"{where}: {self._words(error)}") from error

    @property
    def _key(self) -> tuple[str, str]:
        return self.url, self.storage.model_dump_json()

    def _opened(self) -> AbstractFileSystem:
        found = _SYSTEMS.get(self._key)  # others' troubles take it away at any time
        if found is None:
            found = _SYSTEMS[self._key] = url_to_fs(
                self.url, **options(self.extra, self.storage))[0]
        return found

    def _words(self, error: Exception) -> str:
        said = redact(" ".join(f"{error}".split())[:200])
        kind = type(error).__name__
        if kind in ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError",
                    "CredentialUnavailableError", "ClientAuthenticationError"):
            return f"no credentials were found; right would be {CREDENTIALS[self.extra]}"
        refused = ("AccessDenied", "Forbidden", "failed to authenticate")  # of stores without errno
        if isinstance(error, PermissionError) or any(words in said for words in refused):
            return (f"no permission: {said}; right would be credentials that may list and read it: "
                    f"{CREDENTIALS[self.extra]}")
        if isinstance(error, (ConnectionError, TimeoutError)) or "onnect" in kind + said:
            return (f"the store does not answer: {said}; right would be a store that is reachable "
                    "from here (log.storage.endpoint_url, region)")
        return f"{kind}: {said}"


def options(extra: str, storage: Storage) -> dict[str, Any]:
    """What a store's file system is opened with; nothing of it is a credential."""
    told: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if extra == "s3":
        client = {"region_name": storage.region} if storage.region else {}
        config: dict[str, Any] = {"connect_timeout": 5, "read_timeout": 30,
                                  "retries": {"mode": "standard", "total_max_attempts": 2}}
        if storage.path_style:
            config["s3"] = {"addressing_style": "path"}
        return told | {"anon": storage.anonymous, "endpoint_url": storage.endpoint_url,
                       "client_kwargs": client, "config_kwargs": config}
    if extra == "gs":
        named: dict[str, Any] = {
            "endpoint_url": storage.endpoint_url, "project": storage.project,
            "token": "anon" if storage.anonymous else None}
    else:
        named = {"account_name": storage.account, "account_host": storage.endpoint_url,
                 "anon": storage.anonymous}
    return told | {key: value for key, value in named.items() if value is not None}


def in_time(work: Callable[[], Answer], seconds: float) -> Answer:
    """What ``work`` gives; ``TimeoutError`` once the time is over, whatever it hangs on."""
    future: Future[Answer] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="holdfast-object", daemon=True).start()
    return future.result(max(0.0, seconds))


def _stamp(item: dict[str, Any]) -> str:
    """What changes when the object does: its ETag, else the time at which it was written."""
    for key in ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "updated",
                "created"):
        if item.get(key):
            return str(item[key]).strip('"')
    return ""


class Objects(AbstractFileSystem):  # type: ignore[misc]
    """What DuckDB opens objects with: sizes as listed, bytes in blocks that are read once."""

    protocol = tuple(SCHEMES)
    cachable = False

    def __init__(self, storage: Storage, deadline: Deadline) -> None:
        super().__init__()
        self._storage, self._deadline = storage, deadline
        self._stores: dict[str, Store] = {}
        self._known: dict[str, Object] = {}
        self._blocks: OrderedDict[tuple[Object, int], bytes] = OrderedDict()
        self._tails: dict[Object, tuple[int, bytes]] = {}
        self._lock = threading.Lock()
        self.trouble: SourceError | None = None
        """What an object could not be read for, since DuckDB's own words do not tell."""

    def store(self, url: str) -> Store:
        """The store that a URL lies in."""
        scheme, _, rest = url.partition("://")
        box = rest.partition("/")[0]
        if "@" in box and (":" in box or SCHEMES[scheme] != "az"):
            raise SourceError(f"{scheme}://…: credentials in a URL are not read; right would be "
                              f"{scheme}://BUCKET/… and {CREDENTIALS[SCHEMES[scheme]]}")
        url = f"{scheme}://{box}"
        if url not in self._stores:
            self._stores[url] = Store(url, self._storage, self._deadline)
        return self._stores[url]

    def forget(self) -> None:
        """Ask again at the next listing: a new call has begun."""
        for store in self._stores.values():
            store.forget()

    def expect(self, objects: Iterable[Object], *, footers: bool = False) -> None:
        """From now on these versions are read: small ones, or their footers, are fetched at once.
        """
        fresh: dict[str, list[Object]] = {}
        room = KEPT // 2
        for item in objects:
            self._known[item.path] = item
            cost = min(item.size, TAIL) if footers and item.size > BLOCK else item.size
            held = (item, 0) in self._blocks or (footers and item in self._tails)
            if not held and cost and cost <= BLOCK and cost <= room:
                room -= cost
                fresh.setdefault(self.store(item.path).url, []).append(item)
        for url, items in fresh.items():
            starts = [max(0, item.size - TAIL) if item.size > BLOCK else 0 for item in items]
            parts = self.store(url + "/").reads([
                (item.path, start, item.size) for item, start in zip(items, starts, strict=True)])
            for item, start, part in zip(items, starts, parts, strict=True):
                if start:
                    self._tails[item] = start, part
                else:
                    self._keep(item, 0, part)

    def bytes_of(self, path: str, start: int, size: int) -> bytes:
        """Bytes of an object as listed."""
        item = self._known[path]
        end = min(start + size, item.size)
        tail = self._tails.get(item)
        if tail is not None and start >= tail[0]:
            return tail[1][start - tail[0]:end - tail[0]]
        first, last = start // BLOCK, max(start, end - 1) // BLOCK
        parts = {index: self._blocks.get((item, index)) for index in range(first, last + 1)}
        absent = [index for index, part in parts.items() if part is None]
        for _, run in itertools.groupby(enumerate(absent), lambda pair: pair[1] - pair[0]):
            indices = [index for _, index in run]
            low, high = indices[0] * BLOCK, min((indices[-1] + 1) * BLOCK, item.size)
            told = self.store(path).read(path, low, high)
            for index in indices:
                offset = index * BLOCK - low
                parts[index] = told[offset:offset + BLOCK]
                self._keep(item, index, parts[index] or b"")
        whole = b"".join(part or b"" for part in parts.values())
        return whole[start - first * BLOCK:end - first * BLOCK]

    def _keep(self, item: Object, index: int, part: bytes) -> None:
        with self._lock:
            self._blocks[item, index] = part
            while len(self._blocks) * BLOCK > KEPT and len(self._blocks) > 1:
                self._blocks.popitem(last=False)

    # what DuckDB calls

    def glob(self, path: str, **_: Any) -> list[str]:
        return [path]

    def exists(self, path: str, **_: Any) -> bool:
        return path in self._known

    def unstrip_protocol(self, name: str) -> str:
        return name

    def size(self, path: str) -> int:
        return self._known[path].size

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        return {"name": path, "size": self.size(path), "type": "file"}

    def modified(self, path: str) -> datetime:
        """A time of its own for every version: what DuckDB knows of a file is kept by it."""
        item = self._known[path]
        seconds = zlib.crc32(f"{item.stamp} {item.size}".encode())
        return datetime(1990, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)

    def open(self, path: str, mode: str = "rb", **_: Any) -> Handle:
        if "r" not in mode or path not in self._known:
            raise FileNotFoundError(path)
        return Handle(self, path)


class Handle(io.RawIOBase):
    """An open object. DuckDB seeks and reads from several threads at once without a lock.

    A thread that has just sought reads from there; one that has not reads on where the last read
    ended, as a reader of lines does, and what others have sought before is then out of date.
    """

    def __init__(self, objects: Objects, path: str) -> None:
        super().__init__()
        self._objects, self._path, self.size = objects, path, objects.size(path)
        self._at = self._turn = 0
        self._sought = threading.local()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self.size)[whence]
        self._sought.place = self._at, self._turn
        return self._at

    def read(self, size: int = -1) -> bytes:
        place, turn = getattr(self._sought, "place", (0, -1))
        self._sought.place = 0, -1
        if turn != self._turn:
            place, self._turn = self._at, self._turn + 1
        try:
            told = self._objects.bytes_of(self._path, place, self.size if size < 0 else size)
        except SourceError as error:
            self._objects.trouble = error
            raise OSError(str(error)) from error
        except FileNotFoundError as error:
            self._objects.trouble = SourceError(f"{self._path}: was removed while it was read")
            raise OSError(str(error)) from error
        self._at = place + len(told)
        return told
