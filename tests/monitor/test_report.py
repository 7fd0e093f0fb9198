"""Reports: what is left out, what is said, what a child's end means, and that nothing is sent."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monitor.assembly import opened
from monitor.config import MLflow, load
from monitor.errors import HoldfastError
from monitor.registry import Registry
from monitor.report import Reporter, Subject, _reason, columns, render
from monitor.store import Store
from monitor.window import Window, parse_time
from tests.monitor.surface import site
from tests.servers.browser import browsing

# what Evidently 0.7.23 imports is deprecated by now
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

GUARD = """
import os, socket
def _guarded(plain):
    def connect(self, address):
        if self.family != socket.AF_UNIX and not str(address[0]).startswith("127."):
            with open(os.environ["GUARD_LOG"], "a") as log:
                log.write(f"{address}\\n")
            raise OSError("guarded")
        return plain(self, address)
    return connect
socket.socket.connect = _guarded(socket.socket.connect)
socket.socket.connect_ex = _guarded(socket.socket.connect_ex)
_look_up = socket.getaddrinfo
def _named(host, *rest, **more):
    if host not in (None, "localhost", "127.0.0.1"):
        with open(os.environ["GUARD_LOG"], "a") as log:
            log.write(f"{host}\\n")
        raise OSError("guarded")
    return _look_up(host, *rest, **more)
socket.getaddrinfo = _named
"""

CONFIG = """
mlflow: {{tracking_uri: "{uri}"}}
models:
  - name: shop
    log:
      source: log.parquet
      timestamp: at
      prediction: answer
      label: truth
      features: {{exclude: []}}
    reference: {{from: 2026-01-01, to: 2026-01-05}}
