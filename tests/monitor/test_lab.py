"""The lab from the command line, on logged answers: quick, side by side, changing nothing."""

from __future__ import annotations

import html.parser
import re
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from monitor import comparison
from monitor.comparison import text
from monitor.picture import DARK, draw, words
from tests.monitor.command import configured, holdfast
from tests.monitor.test_replay import contents
from tests.story.deployment import register

SPAN = ("--from", "2026-02-06", "--to", "2026-04-01")
DROP = pd.Timestamp("2026-02-20", tz="UTC")
SUMS = {"alarms", "false_alarms", "undecided_alarms", "degradations", "missed", "undecided",
        "median_delay_days", "asked", "trainings", "fitted", "registered", "recalls", "refusals",
        "failures", "promotions", "rollbacks", "training_minutes", "comparison_minutes",
        "first_champion_minutes", "labelled_rows_used"}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three months of a model that is right nine times in ten, and from 20 February three
    in four."""
    folder = tmp_path_factory.mktemp("lab")
    at = pd.date_range("2026-01-01", periods=90 * 96, freq="15min", tz="UTC")
    rng = np.random.default_rng(3)
    size = rng.normal(5, 1, len(at))
    truth = rng.random(len(at)) < 0.5
    right = rng.random(len(at)) < np.where(at >= DROP, 0.75, 0.9)
    names = np.array(["no", "yes"])
    frame = pd.DataFrame({"at": at, "size": size.round(2), "truth": names[truth.astype(int)],
                          "answer": names[(truth == right).astype(int)]})
    frame.to_parquet(folder / "log.parquet", index=False)
    register(f"sqlite:///{folder / 'mlflow.db'}", "sizes")
    configured(folder, {
        "name": "sizes", "log": {"source": "log.parquet", "timestamp": "at",
                                 "prediction": "answer", "label": "truth",
                                 "positive_label": "yes"},
        "maturity": {"delay": "3d"},
        "reference": {"from": "2026-01-01", "to": "2026-02-05"},
        "policy": {"retrain": {"minimum_rows": 500, "cooldown": "14d"}}})
    (folder / "deaf.yaml").write_text(
        "policy: {performance: {drop: 0.5}}\nwindow: {length: 2d}\n")
    return folder / "holdfast.yaml"


@pytest.fixture(scope="module")
def reports(log: Path) -> list[dict[str, Any]]:
    before = contents(log.parent)
    said = holdfast("replay", log, *SPAN, "--policy", "current", "--policy", "never", "--policy",
                    "every-30d", "--policy", log.parent / "deaf.yaml", "--json")
    assert (said.code, said.err) == (0, "")
    assert contents(log.parent) == before, "nothing was written anywhere"
    return said.lines


def test_policies_are_told_one_object_each(reports: list[dict[str, Any]]) -> None:
    assert [report["policy"] for report in reports] == ["current", "never", "every-30d", "deaf"]
    for report in reports:
        assert set(report["sums"]) == SUMS
        assert not report["acted"]
        assert "--act" in report["seen"]
        assert sum(period["n"] for period in report["periods"]) == report["performance"]["n"]
        assert (report["metric"], report["reference"]["value"]) == (
            "accuracy", pytest.approx(0.9, abs=0.02))
        assert [move["kind"] for move in report["moves"]] == ["first"]


def test_the_loss_is_found_where_it_was_and_who_saw_it_when(reports: list[dict[str, Any]]) -> None:
    for report in reports:
        (loss,) = report["degradations"]
        assert abs(pd.Timestamp(loss["start"]) - DROP) <= pd.Timedelta(days=2)
        assert loss["end"] == "2026-04-01T00:00:00Z"
    current, never, every, deaf = (report["degradations"][0] for report in reports)
    assert (current["fate"], current["by"]) == ("noticed", "retrain")
    assert 0 < current["delay_days"] < 20
    assert never["by"] == "alarm"
    assert never["noticed"] >= current["noticed"]
    assert every["by"] in {"alarm", "retrain"}
    assert deaf["fate"] == "missed"
    assert reports[3]["sums"]["missed"] == 1


def test_what_would_have_been_asked_for(reports: list[dict[str, Any]]) -> None:
    current, never, every, _ = reports
    asked = [pd.Timestamp(item["at"]) for item in current["asked"]]
    assert len(asked) >= 2, "a retrain that nobody made does not stop the next one"
    assert min(later - earlier for earlier, later in pairwise(asked)) >= pd.Timedelta(days=14)
    assert "accuracy" in current["asked"][0]["why"]
    assert never["asked"] == []
    assert [item["at"][:10] for item in every["asked"]] == ["2026-03-08"]


def test_the_same_question_has_the_same_answer(log: Path, reports: list[dict[str, Any]]) -> None:
    said = holdfast("replay", log, *SPAN, "--policy", "current", "--json")
    assert said.lines == reports[:1]


@pytest.mark.parametrize("width", [80, 100])
def test_what_a_person_reads(reports: list[dict[str, Any]], width: int) -> None:
    said = text(reports, width)
    assert max(len(line) for line in said.splitlines()) <= width
    assert re.search(r"^ +current +never +every-30d +deaf$", said, re.MULTILINE)
    assert re.search(r"^missed +0 +0 +0 +1$", said, re.MULTILINE)
    assert "deaf: as deaf.yaml says (window.length: 2d, policy.performance.drop: 0.5)" in said
    assert "neither an alarm was open nor a retrain made within 30d" in " ".join(said.split())


class Page(html.parser.HTMLParser):
    """What a page refers to, and its pictures' words."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.alt: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"src", "srcset", "href"} and not (value or "").startswith("data:"):
                self.outside.append(f"{tag} {name}={value}")
            if name == "alt":
                self.alt.append(value or "")


