"""A verdict's line in two parts is the same line; the brief one keeps what is told for good."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text, update

from monitor.lines import (
    COLUMNS,
    LEADING,
    PARTED,
    THINNED,
    WHOLE,
    deciding,
    joined,
    leading,
    parted,
)
from monitor.profile import Profile
from monitor.schema import verdicts
from monitor.store import Store, line
from monitor.window import parse_time
from tests.monitor.stored import NOTHING_DONE, features, fill, verdict


def told(**change: Any) -> dict[str, Any]:
    return line(verdict("electricity", 3, **change), phase="stable", episode=None,
                decision=NOTHING_DONE)


def columns(found: dict[str, Any]) -> dict[str, Any]:
    times = {key: parse_time(found[key]) for key in ("start", "end", "known_at")}
    return {key: found.get(key) for key in COLUMNS} | times | {"kind": found["verdict"]}


def whole(found: dict[str, Any]) -> str:
    return json.dumps(joined(columns(found), *parted(found), PARTED))


@pytest.mark.parametrize("change", [
    {}, {"features": (), "performance": (), "estimate": replace(verdict("m", 1).estimate,
                                                                quality="degraded")},
    {"features": features(0.4), "kind": "drifted", "reason": "price moved"}])
def test_both_parts_are_the_line_to_the_bit(change: dict[str, Any]) -> None:
    found = told(**change)
    assert whole(found) == json.dumps(found, sort_keys=True)


@given(st.sets(st.sampled_from(sorted(told())), max_size=9).filter(
    lambda keys: not keys & {*COLUMNS, "verdict", "features"}))
def test_a_line_of_an_older_version_gains_nothing(lacking: set[str]) -> None:
    found = {key: value for key, value in told().items() if key not in lacking}
    assert whole(found) == json.dumps(found, sort_keys=True)


def test_a_line_without_detail_keeps_what_is_told_for_good() -> None:
    found = told(features=features(0.4))
    brief = joined(columns(found), parted(found)[0], None, THINNED)
    assert brief["thinned"]
    assert brief["performance"] == found["performance"][:1]
    last = [{"value": None}, {"value": None}, {"value": 0.5}, {"value": 0.6}]
    assert deciding(last) == [last[0], last[2]]
    assert [item["name"] for item in brief["features"]] == ["price", "prediction:answer"]
    assert (brief["groups"], brief["watermark"]) == ([], None)
    same = ("severity", "reason", "n", "start", "end", "known_at", "verdict", "promised", "phase")
    assert {key: brief[key] for key in same} == {key: found[key] for key in same}
    assert found.keys() <= brief.keys()


def test_what_drifted_leads_and_else_what_came_nearest() -> None:
    rows = [{"name": str(place), "value": place / 10, "threshold": 1.0, "drifted": False}
            for place in range(20)]
    assert [row["name"] for row in leading(rows)] == ["19"]
    far = [{**row, "drifted": int(row["name"]) > 5} for row in rows]
    assert [row["name"] for row in leading(far)] == [str(19 - place) for place in range(LEADING)]
    assert leading([{"value": None, "threshold": 1.0}, {"value": 1.0, "threshold": None}]) == []


def test_a_row_of_an_older_schema_is_read_as_it_stands(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        fill(store)
        before = [row.line for row in store.verdicts("electricity")]
        with store._write() as write:
            for row in store.verdicts("electricity"):
                write.run(update(verdicts).where(verdicts.c.id == row.id).values(
                    line=json.dumps(row.line), detail=None, form=WHOLE))
        assert [row.line for row in store.verdicts("electricity")] == before


@given(st.lists(st.integers(-2**62, 2**62), min_size=1, max_size=9), st.integers(0, 62))
def test_counts_take_as_few_bytes_as_they_need(values: list[int], shift: int) -> None:
    counts = np.array(values, dtype=np.int64) >> shift
    made = Profile(3, counts, 1, 0)
    assert Profile.unpack(made.pack()) == made
    assert Profile.rows(made.pack()) == 3
    vector = np.concatenate([np.array([3, 1, 0], dtype="<i8"), counts])
    assert Profile.unpack(zlib.compress(vector.astype("<i8").tobytes(), 1)) == made


def test_a_store_of_the_schema_before_is_read_on(tmp_path: Path) -> None:
    """Schema 0009, with a verdict whose line is whole, is migrated and keeps it."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    found = told()
    with Store.open(url) as store, store._engine.begin() as connection:
        for statement in (
                "DROP TABLE holdfast_untended", "DROP TABLE holdfast_deployment",
                "DROP TABLE holdfast_upkeep",
                "ALTER TABLE holdfast_increment DROP COLUMN rows",
                "ALTER TABLE holdfast_counted DROP COLUMN merged",
                "ALTER TABLE holdfast_counted DROP COLUMN emptied",
                "DROP INDEX ix_holdfast_verdict_bulky",
                "ALTER TABLE holdfast_verdict DROP COLUMN form",
                "ALTER TABLE holdfast_verdict DROP COLUMN detail",
                "CREATE INDEX ix_holdfast_verdict_kind ON holdfast_verdict (model, segment, kind)",
                "UPDATE holdfast_schema SET version_num = '0009'"):
            connection.execute(text(statement))
        times = {name: int(parse_time(found[name]).timestamp() * 1e6)
                 for name in ("start", "end", "known_at")}
        connection.execute(text(
            "INSERT INTO holdfast_verdict (model, segment, version, start, \"end\", revision, "
            "known_at, kind, measured, line) VALUES ('electricity', '', '3', :start, :end, 0, "
            ":known_at, 'stable', true, :line)"), {**times, "line": json.dumps(found)})
    with Store.open(url) as store:
        assert [row.line for row in store.verdicts("electricity")] == [found]
        assert store.measured("electricity", "3") is not None
