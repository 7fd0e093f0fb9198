"""Pictures of dashboards: tables as the dashboard says, axes that tell something."""

from __future__ import annotations

import json
from typing import Any

from tests.data import ROOT
from tests.story.panels import Panel, page
from tests.story.tables import said, table


def shown(board: str, title: str) -> dict[str, Any]:
    (found,) = [panel for panel in json.loads((ROOT / "dashboards" / f"{board}.json").read_text())[
        "panels"] if panel["title"] == title]
    return dict(found)


def test_a_joined_table_has_one_row_of_each_model_and_the_names_of_the_dashboard() -> None:
    panel = shown("fleet", "Every model")
    values = [1.0, 67.793, 1.0, 0.0, 2.0, 0.0, 65.359]
    frames = [[{"model": name, **({"phase": "suspect"} if place == 0 else {}), "Value": value}
               for name in ("parcels", "sizes")] for place, value in enumerate(values)]
    columns, cells = table(panel, frames)
    assert columns == ["model", "phase", "severity", "episode", "waits", "faults", "error",
                       "judged before"]
    assert cells == [[name, "suspect", "67.79", "1", "0", "2", "0", "65.4 s"]
                     for name in ("parcels", "sizes")]


def test_a_table_of_one_query_shows_instants_as_such_and_leaves_out_what_is_left_out() -> None:
    row = {"model": "parcels", "action": "retrain", "Value": 1.7957e12}
    assert table(shown("retraining", "Decided"), [[row]]) == (
        ["model", "action", "at"], [["parcels", "retrain", "2026-11-26 13:33:20"]])
    assert table(shown("model", "Why"), [[{"model": "m", "about": "episode", "reason": "moved",
                                           "Value": 1.0}]])[0] == ["model", "about", "reason"]


def test_what_is_too_long_is_cut_between_words_and_says_so() -> None:
    assert said("short") == "short"
    cut = said("some words " * 40)
    assert len(cut) <= 112
    assert cut.endswith(("some …", "words …"))


def test_a_line_that_never_moves_still_has_an_axis() -> None:
    panel = Panel(shown("model", "Rows"), frames=[[{"model": "m", "Value": 900.0}]],
                  lines=[("m", [(0.0, 900.0), (60.0, 900.0)])])
    drawn = page("model", [panel])
    assert all(f">{tick}</text>" in drawn for tick in ("900", "450", "0"))