def test_the_page_stands_alone_and_the_picture_has_a_lane_each(
        log: Path, tmp_path: Path, reports: list[dict[str, Any]]) -> None:
    said = holdfast("replay", log, *SPAN, "--policy", "never", "--out", tmp_path / "new" / "lab")
    assert said.code == 0
    assert "accuracy, all rows" in said.out
    assert {path.name for path in (tmp_path / "new" / "lab").iterdir()} == {"lab.html", "lab.png"}
    written = Page((tmp_path / "new" / "lab" / "lab.html").read_text("utf-8"))
    assert written.outside == []
    assert written.alt == [words(reports[1:2])]
    one, four = draw(reports[1:2]), draw(reports)
    assert (tmp_path / "new" / "lab" / "lab.png").read_bytes() == one
    assert _height(four) > _height(one)
    assert draw(reports) == four
    assert draw(reports, DARK) != four


def _height(png: bytes) -> int:
    assert png.startswith(b"\x89PNG")
    return int(struct.unpack(">I", png[20:24])[0])


def test_a_name_that_is_markup_is_text(tmp_path: Path, reports: list[dict[str, Any]]) -> None:
    comparison.write([reports[0] | {"policy": "<b>bold</b>"}], tmp_path)
    assert "<b>bold" not in (tmp_path / "lab.html").read_text("utf-8")


@pytest.mark.parametrize(("changed", "said"), [
    ({"--from": "2026-05-01"}, "--from: 2026-05-01T00:00:00Z is not before --to"),
    ({"--from": "2026-01-01", "--to": "2026-02-01"},
     "--to: 2026-02-01T00:00:00Z is not after the end of the reference"),
    ({"--policy": "curent"}, "did you mean 'current'?"),
    ({"--out": "log.parquet/lab"}, "log.parquet is a file"),
    ({"--within": "soon"}, "'soon' is not a duration"),
    ({"--within": "0d"}, "--within: 0s; right would be a length of time, such as 30d"),
])
def test_what_is_refused(log: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str],
                         said: str) -> None:
    monkeypatch.chdir(log.parent)
    asked = dict(zip(SPAN[::2], SPAN[1::2], strict=True)) | {"--policy": "current"} | changed
    told = holdfast("replay", log, *(word for pair in asked.items() for word in pair))
    assert (told.code, told.out) == (2, "")
    assert said in told.err


def test_out_without_a_policy_is_refused(log: Path, tmp_path: Path) -> None:
    told = holdfast("replay", log, *SPAN, "--out", tmp_path / "lab")
    assert told.code == 2
    assert "--out: without --policy" in told.err


def test_where_nothing_can_be_trained_acting_watches_and_says_why(log: Path) -> None:
    told = holdfast("replay", log, *SPAN, "--policy", "never", "--act", "--json")
    assert told.code == 0
    (report,) = told.lines
    assert not report["acted"]
    assert "training.kind is none" in report["seen"]
    assert report["sums"]["alarms"] >= 1


def test_where_no_champion_is_registered_acting_is_proposed(log: Path, tmp_path: Path) -> None:
    path = configured(tmp_path, {
        "name": "sizes", "log": {"source": str(log.parent / "log.parquet"), "timestamp": "at",
                                 "label": "truth"},
        "reference": {"from": "2026-01-01", "to": "2026-02-05"}, "training": {"kind": "torch"}})
    told = holdfast("replay", path, *SPAN, "--policy", "never")
    assert told.code == 1
    assert "has no alias `champion`" in told.err
    assert "--act would train a first one" in told.err