"""


def frame(rows: int, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    return pd.DataFrame({
        "price": rng.normal(size=rows) + shift,
        "day": rng.choice(["mon", "tue"], rows),
        "open": rng.random(rows) < 0.5,
        "empty": np.full(rows, np.nan),
        "one": np.ones(rows),
        "_prediction": rng.choice(["UP", "DOWN"], rows),
        "_timestamp": pd.date_range("2026-01-01", periods=rows, freq="h", tz="UTC"),
        "_id": np.arange(rows)})


@pytest.fixture
def reporter(tmp_path: Path, mlflow_uri: str) -> Reporter:
    """A reporter over a log of ten days, the last five of them shifted."""
    log = pd.concat([frame(120), frame(120, shift=3)], ignore_index=True)
    log["at"] = pd.date_range("2026-01-01", periods=240, freq="h", tz="UTC")
    log["answer"] = log["truth"] = log["_prediction"]
    log = log.drop(columns=["_prediction", "_timestamp", "_id"])
    log.to_parquet(tmp_path / "log.parquet")
    (tmp_path / "holdfast.yaml").write_text(CONFIG.format(uri=mlflow_uri))
    return Reporter(Registry(MLflow(tracking_uri=mlflow_uri)), str(tmp_path / "holdfast.yaml"))


SUBJECT = Subject("shop", Window(parse_time("2026-01-06"), parse_time("2026-01-10")),
                  parse_time("2026-01-10T01:00:00"), heading="price <drifted>")


def test_columns_that_cannot_be_compared_are_left_out_and_named() -> None:
    current = frame(50).assign(late=1.0, price="dear")
    numeric, categorical, left_out = columns(frame(50), current)
    assert numeric == []
    assert categorical == ["day", "open", "prediction"]
    assert set(left_out) == {"price", "empty", "one", "late"}
    assert left_out["price"] == "has another type than in the reference"


def test_a_constant_that_moves_is_compared() -> None:
    numeric, _, _ = columns(frame(50), frame(50).assign(one=2.0))
    assert "one" in numeric


def test_the_report_is_one_file_that_says_what_it_is_about() -> None:
    html = render(frame(200), frame(200, shift=2).assign(price=np.inf), title="shop",
                  words=["price <drifted>"])
    assert "price &lt;drifted&gt;" in html
    assert "empty (has no value in the reference rows)" in html
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']https?:", html)


HIDDEN = """() => [...document.querySelectorAll('body *')].filter(e => e.clientWidth > 200
  && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX == 'hidden').length"""
"""Parts of a page of which something can neither be seen nor scrolled to."""


def test_the_report_can_be_read_in_its_frame_on_any_screen(store: Store, tmp_path: Path) -> None:
    """In Chromium: Evidently's own scripts run in the sandbox without a complaint, the page leads
    back, and on a phone the frame is scrolled rather than cut off."""
    (tmp_path / "report.html").write_text(render(
        frame(200), frame(200, shift=2), title="quiet", words=["price drifted"]))
    row = store.verdicts("quiet", segment="", newest=1)[0]
    made = store.save_report("quiet", row.id, "runs:/r/report.html", str(tmp_path / "report.html"))
    told: list[str] = []
    with site(store, tmp_path, {}) as server, browsing() as page:
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        for width, scheme in ((1280, "light"), (360, "dark")):
            page.set_viewport_size({"width": width, "height": 740})
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.goto(f"{server.url}/reports/{made}")
            page.frame_locator("iframe").get_by_text("Data Drift Summary").wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            seen: list[int] = []
            while seen[-5:] != [0] * 5 and len(seen) < 200:  # its scripts go on laying it out
                page.wait_for_timeout(100)
                seen.append(page.frames[1].evaluate(HIDDEN))
            assert seen[-5:] == [0] * 5, page.frames[1].evaluate(
                HIDDEN.replace(".length", ".map(part => part.outerHTML.slice(0, 300))"))
        for reached in ("To the content", "holdfast", "All models", "quiet", "Without this frame"):
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.textContent") == reached
        page.get_by_role("link", name="quiet", exact=True).click()
        page.wait_for_url(f"{server.url}/models/quiet")
    assert told == []


def test_nothing_to_compare_is_an_error_in_words() -> None:
    with pytest.raises(HoldfastError, match="no column can be compared"):
        render(frame(20)[["empty"]], frame(20)[["empty"]], title="shop", words=[])


def test_the_report_is_published_and_nothing_is_sent(
        reporter: Reporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD)
    (tmp_path / "sent").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "guard"))
    monkeypatch.setenv("GUARD_LOG", str(tmp_path / "sent"))
    monkeypatch.delenv("DO_NOT_TRACK")
    uri = reporter.publish(SUBJECT)
    assert (tmp_path / "sent").read_text() == ""
    run_id, _, path = uri.removeprefix("runs:/").partition("/")
    html = reporter.registry.artifact(run_id, path)
    assert html is not None
    assert "price &lt;drifted&gt;" in html


def test_the_guard_of_the_test_above_sees_what_is_sent(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(GUARD)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "GUARD_LOG": str(tmp_path / "sent")}
    code = "import urllib.request as u\ntry: u.urlopen('http://example.invalid')\nexcept OSError: 0"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert "example.invalid" in (tmp_path / "sent").read_text()


@pytest.mark.parametrize("wanted", [True, False])
def test_a_configuration_may_have_none(reporter: Reporter, wanted: bool) -> None:
    path = Path(reporter.config)
    path.write_text(f"reports: {str(wanted).lower()}\n{path.read_text()}")
    with opened(load(path)) as deps:
        assert (deps.reporter is not None) == wanted


def test_too_little_memory_is_an_error_in_words(reporter: Reporter, tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match=r"shop.*(memory|ended|failed)"):
        replace(reporter, memory=60 << 20).write(SUBJECT, tmp_path)


def test_an_error_that_could_not_be_written_is_told_by_how_the_process_ended(
        reporter: Reporter, tmp_path: Path) -> None:
    """As where not even that much memory was left."""
    (path := tmp_path / "report.error").touch()
    assert _reason(path, 1, reporter) == "its process ended with status 1"
    assert "SIGKILL" in _reason(path, -9, reporter)
    path.write_text("no room")
    assert _reason(path, 1, reporter) == "no room"


def test_a_report_that_takes_too_long_is_ended(reporter: Reporter, tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="took longer than 0 s"):
        replace(reporter, deadline=timedelta(milliseconds=50)).write(SUBJECT, tmp_path)


def test_a_window_without_rows_is_an_error_in_words(reporter: Reporter, tmp_path: Path) -> None:
    empty = replace(SUBJECT, window=Window(parse_time("2027-01-01"), parse_time("2027-01-02")))
    with pytest.raises(HoldfastError, match="no column can be compared"):
        reporter.write(empty, tmp_path)
