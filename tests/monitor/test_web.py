"""The pages of the web surface, asked for over a real connection."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from monitor.exporter import Snapshot
from monitor.page import WORDS, limit, number
from monitor.performance import Performance
from monitor.secrets import known
from monitor.state import Decision, ModelState
from monitor.store import Store
from monitor.timeline import timeline
from monitor.web import create_app, serve
from tests.data import ROOT
from tests.monitor.stored import NAMES, at, configuration, counted, fill, verdict
from tests.monitor.visited import Checker, site, store, text

__all__ = ["site", "store"]


def test_the_front_page_names_those_first_that_need_a_person(
        store: Store, site: httpx.Client) -> None:
    fill(store)
    page = site.get("/")
    named = re.findall(r'<h2 id="model-\d+"><a href="/models/([^"]+)"', page.text)
    assert named == ["electricity", "air-quality", "new-model", "deliveries", "quiet"]
    assert "Needs you now: decide on version 4" in text(page)
    assert "Look when you can: name a champion" in text(page)


def test_a_secret_that_is_a_word_of_the_style_leaves_the_style_as_it_is(
        site: httpx.Client) -> None:
    known(["auto", "width"])
    page = site.get("/")
    style = re.search("<style>(.*?)</style>", page.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page.headers["content-security-policy"]
    assert "width" in style[1]


@pytest.mark.parametrize(("asked", "names"), [
    ("phase=probation&needs=&text=", ["deliveries"]), ("text=AIR+null", ["air-quality"]),
    ("needs=now", ["electricity", "air-quality"]), ("text=%3Cb%3E", []), ("offset=4", ["quiet"])])
def test_the_front_page_is_filtered_by_a_form(
        store: Store, site: httpx.Client, asked: str, names: list[str]) -> None:
    fill(store)
    page = site.get(f"/?{asked}")
    assert re.findall(r'<h2 id="model-\d+"><a href="/models/([^"]+)"', page.text) == names
    assert "form-action 'self'" in page.headers["content-security-policy"]
    assert "<b>" not in page.text
    assert ("No model is like that here" in text(page)) == (not names)


@pytest.mark.parametrize(("address", "words"), [
    ("/?phase=nonsense", "phase: 'nonsense'; right would be 'unknown', 'stable'"),
    ("/?needs=%3Cb%3E", "needs: '<b>'; right would be 'now'"),
    ("/?offset=x", "offset: 'x'; right would be a valid integer"),
    ("/?offset=-1&text=%00", "offset: '-1'; right would be greater than or equal to 0"),
    ("/?page=x&state=foo", "page, state: unknown here; right would be phase, needs, text, offset"),
    ("/reports/x", "report_id: 'x'; right would be a valid integer")])
def test_a_wrong_address_is_told_on_a_page(site: httpx.Client, address: str, words: str) -> None:
    page = site.get(address)
    assert page.status_code == 422
    assert page.headers["content-type"].startswith("text/html")
    assert words in html.unescape(text(page))
    assert 'href="/">All models' in page.text
    assert "<b>" not in page.text


def test_a_large_fleet_is_shown_in_parts_with_calm_models_in_a_line(
        store: Store, tmp_path: Path) -> None:
    fill(store)
    config = configuration(tmp_path, *NAMES, *(f"m{place:02}" for place in range(60)))
    server = serve(create_app(store, config, Snapshot(store, config)), "127.0.0.1", 0)
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client:
        first = client.get("/")
        [after] = re.findall(r'rel="next" href="([^"]+)"', first.text)
        second = client.get(html.unescape(after))
        calm = text(client.get("/?text=quiet"))
        [more] = re.findall(r'rel="next" href="([^"]+)"', client.get("/?phase=unknown").text)
    server.stop()
    assert html.unescape(more) == "/?phase=unknown&offset=50"
    named = [re.findall(r'<h2 id="model-\d+"><a href="/models/([^"]+)"', page.text)
             for page in (first, second)]
    assert [len(part) for part in named] == [50, 15]
    assert len({*named[0], *named[1]}) == 65
    assert "1 to 50 of 65" in text(first)
    assert 'rel="prev" href="/?offset=0"' in second.text
    assert "inputs as in the reference" in calm
    assert "Nearest to their limit" not in calm  # a line, no card


def test_the_front_page_says_what_an_on_call_person_asks(store: Store, site: httpx.Client) -> None:
    fill(store)
    page = site.get("/")
    assert page.status_code == 200
    for words in (
        "Waiting for a person", "passed the gate", "accuracy .771", "What moved", "0.63", "0.112",
        "0.752 to 0.789", "Episode open since 2026-03-14 01:00", "On probation", "Faulty data",
        "every one of 1,104 values is null", "SourceError", "No champion", "Matters", "34 %",
        "Estimated without labels", "the newest labels bear such estimates out",
    ):
        assert words in text(page)
    assert ('href="https://mlflow.example/base/#/models/electricity/versions/4"' in page.text)


@pytest.mark.parametrize("path", ["/", "/models/electricity", "/models/new-model", "/models/none"])
def test_pages_are_well_formed_and_need_nothing_from_elsewhere(
        store: Store, site: httpx.Client, path: str) -> None:
    fill(store)
    page = site.get(path)
    checker = Checker()
    checker.feed(page.text)
    assert checker.open == []
    assert not checker.seen & {"script", "img", "iframe"}
    assert ("form" in checker.seen) == (path == "/")  # the filter, which changes nothing
    assert 'method="post"' not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_runbooks_are_pages(site: httpx.Client) -> None:
    names = {file.stem for file in (ROOT / "docs" / "runbooks").glob("*.md")}
    listed = site.get("/runbooks")
    assert set(re.findall(r'href="/runbooks/(\w+)"', listed.text)) == names
    for name in names:
        page = site.get(f"/runbooks/{name}.md")
        checker = Checker()
        checker.feed(page.text)
        assert (page.status_code, checker.open) == (200, [])
        assert f"<h2>{name}</h2>" in page.text
        assert "<h3>What to do</h3>" in page.text
    assert site.get("/runbooks/..%2Fpages.py").status_code == 404


def test_a_model_page_tells_its_history(store: Store, site: httpx.Client) -> None:
    fill(store)
    page = site.get("/models/electricity")
    for words in ("electricity-20260315T010000Z", "registered", "3.8 times smaller",
                  "awaiting promotion", "version 4 passed the gate", "Report 1", "97 %",
                  "weekday=0", "selection rate 0.44 (0.41 to 0.47)",
                  "demographic parity difference", "0.07 to 0.17"):
        assert words in text(page)
    assert page.text.count('<td class="when">2026-03-') > 14


def test_a_model_page_draws_what_happened(store: Store, site: httpx.Client) -> None:
    fill(store)
    page = site.get("/models/electricity").text
    drawn = page.partition('<svg class="timeline"')[2].partition("</svg>")[0]
    assert "Severity and accuracy over 14 windows" in drawn
    assert drawn.count('class="alarm"') == 1
    assert "version 3 became champion" in drawn
    assert drawn.count('class="retrain"') == 1
    assert "2026-03-14T00:00: accuracy 0.771 (0.752 to 0.789)" in drawn
    places = [float(y) for y in re.findall(r'c[xy]="([^"]+)"', drawn)]
    assert all(0 <= place <= 760 for place in places)
    ends = re.findall(r'<circle class="\w+" cx="[^"]+" cy="([^"]+)"', drawn)
    assert float(ends[-1]) > float(ends[0])  # what is worse lies lower
    assert "not measured" not in drawn
    assert 'class="timeline"' not in site.get("/models/new-model").text
    assert 'class="timeline"' in site.get("/models/air-quality").text  # faulty: nothing measured


def test_a_model_page_draws_columns_beside_their_reference(
        store: Store, site: httpx.Client) -> None:
    fill(store)
    assert "No counts are kept of it" in text(site.get("/models/electricity"))
    counted(store)
    page = site.get("/models/electricity")
    checker = Checker()
    checker.feed(page.text)
    assert checker.open == []
    names = re.findall(r'<div class="card">\n<h3>([^<]+)</h3>', page.text)
    assert names[0] == "price"  # the only one that moved and is known to matter
    drawn = page.text.split('<svg class="contour"')[1].partition("</svg>")[0]
    bars = [[float(number) for number in bar] for bar in re.findall(
        r'class="(?:before|after)" x="(\S+)" y="(\S+)" width="(\S+)" height="(\S+)"', drawn)]
    assert max(height for *_, height in bars) == 82
    assert all(y + height == pytest.approx(82) for _, y, _, height in bars)
    assert "Most changed: missing: 0 % in the reference, 10 % now" in text(page)
    assert "Values in all 3,000 3,000" in text(page)


@pytest.mark.parametrize(("full", "shown"), [(0, [0.9, 0.9, 0.9]), (1, [0.8])])
def test_windows_are_drawn_by_themselves_until_the_stretch_that_decides_is_full(
        store: Store, full: int, shown: list[float]) -> None:
    for day in range(3):
        own = Performance("accuracy", 0.9, 0.88, 0.92, 100, span="1d")
        deciding = replace(own, value=0.8 if full and day == 2 else None, low=None, high=None,
                           span="7d")
        store.advance("quiet", day, ModelState(champion="3"), at=at(day + 1), cause="x", verdicts=[
            (verdict("quiet", day, performance=(deciding, own)), "stable", None,
             Decision("none", "x"))])
    made = timeline(store, "quiet")
    assert made is not None
    assert [float(dot.words.split("accuracy ")[1].split()[0]) for dot in made.quality] == shown


def test_a_line_never_joins_two_versions(store: Store) -> None:
    for day, version in enumerate("3344"):
        store.advance("quiet", day, ModelState(champion=version), at=at(day + 1), cause="x",
                      verdicts=[(verdict("quiet", day, version=version), "stable", None,
                                 Decision("none", "x"))])
        store.adopt("quiet", version, at(day), key="k")
    made = timeline(store, "quiet")
    assert made is not None
    assert [run.count(",") for run in made.runs] == [2, 2]
    assert [mark.label for mark in made.versions] == ["v3", "v4"]
    assert timeline(store, "electricity") is None


def test_pages_stand_while_nothing_is_known(site: httpx.Client) -> None:
    assert "No window was judged yet" in text(site.get("/"))
    assert "None yet" in text(site.get("/models/quiet"))


def test_one_model_is_one_model(store: Store, tmp_path: Path) -> None:
    for names, title in ((NAMES[:1], "holdfast: 1 model"), (NAMES[:2], "holdfast: 2 models")):
        config = configuration(tmp_path, *names)
        server = serve(create_app(store, config, Snapshot(store, config)), "127.0.0.1", 0)
        assert f"<title>{title}</title>" in httpx.get(server.url, trust_env=False).text
        server.stop()


def test_a_page_for_every_phase(store: Store, site: httpx.Client) -> None:
    number = 0
    for phase, (words, _, _) in WORDS.items():
        number = store.advance("quiet", number, ModelState(phase=phase), at=at(1), cause="x")  # type: ignore[arg-type]
        assert words in text(site.get("/models/quiet"))


def test_what_waits_is_shown(store: Store, site: httpx.Client) -> None:
    store.advance("quiet", 0, ModelState(phase="retraining"), at=at(1), cause="x",
                  decision=Decision("retrain", "it got worse"))
    assert "Pending since 2026-03-02 00:00: retrain . it got worse" in text(site.get("/"))


def test_what_comes_from_the_log_is_escaped(store: Store, site: httpx.Client) -> None:
    bad = '<script>alert("x")</script>'
    store.advance("quiet", 0, ModelState(champion="3"), at=at(1), cause=bad, verdicts=[
        (verdict("quiet", 0, reason=bad), "stable", None, Decision("hold", bad))])
    store.trouble("quiet", at(1), "SourceError", bad)
    for path in ("/", "/models/quiet", "/models/<script>"):
        assert "<script>" not in site.get(path).text


def test_a_report_is_served_in_a_sandbox(store: Store, site: httpx.Client, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text("<html><script>1</script>drift</html>")
    fill(store)
    row = store.verdicts("electricity", newest=1)[0]
    made = store.save_report("quiet", row.id, "runs:/r/report.html", str(file))
    frame = site.get(f"/reports/{made}")
    assert 'href="/models/quiet"' in frame.text
    assert row.line["reason"].split("(")[0] in frame.text
    assert f'src="/reports/{made}/whole" sandbox="allow-scripts"' in frame.text
    assert "frame-src 'self'" in frame.headers["content-security-policy"]
    assert "frame-src" not in site.get("/").headers["content-security-policy"]
    answer = site.get(f"/reports/{made}/whole")
    assert answer.text == file.read_text()
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts;")
    assert "default-src 'none'" in policy
    assert "connect-src" not in policy  # none, by default-src
    assert policy.endswith("frame-ancestors 'self'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    file.unlink()
    for path in ("", "/whole"):
        gone = site.get(f"/reports/{made}{path}")
        assert gone.status_code == 404
        assert "runs:/r/report.html" in gone.text


@pytest.mark.parametrize(("value", "shown"), [
    (0.7714, "0.771"), (33600, "33,600"), (None, "–"), (12345.6, "12,346"), (2.0, "2"),
    (0.00666, "0.00666")])
def test_numbers_are_written_for_people(value: float | None, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(("threshold", "statistic", "shown"), [
    (201.3, "psi", "any"), (0.31, "psi", "0.31"), (1.2, "ks", "any"), (201.3, "chi2", "201"),
    (None, None, "–")])
def test_a_limit_beyond_every_value_is_none(threshold: float | None, statistic: str | None,
                                            shown: str) -> None:
    assert limit(threshold, statistic) == shown
