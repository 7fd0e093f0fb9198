"""Pages for everybody: read in Chromium by axe's rules (WCAG 2.2 AA), on a phone, by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from monitor.server import Server
from monitor.store import Store
from tests.monitor.stored import NAMES, counted, fill
from tests.monitor.surface import PASSWORD, cheap, guarded, site, trained
from tests.servers.browser import browsing

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["cheap"]

RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa",
                                   "best-practice"]}
PHONE = 360
CONTRAST = """() => {
  const paper = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = color => {
    paper.clearRect(0, 0, 1, 1); paper.fillStyle = color; paper.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = paper.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; };
  const over = (top, low) => [0, 1, 2].map(i => top[i] * top[3] + low[i] * (1 - top[3])).concat(1);
  const light = color => { const [r, g, b] = color.slice(0, 3).map(v => v / 255).map(
    v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const ground = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement)
      layers.push(rgba(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((low, top) => over(top, low), [255, 255, 255, 1]); };
  const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let least = 99, seen = 0;
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement, style = getComputedStyle(element);
    if (!walk.currentNode.data.trim() || !element.getClientRects().length
        || ['title', 'desc', 'option'].includes(element.localName)
        || element.closest(':disabled') || style.visibility == 'hidden') continue;
    const drawn = element instanceof SVGElement, low = ground(element);
    const ink = over(rgba(drawn ? style.fill : style.color), low);
    const [a, b] = [light(ink), light(low)].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05); seen += 1; least = Math.min(least, ratio);
    if (ratio < 4.5) found.push(ratio.toFixed(2) + ': ' + walk.currentNode.data.trim());
  }
  return {found, seen, least};
}"""
"""The contrast of every text with what lies below it, as computed styles have it; text in pictures
too, which axe passes by."""
STOPS = """() => [...document.querySelectorAll(
  'a[href], button:not(:disabled), input:not([type=hidden]), select, summary, [tabindex="0"]'
  )].filter(e => e.getClientRects().length && (e.type != 'radio' || e.checked)).map(
  (e, place) => { e.dataset.stop = place; return place; })"""
"""Numbers what a keyboard has to reach; of radio buttons that is the chosen one."""
FOCUSED = """() => { const e = document.activeElement, style = getComputedStyle(e);
  return {stop: Number(e.dataset.stop ?? -1), name: e.outerHTML.slice(0, 80),
    seen: style.outlineStyle != 'none' && parseFloat(style.outlineWidth) >= 2
      && e.getBoundingClientRect().height > 1}; }"""
SHAPE = """() => {
  const all = selector => [...document.querySelectorAll(selector)];
  return {
    lang: document.documentElement.lang, title: document.title,
    levels: all('h1, h2, h3, h4').map(e => Number(e.localName[1])),
    marks: ['header', 'main', 'footer'].map(name => all(name).length),
    uncaptioned: all('table').filter(e => !e.caption?.textContent.trim()).length,
    unscoped: all('th:not([scope])').length,
    unnamed: all('svg:not([aria-hidden=true])').filter(e => e.getAttribute('role') != 'img'
      || !(e.getAttribute('aria-label') || e.querySelector('title')?.textContent)).length,
    unlabelled: all('input:not([type=hidden]), select').filter(e => !e.labels.length).length}; }"""
MODEL = "/models/electricity"
PATHS = ("/", "/?text=nothing-like-it", "/?phase=wrong&page=x", MODEL, "/models/air-quality",
         "/models/quiet", "/models/new-model", "/models/none", "/actions/electricity/retrain",
         "/actions/electricity/snooze", "/actions/electricity/rebaseline",
         "/actions/electricity/undo", "/actions/electricity/nothing", "/login", "/runbooks",
         "/runbooks/HoldfastDrift.md")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A surface with a story in it, for people who log in."""
    folder = tmp_path_factory.mktemp("site")
    with Store.open(f"sqlite:///{folder / 'store.db'}") as store:
        fill(store)
        counted(store)
        with site(store, folder, guarded(folder, public=["read", "metrics"]),
                  models=trained()) as made:
            yield made


@pytest.fixture(scope="module")
def page(server: Server) -> Iterator[Page]:
    """A browser in which anna is logged in; rules of axe may be evaluated there."""
    with browsing(trusted=True) as opened:
        opened.goto(f"{server.url}/login")
        opened.get_by_label("Name").fill("anna")
        opened.get_by_label("Password").fill(PASSWORD)
        opened.get_by_role("button", name="Log in").click()
        opened.wait_for_url(f"{server.url}/")
        yield opened




@pytest.mark.parametrize("path", PATHS)
def test_every_page_is_for_everybody(server: Server, page: Page, path: str) -> None:
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")
    page.goto(server.url + path)
    _well_made(page.evaluate(SHAPE))
    assert _broken_rules(page) == []
    _by_keyboard(page)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        told = page.evaluate(CONTRAST)
        assert told["seen"] > 3
        assert told["found"] == [], scheme
    page.set_viewport_size({"width": PHONE, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
    assert _broken_rules(page) == []


def _broken_rules(page: Page) -> list[tuple[str, list[str]]]:
    """Rules of axe, and the elements that break them."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"runOnly": RULES, "resultTypes": ["violations"]}).response
    return [(item["id"], [node["html"] for node in item["nodes"]]) for item in found["violations"]]


def _well_made(shape: dict[str, Any]) -> None:
    levels = shape["levels"]
    assert shape["lang"] == "en"
    assert "holdfast" in shape["title"]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - level <= 1 for level, later in pairwise(levels)), levels
    assert shape["marks"] == [1, 1, 1]
    assert {key: shape[key] for key in ("uncaptioned", "unscoped", "unnamed", "unlabelled")} == {
        "uncaptioned": 0, "unscoped": 0, "unnamed": 0, "unlabelled": 0}


def _by_keyboard(page: Page) -> None:
    """Tab reaches everything, in the order of the page, and shows where it is."""
    page.evaluate("document.activeElement.blur()")
    stops = page.evaluate(STOPS)
    for stop in stops:
        page.keyboard.press("Tab")
        at = page.evaluate(FOCUSED)
        assert at["stop"] == stop, at
        assert at["seen"], at


def test_who_tabs_can_skip_to_what_matters(server: Server, page: Page) -> None:
    page.goto(server.url + MODEL)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.localName") == "main"


def test_a_fleet_of_three_hundred_fits_on_a_phone(page: Page, tmp_path: Path) -> None:
    names = [*NAMES, *(f"a-model-with-a-long-name-{place:03}" for place in range(295))]
    models = [{"name": name, "log": {"source": "l", "timestamp": "at", "prediction": "p"}}
              for name in names]
    page.set_viewport_size({"width": PHONE, "height": 740})
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        fill(store)
        with site(store, tmp_path, {}, models=models) as made:
            for path in ("/", "/?offset=50", "/?phase=unknown"):
                page.goto(made.url + path)
                assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
                assert page.locator("article").count() == 50
            _well_made(page.evaluate(SHAPE))
