"""A real Chromium for tests, and what a person does with it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.servers import need

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]
"""Flags with which Chromium runs as root, without a display, and asks nobody but the page."""
WIDTH, HEIGHT = 1280, 900
PATIENCE = 60_000.0
"""Milliseconds that a page may take to show something."""


@contextmanager
def browsing(width: int = WIDTH, height: int = HEIGHT, *, trusted: bool = False) -> Iterator[Page]:
    """A page of a browser that ends with the block; ``trusted`` lets a test's own scripts run on
    pages that forbid all."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    need(found, "no Chromium on PATH (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=QUIET)
        page = browser.new_page(viewport={"width": width, "height": height}, bypass_csp=trusted)
        page.set_default_timeout(PATIENCE)
        try:
            yield page
        finally:
            browser.close()


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a fresh browser."""
    with browsing() as opened:
        yield opened


def open_version(page: Page, server: str, registered: str, version: str) -> None:
    """The page of a model version in MLflow's UI, once it shows what it is about."""
    page.goto(f"{server}/#/models/{quote(registered, safe='')}/versions/{version}")
    _aliases(page).wait_for()
    page.get_by_text("Description").first.wait_for()


def promote(page: Page, alias: str = "champion") -> None:
    """Give the version that is shown an alias, by clicking as a person does."""
    aliases = _aliases(page)
    aliases.get_by_role("button", name=re.compile("Edit aliases|Add")).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox").fill(alias)
    dialog.get_by_role("combobox").press("Enter")
    page.get_by_role("button", name="Save aliases").click()
    aliases.get_by_text(alias).wait_for()


def _aliases(page: Page) -> Locator:
    return page.get_by_test_id("descriptions-item").filter(has_text="Aliases")
