"""Old counts become days and old verdicts a line, whatever is cut short; SQLite and PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, update

from monitor.baseline import Baseline, calibrate
from monitor.binning import make_bins
from monitor.clearance import Tended
from monitor.config import Config
from monitor.daemon import Daemon
from monitor.deps import Deps
from monitor.drift import DriftResult
from monitor.errors import ConflictError, HoldfastError
from monitor.exporter import samples
from monitor.merging import Kept, day_of, merged
from monitor.outcomes import SUMS, Outcomes, total
from monitor.page import cards
from monitor.profile import Profile
from monitor.registry import Registry
from monitor.schema import adoptions, increments
from monitor.source import Increment
from monitor.state import ModelState
from monitor.status import overview, words
from monitor.store import Store
from monitor.upkeep import by_hand, due, tend, upkeep
from monitor.window import Window, isoformat
from tests.monitor.counted import model as configured
from tests.monitor.counted import summaries
from tests.monitor.stored import DAY, HOUR, NOTHING_DONE, START, at, verdict

DAYS = 40
LAST = START + DAYS * DAY
FRAME = pd.DataFrame({"x": np.arange(200.0), "c": ["a", "b"] * 100})
MODEL = configured(name="m", window={"length": "4h", "revise_for": "2d"}, maturity={"delay": "1d"},
                   training={"kind": "none"}, log={"prediction": "answer", "label": "truth"})
BINS, _ = make_bins(summaries(FRAME, ["x", "c"]), MODEL)
EPISODE = f"m/{isoformat(at(10))}"
FIRST = START + 2 * DAY + 8 * HOUR
"""Where the reference ends: in the middle of a day."""


def rules(**keys: Any) -> Config:
    return Config.model_validate({"models": [MODEL.model_dump(by_alias=True)], "retention": {
        "merge_after": "1d", "keep_statistics": "5d", **keys}})


def counts(pane: datetime, known: datetime, rng: np.random.Generator, *, segment: str = "",
           labels: int = 0) -> Increment:
    block = int(pane.timestamp())
    sums = {block: (float(labels), *rng.random(len(SUMS) - 1))} if labels else {}
    cells = {(block, "yes", "no", 7): labels} if labels else {}
    rows = 0 if labels else 9
    return Increment(pane, known, "1", segment, Profile(rows, rng.integers(0, 9, BINS.size)),
                     Outcomes(cells, sums))


def life() -> list[Increment]:
    """Increments of every four hours: rows, those of a segment, and a day later the labels."""
    rng, made = np.random.default_rng(3), []
    for place in range(6 * DAYS):
        pane = START + 4 * place * HOUR
        made += [counts(pane, pane + 5 * HOUR, rng),
                 counts(pane, pane + 5 * HOUR, rng, segment="c=a"),
                 counts(pane, pane + 29 * HOUR, rng, labels=1 + place % 3)]
    return made


def fill(store: Store, *, columns: int = 0) -> None:
    """Forty days of counts and verdicts, with an episode that lasts since the tenth day."""
    rng = np.random.default_rng(5)
    profile = Profile(9, np.ones(BINS.size, dtype=np.int64))
    baseline = replace(calibrate("1", BINS, [profile], Outcomes(), model=MODEL,
                                 window=Window(FIRST - 4 * HOUR, FIRST)), key="k")
    assert Baseline.from_json(baseline.to_json()).window_end == FIRST
    store.save_baseline("m", "1", "k", baseline.to_json())
    store.adopt("m", "1", START, key="k")
    store.save_counts("m", "k", life(), until=LAST, fingerprint="f")
    calm = ModelState(phase="stable", since=START, champion="1", adopted_at=START)
    number = 0
    for day in range(DAYS):
        state = calm if day < 10 else replace(calm, phase="suspect", episode=EPISODE,
                                              peak=2.0, peak_at=at(12), peak_of=EPISODE)
        made = verdict("m", day, version="1")
        made = replace(made, features=made.features + tuple(
            DriftResult(str(place), "", "psi", rng.random(), 1.0, 0.0, 9, False)
            for place in range(columns)))
        number = store.advance("m", number, state, folded_to=made.known_at, at=made.known_at,
                               verdicts=[(made, state.phase, state.episode, NOTHING_DONE)],
                               cause=made.reason)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = (f"sqlite:///{tmp_path / 'store.db'}" if request.param == "sqlite" else
           str(request.getfixturevalue("postgres")).replace("://", "+psycopg://"))
    with Store.open(url) as opened:
        fill(opened)
        yield opened


def all_counts(store: Store) -> list[Kept]:
    return store.held("m", "k", Window(START, LAST))


def sums(rows: Sequence[Kept], since: datetime = START) -> dict[str, Any]:
    """What is counted from an instant on: rows, cells, labels and outcomes, whenever they were."""
    told: dict[str, Any] = {}
    for segment in ("", "c=a"):
        kept = [row for row in rows if row.increment.segment == segment
                and row.increment.pane >= since]
        outcomes = total(row.increment.outcomes for row in kept)
        cells: dict[tuple[Any, ...], int] = {}
        for cell, n in outcomes.cells.items():
            cells[cell[1:]] = cells.get(cell[1:], 0) + n
        profile = sum((row.increment.profile for row in kept), Profile.empty(BINS))
        told[segment] = (profile.tallies, profile.counts.tolist(), outcomes.n, cells,
            sum(row.labelled for row in kept),
            tuple(round(sum(part[place] for part in outcomes.sums.values()), 6)
                  for place in range(len(SUMS))))
    return told


def test_panes_become_days_and_every_sum_stays(store: Store) -> None:
    before, labelled = all_counts(store), [store.labelled("m", "k", since=since, until=LAST + DAY)
                                           for since in (START, FIRST, at(20))]
    recent = store.increments("m", "k", Window(at(10), LAST), until=LAST + 9 * DAY)
    done = tend(MODEL, rules().retention, store, LAST)
    after = all_counts(store)
    assert done.merged == len(before) - len(after) + len(
        [row for row in after if row.id not in {old.id for old in before}])
    assert len(after) < len(before) - 100
    for since in (START, FIRST, at(20)):
        assert sums(after, since) == sums(before, since)
    assert [store.labelled("m", "k", since=since, until=LAST + DAY)
            for since in (START, FIRST, at(20))] == labelled
    assert store.merged_to("m", "k") == at(8)  # 2 days of revisions, 28 of labels, one to spare
    assert store.increments("m", "k", Window(at(10), LAST), until=LAST + 9 * DAY) == recent
    days = [row.increment.pane for row in after if row.increment.pane < at(8)
            and not row.increment.segment]
    assert days == [START, at(1), at(2), FIRST, *(at(day) for day in range(3, 8))]


def test_counts_that_were_merged_are_never_taken_for_panes(store: Store) -> None:
    tend(MODEL, rules().retention, store, LAST)
    with pytest.raises(HoldfastError, match=r"were merged into days.*longer `retention.merge"):
        store.increments("m", "k", Window(at(7), LAST), until=LAST)


def test_a_second_time_changes_nothing_and_the_next_day_is_one_more(store: Store) -> None:
    tend(MODEL, rules().retention, store, LAST)
    held = all_counts(store)
    assert tend(MODEL, rules().retention, store, LAST) == Tended(LAST)
    assert all_counts(store) == held
    made = verdict("m", DAYS, version="1")
    recorded = store.recorded("m")
    store.advance("m", recorded.number, recorded.state, folded_to=made.known_at, at=made.known_at,
                  verdicts=[(made, "suspect", EPISODE, NOTHING_DONE)], cause="")
    assert tend(MODEL, rules().retention, store, LAST + DAY) == Tended(LAST + DAY, 18, 1)


def test_old_verdicts_keep_a_line_and_what_is_still_told_of_keeps_all(store: Store) -> None:
    before = {row.id: row.line for row in store.verdicts("m")}
    done = tend(MODEL, rules().retention, store, LAST)
    after = {row.id: row.line for row in store.verdicts("m")}
    assert before.keys() == after.keys()
    thinned = {row for row, line in after.items() if line.get("thinned")}
    assert done.thinned == len(thinned) == 32
    assert all(after[row] == before[row] for row in before.keys() - thinned)
    kept = sorted(after[row]["start"][:10] for row in after.keys() - thinned)
    # what opened the episode and its peak, and the newest five days
    assert kept == ["2026-03-11", "2026-03-13", *(f"2026-04-{day:02}" for day in range(4, 10))]
    for row in thinned:
        same = ("severity", "reason", "start", "end", "known_at", "n", "verdict", "promised")
        assert [after[row][key] for key in same] == [before[row][key] for key in same]
        assert after[row]["performance"] == before[row]["performance"][:1]
    assert store.verdict_totals() == {("m", "stable"): DAYS}
    assert store.measured("m", "1") == store.verdicts("m")[-1]


def test_verdicts_and_counts_are_dropped_where_that_is_asked_for(store: Store) -> None:
    model = MODEL.model_copy(update={"training": MODEL.training.model_copy(
        update={"window": DAY, "holdout": DAY})})
    labels = store.labelled("m", "k", since=START, until=LAST + DAY)
    episodes, rows = store.episodes("m"), len(all_counts(store))
    oldest = store.verdicts("m", newest=DAYS)[0]
    store.save_report("m", oldest.id, "runs:/1/report.html", "report.html")
    done = tend(model, rules(keep_verdicts="6d", keep_counts="2d").retention, store, LAST)
    kept = [row.line["start"][:10] for row in store.verdicts("m")]
    assert done.dropped == DAYS - len(kept)
    assert kept == ["2026-03-01", *(f"2026-03-{day:02}" for day in range(9, 32)), *(
        f"2026-04-{day:02}" for day in range(1, 10))]
    assert store.verdict_totals() == {("m", "stable"): DAYS}
    assert store.episodes("m") == episodes
    assert store.labelled("m", "k", since=START, until=LAST + DAY) == labels
    assert sum(item.rows for item in store.arrivals("m", "k", START)) == 9 * 6 * DAYS
    assert len(all_counts(store)) < rows
    old = [row for row in all_counts(store) if row.increment.pane < at(8)]
    assert {row.increment.segment for row in old} == {""}
    assert not any(row.increment.profile.counts.any() for row in old)


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_what_was_cut_short_is_picked_up(store: Store, pieces: int,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it ends after some pieces, the end is the same; each piece is whole."""
    monkeypatch.setattr("monitor.upkeep.ROWS", 20)
    before = sums(all_counts(store))
    for _ in range(50):
        left = iter([True] * pieces)
        tend(MODEL, rules().retention, store, LAST, go=lambda left=left: next(left, False))
        assert sums(all_counts(store)) == before
        if "m" in store.tended():
            break
    assert tend(MODEL, rules().retention, store, LAST) == Tended(LAST)
    assert len([row for row in store.verdicts("m") if row.line.get("thinned")]) == 32
    assert store.merged_to("m", "k") == at(8)


