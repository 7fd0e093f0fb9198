"""What the card and its picture tell a person, whatever the result is."""

from __future__ import annotations

import io
from typing import Any

import pytest
from matplotlib.image import imread

from retrain.card import MOST, Place, card, described, table
from retrain.exhibit import draw, drawn

PLACE = Place("7", "abc", "https://holdfast.example.org/models/parcels", "holdfast/reports/r.html")


def scores(value: float | None, **more: Any) -> dict[str, Any]:
    """A version's scores as ``story.plain`` gives them."""
    known = {} if value is None else {"accuracy": {
        "value": value, "low": value - 0.1, "high": value + 0.1}}
    return {"value": value, "low": None if value is None else value - 0.1,
            "high": None if value is None else value + 0.1, "n": 250, "quality": known,
            "size_bytes": None, "latency": {}, **more}


def asked(difference: float | None, where: str = "", metric: str = "accuracy", **more: Any
          ) -> dict[str, Any]:
    """One comparison of the gate."""
    return {"role": "slice" if where else "the champion", "where": where, "against": "version 1",
            "metric": metric, "value": 0.8, "other": 0.7, "difference": difference, "low": -0.2,
            "high": 0.0, "level": 0.95, "blocks": 4, "block": "1d", "allowed": 0.05,
            "judged": difference is not None, "passed": True, "note": "", **more}


def result(**changed: Any) -> dict[str, Any]:
    return {"model": "parcels", "request_id": "parcels-train-1", "reason": "Passed. *Better*.",
            "asked": "weight moved", "parent": "version 1", "known_at": "2026-02-11T01:00:00Z",
            "metric": "accuracy", "window": ["2026-01-27T00:00:00Z", "2026-02-08T00:00:00Z"],
            "content_hash": "b795514460ea50b4", "what": "tuned", "choice": "Uncompressed.",
            "rows": {"train": 900, "validation": 100, "holdout": 250}, "ladder": [],
            "gate": [asked(-0.1)], "points": {}, "not_run": {},
            "holdout": {"version 1": scores(0.7), "candidate": scores(
                0.8, size_bytes=7342, latency={"1": 2.8e-05})}, **changed}


def test_a_description_says_first_what_is_asked_and_where_to_read_on() -> None:
    told = described(result(), PLACE, decide="Add the alias.")
    assert told.startswith("**Passed. Better.**\n\nAdd the alias.\n\nAsked for because: weight")
    assert "(https://holdfast.example.org/models/parcels)" in told
    assert "(#/experiments/7/runs/abc/artifacts/holdfast/reports/r.html)" in told
    assert "(get-artifact?path=holdfast%2Fdecision.png&run_uuid=abc)" in told
    lines = [line.replace("\u00a0", "") for line in told.splitlines() if line.startswith("|")]
    assert lines == ["| newest 250 labelled rows | candidate | version 1 (champion) |",
                     "| --- | --- | --- |",
                     "| accuracy | 0.8 (0.7 to 0.9) | 0.7 (0.6 to 0.8) |",
                     "| size | 7.34 kB | unknown |",
                     "| CPU for a batch of 1 | 0.028 ms | not measured |"]


def test_a_description_leads_nowhere_that_is_not_known() -> None:
    told = described(result(), Place("7", "abc"))
    assert "holdfast's page" not in told
    assert "report of what moved" not in told


def test_nothing_is_cut_off_in_the_middle() -> None:
    names = {f"version {number}": scores(0.5) for number in range(2, 200)}
    crowded = result(asked="moved: " * 2000, reason="Passed. " * 2000, holdout={
        "candidate": scores(0.8)} | names)
    told = described(crowded, PLACE)
    assert len(told) <= MOST
    assert told.startswith("**Passed.")
    assert "|" not in told.partition("whole card")[0], "a table that has no room is left out whole"
    assert told.rstrip().endswith("Uncompressed.")


def test_a_category_with_a_bar_stays_one_cell() -> None:
    assert table(["a"], [["b|c"]]) == ["| a |", "| --- |", "| b\\|c |"]
    assert "| slice zone=a\\|b |" in card(result(gate=[asked(0.0, "zone=a|b", value=None)]))


@pytest.mark.parametrize("changed", [
    {}, {"gate": []}, {"gate": [asked(None)]}, {"gate": [asked(-0.1, low=None, high=None)]},
    {"holdout": {"candidate": scores(None)}, "parent": None},
    {"gate": [asked(-0.1), *(asked(n / 100, f"zone={n}" * 9) for n in range(30))]}])
def test_a_picture_is_drawn_of_whatever_there_is(changed: dict[str, Any]) -> None:
    made = draw(result(**changed))
    assert made == draw(result(**changed))
    assert imread(io.BytesIO(made)).shape[1] == 657
    assert len(made) < 60_000


def test_the_worst_groups_are_drawn_where_there_are_many() -> None:
    rows = [asked(-0.1), *(asked(n / 100, f"zone={n}") for n in range(30)),
            asked(0.9, "x", "ece")]
    assert [row["where"] for row in drawn(result(gate=rows))][:3] == ["", "zone=29", "zone=28"]
