"""Laws of promotion and rollback, over any sequence of what people, labels and crashes may do."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor import decide
from monitor.act import act
from monitor.baseline import Baseline, calibrate
from monitor.bins import Bins, NumericBins
from monitor.config import Config, load
from monitor.deps import Deps
from monitor.errors import RegistryError
from monitor.follow import follow
from monitor.outcomes import SUMS, Outcomes
from monitor.profile import Profile
from monitor.reference import mapping_key
from monitor.registry import Outcome, Registry, Version
from monitor.source import Increment
from monitor.state import ModelState
from monitor.store import Store
from tests.monitor.test_decide import START, verdict

DAY = timedelta(days=1)
ROWS = 400
VERSIONS = ("1", "2", "3")


@dataclass
class Aliases:
    """A registry that knows aliases alone; a move may be cut off before or after it happens, or
    the tick between looking and acting."""

    champion_is: str | None = "1"
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    moves: list[tuple[str | None, str]] = field(default_factory=list)
    cut: str = ""

    def champion(self, name: str) -> Version | None:
        return Version(name, self.champion_is, "", {}, START) if self.champion_is else None

    def tag_version(self, name: str, version: str, tags: dict[str, str]) -> None: ...

    def outcome(self, request_id: str) -> Outcome | None:
        return self.outcomes.get(request_id)

    def move_alias(self, name: str, alias: str, *, to: str, expected: str | None) -> bool:
        if self.champion_is == to:
            return True
        if self.champion_is != expected:
            return False
        cut, self.cut = self.cut, ""
        if cut == "before":
            raise RegistryError("killed")
        self.moves.append((self.champion_is, to))
        self.champion_is = to
        if cut == "after":
            raise RegistryError("killed")
        return True


@cache
def scene(promotion: str, rollback: str) -> tuple[Path, Config]:
    """A configuration and a store that knows a baseline of every version."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-laws-"))
    (folder / "holdfast.yaml").write_text(yaml.safe_dump({"models": [{
        "name": "m", "log": {"source": "x.parquet", "timestamp": "t", "prediction": "p",
                             "label": "y", "model_version": "v"},
        "maturity": {"delay": "3d"}, "training": {"kind": "torch"},
        "policy": {"promotion": promotion, "rollback": rollback,
                   "retrain": {"cooldown": "1d", "minimum_rows": 100},
                   "probation": {"length": "4d", "rows": 300}}}]}))
    config = load(folder / "holdfast.yaml").config
    bins = Bins((NumericBins("x", "feature", "numeric", "linear", 0.0, 1.0, 0.0, 1.0, 4, ()),))
    counts = np.zeros(bins.size, dtype=np.int64)
    counts[5:9] = 25
    held = calibrate("1", bins, [Profile(100, counts, 0, 0)] * 8, Outcomes(),
                     model=config.models[0])
    with Store.open(f"sqlite:///{folder / 'store.db'}") as store:
        for version in VERSIONS:
            text = replace(held, version=version).to_json()
            assert Baseline.from_json(text).version == version
            store.save_baseline("m", version, f"{mapping_key(config.models[0])}-{version}", text)
    return folder, config


class Life:
    """One model between people, labels and crashes; ``story`` is what happened, in order."""

    def __init__(self, folder: Path, config: Config, store: Store) -> None:
        self.aliases, self.now, self.model = Aliases(), START, config.models[0]
        self.deps = Deps(config, str(folder / "holdfast.yaml"), store,
                         cast(Registry, self.aliases), None, None)
        self.story: list[tuple[Any, ...]] = []
        self.tick()

    @property
    def state(self) -> ModelState:
        return self.deps.store.recorded("m").state

    def tick(self) -> None:
        known, cut = len(self.aliases.moves), self.aliases.cut
        try:
            follow(self.model, cast(Any, None), self.deps, self.now)
            if cut == "between":
                self.aliases.cut = ""
            else:
                act(self.model, self.deps, self.now)
        except RegistryError:
            pass
        self.story += [("holdfast", self.now, *move) for move in self.aliases.moves[known:]]

    def person(self, version: str | None) -> None:
        if version != self.aliases.champion_is:
            self.aliases.champion_is = version
            self.story.append(("person", self.now, version))

    def day(self, degraded: bool) -> None:
        """A day of labelled rows of whoever is champion, and its verdict."""
        store, state = self.deps.store, self.state
        self.now += DAY
        if state.champion is not None:
            block = int((self.now - DAY).timestamp())
            sums = (float(ROWS), *[0.0] * (len(SUMS) - 1))
            key = store.adoptions("m")[-1].key
            counted = Increment(self.now - DAY, self.now, state.champion, "",
                                Profile(ROWS, np.zeros(4, dtype=np.int64)),
                                Outcomes({(block, "a", "a", -1): ROWS}, {block: sums}))
            store.save_counts("m", key, [counted], until=self.now, fingerprint="")
            said = replace(verdict((self.now - START).days - 1), model="m",
                           version=state.champion, known_at=self.now,
                           quality="degraded" if degraded else "stable")
            after, decision = decide.step(state, said, self.model)
            recorded = store.recorded("m")
            store.advance("m", recorded.number, after, folded_to=self.now, at=self.now,
                          cause="verdicts", verdicts=[(said, after.phase, after.episode, decision)])

    def answer(self, low: float | None, version: str | None) -> None:
        """The open request ends: a comparison with ``low``, or a training with ``version``."""
        row = self.deps.store.open_request("m")
        if row is None:
            return
        request, result = row.request, {}
        if request.kind == "score" and low is not None:
            result = {"difference": low + 0.1, "low": low, "high": low + 0.2, "reason": "measured",
                      "champion": request.champion}
            self.story.append(("compared", self.now, request.champion, low))
        if request.kind == "train":
            version = None if version == request.champion else version
            self.story.append(("trained", self.now, request.champion, version))
        self.aliases.outcomes[request.request_id] = Outcome(
            request.request_id, "done" if request.kind == "score" else
            ("registered" if version else "refused"), version, "because", "r", result)