def test_a_write_that_fails_takes_nothing_with_it(store: Store) -> None:
    held = all_counts(store)
    twice = [held[0], held[1]]
    with pytest.raises(ConflictError, match="meanwhile"):
        store.exchange("m", "k", [*twice, replace(held[2], id=10**9)], twice,
                       mark=("merged", at(1)))
    assert (all_counts(store), store.merged_to("m", "k")) == (held, None)
    store.exchange("m", "k", twice[:1], twice[:1], mark=("merged", at(1)))
    with pytest.raises(ConflictError, match="meanwhile"):  # another daemon, a moment later
        store.exchange("m", "k", twice[:1], twice[:1], mark=("merged", at(1)))
    assert sums(all_counts(store)) == sums(held)


def test_rows_of_older_counts_are_unpacked(store: Store) -> None:
    told = store.arrivals("m", "k", START)
    assert sum(item.rows for item in told) == 9 * 6 * DAYS
    assert len(told) < len(all_counts(store))
    with store._write() as write:
        write.run(update(increments).where(increments.c.pane < at(20)).values(rows=None))
    assert store.arrivals("m", "k", START) == told


def test_one_models_trouble_is_not_anothers(store: Store) -> None:
    other = MODEL.model_copy(update={"name": "other"})
    store.save_baseline("other", "1", "k", "{no JSON")
    store.adopt("other", "1", START, key="k")
    assert upkeep([other, MODEL], rules(), store, LAST).keys() == {"m"}
    both = rules().model_copy(update={"models": [other, MODEL]})
    assert [model.name for model in due(both, store, LAST + HOUR)] == ["other"]
    assert [model.name for model in due(both, store, LAST + 6 * HOUR)] == ["other", "m"]
    upkeep([other], rules(), store, LAST + HOUR)
    assert store.failing().keys() == {"other"}
    why = store.failing()["other"]
    assert (why.first, why.last, why.times) == (LAST, LAST + HOUR, 2)
    assert "JSONDecodeError" in why.reason
    found = {key: value for key, value in samples(store, both)["holdfast_reason_info"].items()
             if key[1] == "upkeep"}
    assert found == {("other", "upkeep", why.reason): 1}
    report = overview(both, store)
    told = {model["model"]: model["upkeep"] for model in report["models"]}
    assert (told["m"], told["other"]["times"]) == (None, 2)
    assert f"fails since 2026-04-10T00:00: {why.reason}" in words(report)
    assert why.reason in by_hand([other], rules(), store, LAST + HOUR, compact=False)[0]["words"]
    made = {card.name: card.untended for card in cards(store, both)}
    assert made == {"m": None, "other": store.failing()["other"]}
    with store._write() as write:
        write.run(delete(adoptions).where(adoptions.c.model == "other"))
    upkeep([other], rules(), store, LAST + HOUR)
    assert store.failing() == {}, "gone once they are seen to"


