"""A person decides in MLflow's own pages, in a real browser, on what a real retrain left there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from monitor.store import RequestRow
from tests.servers import free_port
from tests.servers.browser import browsing, open_version, promote
from tests.servers.mlflow import start_mlflow, stop_mlflow
from tests.story.town import Town, thumb, town

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["thumb"]
pytestmark = pytest.mark.filterwarnings("ignore")

ADDRESS = "https://holdfast.example.org"


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of these tests alone: the requests of other deployments bear the same ids."""
    address = f"http://127.0.0.1:{free_port()}"
    process = start_mlflow(tmp_path_factory.mktemp("mlflow"), address)
    try:
        yield address
    finally:
        stop_mlflow(process)


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory, mlflow_server: str, thumb: str
            ) -> Iterator[tuple[Town, RequestRow]]:
    """A champion that somebody made degrades; a retrain ends with a challenger that waits."""
    folder, registered = tmp_path_factory.mktemp("ui") / "town", f"parcels-{uuid4().hex[:6]}"
    rules = {"promotion": "manual", "shadow": {"rows": 0}}
    with town(folder, mlflow_server, registered, policy=rules, site=ADDRESS,
              reports=True) as place:
        place.client.copy_model_version(thumb, registered)
        place.promote("1")
        for day in range(28, 41):
            place.day(day, "1", 0.85 if day < 31 else 0.4)
        place.tick(41)
        yield place, place.ended(41)


@contextmanager
def shown(place: Town, version: str) -> Iterator[Page]:
    with browsing() as page:
        open_version(page, place.client.tracking_uri, place.registered, version)
        yield page


def test_the_page_of_the_version_holds_what_a_person_decides_by(
        waiting: tuple[Town, RequestRow]) -> None:
    place, row = waiting
    assert row.status == "registered", row.outcome
    result = (row.outcome or {})["result"]
    with shown(place, "2") as page:
        picture = page.locator("img[src*=get-artifact]")
        page.wait_for_function("image => image.complete && image.naturalWidth > 300",
                               arg=picture.element_handle())
        table = page.locator("table").first
        cells = [line.split("\t") for line in table.inner_text().splitlines()]
        text = " ".join(page.inner_text("body").split())
        back = page.get_by_role("link", name="holdfast's page of this model")
        assert back.get_attribute("href") == f"{ADDRESS}/models/deliveries"
    head, accuracy = ([cell.strip() for cell in line] for line in cells[:2])
    assert head == ["newest 250 labelled rows", "candidate", "version 1 (champion)"]
    for cell, name in zip(accuracy[1:], ("candidate", "version 1"), strict=True):
        assert cell.startswith(f"{result['holdout'][name]['value']:.4g} (")
    names = [line[0].strip() for line in cells]
    assert {"size", "CPU for a batch of 1", "CPU for a batch of 256"} <= set(names)
    assert f"Asked for because: {row.request.reason}" in text
    assert "add the alias champion above" in text
    tags = place.client.get_model_version(place.registered, "2").tags
    assert (tags["holdfast.page"], tags["holdfast.asked"]) == (
        f"{ADDRESS}/models/deliveries", row.request.reason)
    assert {"holdfast.page", tags["holdfast.page"]} <= set(text.split())


def test_the_report_and_the_card_are_a_click_away(waiting: tuple[Town, RequestRow]) -> None:
    place, _ = waiting
    with shown(place, "2") as page:
        report = followed(page, "report of what moved")
        report.frame_locator("iframe").get_by_text("sampled rows against").wait_for()
        card = followed(page, "whole card")
        card.get_by_text("What the gate asked").wait_for()


def followed(page: Page, link: str) -> Page:
    """What a link of the description opens: MLflow gives it a tab of its own."""
    with page.expect_popup() as opened:
        page.get_by_role("link", name=link).click()
    return opened.value


def test_who_clicks_the_alias_in_mlflow_is_followed(waiting: tuple[Town, RequestRow]) -> None:
    place, _ = waiting
    assert (place.state.phase, place.state.champion) == ("awaiting_promotion", "1")
    with shown(place, "2") as page:
        promote(page)
    assert place.champion() == "2"
    place.tick(41)
    assert (place.state.phase, place.state.champion) == ("probation", "2")
