"""The web surface over a store of the test's own, and what a page says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from monitor.exporter import Snapshot
from monitor.store import Store
from monitor.web import create_app, serve
from tests.monitor.stored import configuration


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield opened


@pytest.fixture
def site(store: Store, tmp_path: Path) -> Iterator[httpx.Client]:
    config = configuration(
        tmp_path, mlflow={"tracking_uri": "https://me:hunter2@mlflow.example/base?x=1"})
    server = serve(create_app(store, config, Snapshot(store, config)), "127.0.0.1", 0)
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        yield client
    server.stop()


class Checker(HTMLParser):
    """Whether every element that is opened is closed."""

    VOID = frozenset({"meta", "link", "br", "rect", "input", "wbr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert "style" not in dict(attrs)
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def text(page: httpx.Response) -> str:
    """The words of a page, markup taken away."""
    words = re.sub(r"<style>.*?</style>|<[^>]+>", " ", page.text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", words)
