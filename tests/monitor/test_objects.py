"""Logs in object stores: what is asked of the store, and what is said when it fails."""

from __future__ import annotations

import io
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from monitor import objects
from monitor.bins import Bins
from monitor.config import Limits
from monitor.errors import SourceError
from monitor.source import Source
from monitor.window import Window
from tests.monitor.logs import Logs
from tests.monitor.sourced import DAY, LATER, START, cells, counted, model, number, times, whole
from tests.servers import free_port
from tests.servers.store import Bucket, client, lists, start_s3

X = Bins((number("x"),))
SHORT = {"window": {"revise_for": "7d"}, "maturity": {"delay": "1d"}}


def parquet(rows: dict[str, Any] | pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(rows if isinstance(rows, pa.Table) else pa.table(rows), file, **options)
    return file.getvalue()


def day(index: float, n: int = 2, value: float = 0.0) -> bytes:
    """Rows of one day of the log."""
    return parquet({"ts": times(*[index + .5] * n), "x": [value] * n})


def test_a_thousand_partitions_are_neither_listed_nor_opened_for_one_day(bucket: Bucket) -> None:
    for index in range(1000):
        bucket.put(f"log/dt={START + (index - 990) * DAY:%Y-%m-%d}/a.parquet", day(index - 990))
    config = model({"source": f"{bucket.url}/log/dt=*/*.parquet"}, **SHORT)
    bucket.requests()
    with Source(config, Limits()) as source:
        found = source.count(X, Window(START, START + DAY), since=START, until=START + 1.1 * DAY)
        asked = bucket.requests()
        assert whole(found, X).n == 2
        assert lists(asked) <= 8
        assert 1 <= len(asked) - lists(asked) <= 25
        source.count(X, Window(START, START + DAY), since=START, until=START + 1.1 * DAY)
        again = bucket.requests()
        assert len(again) == lists(again) <= lists(asked)
        assert source.span() == Window(START - 990 * DAY, START + 10 * DAY)
    assert lists(bucket.requests()) <= 8


def test_files_that_are_known_are_not_read_again_for_their_footers(bucket: Bucket) -> None:
    for index in range(5):
        bucket.put(f"log-{index}.parquet", day(index))
    config = model({"source": f"{bucket.url}/log-*.parquet"})
    for expected in (5, 0):
        bucket.requests()
        with Source(config, Limits()) as source:
            assert source.span() == Window(START, START + 5 * DAY)
        asked = bucket.requests()
        assert (lists(asked), len(asked) - lists(asked)) == (1, expected) or expected == 5


def test_large_files_are_read_in_ranges_by_several_threads(bucket: Bucket, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 200_000
    table = pa.table({"ts": times(*np.sort(rng.uniform(0, 9, n)).round(6)),
                      "x": rng.normal(0, 1, n), "y": rng.normal(0, 1, n),
                      "unread": [f"{value:.20f}" for value in rng.uniform(0, 1, n)]})
    data = parquet(table, row_group_size=20_000, compression="none")
    bucket.put("log-1.parquet", data)
    (tmp_path / "log-1.parquet").write_bytes(data)
    bins = Bins((number("x"), number("y")))
    local = model({"source": f"{tmp_path}/log-*.parquet"}, features={"include": ["x", "y"]})
    remote = model({"source": f"{bucket.url}/log-*.parquet"}, features={"include": ["x", "y"]})
    bucket.requests()
    told = []
    for config in (local, remote):
        with Source(config, Limits(threads=4)) as source:
            told.append([(item.pane, item.profile.counts.tolist())
                         for item in counted(source, bins)])
    asked = bucket.requests()
    assert told[0] == told[1]
    assert len(asked) < len(data) / objects.BLOCK + 3


def test_a_rewritten_object_and_a_late_one_have_changed(bucket: Bucket) -> None:
    key = "log/year=2026/month=3/day={}/{}.parquet"
    for index in range(6):
        bucket.put(key.format(index + 1, "a"), day(index))
    config = model({"source": f"{bucket.url}/log/**/*.parquet"}, **SHORT)
    near = Window(START, START + 6 * DAY)
    with Source(config, Limits()) as source:
        assert source.features() == ["x"]  # and not the dates in the names of folders
        first = source.changed(None, near)
        assert source.changed(first.fingerprint, near).span is None
        bucket.put(key.format(2, "a"), day(1, value=1.0))  # as large as it was
        second = source.changed(first.fingerprint, near)
        assert second.span == Window(START + DAY, START + 2 * DAY)
        bucket.put(key.format(4, "late"), day(3, n=5))
        third = source.changed(second.fingerprint, near)
        assert third.span == Window(START + 3 * DAY, START + 4 * DAY)
        bucket.delete(key.format(4, "late"))
        assert source.changed(third.fingerprint, near).span == third.span
        assert cells(whole(counted(source, X), X), X, "x")[9:12] == [10, 0, 2]


def test_a_folder_that_is_no_longer_near_was_not_removed(bucket: Bucket) -> None:
    for index in range(8):
        bucket.put(f"log/{START + index * DAY:%Y-%m-%d}/a.parquet", day(index))
    config = model({"source": f"{bucket.url}/log/{{date}}/*.parquet"}, **SHORT)
    with Source(config, Limits()) as source:
        first = source.changed(None, Window(START, START + 7 * DAY))
        later = source.changed(first.fingerprint, Window(START + 6 * DAY, START + 7 * DAY))
    assert later.span is None


def test_lines_of_text_are_read_in_order(bucket: Bucket) -> None:
    lines = "".join(f'{{"ts": "2026-03-01T{row % 24:02d}:00:00Z", "x": {row}}}\n'
                    for row in range(60_000))
    bucket.put("log/2026/03/01/a.jsonl", lines.encode())
    config = model({"source": f"{bucket.url}/log/{{year}}/{{month}}/{{day}}/*.jsonl"})
    bins = Bins((number("x", low=0.0, high=60_000.0, cells=6),))
    with Source(config, Limits(threads=4)) as source:
        profile = whole(counted(source, bins), bins)
    assert cells(profile, bins, "x")[5:11] == [10_000] * 6


@pytest.mark.parametrize("scheme", ["gs", "az", "abfs"])
def test_other_stores_are_read_through_what_fsspec_knows(
    scheme: str, other_store: Callable[[str], MemoryFileSystem]) -> None:
    system = other_store(scheme)
    for index in range(40):
        system.pipe_file(f"/box/log/dt={START + index * DAY:%Y-%m-%d}/a.parquet", day(index))
    config = model({"source": f"{scheme}://box/log/dt=*/*.parquet"}, **SHORT)
    with Source(config, Limits()) as source:
        assert source.span() == Window(START, START + 40 * DAY)
        assert whole(counted(source, X, span=Window(START, START + 3 * DAY)), X).n == 6


@pytest.fixture
def other_store() -> Iterator[Callable[[str], MemoryFileSystem]]:
    """A store in memory in the place of a scheme."""
    known = dict(_registry)

    def make(scheme: str) -> MemoryFileSystem:
        kind = type("Box", (MemoryFileSystem,), {
            "protocol": scheme, "store": {}, "pseudo_dirs": [""], "_strip_protocol": classmethod(
                lambda cls, path: "/" + path.removeprefix(f"{scheme}://").strip("/"))})
        fsspec.register_implementation(scheme, kind, clobber=True)
        return kind()

    objects.forget_systems()
    yield make
    objects.forget_systems()
    _registry.clear()
    _registry.update(known)


def said(source: str, limits: Limits | None = None, **log: Any) -> str:
    """What is said of a log that cannot be read."""
    with (pytest.raises(SourceError) as raised,
          Source(model({"source": source}, **log), limits or Limits()) as opened):
        opened.span()
    return str(raised.value)


def test_what_is_missing_is_named(bucket: Bucket) -> None:
    bucket.put("log/a.parquet", day(0))
    assert "no file matches; right would be" in said(f"{bucket.url}/other/*.parquet")
    assert "no file matches" in said(f"{bucket.url}/log/dt=*/*.parquet")
    assert "bucket does not exist; right would be the name of a bucket" in said(
        "s3://no-such-bucket/log/*.parquet")
    assert "credentials in a URL are not read" in said("s3://key:pass@box/log/*.parquet")


def test_a_store_that_is_not_there_does_not_answer(credentials: None) -> None:
    text = said("s3://box/log/*.parquet", storage={
        "endpoint_url": f"http://127.0.0.1:{free_port()}", "region": "us-east-1"})
    assert "the store does not answer" in text
    assert "log.storage.endpoint_url" in text


def test_a_store_that_hangs_ends_with_the_deadline(credentials: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        text = said("s3://box/log/*.parquet", Limits(deadline=timedelta(seconds=1)),
                    storage={"endpoint_url": address, "region": "us-east-1"})
    assert "longer than limits.deadline (1s)" in text


def test_without_credentials_it_says_where_they_are_looked_for(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.client.put_object(Bucket=bucket.name, Key="log/a.parquet", Body=day(0),
                             ACL="public-read")
    bucket.client.put_bucket_acl(Bucket=bucket.name, ACL="public-read")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert "no credentials were found; right would be AWS_ACCESS_KEY_ID" in said(
        f"{bucket.url}/log/*.parquet")
    config = model({"source": f"{bucket.url}/log/*.parquet"}, storage={"anonymous": True})
    with Source(config, Limits()) as source:
        assert source.span() == Window(START, START + DAY)


def test_wrong_credentials_are_no_permission(
    credentials: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    with start_s3(address, tmp_path / "log", INITIAL_NO_AUTH_ACTION_COUNT="1"):
        client(address).create_bucket(Bucket="locked")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-of-mine")
        text = said("s3://locked/log/*.parquet",
                    storage={"endpoint_url": address, "region": "us-east-1"})
    assert "no permission" in text
    assert "right would be credentials that may list and read it: AWS_ACCESS_KEY_ID" in text
    assert "wrong-secret-of-mine" not in text


@pytest.mark.parametrize(("scheme", "module"), [("gs", "gcsfs"), ("az", "adlfs")])
def test_a_store_whose_reader_is_not_installed_names_the_extra(
        scheme: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert f"pip install 'holdfast[{scheme}]'" in said(f"{scheme}://box/*.parquet")


def test_a_hanging_read_does_not_outlive_the_deadline() -> None:
    released = threading.Event()
    with pytest.raises(TimeoutError):
        objects.in_time(released.wait, 0.05)
    released.set()
    assert objects.in_time(lambda: 1, 5.0) == 1


def test_local_folders_with_dates_are_pruned_too(tmp_path: Path) -> None:
    for index in range(60):
        folder = tmp_path / f"dt={START + index * DAY:%Y-%m-%d}"
        folder.mkdir()
        Logs("parquet", folder).add({"ts": times(index + .5), "x": [0.0]})
    (tmp_path / f"dt={START:%Y-%m-%d}" / "broken.parquet").write_bytes(b"not parquet")
    config = model({"source": f"{tmp_path}/dt=*/*.parquet"}, **SHORT)
    with Source(config, Limits()) as source:
        found = counted(source, X, span=Window(START + 30 * DAY, START + 33 * DAY), until=LATER)
    assert whole(found, X).n == 3
    assert "cannot be read" in said(f"{tmp_path}/dt=*/*.parquet", by_date=False)