def test_metrics_tell_what_was_done(store: Store) -> None:
    upkeep([MODEL], rules(), store, LAST)
    found = samples(store, rules())
    assert found["holdfast_upkeep_last_success_timestamp_seconds"] == {("m",): LAST.timestamp()}
    assert found["holdfast_upkeep_rows_total"]["thinned",] == 32
    assert found["holdfast_store_size_bytes"][()] == store.size() > 100_000
    assert found["holdfast_upkeep_interval_seconds"][()] == 6 * 3600
    often = samples(store, rules(every="1m"))
    assert often["holdfast_upkeep_interval_seconds"][()] == 600, "nobody looks more often"


def test_never_is_never(store: Store) -> None:
    held, lines = all_counts(store), store.verdicts("m")
    rule = rules(merge_after=None, keep_statistics=None).retention
    assert tend(MODEL, rule, store, LAST) == Tended(LAST)
    assert (all_counts(store), store.verdicts("m")) == (held, lines)


def test_a_sqlite_file_shrinks_and_an_older_one_after_compact(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    with Store.open(f"sqlite:///{file}") as store:
        fill(store, columns=3000)
        before = store.size()
        assert by_hand([MODEL], rules(), store, LAST, compact=False)[-1]["store"] < 0.7 * before
    assert file.stat().st_size < 0.7 * before
    with sqlite3.connect(file) as old:
        old.execute("PRAGMA auto_vacuum=NONE")
        old.execute("VACUUM")
    with Store.open(f"sqlite:///{file}") as store:
        assert "--compact" in by_hand([MODEL], rules(), store, LAST, compact=False)[-1]["words"]
        assert not store.shortens()
        told = by_hand([MODEL], rules(), store, LAST, compact=True)[-1]
        assert store.shortens()
        assert "--compact" not in told["words"]


def test_keeping_is_not_shorter_than_merging() -> None:
    with pytest.raises(ValueError, match="keep_counts"):
        rules(merge_after="90d", keep_counts="30d")


INSTANTS = st.integers(0, 24 * 5).map(lambda hour: START + hour * HOUR)


@settings(deadline=None)
@given(st.lists(st.tuples(INSTANTS, INSTANTS, st.sampled_from(["1", "2"]),
                          st.sampled_from(["", "c=a"]), st.integers(0, 5)), max_size=60),
       st.lists(INSTANTS, max_size=3), st.sampled_from(["1h", "8h", "1d"]))
def test_merging_keeps_every_sum_on_both_sides_of_every_cut(
        made: list[tuple[datetime, datetime, str, str, int]], cuts: list[datetime], length: str
) -> None:
    rng = np.random.default_rng(1)
    model = configured(window={"length": length, "offset": "30m"})
    rows = [Kept(place, replace(counts(pane, known, rng, segment=segment, labels=labels),
                                version=version), labels)
            for place, (pane, known, version, segment, labels) in enumerate(made)]
    cuts = sorted(cuts)
    gone: set[int] = set()
    after: list[Kept] = []
    for old, new in merged(rows, model.calendar, cuts):
        gone |= {row.id for row in old}
        after.append(new)
        assert len({day_of(row.increment.pane, model.calendar) for row in old}) == 1
        assert new.increment.known_at == max(row.increment.known_at for row in old)
    after += [row for row in rows if row.id not in gone]
    for since in (START, *cuts):
        assert sums(after, since) == sums(rows, since)
    places = [(day_of(row.increment.pane, model.calendar), row.increment.version,
               row.increment.segment, sum(cut <= row.increment.pane for cut in cuts))
              for row in after]
    assert len(places) == len(set(places))


def test_a_file_is_opened_while_somebody_writes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with Store.open(url) as store, store._write(), Store.open(url) as other:
        assert other.models() == []
        assert other.shortens()


def test_the_daemon_sees_to_what_is_due_unless_it_does_not_lead(store: Store) -> None:
    daemon = Daemon(Deps(rules(), "holdfast.yaml", store, cast(Registry, None), None, None))
    daemon._stopping = True
    daemon._tend()
    assert store.tended() == {}
    daemon._stopping = False
    daemon._tend()
    (told,) = store.tended().values()
    assert (told.merged, told.thinned) == (144, 37)
    daemon._tend()  # nothing is due
    assert list(store.tended().values()) == [told]