EVENTS = st.one_of(
    st.tuples(st.just("person"), st.sampled_from([*VERSIONS, None])),
    st.tuples(st.just("day"), st.booleans()),
    st.tuples(st.just("day"), st.booleans()),
    st.tuples(st.just("answer"), st.sampled_from([-0.1, 0.0, 0.05, 0.05, None]),
              st.sampled_from([*VERSIONS, None])),
    st.tuples(st.just("cut"), st.sampled_from(["before", "after", "between"])))


@settings(max_examples=50, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["manual", "automatic"]), st.sampled_from(["manual", "automatic"]),
       st.lists(EVENTS, min_size=5, max_size=40))
def test_laws_of_promotion(promotion: str, rollback: str, events: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        life = lived(promotion, rollback, events, Path(place))
    if promotion == rollback == "manual":
        assert not [item for item in life.story if item[0] == "holdfast"]
    for index, item in enumerate(life.story):
        if item[0] == "holdfast":
            _holdfast_has_a_reason(life.story[:index], item, life.model)


def lived(promotion: str, rollback: str, events: list[tuple[Any, ...]], place: Path) -> Life:
    """The life after these events, each followed by a tick of a daemon that was just started."""
    folder, config = scene(promotion, rollback)
    shutil.copy(folder / "store.db", place / "store.db")
    with Store.open(f"sqlite:///{place / 'store.db'}") as store:
        life = Life(folder, config, store)
        for name, *values in events:
            if name == "cut":
                life.aliases.cut = values[0]
                continue
            getattr(life, name)(*values)
            life.tick()
            if life.aliases.champion_is is None:
                assert (life.state.phase, life.state.champion) == ("unknown", None)
    return life


def _holdfast_has_a_reason(before: list[tuple[Any, ...]], move: tuple[Any, ...], model: Any
                           ) -> None:
    """Why holdfast moved the alias: something that was found out since a person last did."""
    _, now, left, to = move
    people = [place for place, item in enumerate(before) if item[0] == "person"]
    since = before[people[-1] + 1:] if people else before
    better = [item for item in since if item[0] == "compared" and item[2] == left and item[3] > 0]
    made = [item for item in since if item[0] == "trained" and item[2:] == (left, to)]
    assert better or made, "a person's choice wins"
    undone = [item for item in before if item[0] == "holdfast"
              and _rollback(before, item)]
    if made and not _rollback([*before, move], move):
        assert model.policy.promotion == "automatic"
        for item in undone:
            assert item[2] != to or now - model.maturity.delay > item[1], "not for the same data"
        return
    assert model.policy.rollback == "automatic"
    arrived = [item for item in before if (item[0] == "person" and item[2] == left)
               or (item[0] == "holdfast" and item[3] == left)]
    by_person = not arrived or arrived[-1][0] == "person"
    assert not (by_person and any(item[2] == left for item in undone)), "a person insists"


def _rollback(story: list[tuple[Any, ...]], move: tuple[Any, ...]) -> bool:
    """Whether the newest thing found out of the version that was left is that it is worse."""
    seen = [item for item in story[:story.index(move)] if item[0] in {"compared", "trained"}
            and item[2] == move[2]]
    return bool(seen) and seen[-1][0] == "compared" and seen[-1][3] > 0


def test_a_person_wins_over_what_was_decided_before(tmp_path: Path) -> None:
    days = [("day", False), ("day", False)]
    life = lived("manual", "automatic", [*days, ("person", "2"), *days, ("cut", "between"),
                                         ("answer", 0.05, None), ("person", "3"), *days], tmp_path)
    assert (life.aliases.champion_is, life.aliases.moves) == ("3", [])


def test_the_laws_are_about_something(tmp_path: Path) -> None:
    """A promotion is rolled back, a person insists, and it stays."""
    days = [("day", False), ("day", False)]
    events = [*days, ("person", "2"), *days, ("answer", 0.05, None), ("day", False),
              ("person", "2"), *days * 4, ("answer", 0.05, None), *days]
    life = lived("manual", "automatic", events, tmp_path)
    assert [item[2:] for item in life.story if item[0] == "holdfast"] == [("2", "1")]
    assert [item[3] for item in life.story if item[0] == "compared"] == [0.05, 0.05]
    assert life.aliases.champion_is == "2"
    assert life.state.rolled_back == ("2",)


def test_a_rolled_back_version_is_not_proposed_for_the_same_data(tmp_path: Path) -> None:
    days = [("day", False), ("day", False)]
    undone = [*days, ("person", "2"), *days, ("answer", 0.05, None), ("day", False)]
    soon = lived("automatic", "automatic", [*undone, ("day", False), ("day", True),
                                            ("answer", None, "2"), *days], tmp_path)
    assert soon.aliases.champion_is == "1"
    again = Path(tempfile.mkdtemp(dir=tmp_path))
    late = lived("automatic", "automatic", [*undone, *days * 3, ("day", True),
                                            ("answer", None, "2"), *days], again)
    assert late.aliases.champion_is == "2"
